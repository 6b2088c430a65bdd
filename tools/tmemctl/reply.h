/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemctl: what replies of QMP hold, and what they only might
 *
 * What is missing, or of another type than it should be, is not there.
 */
#ifndef TMEMCTL_REPLY_H
#define TMEMCTL_REPLY_H

#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <stdint.h>

/* Members of @object, which may be NULL; @part is an object inside, or NULL. */
JsonObject *ctl_get_object(JsonObject *object, const char *name);
JsonArray *ctl_get_array(JsonObject *object, const char *name);
const char *ctl_get_string(JsonObject *object, const char *name);
bool ctl_get_uint(JsonObject *object, const char *part, const char *name,
                  uint64_t *value);
bool ctl_get_bool(JsonObject *object, const char *name, bool *value);

/** ctl_reply_array() - @reply as an array, or NULL */
JsonArray *ctl_reply_array(JsonNode *reply);

/** ctl_array_length() - of NULL it is 0 */
guint ctl_array_length(JsonArray *array);

/** ctl_array_object() - element @i, or NULL if that is no object */
JsonObject *ctl_array_object(JsonArray *array, guint i);

#endif /* TMEMCTL_REPLY_H */
