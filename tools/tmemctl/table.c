/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemctl: tables of columns that can be chosen, for people and as JSON
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "table.h"
#include "value.h"

char *ctl_value_str(const CtlValue *value, bool exact)
{
    switch (value->kind) {
    case CTL_TEXT:
        return ctl_printable(value->text);
    case CTL_BYTES:
        return ctl_size_str(value->number, exact);
    case CTL_COUNT:
        return g_strdup_printf("%" G_GUINT64_FORMAT, value->number);
    case CTL_REAL:
        return g_strdup_printf("%.2f", value->real);
    case CTL_PERCENT:
        return g_strdup_printf("%.0f%%", value->real);
    default:
        return g_strdup("-");
    }
}

/* Numbers of different kinds are never in one column. */
int ctl_value_compare(const CtlValue *a, const CtlValue *b)
{
    if (a->kind == CTL_NONE || b->kind == CTL_NONE) {
        return (a->kind != CTL_NONE) - (b->kind != CTL_NONE);
    }
    switch (a->kind) {
    case CTL_TEXT:
        return strcmp(a->text, b->text);
    case CTL_BYTES:
    case CTL_COUNT:
        return (a->number > b->number) - (a->number < b->number);
    default:
        return (a->real > b->real) - (a->real < b->real);
    }
}

const CtlColumn *ctl_columns_find(const CtlColumn *columns, const char *name)
{
    for (; columns->name; columns++) {
        if (!g_ascii_strcasecmp(columns->name, name)) {
            return columns;
        }
    }
    return NULL;
}

CtlChoice *ctl_columns_all(const CtlColumn *columns)
{
    CtlChoice *choice = g_ptr_array_new();

    for (; columns->name; columns++) {
        g_ptr_array_add(choice, (gpointer)columns);
    }
    return choice;
}

CtlChoice *ctl_columns_choose(const CtlColumn *columns, const char *names,
                              GError **errp)
{
    g_autoptr(GPtrArray) choice = g_ptr_array_new();
    g_auto(GStrv) parts = g_strsplit(*names ? names : ",", ",", -1);
    int i;

    for (i = 0; parts[i]; i++) {
        const CtlColumn *column = ctl_columns_find(columns, parts[i]);

        if (!column) {
            g_autoptr(GString) all = g_string_new(NULL);

            for (; columns->name; columns++) {
                g_string_append_printf(all, "%s%s", all->len ? ", " : "",
                                       columns->name);
            }
            g_set_error(errp, CTL_ERROR, CTL_ERROR_USAGE,
                        "there is no column '%s': there are %s", parts[i],
                        all->str);
            return NULL;
        }
        g_ptr_array_add(choice, (gpointer)column);
    }
    return g_steal_pointer(&choice);
}

/* Columns that the widest value of @column takes. */
static int column_width(const CtlColumn *column, GPtrArray *rows, bool exact)
{
    int width = strlen(column->name);
    guint i;

    for (i = 0; i < rows->len; i++) {
        CtlValue value = { CTL_NONE };
        g_autofree char *text = NULL;

        column->get(rows->pdata[i], &value);
        text = ctl_value_str(&value, exact);
        width = MAX(width, g_utf8_strlen(text, -1));
    }
    return width;
}

CtlChoice *ctl_columns_fit(const CtlColumn *columns, GPtrArray *rows,
                           int width, bool exact)
{
    g_autoptr(GHashTable) kept = g_hash_table_new(NULL, NULL);
    CtlChoice *choice = g_ptr_array_new();
    const CtlColumn *c;
    int rank, used = -1;

    for (rank = 1; ; rank++) {
        int more;

        for (c = columns; c->name && c->rank != rank; c++) {
            continue;
        }
        if (!c->name) {
            break;
        }
        more = 1 + column_width(c, rows, exact);
        if (used + more <= width || rank == 1) {
            used += more;
            g_hash_table_add(kept, (gpointer)c);
        }
    }
    for (c = columns; c->name; c++) {
        if (g_hash_table_contains(kept, c)) {
            g_ptr_array_add(choice, (gpointer)c);
        }
    }
    return choice;
}

static void add_cell(GString *line, const CtlColumn *column, const char *text,
                     int width, bool last)
{
    int pad = width - g_utf8_strlen(text, -1);

    if (line->len) {
        g_string_append_c(line, ' ');
    }
    if (!column->left) {
        g_string_append_printf(line, "%*s%s", pad, "", text);
    } else if (last) {
        g_string_append(line, text);
    } else {
        g_string_append_printf(line, "%s%*s", text, pad, "");
    }
}

GPtrArray *ctl_table_lines(const CtlChoice *choice, GPtrArray *rows,
                           bool exact)
{
    GPtrArray *lines = g_ptr_array_new_with_free_func(g_free);
    g_autofree int *width = g_new0(int, choice->len);
    guint i, j;

    for (j = 0; j < choice->len; j++) {
        width[j] = column_width(choice->pdata[j], rows, exact);
    }
    for (i = 0; i <= rows->len; i++) {
        GString *line = g_string_new(NULL);

        for (j = 0; j < choice->len; j++) {
            const CtlColumn *column = choice->pdata[j];
            CtlValue value = { CTL_TEXT, column->name };
            g_autofree char *text = NULL;

            if (i) {
                value.kind = CTL_NONE;
                column->get(rows->pdata[i - 1], &value);
            }
            text = ctl_value_str(&value, exact);
            add_cell(line, column, text, width[j], j == choice->len - 1);
        }
        g_ptr_array_add(lines, g_string_free(line, false));
    }
    return lines;
}

static void set_json(JsonObject *object, const char *name,
                     const CtlValue *value)
{
    switch (value->kind) {
    case CTL_TEXT:
        json_object_set_string_member(object, name, value->text);
        break;
    case CTL_BYTES:
    case CTL_COUNT:
        json_object_set_int_member(object, name, value->number);
        break;
    case CTL_REAL:
    case CTL_PERCENT:
        json_object_set_double_member(object, name, value->real);
        break;
    default:
        json_object_set_null_member(object, name);
    }
}

/*
 * json-glib prints every integer as a signed one.  Here none is negative but
 * small ones like a level of zstd, and ids of pools use all 64 bits.  And of
 * 1e-08 it makes 1e-08.0, which is no number.
 */
static void append_json(GString *out, JsonNode *node, int depth)
{
    g_autofree char *text = NULL;
    const char *between = "";

    if (JSON_NODE_HOLDS_OBJECT(node)) {
        g_autoptr(GList) names =
            json_object_get_members(json_node_get_object(node));
        GList *l;

        g_string_append_c(out, '{');
        for (l = names; l; l = l->next) {
            g_autoptr(JsonNode) key = json_node_new(JSON_NODE_VALUE);
            g_autofree char *quoted = NULL;

            json_node_set_string(key, l->data);
            quoted = json_to_string(key, false);
            g_string_append_printf(out, "%s\n%*s%s: ", between, depth * 2 + 2,
                                   "", quoted);
            append_json(out, json_object_get_member(json_node_get_object(node),
                                                    l->data), depth + 1);
            between = ",";
        }
        g_string_append_printf(out, "%s%*s}", names ? "\n" : "",
                               names ? depth * 2 : 0, "");
    } else if (JSON_NODE_HOLDS_ARRAY(node)) {
        JsonArray *array = json_node_get_array(node);
        guint n = json_array_get_length(array);
        guint i;

        g_string_append_c(out, '[');
        for (i = 0; i < n; i++) {
            g_string_append_printf(out, "%s\n%*s", between, depth * 2 + 2, "");
            append_json(out, json_array_get_element(array, i), depth + 1);
            between = ",";
        }
        g_string_append_printf(out, "%s%*s]", n ? "\n" : "",
                               n ? depth * 2 : 0, "");
    } else if (JSON_NODE_HOLDS_VALUE(node) &&
               json_node_get_value_type(node) == G_TYPE_INT64 &&
               json_node_get_int(node) < G_MININT32) {
        g_string_append_printf(out, "%" G_GUINT64_FORMAT,
                               (guint64)json_node_get_int(node));
    } else if (JSON_NODE_HOLDS_VALUE(node) &&
               json_node_get_value_type(node) == G_TYPE_DOUBLE) {
        char number[G_ASCII_DTOSTR_BUF_SIZE];

        g_string_append(out, isfinite(json_node_get_double(node)) ?
                        g_ascii_dtostr(number, sizeof(number),
                                       json_node_get_double(node)) : "null");
    } else {
        text = json_to_string(node, false);
        g_string_append(out, text);
    }
}

void ctl_json_print(JsonNode *node)
{
    g_autoptr(GString) out = g_string_new(NULL);

    append_json(out, node, 0);
    puts(out->str);
}

static void print_json(const char *what, const CtlChoice *choice,
                       GPtrArray *rows)
{
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
    JsonObject *top = json_object_new();
    JsonArray *list = json_array_new();
    guint i, j;

    for (i = 0; i < rows->len; i++) {
        JsonObject *object = json_object_new();

        for (j = 0; j < choice->len; j++) {
            const CtlColumn *column = choice->pdata[j];
            CtlValue value = { CTL_NONE };
            g_autofree char *name = g_ascii_strdown(column->name, -1);

            column->get(rows->pdata[i], &value);
            set_json(object, name, &value);
        }
        json_array_add_object_element(list, object);
    }
    json_object_set_array_member(top, what, list);
    json_node_take_object(node, top);
    ctl_json_print(node);
}

bool ctl_table_print(const char *what, const CtlColumn *columns,
                     GPtrArray *rows, const CtlOptions *options, GError **errp)
{
    g_autoptr(GPtrArray) choice = NULL;
    g_autoptr(GPtrArray) lines = NULL;
    guint i;

    if (options->output) {
        choice = ctl_columns_choose(columns, options->output, errp);
    } else if (options->json) {
        choice = ctl_columns_all(columns);
    } else {
        choice = ctl_columns_fit(columns, rows, ctl_terminal_width(),
                                 options->bytes);
    }
    if (!choice) {
        return false;
    }
    if (options->json) {
        print_json(what, choice, rows);
        return true;
    }
    lines = ctl_table_lines(choice, rows, options->bytes);
    for (i = options->noheadings; i < lines->len; i++) {
        puts(lines->pdata[i]);
    }
    return true;
}
