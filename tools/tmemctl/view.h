/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemctl: what the stores of this machine held at one moment
 */
#ifndef TMEMCTL_VIEW_H
#define TMEMCTL_VIEW_H

#include <stdint.h>

#include "find.h"
#include "qmp.h"
#include "reply.h"

/** CtlOptions: what every command understands. */
typedef struct CtlOptions {
    char **sockets;             /* NULL: those that are found */
    char *store;                /* only this one */
    int timeout;                /* seconds for an answer */
    gboolean json;
    gboolean bytes;
    gboolean noheadings;
    char *output;               /* columns */
} CtlOptions;

typedef struct CtlServer {
    char *socket;
    char *program;              /* NULL: not known */
    pid_t pid;                  /* 0: not known */
    bool mem_lock;
    JsonNode *reply;            /* of query-tmem */
} CtlServer;

typedef struct CtlStore {
    const CtlServer *server;
    const char *id;
    JsonObject *info;
} CtlStore;

/* The reply has sizes of pages only where it has pools. */
#define CTL_PAGE_SIZE   4096

typedef struct CtlClient {
    const CtlStore *store;
    const char *name;
    JsonObject *info;
    JsonObject *waiting;        /* what this was made from; NULL: a client */
} CtlClient;

typedef struct CtlPool {
    const CtlClient *client;
    JsonObject *info;
    char name[sizeof("0x0123456789abcdef")];
} CtlPool;

typedef struct CtlView {
    gint64 time_us;             /* monotonic */
    GPtrArray *servers;         /* of CtlServer: those that answered */
    GPtrArray *stores;          /* of CtlStore */
    GPtrArray *clients;         /* of CtlClient */
    GPtrArray *waiting;         /* the same of doors that are not there yet */
    GPtrArray *complaints;      /* sentences about those that did not */
} CtlView;

/**
 * ctl_view_take() - ask all of them, or those of @options
 *
 * A socket that is named must answer; of those that are found some may not,
 * which is in @complaints.  Returns NULL if there is nothing to look at.
 */
CtlView *ctl_view_take(const CtlOptions *options, GError **errp);
void ctl_view_free(CtlView *view);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CtlView, ctl_view_free)

/** ctl_view_complain() - the complaints to stderr; true if there are some */
bool ctl_view_complain(const CtlView *view);

/** ctl_view_client() - the only client called @name */
const CtlClient *ctl_view_client(const CtlView *view, const char *name,
                                 GError **errp);

/** ctl_view_store() - the store of @options, or the only one */
const CtlStore *ctl_view_store(const CtlView *view,
                               const CtlOptions *options, GError **errp);

/**
 * ctl_store_asked() - whether --store lets @id through, an ID or a QOM path
 */
bool ctl_store_asked(const CtlOptions *options, const char *id);

/** ctl_view_has_store() - whether a store of @view is @server's */
bool ctl_view_has_store(const CtlView *view, const CtlServer *server);

/** ctl_server_open() - a connection to @server */
Qmp *ctl_server_open(const CtlServer *server, const CtlOptions *options,
                     GError **errp);

/** ctl_client_data() - bytes of the pages held, as the guest sees them */
uint64_t ctl_client_data(const CtlClient *client);

#endif /* TMEMCTL_VIEW_H */
