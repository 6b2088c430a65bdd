/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemctl metrics --listen: a small HTTP server for Prometheus
 *
 * One request to a connection.  A few threads answer, so that one who is slow
 * does not hold up the others; only one of them asks the QMP sockets, as these
 * serve one client at a time.
 */
#include <gio/gio.h>
#include <gio/gunixsocketaddress.h>
#include <glib-unix.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "metrics.h"
#include "value.h"

#define SERVE_THREADS       4
/* Seconds for the head of a request, and for the answer to be taken. */
#define SERVE_TIMEOUT       10
#define SERVE_REQUEST_MAX   8192

typedef struct Serve {
    const CtlOptions *options;
    GMutex lock;                /* held while QMP sockets are asked */
    char *complaint;            /* the last one; guarded by @lock */
    GMainLoop *loop;
} Serve;

/*
 * The socket gives up at @deadline.  Its timeout begins anew with every byte,
 * so that a few that send or take one now and then would hold all threads.
 */
static bool set_deadline(GSocketConnection *connection, gint64 deadline)
{
    gint64 left = deadline - g_get_monotonic_time();

    g_socket_set_timeout(g_socket_connection_get_socket(connection),
                         left / G_USEC_PER_SEC + 1);
    return left > 0;
}

/* Reads up to the empty line that ends the head. */
static bool read_request(GSocketConnection *connection, GString *request)
{
    gint64 deadline = g_get_monotonic_time() + SERVE_TIMEOUT * G_USEC_PER_SEC;
    GInputStream *in = g_io_stream_get_input_stream(G_IO_STREAM(connection));
    char buffer[1024];

    while (!strstr(request->str, "\r\n\r\n") &&
           !strstr(request->str, "\n\n")) {
        gssize got = !set_deadline(connection, deadline) ? -1 :
                     g_input_stream_read(in, buffer, sizeof(buffer), NULL,
                                         NULL);

        if (got <= 0 || request->len + got > SERVE_REQUEST_MAX ||
            memchr(buffer, 0, got)) {
            return false;
        }
        g_string_append_len(request, buffer, got);
    }
    return true;
}

static bool write_text(GSocketConnection *connection, const char *text,
                       gint64 deadline)
{
    GOutputStream *out = g_io_stream_get_output_stream(G_IO_STREAM(connection));
    size_t left = strlen(text);

    while (left) {
        gssize done = !set_deadline(connection, deadline) ? -1 :
                      g_output_stream_write(out, text, left, NULL, NULL);

        if (done <= 0) {
            return false;
        }
        text += done;
        left -= done;
    }
    return true;
}

/* What is said of one scrape is not said again of the next. */
static void complain_once(Serve *serve, const char *text)
{
    if (text && g_strcmp0(text, serve->complaint)) {
        ctl_complain(text);
    }
    g_free(serve->complaint);
    serve->complaint = g_strdup(text);
}

static char *make_metrics(Serve *serve, CtlFormat format)
{
    g_autoptr(GError) err = NULL;
    g_autoptr(CtlView) view = NULL;

    g_mutex_lock(&serve->lock);
    view = ctl_view_take(serve->options, &err);
    if (!view) {
        complain_once(serve, err->message);
    } else {
        complain_once(serve, view->complaints->len ?
                      view->complaints->pdata[0] : NULL);
    }
    g_mutex_unlock(&serve->lock);
    return ctl_metrics(view, format);
}

static gboolean answer(GThreadedSocketService *service,
                       GSocketConnection *connection, GObject *source,
                       gpointer opaque)
{
    g_autoptr(GString) request = g_string_new(NULL);
    g_autofree char *body = NULL;
    g_autofree char *head = NULL;
    const char *type = "text/plain; charset=utf-8";
    const char *status = "200 OK";
    gint64 deadline;

    if (!read_request(connection, request)) {
        status = "400 Bad Request";
        body = g_strdup("This is no HTTP request.\n");
    } else if (!g_str_has_prefix(request->str, "GET ")) {
        status = "405 Method Not Allowed";
        body = g_strdup("Only GET is answered.\n");
    } else if (!g_str_has_prefix(request->str, "GET /metrics ") &&
               !g_str_has_prefix(request->str, "GET /metrics?")) {
        status = "404 Not Found";
        body = g_strdup("The metrics are at /metrics.\n");
    } else if (strstr(request->str, "application/openmetrics-text")) {
        type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        body = make_metrics(opaque, CTL_OPENMETRICS);
    } else {
        type = "text/plain; version=0.0.4; charset=utf-8";
        body = make_metrics(opaque, CTL_PROMETHEUS);
    }
    head = g_strdup_printf("HTTP/1.1 %s\r\nContent-Type: %s\r\n"
                           "Content-Length: %zu\r\nConnection: close\r\n\r\n",
                           status, type, strlen(body));
    deadline = g_get_monotonic_time() + SERVE_TIMEOUT * G_USEC_PER_SEC;
    if (write_text(connection, head, deadline)) {
        write_text(connection, body, deadline);
    }
    g_io_stream_close(G_IO_STREAM(connection), NULL, NULL);
    return true;
}

/* A socket that an earlier run left behind is in the way of a new one. */
static void remove_dead_socket(const char *path)
{
    g_autoptr(GSocketClient) client = g_socket_client_new();
    g_autoptr(GSocketAddress) address = g_unix_socket_address_new(path);
    g_autoptr(GSocketConnection) connection = NULL;
    g_autoptr(GError) err = NULL;
    struct stat st;

    if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode)) {
        return;
    }
    connection = g_socket_client_connect(client,
                                         G_SOCKET_CONNECTABLE(address), NULL,
                                         &err);
    if (g_error_matches(err, G_IO_ERROR, G_IO_ERROR_CONNECTION_REFUSED)) {
        g_unlink(path);
    }
}

static GSocketAddress *parse_address(const char *text, GError **errp)
{
    const size_t path_max = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
    const char *colon = strrchr(text, ':');
    g_autofree char *host = NULL;
    GSocketAddress *address = NULL;
    guint64 port;

    if (g_str_has_prefix(text, "unix:") && text[5] &&
        strlen(text + 5) <= path_max) {
        remove_dead_socket(text + 5);
        return g_unix_socket_address_new(text + 5);
    }
    host = colon ? g_strndup(text, colon - text) : g_strdup("127.0.0.1");
    /* [::1]:9000 */
    if (*host == '[' && g_str_has_suffix(host, "]")) {
        memmove(host, host + 1, strlen(host));
        host[strlen(host) - 1] = 0;
    }
    if (g_ascii_string_to_unsigned(colon ? colon + 1 : text, 10, 0, 65535,
                                   &port, NULL)) {
        address = g_inet_socket_address_new_from_string(
            !strcmp(host, "localhost") ? "127.0.0.1" : host, port);
    }
    if (!address) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_USAGE,
                    "'%s' is no address to listen on: write [IP:]PORT or "
                    "unix:PATH, as in 127.0.0.1:9757", text);
    }
    return address;
}

/* Says where the metrics are, as the port may be any that was free. */
static void say_where(GSocketAddress *address)
{
    if (G_IS_INET_SOCKET_ADDRESS(address)) {
        g_autofree char *text =
            g_socket_connectable_to_string(G_SOCKET_CONNECTABLE(address));

        g_printerr("tmemctl: metrics are at http://%s/metrics\n", text);
    } else {
        g_printerr("tmemctl: metrics are at /metrics of the socket %s\n",
            g_unix_socket_address_get_path(G_UNIX_SOCKET_ADDRESS(address)));
    }
}

static gboolean stop(gpointer opaque)
{
    g_main_loop_quit(((Serve *)opaque)->loop);
    return G_SOURCE_CONTINUE;
}

bool ctl_metrics_serve(const CtlOptions *options, const char *text,
                       GError **errp)
{
    /* For threads that still answer when this returns. */
    static Serve serve;
    g_autoptr(GSocketAddress) address = parse_address(text, errp);
    g_autoptr(GSocketAddress) bound = NULL;
    g_autoptr(GSocketService) service = NULL;

    if (!address) {
        return false;
    }
    service = g_threaded_socket_service_new(SERVE_THREADS);
    if (!g_socket_listener_add_address(G_SOCKET_LISTENER(service), address,
                                       G_SOCKET_TYPE_STREAM,
                                       G_SOCKET_PROTOCOL_DEFAULT, NULL, &bound,
                                       errp)) {
        g_prefix_error(errp, "cannot listen on %s, use another address: ",
                       text);
        return false;
    }
    serve.options = options;
    g_mutex_init(&serve.lock);
    serve.loop = g_main_loop_new(NULL, false);
    g_signal_connect(service, "run", G_CALLBACK(answer), &serve);
    g_unix_signal_add(SIGINT, stop, &serve);
    g_unix_signal_add(SIGTERM, stop, &serve);
    signal(SIGPIPE, SIG_IGN);
    g_socket_service_start(service);
    say_where(bound);
    g_main_loop_run(serve.loop);
    g_socket_service_stop(service);
    g_socket_listener_close(G_SOCKET_LISTENER(service));
    if (G_IS_UNIX_SOCKET_ADDRESS(bound)) {
        g_unlink(g_unix_socket_address_get_path(
            G_UNIX_SOCKET_ADDRESS(bound)));
    }
    g_main_loop_unref(serve.loop);
    return true;
}
