/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemctl metrics
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "commands.h"
#include "metrics.h"

static char *listen_address;
static char *textfile;

/*
 * A file is replaced as a whole, the one that a link leads to; a device or a
 * pipe, /dev/stdout for one, is written to and stays what it is.
 */
static bool write_file(const char *path, const char *text, GError **errp)
{
    g_autofree char *real = realpath(path, NULL);
    struct stat st;
    FILE *file;
    bool bad;

    if (stat(path, &st) < 0 || S_ISREG(st.st_mode)) {
        return g_file_set_contents_full(real ? real : path, text, -1,
                                        G_FILE_SET_CONTENTS_CONSISTENT, 0644,
                                        errp);
    }
    file = fopen(path, "we");
    bad = !file || fputs(text, file) == EOF;
    if (file && fclose(file) == EOF) {
        bad = true;
    }
    if (bad) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_FAILED, "cannot write %s: %s",
                    path, g_strerror(errno));
    }
    return !bad;
}

static bool run_metrics(const CtlOptions *options, int argc, char **argv,
                        GError **errp)
{
    g_autoptr(CtlView) view = NULL;
    g_autofree char *text = NULL;

    if (listen_address && textfile) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_USAGE,
                    "--listen and --textfile are two ways to the same: give "
                    "one of them");
        return false;
    }
    if (listen_address) {
        return ctl_metrics_serve(options, listen_address, errp);
    }
    view = ctl_view_take(options, errp);
    if (!view && !textfile) {
        return false;
    }
    text = ctl_metrics(view, textfile ? CTL_PROMETHEUS : CTL_OPENMETRICS);
    if (!textfile) {
        fputs(text, stdout);
    } else if (!write_file(textfile, text, view ? errp : NULL)) {
        return false;
    }
    /* The file says that there is nothing, and so do we. */
    return view && !ctl_view_complain(view);
}

static const GOptionEntry metrics_entries[] = {
    { "listen", 0, 0, G_OPTION_ARG_STRING, &listen_address,
      "Serve them over HTTP until a signal comes, on 127.0.0.1 if there is "
      "no IP address", "[IP:]PORT|unix:PATH" },
    { "textfile", 0, 0, G_OPTION_ARG_FILENAME, &textfile,
      "Write them into a file, all at once, as node_exporter reads it",
      "FILE" },
    { NULL },
};

const CtlCommand ctl_command_metrics = {
    "metrics", "", "Print all counters in the OpenMetrics format",
    "--listen speaks OpenMetrics or Prometheus' older format, as asked for; "
    "--textfile\nwrites the latter.",
    metrics_entries, 0, 0, run_metrics,
};
