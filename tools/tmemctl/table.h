/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemctl: tables of columns that can be chosen, for people and as JSON
 */
#ifndef TMEMCTL_TABLE_H
#define TMEMCTL_TABLE_H

#include "view.h"

typedef enum CtlKind {
    CTL_NONE,                   /* not known: "-" or null */
    CTL_TEXT,
    CTL_BYTES,
    CTL_COUNT,
    CTL_REAL,
    CTL_PERCENT,
} CtlKind;

typedef struct CtlValue {
    CtlKind kind;
    const char *text;
    uint64_t number;
    double real;
} CtlValue;

/**
 * CtlColumn: a column of tables whose rows are all of one type
 *
 * @rank: the lower, the longer it is kept when room is short; 0 if it is
 *     shown only when asked for
 */
typedef struct CtlColumn {
    const char *name;
    int rank;
    bool left;
    void (*get)(gconstpointer row, CtlValue *value);
    const char *text;
} CtlColumn;

/* All end with a column without a name. */
extern const CtlColumn ctl_client_columns[];
extern const CtlColumn ctl_pool_columns[];
extern const CtlColumn ctl_store_columns[];

/** CtlChoice: columns of a table, in order. */
typedef GPtrArray CtlChoice;

/** ctl_columns_choose() - those that @names lists; NULL if one is unknown */
CtlChoice *ctl_columns_choose(const CtlColumn *columns, const char *names,
                              GError **errp);

/** ctl_columns_all() - all of them */
CtlChoice *ctl_columns_all(const CtlColumn *columns);

/**
 * ctl_columns_fit() - those for which there is room in @width
 *
 * By rank: one that is too wide makes room for others.  The first is always
 * there.
 */
CtlChoice *ctl_columns_fit(const CtlColumn *columns, GPtrArray *rows,
                           int width, bool exact);

/** ctl_columns_find() - by name in upper or lower case; NULL if unknown */
const CtlColumn *ctl_columns_find(const CtlColumn *columns, const char *name);

/** ctl_value_str() - as it is shown */
char *ctl_value_str(const CtlValue *value, bool exact);

/** ctl_value_compare() - as strcmp(); what is not known comes first */
int ctl_value_compare(const CtlValue *a, const CtlValue *b);

/** ctl_table_lines() - @rows as lines, the headings first */
GPtrArray *ctl_table_lines(const CtlChoice *choice, GPtrArray *rows,
                           bool exact);

/**
 * ctl_table_print() - @rows on stdout as @options want it
 *
 * @what: name of the list in JSON
 */
bool ctl_table_print(const char *what, const CtlColumn *columns,
                     GPtrArray *rows, const CtlOptions *options,
                     GError **errp);

/** ctl_json_print() - @node on stdout; its large numbers are unsigned */
void ctl_json_print(JsonNode *node);

#endif /* TMEMCTL_TABLE_H */
