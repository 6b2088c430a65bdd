/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemctl: the QMP sockets of the QEMUs and storage daemons of this machine
 *
 * A socket is found by the options that made it.  What an option file of QEMU
 * (-readconfig) makes is not seen; --socket names it.
 */
#include <string.h>
#include <sys/stat.h>

#include "find.h"

void ctl_place_free(CtlPlace *place)
{
    if (place) {
        g_free(place->program);
        g_ptr_array_unref(place->given);
        g_ptr_array_unref(place->sockets);
        g_free(place->libvirt);
        g_free(place);
    }
}

/*
 * The parts of an option's argument: commas divide it, and two stand for one
 * that belongs to it.
 */
static GStrv split_option(const char *text)
{
    g_autoptr(GPtrArray) parts = g_ptr_array_new();
    GString *part = g_string_new(NULL);

    for (; *text; text++) {
        if (*text != ',') {
            g_string_append_c(part, *text);
        } else if (text[1] == ',') {
            g_string_append_c(part, *++text);
        } else {
            g_ptr_array_add(parts, g_string_free(part, false));
            part = g_string_new(NULL);
        }
    }
    g_ptr_array_add(parts, g_string_free(part, false));
    g_ptr_array_add(parts, NULL);
    return (GStrv)g_ptr_array_free(g_steal_pointer(&parts), false);
}

/* The value of @key; the first part may be that of @implied without a key. */
static const char *get_key(GStrv parts, const char *key, const char *implied)
{
    size_t length = strlen(key);
    int i;

    for (i = 0; parts[i]; i++) {
        if (!strncmp(parts[i], key, length) && parts[i][length] == '=') {
            return parts[i] + length + 1;
        }
    }
    if (!g_strcmp0(key, implied) && parts[0] && !strchr(parts[0], '=')) {
        return parts[0];
    }
    return NULL;
}

static bool is_on(const char *value)
{
    return value && (!strcmp(value, "on") || !strcmp(value, "yes") ||
                     !strcmp(value, "true"));
}

/*
 * Whether the process itself listens.  Otherwise somebody else does, and waits
 * for that process (libqtest for one), who must not take us for it.
 */
static bool listens(GStrv parts)
{
    return is_on(get_key(parts, "server", NULL)) ||
           g_strv_contains((const char *const *)parts, "server");
}

/*
 * @path, or what @pid has there if it is in a container with files of its own:
 * where both are something else, the one that @inside says.
 */
static char *choose_path(pid_t pid, const char *path, bool inside)
{
    g_autofree char *own = g_strdup_printf("/proc/%d/root%s", (int)pid, path);
    struct stat here, there;

    if (stat(own, &there) < 0 ||
        (!stat(path, &here) && (!inside || (here.st_dev == there.st_dev &&
                                            here.st_ino == there.st_ino)))) {
        return g_strdup(path);
    }
    return g_steal_pointer(&own);
}

/* What we connect to for the @path of a socket made by @pid. */
static char *make_path(pid_t pid, const char *path, GStrv parts)
{
    if (is_on(get_key(parts, "abstract", NULL))) {
        return g_strconcat("@", path, NULL);
    }
    if (*path != '/') {
        return g_strdup_printf("/proc/%d/cwd/%s", (int)pid, path);
    }
    return choose_path(pid, path, true);
}

/* The argument of option @name at @argv[*i], or NULL; steps over it. */
static const char *get_option(char *const *argv, int *i, const char *name)
{
    const char *arg = argv[*i];
    size_t length = strlen(name);

    if (*arg++ != '-') {
        return NULL;
    }
    arg += *arg == '-';
    if (strncmp(arg, name, length)) {
        return NULL;
    }
    if (arg[length] == '=') {
        return arg + length + 1;
    }
    return arg[length] || !argv[*i + 1] ? NULL : argv[++*i];
}

/* The socket that the process was given as @fd; not libvirt's own monitor. */
static char *make_fd_path(CtlPlace *place, const char *fd, const char *id)
{
    g_autofree char *name = strcmp(id, "charmonitor") ?
                            ctl_socket_of_fd(place->pid, fd) : NULL;
    char *path;

    if (!name) {
        return NULL;
    }
    path = *name == '@' ? g_steal_pointer(&name) :
                          choose_path(place->pid, name, false);
    g_ptr_array_add(place->given, path);
    return path;
}

/* The socket of the chardev @id, if it is one that listens. */
static char *find_chardev(CtlPlace *place, char *const *argv,
                          const char *id)
{
    int i;

    for (i = 1; argv[i]; i++) {
        const char *arg = get_option(argv, &i, "chardev");
        g_auto(GStrv) parts = arg ? split_option(arg) : NULL;
        const char *path, *fd;

        if (!parts || g_strcmp0(get_key(parts, "id", NULL), id) ||
            strcmp(parts[0], "socket") || !listens(parts)) {
            continue;
        }
        path = get_key(parts, "path", NULL);
        fd = get_key(parts, "fd", NULL);
        if (path) {
            return make_path(place->pid, path, parts);
        }
        if (fd) {
            return make_fd_path(place, fd, id);
        }
    }
    return NULL;
}

/* -qmp unix:PATH,server=on or -qmp chardev:ID */
static char *find_qmp(CtlPlace *place, char *const *argv, const char *arg)
{
    g_auto(GStrv) parts = split_option(arg);

    if (g_str_has_prefix(arg, "unix:")) {
        return listens(parts) ?
               make_path(place->pid, parts[0] + strlen("unix:"), parts) : NULL;
    }
    if (g_str_has_prefix(arg, "chardev:")) {
        return find_chardev(place, argv, parts[0] + strlen("chardev:"));
    }
    return NULL;
}

/* -mon chardev=ID,mode=control, and --monitor ID of the storage daemon */
static char *find_monitor(CtlPlace *place, char *const *argv,
                          const char *arg, bool control)
{
    g_auto(GStrv) parts = split_option(arg);
    const char *mode = get_key(parts, "mode", NULL);
    const char *id = get_key(parts, "chardev", "chardev");

    if (!id || (mode ? strcmp(mode, "control") : !control)) {
        return NULL;
    }
    return find_chardev(place, argv, id);
}

static void find_sockets(CtlPlace *place, char *const *argv, bool daemon)
{
    int i;

    for (i = 1; argv[i]; i++) {
        const char *arg = get_option(argv, &i, "qmp");
        char *found = NULL;

        if (!arg) {
            arg = get_option(argv, &i, "qmp-pretty");
        }
        if (arg) {
            found = find_qmp(place, argv, arg);
        } else {
            arg = get_option(argv, &i, daemon ? "monitor" : "mon");
            if (arg) {
                found = find_monitor(place, argv, arg, daemon);
            }
        }
        if (found) {
            g_ptr_array_add(place->sockets, found);
        }
    }
}

/* The domain's name if libvirt started the process. */
static char *find_libvirt(char *const *argv)
{
    char *name = NULL;
    bool monitor = false;
    int i;

    for (i = 1; argv[i]; i++) {
        const char *arg = get_option(argv, &i, "name");
        g_auto(GStrv) parts = arg ? split_option(arg) : NULL;

        if (parts && !name) {
            name = g_strdup(get_key(parts, "guest", "guest"));
        }
        monitor |= strstr(argv[i], "id=charmonitor") != NULL;
    }
    if (!monitor) {
        g_clear_pointer(&name, g_free);
    } else if (!name) {
        name = g_strdup("?");
    }
    return name;
}

CtlPlace *ctl_place_parse(pid_t pid, char *const *argv)
{
    g_autofree char *program = argv[0] ? g_path_get_basename(argv[0]) : NULL;
    bool daemon;
    CtlPlace *place;
    int i;

    if (!program) {
        return NULL;
    }
    /* Packages that install it beside another put something behind it. */
    daemon = g_str_has_prefix(program, "qemu-storage-daemon");
    if (!daemon && strcmp(program, "qemu-kvm") && strcmp(program, "kvm") &&
        !g_str_has_prefix(program, "qemu-system-")) {
        return NULL;
    }
    place = g_new0(CtlPlace, 1);
    place->pid = pid;
    place->libvirt = find_libvirt(argv);
    place->sockets = g_ptr_array_new_with_free_func(g_free);
    place->given = g_ptr_array_new();
    find_sockets(place, argv, daemon);
    place->program = g_steal_pointer(&program);
    for (i = 1; argv[i]; i++) {
        place->tmem |= strstr(argv[i], "tmem") != NULL;
        place->mem_lock |= strstr(argv[i], "mem-lock=on") != NULL;
    }
    return place;
}

/* A file of NULs between its words, as it is in /proc. */
static GStrv read_argv(const char *path)
{
    g_autofree char *data = NULL;
    g_autoptr(GPtrArray) words = g_ptr_array_new();
    gsize length, at;

    if (!g_file_get_contents(path, &data, &length, NULL)) {
        return NULL;
    }
    for (at = 0; at < length; at += strlen(data + at) + 1) {
        g_ptr_array_add(words, g_strdup(data + at));
    }
    g_ptr_array_add(words, NULL);
    return (GStrv)g_ptr_array_free(g_steal_pointer(&words), false);
}

CtlPlace *ctl_find_place(const char *proc, pid_t pid)
{
    g_autofree char *path = g_strdup_printf("%s/%d/cmdline", proc, (int)pid);
    g_auto(GStrv) argv = read_argv(path);

    return argv ? ctl_place_parse(pid, argv) : NULL;
}

static gint by_pid(gconstpointer a, gconstpointer b)
{
    const CtlPlace *x = *(CtlPlace *const *)a;
    const CtlPlace *y = *(CtlPlace *const *)b;

    return (x->pid > y->pid) - (x->pid < y->pid);
}

GPtrArray *ctl_find_places(const char *proc)
{
    GPtrArray *places =
        g_ptr_array_new_with_free_func((GDestroyNotify)ctl_place_free);
    g_autoptr(GDir) dir = g_dir_open(proc, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        CtlPlace *place;
        guint64 pid;

        if (!g_ascii_string_to_unsigned(name, 10, 1, G_MAXINT, &pid, NULL)) {
            continue;
        }
        place = ctl_find_place(proc, pid);
        if (place) {
            g_ptr_array_add(places, place);
        }
    }
    g_ptr_array_sort(places, by_pid);
    return places;
}
