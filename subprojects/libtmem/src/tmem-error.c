/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: setting errors
 */
#include <stdarg.h>

#include "tmem-error.h"

GQuark tmem_error_quark(void)
{
    return g_quark_from_static_string("libtmem");
}

bool tmem_error_set(GError **errp, const char *format, ...)
{
    va_list ap;

    if (errp && !*errp) {
        va_start(ap, format);
        *errp = g_error_new_valist(tmem_error_quark(), 0, format, ap);
        va_end(ap);
    }
    return false;
}
