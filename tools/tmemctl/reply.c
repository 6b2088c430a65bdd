/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemctl: what replies of QMP hold, and what they only might
 */
#include "reply.h"

JsonObject *ctl_get_object(JsonObject *object, const char *name)
{
    JsonNode *node = object ? json_object_get_member(object, name) : NULL;

    return node && JSON_NODE_HOLDS_OBJECT(node) ?
           json_node_get_object(node) : NULL;
}

JsonArray *ctl_get_array(JsonObject *object, const char *name)
{
    JsonNode *node = object ? json_object_get_member(object, name) : NULL;

    return node && JSON_NODE_HOLDS_ARRAY(node) ?
           json_node_get_array(node) : NULL;
}

const char *ctl_get_string(JsonObject *object, const char *name)
{
    JsonNode *node = object ? json_object_get_member(object, name) : NULL;

    return node && JSON_NODE_HOLDS_VALUE(node) ?
           json_node_get_string(node) : NULL;
}

bool ctl_get_uint(JsonObject *object, const char *part, const char *name,
                  uint64_t *value)
{
    JsonNode *node;

    object = part ? ctl_get_object(object, part) : object;
    node = object ? json_object_get_member(object, name) : NULL;
    if (!node || !JSON_NODE_HOLDS_VALUE(node) ||
        json_node_get_value_type(node) != G_TYPE_INT64) {
        return false;
    }
    /* Numbers from 2^63 on come with the same bits. */
    *value = json_node_get_int(node);
    return true;
}

bool ctl_get_bool(JsonObject *object, const char *name, bool *value)
{
    JsonNode *node = object ? json_object_get_member(object, name) : NULL;

    if (!node || !JSON_NODE_HOLDS_VALUE(node) ||
        json_node_get_value_type(node) != G_TYPE_BOOLEAN) {
        return false;
    }
    *value = json_node_get_boolean(node);
    return true;
}

JsonArray *ctl_reply_array(JsonNode *reply)
{
    return reply && JSON_NODE_HOLDS_ARRAY(reply) ?
           json_node_get_array(reply) : NULL;
}

guint ctl_array_length(JsonArray *array)
{
    return array ? json_array_get_length(array) : 0;
}

JsonObject *ctl_array_object(JsonArray *array, guint i)
{
    JsonNode *node = json_array_get_element(array, i);

    return JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
}
