/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemctl doctor
 */
#include <stdio.h>

#include "commands.h"
#include "doctor.h"
#include "table.h"
#include "value.h"

static char *rootfs;
static gboolean check_structures;

static void finding_free(CtlFinding *finding)
{
    g_free(finding->what);
    g_free(finding->way_out);
    g_free(finding);
}

void ctl_finding_add(GPtrArray *findings, bool problem, const char *name,
                     char *what, char *way_out)
{
    CtlFinding *finding = g_new0(CtlFinding, 1);

    finding->problem = problem;
    finding->name = name;
    finding->what = what;
    finding->way_out = way_out;
    g_ptr_array_add(findings, finding);
}

static void print_json(GPtrArray *findings)
{
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
    JsonObject *top = json_object_new();
    JsonArray *list = json_array_new();
    guint i;

    for (i = 0; i < findings->len; i++) {
        const CtlFinding *finding = findings->pdata[i];
        JsonObject *object = json_object_new();

        json_object_set_string_member(object, "level", finding->problem ?
                                      "problem" : "advice");
        json_object_set_string_member(object, "name", finding->name);
        json_object_set_string_member(object, "what", finding->what);
        if (finding->way_out) {
            json_object_set_string_member(object, "way-out",
                                          finding->way_out);
        }
        json_array_add_object_element(list, object);
    }
    json_object_set_array_member(top, "findings", list);
    json_node_take_object(node, top);
    ctl_json_print(node);
}

static void print_text(GPtrArray *findings, guint problems)
{
    guint advice = findings->len - problems;
    guint i;

    for (i = 0; i < findings->len; i++) {
        const CtlFinding *finding = findings->pdata[i];
        g_autofree char *what = ctl_printable(finding->what);

        printf("%s: %s\n", finding->problem ? "problem" : "advice", what);
        if (finding->way_out) {
            g_autofree char *way_out = ctl_printable(finding->way_out);

            printf("  way out: %s\n", way_out);
        }
    }
    if (!findings->len) {
        puts("nothing to complain about");
    } else {
        printf("%u problem%s, %u piece%s of advice\n", problems,
               problems == 1 ? "" : "s", advice, advice == 1 ? "" : "s");
    }
}

static bool run_doctor(const CtlOptions *options, int argc, char **argv,
                       GError **errp)
{
    g_autoptr(GPtrArray) findings =
        g_ptr_array_new_with_free_func((GDestroyNotify)finding_free);
    g_autoptr(CtlView) view = NULL;
    guint problems = 0;
    guint i;

    if (rootfs && !g_file_test(rootfs, G_FILE_TEST_IS_DIR)) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_USAGE,
                    "there is no directory %s: name one that has the host's "
                    "proc and sys in it", rootfs);
        return false;
    }
    view = ctl_view_take(options, errp);
    if (!view) {
        return false;
    }
    ctl_doctor_stores(findings, view, options);
    if (check_structures) {
        ctl_doctor_check(findings, view, options);
    }
    ctl_doctor_host(findings, rootfs ? rootfs : "/", view);
    for (i = 0; i < findings->len; i++) {
        problems += ((CtlFinding *)findings->pdata[i])->problem;
    }
    if (options->json) {
        print_json(findings);
    } else {
        print_text(findings, problems);
    }
    return !problems;
}

static const GOptionEntry doctor_entries[] = {
    { "check", 0, 0, G_OPTION_ARG_NONE, &check_structures,
      "Walk all structures of the stores as well; guests wait meanwhile",
      NULL },
    { "rootfs", 0, 0, G_OPTION_ARG_FILENAME, &rootfs,
      "Where the host's files are, if that is not /", "DIRECTORY" },
    { NULL },
};

const CtlCommand ctl_command_doctor = {
    "doctor", "", "Say what is wrong with the set-up, and the way out",
    "The exit status is 1 if there is a problem, and 0 if there is advice at "
    "most.",
    doctor_entries, 0, 0, run_doctor,
};
