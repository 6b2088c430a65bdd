/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemctl: its commands
 *
 * Each gets the options that all have and the words that are left, and is
 * done when it returns: true if all went well.
 */
#ifndef TMEMCTL_COMMANDS_H
#define TMEMCTL_COMMANDS_H

#include "view.h"

typedef bool CtlRun(const CtlOptions *options, int argc, char **argv,
                    GError **errp);

/**
 * CtlCommand: one of them
 *
 * @words: what may follow, for the help
 * @text: what it does, for the help
 * @more: paragraphs for its own help, or NULL
 * @entries: options of its own, or NULL
 * @min, @max: how many words may follow; @max < 0: any number
 */
typedef struct CtlCommand {
    const char *name;
    const char *words;
    const char *text;
    const char *more;
    const GOptionEntry *entries;
    int min, max;
    CtlRun *run;
} CtlCommand;

extern const CtlCommand ctl_command_list;
extern const CtlCommand ctl_command_show;
extern const CtlCommand ctl_command_top;
extern const CtlCommand ctl_command_set;
extern const CtlCommand ctl_command_freeze;
extern const CtlCommand ctl_command_thaw;
extern const CtlCommand ctl_command_evict;
extern const CtlCommand ctl_command_auth;
extern const CtlCommand ctl_command_metrics;
extern const CtlCommand ctl_command_doctor;
extern const CtlCommand ctl_command_events;

#endif /* TMEMCTL_COMMANDS_H */
