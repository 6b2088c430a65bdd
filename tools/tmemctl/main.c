/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemctl: the operator's command line of virtio-tmem
 */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "value.h"

static CtlOptions options = { .timeout = 5 };
static gboolean show_version;

static const GOptionEntry common_entries[] = {
    { "socket", 's', 0, G_OPTION_ARG_FILENAME_ARRAY, &options.sockets,
      "A QMP socket to ask, instead of all that are found; may be given "
      "several times", "PATH" },
    { "store", 'S', 0, G_OPTION_ARG_STRING, &options.store,
      "Only the store with this ID or QOM path", "STORE" },
    { "timeout", 't', 0, G_OPTION_ARG_INT, &options.timeout,
      "How long to wait for an answer (default: 5)", "SECONDS" },
    { "json", 'J', 0, G_OPTION_ARG_NONE, &options.json,
      "Print JSON; sizes are in bytes there", NULL },
    { "bytes", 'b', 0, G_OPTION_ARG_NONE, &options.bytes,
      "Print sizes in bytes", NULL },
    { "noheadings", 'n', 0, G_OPTION_ARG_NONE, &options.noheadings,
      "Print no headings", NULL },
    { "output", 'o', 0, G_OPTION_ARG_STRING, &options.output,
      "Columns to print, however wide", "COLUMN,..." },
    { NULL },
};

static const GOptionEntry main_entries[] = {
    { "version", 'V', 0, G_OPTION_ARG_NONE, &show_version,
      "Print the version", NULL },
    { NULL },
};

static const CtlCommand *const commands[] = {
    &ctl_command_list,
    &ctl_command_show,
    &ctl_command_top,
    &ctl_command_set,
    &ctl_command_freeze,
    &ctl_command_thaw,
    &ctl_command_evict,
    &ctl_command_auth,
    &ctl_command_metrics,
    &ctl_command_doctor,
    &ctl_command_events,
};

static const CtlCommand *find_command(const char *name)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (!strcmp(commands[i]->name, name)) {
            return commands[i];
        }
    }
    return NULL;
}

static char *describe_commands(void)
{
    GString *text = g_string_new("Commands:\n");
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(commands); i++) {
        g_string_append_printf(text, "  %-8s %s\n", commands[i]->name,
                               commands[i]->text);
    }
    g_string_append(text, "\n'tmemctl COMMAND --help' says more about one.");
    return g_string_free(text, false);
}

static int fail(GError *err)
{
    g_autofree char *text = NULL;

    /* The latter of what is no text in the user's encoding. */
    if (err->domain == G_OPTION_ERROR || err->domain == G_CONVERT_ERROR) {
        text = g_strconcat(err->message, ": see tmemctl --help", NULL);
        ctl_complain(text);
        return 2;
    }
    ctl_complain(err->message);
    return g_error_matches(err, CTL_ERROR, CTL_ERROR_USAGE) ? 2 : 1;
}

/* @words goes after the program's name in the first line of the help. */
static GOptionContext *new_context(const char *words)
{
    GOptionContext *context = g_option_context_new(words);

    g_option_context_add_main_entries(context, common_entries, NULL);
    return context;
}

static bool check_options(GError **errp)
{
    if (options.timeout < 1 || options.timeout > 3600) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_USAGE,
                    "--timeout %d is out of range: it is 1 to 3600 seconds",
                    options.timeout);
        return false;
    }
    return true;
}

static bool run(const CtlCommand *command, int argc, char **argv,
                GError **errp)
{
    g_autofree char *words = g_strconcat(command->name, " ",
                                         command->words, NULL);
    g_autoptr(GOptionContext) context = new_context(words);

    g_option_context_set_summary(context, command->text);
    if (command->more) {
        g_option_context_set_description(context, command->more);
    }
    if (command->entries) {
        g_option_context_add_main_entries(context, command->entries, NULL);
    }
    if (!g_option_context_parse(context, &argc, &argv, errp)) {
        g_prefix_error(errp, "%s: ", command->name);
        return false;
    }
    if (argc > 1 && !strcmp(argv[1], "--")) {
        argc--;
        argv++;
    }
    if (argc - 1 < command->min ||
        (command->max >= 0 && argc - 1 > command->max)) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_USAGE,
                    "too %s words: write tmemctl %s%s%s",
                    argc - 1 < command->min ? "few" : "many", command->name,
                    *command->words ? " " : "", command->words);
        return false;
    }
    return check_options(errp) &&
           command->run(&options, argc - 1, argv + 1, errp);
}

int main(int argc, char **argv)
{
    g_autofree char *description = describe_commands();
    g_autoptr(GOptionContext) context = new_context("COMMAND ...");
    g_autoptr(GError) err = NULL;
    const CtlCommand *command;
    bool done;

    setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_DFL);
    g_set_prgname("tmemctl");
    g_option_context_add_main_entries(context, main_entries, NULL);
    g_option_context_set_strict_posix(context, true);
    g_option_context_set_summary(context, "Looks at the transcendent memory "
                                 "of this machine's guests, and steers it.");
    g_option_context_set_description(context, description);
    if (!g_option_context_parse(context, &argc, &argv, &err)) {
        return fail(err);
    }
    if (show_version) {
        puts("tmemctl " TMEMCTL_VERSION);
        return 0;
    }
    if (argc < 2) {
        g_autofree char *help = g_option_context_get_help(context, true, NULL);

        fputs(help, stderr);
        return 2;
    }
    command = find_command(argv[1]);
    if (!command) {
        g_set_error(&err, CTL_ERROR, CTL_ERROR_USAGE,
                    "there is no command '%s': see tmemctl --help", argv[1]);
        return fail(err);
    }
    argv[1] = argv[0];
    done = run(command, argc - 1, argv + 1, &err);
    if (fflush(stdout) || ferror(stdout)) {
        g_autofree char *text =
            g_strdup_printf("cannot write: %s", g_strerror(errno));

        ctl_complain(text);
        done = false;
    }
    return err ? fail(err) : !done;
}
