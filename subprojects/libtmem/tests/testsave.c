/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What one process leaves to the next, for tests
 */
#include <sys/mman.h>

#include "testsave.h"

int test_new_stream(void)
{
    int fd = memfd_create("stream", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}

int test_save(TmemStore *store, const TestLeft *left, unsigned nr)
{
    int fd = test_new_stream();
    TmemSaver *saver = tmem_saver_new(store, fd);
    bool is_bad = false;
    GError *err = NULL;

    for (unsigned i = 0; i < nr; i++) {
        const char *client = tmem_client_name(left[i].client);
        TmemBundle bundle = {
            .name = left[i].name ? left[i].name : client, .client = client,
            .state = left[i].state,
            .state_bytes = left[i].state ? strlen(left[i].state) : 0,
        };

        tmem_saver_add(saver, left[i].client, &bundle, left[i].host_pool,
                       &err);
        g_assert_no_error(err);
        is_bad |= left[i].is_bad;
    }
    tmem_saver_finish(saver, &err);
    g_assert_no_error(err);
    tmem_saver_free(saver);
    if (!is_bad) {
        test_check(store);
    }
    return fd;
}
