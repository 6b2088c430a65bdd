/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages that a peer causes, which means harm or is out of order, or that
 * the state of the host causes over and over
 */
#include "qemu/osdep.h"
#ifdef CONFIG_POSIX
#include <poll.h>
#endif
#include "qemu/error-report.h"
#include "qemu/peer-report.h"

/*
 * A pipe that is ready for writing takes a page without waiting (pipe(7)), a
 * socket more: a message is not to be longer, with all that is put around it.
 */
#define MESSAGE_MAX     2048

/*
 * Guards all PeerReports, and what is free in standard error between the look
 * at it and its use.
 */
static GMutex peer_report_mutex;

/* Whether a message is written at once.  One that fails waits for nobody. */
static bool stderr_is_ready(void)
{
#ifdef CONFIG_POSIX
    struct pollfd pfd = { .fd = STDERR_FILENO, .events = POLLOUT };
    int ret = RETRY_ON_EINTR(poll(&pfd, 1, 0));

    return ret != 0;
#else
    return true;
#endif
}

typedef void G_GNUC_PRINTF(1, 2) Report(const char *fmt, ...);

static void G_GNUC_PRINTF(3, 0) peer_report(PeerReports *reports,
                                            Report *report, const char *fmt,
                                            va_list ap)
{
    g_autofree char *what = g_strdup_vprintf(fmt, ap);
    int64_t second = g_get_monotonic_time() / G_USEC_PER_SEC;

    g_mutex_lock(&peer_report_mutex);
    if (reports->second != second) {
        reports->second = second;
        reports->shown = 0;
    }
    if (reports->shown >= PEER_REPORTS_PER_SECOND || !stderr_is_ready()) {
        reports->hidden++;
    } else {
        reports->shown++;
        if (reports->hidden) {
            report("%.*s (and %" PRIu64 " more were not shown)", MESSAGE_MAX,
                   what, reports->hidden);
        } else {
            report("%.*s", MESSAGE_MAX, what);
        }
        reports->hidden = 0;
    }
    g_mutex_unlock(&peer_report_mutex);
}

void peer_error_report(PeerReports *reports, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    peer_report(reports, error_report, fmt, ap);
    va_end(ap);
}

void peer_warn_report(PeerReports *reports, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    peer_report(reports, warn_report, fmt, ap);
    va_end(ap);
}

void peer_info_report(PeerReports *reports, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    peer_report(reports, info_report, fmt, ap);
    va_end(ap);
}
