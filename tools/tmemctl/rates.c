/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemctl top: what happened between two looks at the stores
 */
#include <string.h>

#include "rates.h"

/* --- Columns: those of a client, and some of its own --- */

#define OF_CLIENT(id, column)                                               \
    static void rate_##id(gconstpointer row, CtlValue *value)               \
    {                                                                       \
        ctl_columns_find(ctl_client_columns, column)->get(                  \
            ((const CtlRate *)row)->client, value);                         \
    }

OF_CLIENT(name, "NAME")
OF_CLIENT(store, "STORE")
OF_CLIENT(data, "DATA")
OF_CLIENT(total, "TOTAL")
OF_CLIENT(max, "MAX")
OF_CLIENT(use, "USE%")
OF_CLIENT(ratio, "RATIO")
OF_CLIENT(state, "STATE")
OF_CLIENT(pid, "PID")

#define PER_SECOND(id)                                                      \
    static void rate_##id(gconstpointer row, CtlValue *value)               \
    {                                                                       \
        const CtlRate *rate = row;                                          \
                                                                            \
        if (rate->known) {                                                  \
            value->kind = CTL_COUNT;                                        \
            value->number = rate->id + 0.5;                                 \
        }                                                                   \
    }

PER_SECOND(stores)
PER_SECOND(loads)
PER_SECOND(refused)
PER_SECOND(evicted)

const CtlColumn ctl_rate_columns[] = {
    { "NAME", 1, true, rate_name, "name of the client" },
    { "STORE", 9, true, rate_store, "ID or QOM path of its store" },
    { "DATA", 8, false, rate_data, "size of its pages, uncompressed" },
    { "TOTAL", 2, false, rate_total, "all memory charged to the client" },
    { "MAX", 10, false, rate_max, "limit of TOTAL" },
    { "USE%", 5, false, rate_use, "TOTAL in per cent of MAX" },
    { "RATIO", 7, false, rate_ratio, "DATA divided by its memory" },
    { "STORES/S", 3, false, rate_stores, "stores per second" },
    { "LOADS/S", 4, false, rate_loads, "loads per second" },
    { "REFUSED/S", 11, false, rate_refused, "refused stores per second" },
    { "EVICTED/S", 12, false, rate_evicted, "pages evicted per second" },
    { "STATE", 6, true, rate_state, "ok, full, frozen or damaged" },
    { "PID", 13, false, rate_pid, "process that has the store" },
    { NULL },
};

/* --- Rates --- */

/* The same client at the look before. */
static const CtlClient *find_before(const CtlView *before,
                                    const CtlClient *client)
{
    guint i;

    for (i = 0; before && i < before->clients->len; i++) {
        const CtlClient *old = before->clients->pdata[i];

        if (!strcmp(old->name, client->name) &&
            !strcmp(old->store->id, client->store->id) &&
            !strcmp(old->store->server->socket,
                    client->store->server->socket) &&
            old->store->server->pid == client->store->server->pid) {
            return old;
        }
    }
    return NULL;
}

static uint64_t get_refused(const CtlClient *client)
{
    CtlValue value = { CTL_NONE };

    ctl_columns_find(ctl_client_columns, "REFUSED")->get(client, &value);
    return value.number;
}

static double per_second(uint64_t now, uint64_t before, double seconds)
{
    /* A client that came anew under its old name begins at 0. */
    return (now >= before ? now - before : now) / seconds;
}

/*
 * Stores that did not keep a page are the difference of two figures that are
 * read one after the other while the guest goes on, so there may seem to be
 * fewer than before.
 */
static double refused_rate(const CtlClient *now, const CtlClient *before,
                           double seconds)
{
    uint64_t stores = 0, then = 0;
    uint64_t a = get_refused(now), b = get_refused(before);

    ctl_get_uint(now->info, "total", "stores", &stores);
    ctl_get_uint(before->info, "total", "stores", &then);
    return a < b && stores >= then ? 0 : per_second(a, b, seconds);
}

static double member_rate(const CtlClient *now, const CtlClient *before,
                          const char *name, double seconds)
{
    uint64_t a = 0, b = 0;

    ctl_get_uint(now->info, "total", name, &a);
    ctl_get_uint(before->info, "total", name, &b);
    return per_second(a, b, seconds);
}

GPtrArray *ctl_rates(const CtlView *now, const CtlView *before)
{
    GPtrArray *rates = g_ptr_array_new_with_free_func(g_free);
    double seconds = before ? MAX(now->time_us - before->time_us, 1) / 1e6 : 1;
    guint i;

    for (i = 0; i < now->clients->len; i++) {
        const CtlClient *client = now->clients->pdata[i];
        const CtlClient *old = find_before(before, client);
        CtlRate *rate = g_new0(CtlRate, 1);

        rate->client = client;
        if (old) {
            rate->known = true;
            rate->stores = member_rate(client, old, "stores", seconds);
            rate->loads = member_rate(client, old, "loads", seconds);
            rate->evicted = member_rate(client, old, "evicted", seconds);
            rate->refused = refused_rate(client, old, seconds);
        }
        g_ptr_array_add(rates, rate);
    }
    return rates;
}

typedef struct Order {
    const CtlColumn *column;
    bool reverse;
} Order;

static gint compare(gconstpointer a, gconstpointer b, gpointer opaque)
{
    const Order *order = opaque;
    const CtlRate *x = *(CtlRate *const *)a;
    const CtlRate *y = *(CtlRate *const *)b;
    CtlValue v = { CTL_NONE }, w = { CTL_NONE };
    int result;

    order->column->get(x, &v);
    order->column->get(y, &w);
    result = ctl_value_compare(&v, &w);
    /* Words from A on, figures from the largest. */
    if (!order->column->left) {
        result = -result;
    }
    if (order->reverse) {
        result = -result;
    }
    return result ? result : strcmp(x->client->name, y->client->name);
}

void ctl_rates_sort(GPtrArray *rates, const CtlColumn *column, bool reverse)
{
    Order order = { column, reverse };

    g_ptr_array_sort_with_data(rates, compare, &order);
}
