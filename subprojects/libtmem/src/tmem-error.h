/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: setting errors
 */
#ifndef TMEM_ERROR_H
#define TMEM_ERROR_H

#include <glib.h>
#include <stdbool.h>

GQuark tmem_error_quark(void);

/**
 * tmem_error_set() - set @errp, if not NULL and not set yet, to a sentence
 *
 * Always returns false, for "return tmem_error_set(...)".
 */
bool tmem_error_set(GError **errp, const char *format, ...) G_GNUC_PRINTF(2, 3);

#endif /* TMEM_ERROR_H */
