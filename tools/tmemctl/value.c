/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemctl: figures and words, as people write and read them
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "qmp.h"
#include "value.h"

static const char units[] = "BKMGTPE";

char *ctl_size_str(uint64_t bytes, bool exact)
{
    double value = bytes;
    int unit = 0;

    if (exact) {
        return g_strdup_printf("%" G_GUINT64_FORMAT, bytes);
    }
    /* 1023.96K would be printed as 1024K. */
    while (value >= 1023.95) {
        value /= 1024;
        unit++;
    }
    value = round(value * 10) / 10;
    return g_strdup_printf("%.*f%c", value != floor(value), value,
                           units[unit]);
}

bool ctl_size_parse(const char *text, uint64_t *bytes, GError **errp)
{
    char *end;
    double value = g_ascii_strtod(text, &end);
    const char *unit = *end ? strchr(units, g_ascii_toupper(*end)) : units;
    uint64_t whole;

    if (!g_ascii_isdigit(*text) || end == text || !unit ||
        (*end && end[1]) || g_ascii_tolower(text[1]) == 'x') {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_USAGE,
                    "'%s' is no size: write a number with K, M, G or T, "
                    "as in 512M", text);
        return false;
    }
    value = ldexp(value, 10 * (unit - units));
    if (!(value < 0x1p63)) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_USAGE,
                    "'%s' is more than a size can be: less than 8E is", text);
        return false;
    }
    /* A double does not hold every large number of bytes. */
    if (unit == units && g_ascii_string_to_unsigned(text, 10, 0, G_MAXINT64,
                                                    &whole, NULL)) {
        *bytes = whole;
    } else {
        *bytes = value;
    }
    return true;
}

bool ctl_id_parse(const char *text, uint64_t *id, GError **errp)
{
    bool hex = g_str_has_prefix(text, "0x") || g_str_has_prefix(text, "0X");

    if (!g_ascii_string_to_unsigned(hex ? text + 2 : text, hex ? 16 : 10, 1,
                                    G_MAXUINT64, id, NULL)) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_USAGE,
                    "'%s' is no pool: write its number as in "
                    "tmemctl list --pools, which begins with 0x", text);
        return false;
    }
    return true;
}

char *ctl_printable(const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    GString *out = g_string_new(NULL);
    const char *p;

    for (p = valid; *p; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);

        g_string_append_unichar(out, g_unichar_isprint(c) ? c : '?');
    }
    return g_string_free(out, false);
}

void ctl_complain(const char *text)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    int i;

    for (i = 0; lines[i]; i++) {
        g_autofree char *line = ctl_printable(lines[i]);

        fprintf(stderr, "tmemctl: %s\n", line);
    }
}

char *ctl_fit(const char *text, int width)
{
    glong length = g_utf8_strlen(text, -1);

    if (length <= width) {
        return g_strdup_printf("%s%*s", text, (int)(width - length), "");
    }
    if (width > 1) {
        g_autofree char *head = g_utf8_substring(text, 0, width - 1);

        return g_strconcat(head, "~", NULL);
    }
    return g_strdup(width ? "~" : "");
}

int ctl_terminal_width(void)
{
    const char *columns = g_getenv("COLUMNS");
    struct winsize size;
    guint64 width;

    if (columns && g_ascii_string_to_unsigned(columns, 10, 1, 10000, &width,
                                              NULL)) {
        return width;
    }
    if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col) {
        return size.ws_col;
    }
    return 80;
}
