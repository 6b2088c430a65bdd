/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemctl doctor: what it finds
 */
#ifndef TMEMCTL_DOCTOR_H
#define TMEMCTL_DOCTOR_H

#include "view.h"

/** CtlFinding: something that is wrong, or could be better. */
typedef struct CtlFinding {
    bool problem;               /* false: advice */
    const char *name;           /* of the check, for programs */
    char *what;
    char *way_out;
} CtlFinding;

/** ctl_finding_add() - note one; @what and @way_out are taken */
void ctl_finding_add(GPtrArray *findings, bool problem, const char *name,
                     char *what, char *way_out);

/**
 * ctl_doctor_host() - the host's set-up
 *
 * @root: "/", or where its files are seen from a container
 */
void ctl_doctor_host(GPtrArray *findings, const char *root,
                     const CtlView *view);

/** ctl_doctor_stores() - the stores and, as far as visible, the guests */
void ctl_doctor_stores(GPtrArray *findings, const CtlView *view,
                       const CtlOptions *options);

/** ctl_doctor_check() - whether the structures of the stores are in order */
void ctl_doctor_check(GPtrArray *findings, const CtlView *view,
                      const CtlOptions *options);

#endif /* TMEMCTL_DOCTOR_H */
