/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemctl: one connection to a QMP server on a UNIX socket
 *
 * Whatever listens there may not be QEMU: the length and the depth of a
 * message and the time it takes are bounded, and nothing is taken for granted
 * about what is in it.
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "qmp.h"

/* A store of a thousand clients answers with 4 MiB. */
#define QMP_MESSAGE_MAX     (64 << 20)
/* The deepest member of query-tmem is at 7. */
#define QMP_DEPTH_MAX       64

struct Qmp {
    char *path;
    int fd;
    int timeout_ms;
    gint64 id;                  /* of the last request */
    GByteArray *in;             /* read, but not taken yet */
    size_t scanned;             /* bytes of @in that the scanner has seen */
    int depth;                  /* of braces and brackets there */
    bool in_string;
    bool escaped;
    GQueue events;              /* of JsonObject */
};

GQuark ctl_error_quark(void)
{
    return g_quark_from_static_string("tmemctl-error-quark");
}

int qmp_fd(const Qmp *qmp)
{
    return qmp->fd;
}

pid_t qmp_pid(const Qmp *qmp)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);

    if (getsockopt(qmp->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0) {
        return 0;
    }
    return cred.pid;
}

void qmp_close(Qmp *qmp)
{
    if (!qmp) {
        return;
    }
    if (qmp->fd >= 0) {
        close(qmp->fd);
    }
    g_byte_array_unref(qmp->in);
    g_queue_clear_full(&qmp->events, (GDestroyNotify)json_object_unref);
    g_free(qmp->path);
    g_free(qmp);
}

/* libvirt holds the monitor of a domain as long as the domain runs. */
static bool belongs_to_libvirt(const char *path)
{
    g_autofree char *base = g_path_get_basename(path);
    g_autofree char *dir = g_path_get_dirname(path);
    g_autofree char *parent = g_path_get_basename(dir);

    return !strcmp(base, "monitor.sock") && g_str_has_prefix(parent, "domain-");
}

static void set_busy(GError **errp, const char *path)
{
    g_set_error(errp, CTL_ERROR, CTL_ERROR_FAILED,
                "%s is taken: a QMP socket serves one client at a time; end "
                "the other one, or give QEMU a second socket with "
                "-qmp unix:PATH,server=on,wait=off", path);
}

/* Why connect() failed, with the way out. */
static void set_connect_error(GError **errp, const char *path, int error)
{
    struct stat st;

    if (error == EACCES || error == EPERM) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_FAILED,
                    "no permission for %s: run tmemctl as root or as the user "
                    "that QEMU runs as", path);
    } else if (error == EAGAIN) {
        set_busy(errp, path);
    } else if (error == ENOENT || error == ENOTDIR) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_FAILED,
                    "there is no socket %s: start QEMU with "
                    "-qmp unix:%s,server=on,wait=off", path, path);
    } else if (*path != '@' && !stat(path, &st) && !S_ISSOCK(st.st_mode)) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_FAILED,
                    "%s is not a socket: name a QMP socket of QEMU or of "
                    "qemu-storage-daemon", path);
    } else if (error == ECONNREFUSED) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_FAILED,
                    "nobody listens on %s: the process that made it is gone; "
                    "start it again", path);
    } else {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_FAILED,
                    "cannot connect to %s: %s", path, g_strerror(error));
    }
}

static int connect_to(const char *path, GError **errp)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    size_t length = strlen(path);
    bool abstract = *path == '@';
    int fd;

    if (!length || length >= sizeof(addr.sun_path)) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_FAILED,
                    "'%s' cannot be a socket: a path has 1 to %zu characters; "
                    "use a link with a shorter one", path,
                    sizeof(addr.sun_path) - 1);
        return -1;
    }
    memcpy(addr.sun_path, path, length);
    if (abstract) {
        addr.sun_path[0] = 0;
    }
    /* Not blocking, or a full backlog would hold us for good. */
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&addr,
                          offsetof(struct sockaddr_un, sun_path) + length +
                          !abstract) < 0) {
        set_connect_error(errp, path, errno);
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    return fd;
}

static void set_foreign(GError **errp, const Qmp *qmp)
{
    bool hmp = qmp->in->len > 5 && !memcmp(qmp->in->data, "QEMU ", 5);

    g_set_error(errp, CTL_ERROR, CTL_ERROR_FAILED,
                hmp ? "%s is a monitor for people: give QEMU one of mode "
                      "control, as -qmp unix:PATH,server=on,wait=off does"
                    : "%s does not speak QMP: it is the socket of something "
                      "else; name one that QEMU was given with -qmp",
                qmp->path);
}

/*
 * The length of the first message in @in once it is whole, 0 until then, and
 * -1 if it is none.  Messages are found by their braces, since a server may
 * have been told to print them on many lines.
 */
static gssize scan_message(Qmp *qmp, GError **errp)
{
    for (; qmp->scanned < qmp->in->len; qmp->scanned++) {
        char c = qmp->in->data[qmp->scanned];

        if (qmp->in_string) {
            if (!qmp->escaped && c == '"') {
                qmp->in_string = false;
            }
            qmp->escaped = !qmp->escaped && c == '\\';
        } else if (c == '{' || (c == '[' && qmp->depth)) {
            if (++qmp->depth > QMP_DEPTH_MAX) {
                set_foreign(errp, qmp);
                return -1;
            }
        } else if ((c == '}' || c == ']') && qmp->depth) {
            if (!--qmp->depth) {
                return ++qmp->scanned;
            }
        } else if (c == '"' && qmp->depth) {
            qmp->in_string = true;
        } else if (!qmp->depth && !g_ascii_isspace(c)) {
            set_foreign(errp, qmp);
            return -1;
        }
    }
    return 0;
}

/* Reads what is there: 1 if something was, 0 if nothing, -1 on an error. */
static int read_some(Qmp *qmp, GError **errp)
{
    guint8 buffer[65536];
    ssize_t got = read(qmp->fd, buffer, sizeof(buffer));

    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return 0;
    }
    if (got <= 0) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_FAILED,
                    "%s was closed by the other side%s%s", qmp->path,
                    got < 0 ? ": " : "", got < 0 ? g_strerror(errno) : "");
        return -1;
    }
    if (qmp->in->len + got > QMP_MESSAGE_MAX) {
        set_foreign(errp, qmp);
        return -1;
    }
    g_byte_array_append(qmp->in, buffer, got);
    return 1;
}

/* The first @length bytes of @in as JSON. */
static JsonObject *parse_message(Qmp *qmp, gsize length, GError **errp)
{
    g_autoptr(JsonParser) parser = json_parser_new();
    JsonObject *message = NULL;
    JsonNode *root;

    if (json_parser_load_from_data(parser, (const char *)qmp->in->data,
                                   length, NULL)) {
        root = json_parser_get_root(parser);
        if (root && JSON_NODE_HOLDS_OBJECT(root)) {
            message = json_object_ref(json_node_get_object(root));
        }
    }
    if (!message) {
        set_foreign(errp, qmp);
    }
    g_byte_array_remove_range(qmp->in, 0, length);
    qmp->scanned = 0;
    return message;
}

/* A message until @deadline, of g_get_monotonic_time(); 0 does not wait. */
static JsonObject *receive(Qmp *qmp, gint64 deadline, bool *late,
                           GError **errp)
{
    *late = false;
    for (;;) {
        struct pollfd pfd = { .fd = qmp->fd, .events = POLLIN };
        gssize length = scan_message(qmp, errp);
        gint64 left = deadline ? deadline - g_get_monotonic_time() : 0;
        int got;

        if (length) {
            return length < 0 ? NULL : parse_message(qmp, length, errp);
        }
        if (deadline && left > 0) {
            poll(&pfd, 1, left / 1000 + 1);
        }
        got = read_some(qmp, errp);
        if (got < 0) {
            return NULL;
        }
        if (!got && left <= 0) {
            *late = true;
            return NULL;
        }
    }
}

static bool send_all(Qmp *qmp, const char *data, gint64 deadline,
                     GError **errp)
{
    size_t left = strlen(data);

    while (left) {
        struct pollfd pfd = { .fd = qmp->fd, .events = POLLOUT };
        ssize_t sent = send(qmp->fd, data, left, MSG_NOSIGNAL);
        gint64 wait = deadline - g_get_monotonic_time();

        if (sent >= 0) {
            data += sent;
            left -= sent;
        } else if ((errno != EAGAIN && errno != EINTR) || wait <= 0) {
            g_set_error(errp, CTL_ERROR, CTL_ERROR_FAILED,
                        "cannot write to %s: %s", qmp->path,
                        g_strerror(errno));
            return false;
        } else {
            poll(&pfd, 1, wait / 1000 + 1);
        }
    }
    return true;
}

/* The error of @answer, or that it is no answer. */
static void set_answer_error(Qmp *qmp, const char *command,
                             JsonObject *answer, GError **errp)
{
    JsonNode *node = json_object_get_member(answer, "error");
    JsonObject *error = node && JSON_NODE_HOLDS_OBJECT(node) ?
                        json_node_get_object(node) : NULL;
    const char *class, *desc;

    if (!error) {
        set_foreign(errp, qmp);
        return;
    }
    class = json_object_get_string_member_with_default(error, "class", NULL);
    desc = json_object_get_string_member_with_default(error, "desc", NULL);
    if (!g_strcmp0(class, "CommandNotFound")) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_NO_COMMAND,
                    "the process at %s does not have the command %s: it is "
                    "not built with virtio-tmem, or older than this tmemctl; "
                    "name another with --socket, or update it",
                    qmp->path, command);
    } else {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_REFUSED, "%s: %s", qmp->path,
                    desc ? desc : "refused without a reason");
    }
}

/* Whether @message is of a request before the last, given up for its time. */
static bool is_old(const Qmp *qmp, JsonObject *message)
{
    JsonNode *id = json_object_get_member(message, "id");

    return id && (!JSON_NODE_HOLDS_VALUE(id) ||
                  json_node_get_int(id) != qmp->id);
}

static JsonNode *wait_answer(Qmp *qmp, const char *command, gint64 deadline,
                             GError **errp)
{
    for (;;) {
        bool late;
        g_autoptr(JsonObject) message = receive(qmp, deadline, &late, errp);
        bool event = message && json_object_has_member(message, "event");
        bool other = event || (message && is_old(qmp, message));

        /* Events without end are no answer either. */
        if (late || (other && g_get_monotonic_time() > deadline)) {
            g_set_error(errp, CTL_ERROR, CTL_ERROR_LATE,
                        "no answer to %s from %s in %d s: the process hangs "
                        "or is stopped; see what it does, or wait longer "
                        "with --timeout", command, qmp->path,
                        qmp->timeout_ms / 1000);
            return NULL;
        }
        if (!message) {
            return NULL;
        }
        if (event) {
            g_queue_push_tail(&qmp->events, g_steal_pointer(&message));
        } else if (!other) {
            if (json_object_has_member(message, "return")) {
                return json_object_dup_member(message, "return");
            }
            set_answer_error(qmp, command, message, errp);
            return NULL;
        }
    }
}

JsonNode *qmp_run(Qmp *qmp, const char *command, JsonObject *arguments,
                  GError **errp)
{
    gint64 deadline = g_get_monotonic_time() + qmp->timeout_ms * 1000LL;
    g_autoptr(JsonObject) request = json_object_new();
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
    g_autofree char *text = NULL;
    g_autofree char *line = NULL;

    json_object_set_string_member(request, "execute", command);
    if (arguments) {
        json_object_set_object_member(request, "arguments", arguments);
    }
    json_object_set_int_member(request, "id", ++qmp->id);
    json_node_set_object(node, request);
    text = json_to_string(node, false);
    line = g_strconcat(text, "\n", NULL);
    if (!send_all(qmp, line, deadline, errp)) {
        return NULL;
    }
    return wait_answer(qmp, command, deadline, errp);
}

JsonObject *qmp_take_event(Qmp *qmp, GError **errp)
{
    bool late;
    JsonObject *message = g_queue_pop_head(&qmp->events);

    while (!message) {
        message = receive(qmp, 0, &late, errp);
        if (!message) {
            return NULL;
        }
        if (!json_object_has_member(message, "event")) {
            g_clear_pointer(&message, json_object_unref);
        }
    }
    return message;
}

static bool negotiate(Qmp *qmp, GError **errp)
{
    gint64 deadline = g_get_monotonic_time() + qmp->timeout_ms * 1000LL;
    bool late;
    g_autoptr(JsonObject) greeting = receive(qmp, deadline, &late, errp);
    g_autoptr(JsonNode) answer = NULL;

    if (!greeting) {
        if (late) {
            set_busy(errp, qmp->path);
        }
        return false;
    }
    if (!json_object_has_member(greeting, "QMP")) {
        set_foreign(errp, qmp);
        return false;
    }
    answer = qmp_run(qmp, "qmp_capabilities", NULL, errp);
    return answer != NULL;
}

Qmp *qmp_open(const char *path, int timeout_ms, GError **errp)
{
    g_autoptr(Qmp) qmp = NULL;
    int fd;

    if (belongs_to_libvirt(path)) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_FAILED,
                    "%s belongs to libvirt, which needs it for itself: use "
                    "virsh qemu-monitor-command DOMAIN --hmp info tmem", path);
        return NULL;
    }
    fd = connect_to(path, errp);
    if (fd < 0) {
        return NULL;
    }
    qmp = g_new0(Qmp, 1);
    qmp->path = g_strdup(path);
    qmp->fd = fd;
    qmp->timeout_ms = timeout_ms;
    qmp->in = g_byte_array_new();
    g_queue_init(&qmp->events);
    return negotiate(qmp, errp) ? g_steal_pointer(&qmp) : NULL;
}
