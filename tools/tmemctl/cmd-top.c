/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemctl top: the clients at work, on a screen or as lines
 *
 * The sockets are asked and let go each time: somebody else may want them.
 */
#include <curses.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "rates.h"
#include "value.h"

static double interval = 2;
static int iterations;
static char *sort_name;

typedef struct Top {
    const CtlOptions *options;
    CtlChoice *chosen;          /* NULL: as many columns as fit */
    const CtlColumn *sort;
    bool reverse;
    bool exact;
    int first;                  /* row at the top of the list */
    CtlView *now;               /* the last that was seen */
    CtlView *before;
    char *trouble;              /* why there is nothing newer, or NULL */
} Top;

/* Looks again; if that fails the old picture stays, with the reason. */
static bool look(Top *top)
{
    g_autoptr(GError) err = NULL;
    CtlView *view = ctl_view_take(top->options, &err);

    g_clear_pointer(&top->trouble, g_free);
    if (!view) {
        top->trouble = ctl_printable(err->message);
        return false;
    }
    if (view->complaints->len) {
        top->trouble = ctl_printable(view->complaints->pdata[0]);
    }
    ctl_view_free(top->before);
    top->before = top->now;
    top->now = view;
    return true;
}

static GPtrArray *make_lines(Top *top, GPtrArray *rates, int width,
                             CtlChoice **shown)
{
    *shown = top->chosen ? g_ptr_array_ref(top->chosen) :
             ctl_columns_fit(ctl_rate_columns, rates, width, top->exact);
    return ctl_table_lines(*shown, rates, top->exact);
}

/* s0: 1.5G of 4G (37%), lz4, 3 clients */
static char *store_line(const CtlStore *store, bool exact)
{
    static const char *const names[] = { "NAME", "USED", "SIZE", "USE%",
                                         "ALG", "CLIENTS", "STATE" };
    char *text[G_N_ELEMENTS(names)];
    char *line;
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(names); i++) {
        CtlValue value = { CTL_NONE };

        ctl_columns_find(ctl_store_columns, names[i])->get(store, &value);
        text[i] = ctl_value_str(&value, exact);
    }
    line = g_strdup_printf("%s: %s of %s (%s), %s, %s client%s%s%s", text[0],
                           text[1], text[2], text[3], text[4], text[5],
                           strcmp(text[5], "1") ? "s" : "",
                           strcmp(text[6], "ok") ? ", " : "",
                           strcmp(text[6], "ok") ? text[6] : "");
    for (i = 0; i < G_N_ELEMENTS(names); i++) {
        g_free(text[i]);
    }
    return line;
}

/* --- On a screen --- */

static void put_line(int y, const char *text)
{
    g_autofree char *fit = ctl_fit(text, COLS);

    mvaddstr(y, 0, fit);
}

static int draw_head(Top *top)
{
    static const char keys[] =
        "q quit  < > sort  r reverse  b bytes  space now  up down";
    int y = 0;
    guint i;

    attron(A_REVERSE);
    put_line(y++, keys);
    attroff(A_REVERSE);
    /* At least half of the screen is for clients. */
    for (i = 0; top->now && i < top->now->stores->len && y < LINES / 2; i++) {
        g_autofree char *line = store_line(top->now->stores->pdata[i],
                                           top->exact);

        put_line(y++, line);
    }
    if (top->trouble) {
        attron(A_BOLD);
        put_line(y++, top->trouble);
        attroff(A_BOLD);
    }
    return y;
}

static void draw(Top *top)
{
    g_autoptr(GPtrArray) rates = NULL;
    g_autoptr(GPtrArray) shown = NULL;
    g_autoptr(GPtrArray) lines = NULL;
    guint i;
    int y;

    erase();
    y = draw_head(top);
    if (top->now) {
        rates = ctl_rates(top->now, top->before);
        ctl_rates_sort(rates, top->sort, top->reverse);
        lines = make_lines(top, rates, COLS, &shown);
        top->first = CLAMP(top->first, 0, MAX((int)lines->len - 2, 0));
        attron(A_BOLD | A_UNDERLINE);
        put_line(y++, lines->pdata[0]);
        attroff(A_BOLD | A_UNDERLINE);
        for (i = 1 + top->first; i < lines->len && y < LINES - 1; i++) {
            put_line(y++, lines->pdata[i]);
        }
        if (y < LINES) {
            g_autofree char *foot =
                g_strdup_printf("sorted by %s%s", top->sort->name,
                                top->reverse ? ", the other way" : "");

            put_line(LINES - 1, foot);
        }
    }
    refresh();
}

/* The next column that is shown, or the one before, is sorted by. */
static void change_sort(Top *top, int step)
{
    g_autoptr(GPtrArray) rates = g_ptr_array_new();
    g_autoptr(GPtrArray) shown = NULL;
    guint at = 0;

    if (top->now) {
        g_ptr_array_unref(rates);
        rates = ctl_rates(top->now, top->before);
    }
    shown = top->chosen ? g_ptr_array_ref(top->chosen) :
            ctl_columns_fit(ctl_rate_columns, rates, COLS, top->exact);
    g_ptr_array_find(shown, top->sort, &at);
    at = at < shown->len ? (at + shown->len + step) % shown->len : 0;
    top->sort = shown->pdata[at];
}

/* False if it was the last. */
static bool handle_key(Top *top, int key, bool *again)
{
    switch (key) {
    case 'q':
        return false;
    case '<':
    case KEY_LEFT:
        change_sort(top, -1);
        break;
    case '>':
    case KEY_RIGHT:
        change_sort(top, 1);
        break;
    case 'r':
        top->reverse = !top->reverse;
        break;
    case 'b':
        top->exact = !top->exact;
        break;
    case KEY_UP:
        top->first--;
        break;
    case KEY_DOWN:
        top->first++;
        break;
    case ' ':
        *again = true;
        break;
    }
    return true;
}

/* SIGINT and SIGTERM put the terminal in order as well: curses sees to it. */
static void run_screen(Top *top)
{
    int rounds = 0;
    bool more = true;

    initscr();
    cbreak();
    noecho();
    keypad(stdscr, true);
    curs_set(0);
    while (more) {
        gint64 next = g_get_monotonic_time() + interval * 1e6;
        bool again = false;

        draw(top);
        if (iterations && ++rounds >= iterations) {
            break;
        }
        while (more && !again) {
            gint64 left = next - g_get_monotonic_time();
            int key;

            if (left <= 0) {
                break;
            }
            timeout(left / 1000 + 1);
            key = getch();
            if (key != ERR) {
                more = handle_key(top, key, &again);
                draw(top);
            }
        }
        if (more) {
            look(top);
        }
    }
    endwin();
}

/* --- As lines --- */

static bool print_lines(Top *top)
{
    g_autoptr(GPtrArray) rates = ctl_rates(top->now, top->before);
    g_autoptr(GPtrArray) shown = NULL;
    g_autoptr(GPtrArray) lines = NULL;
    guint i;

    ctl_rates_sort(rates, top->sort, top->reverse);
    if (top->options->json) {
        return ctl_table_print("clients", ctl_rate_columns, rates,
                               top->options, NULL);
    }
    lines = make_lines(top, rates, ctl_terminal_width(), &shown);
    for (i = top->options->noheadings; i < lines->len; i++) {
        puts(lines->pdata[i]);
    }
    return true;
}

/*
 * What could not be looked at is not printed once more as if it were new.
 * False if there was such a look.
 */
static bool run_plain(Top *top)
{
    int rounds = 0;
    bool fresh = true;
    bool done = true;

    for (;;) {
        if (fresh) {
            print_lines(top);
        }
        if (fflush(stdout) || ferror(stdout) ||
            (iterations && ++rounds >= iterations)) {
            return done;
        }
        g_usleep(interval * 1e6);
        fresh = look(top);
        if (top->trouble) {
            ctl_complain(top->trouble);
            done = false;
        }
        if (fresh && !top->options->json) {
            puts("");
        }
    }
}

/* --- The command --- */

static bool check_top(Top *top, const CtlOptions *options, GError **errp)
{
    if (!(interval >= 0.1 && interval <= 3600) || iterations < 0) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_USAGE, interval >= 0.1 &&
                    interval <= 3600 ?
                    "--iterations is 1 or more, or 0 for no end" :
                    "--interval is 0.1 to 3600 seconds");
        return false;
    }
    top->sort = ctl_columns_find(ctl_rate_columns,
                                 sort_name ? sort_name : "TOTAL");
    if (!top->sort) {
        /* Names those that there are. */
        return ctl_columns_choose(ctl_rate_columns, sort_name, errp) != NULL;
    }
    if (options->output) {
        top->chosen = ctl_columns_choose(ctl_rate_columns, options->output,
                                         errp);
        return top->chosen != NULL;
    }
    return true;
}

static bool run_top(const CtlOptions *options, int argc, char **argv,
                    GError **errp)
{
    Top top = { .options = options, .exact = options->bytes };
    bool done = check_top(&top, options, errp);

    if (done) {
        top.now = ctl_view_take(options, errp);
        done = top.now != NULL;
    }
    if (done && isatty(STDOUT_FILENO) && isatty(STDIN_FILENO) &&
        !options->json && g_strcmp0(g_getenv("TERM"), "dumb")) {
        run_screen(&top);
    } else if (done) {
        done = !ctl_view_complain(top.now);
        done &= run_plain(&top);
    }
    g_clear_pointer(&top.chosen, g_ptr_array_unref);
    ctl_view_free(top.now);
    ctl_view_free(top.before);
    g_free(top.trouble);
    return done;
}

static const GOptionEntry top_entries[] = {
    { "interval", 'i', 0, G_OPTION_ARG_DOUBLE, &interval,
      "From one look to the next (default: 2)", "SECONDS" },
    { "iterations", 'c', 0, G_OPTION_ARG_INT, &iterations,
      "Looks until the end (default: 0, no end)", "NUMBER" },
    { "sort", 0, 0, G_OPTION_ARG_STRING, &sort_name,
      "Column to sort by (default: TOTAL)", "COLUMN" },
    { NULL },
};

const CtlCommand ctl_command_top = {
    "top", "", "The clients at work, with pages per second",
    "On a terminal: q quits, < and > choose the column to sort by, r reverses "
    "the order,\nb shows bytes, space looks at once, up and down scroll. "
    "Elsewhere it prints lines.",
    top_entries, 0, 0, run_top,
};
