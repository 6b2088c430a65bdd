/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages that a peer causes, which means harm or is out of order, or that
 * the state of the host causes over and over
 *
 * There can be any number of them.  error_report() would write them all, and
 * wait for whoever reads them: a log fills its disk, and a pipe that nobody
 * reads stops the thread, and with it other peers or the monitor.
 */
#ifndef QEMU_PEER_REPORT_H
#define QEMU_PEER_REPORT_H

/* Messages about one peer that are shown in a second. */
#define PEER_REPORTS_PER_SECOND     10

/*
 * One for each peer, for each server of one at a time, or for each thing of the
 * host's that is watched; zeros at first.
 */
typedef struct PeerReports {
    int64_t second;             /* of the monotonic clock */
    unsigned shown;             /* in that second */
    uint64_t hidden;            /* since the last one that was shown */
} PeerReports;

/**
 * peer_error_report:
 * @reports: of the peer
 * @fmt: as for error_report()
 *
 * Reports an error, unless there were too many in this second, or standard
 * error takes no more without waiting.  Those are counted, and the next one
 * that is shown tells how many there were.  Any thread.
 */
void G_GNUC_PRINTF(2, 3) peer_error_report(PeerReports *reports,
                                           const char *fmt, ...);

/**
 * peer_warn_report:
 * @reports: of the peer
 * @fmt: as for warn_report()
 *
 * The same for a warning.
 */
void G_GNUC_PRINTF(2, 3) peer_warn_report(PeerReports *reports,
                                          const char *fmt, ...);

/**
 * peer_info_report:
 * @reports: of the peer
 * @fmt: as for info_report()
 *
 * The same for what is no harm.
 */
void G_GNUC_PRINTF(2, 3) peer_info_report(PeerReports *reports,
                                          const char *fmt, ...);

#endif /* QEMU_PEER_REPORT_H */
