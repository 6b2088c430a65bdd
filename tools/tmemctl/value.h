/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemctl: figures and words, as people write and read them
 */
#ifndef TMEMCTL_VALUE_H
#define TMEMCTL_VALUE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/** ctl_size_str() - "12.5M"; bytes as they are if @exact */
char *ctl_size_str(uint64_t bytes, bool exact);

/** ctl_size_parse() - "12.5M", "4G", "4096" as bytes */
bool ctl_size_parse(const char *text, uint64_t *bytes, GError **errp);

/** ctl_id_parse() - "0x280001" or decimal; never 0 */
bool ctl_id_parse(const char *text, uint64_t *id, GError **errp);

/** ctl_printable() - @text without what a terminal would obey */
char *ctl_printable(const char *text);

/** ctl_complain() - @text, sentences on a line each, to stderr */
void ctl_complain(const char *text);

/** ctl_fit() - @text in @width columns, cut with a '~' if it is longer */
char *ctl_fit(const char *text, int width);

/** ctl_terminal_width() - columns of stdout's terminal, of $COLUMNS, or 80 */
int ctl_terminal_width(void);

#endif /* TMEMCTL_VALUE_H */
