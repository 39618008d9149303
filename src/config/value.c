/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys that hold any value: YAML as JSON. A scalar is what YAML 1.2 takes it for: null, true, a number, else a text.
 */
#include "base/mem.h"
#include "config/document.h"
#include "config/keys.h"
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 32, NODES_MAX = 10000 }; /* an alias can stand for its own list, or for many */

struct converter {
    struct config_document *document;
    const struct config_key *key;
    int nodes;
    opsm_status status;
    opsm_error *err;
};

static json_t *refuse(struct converter *c, const yaml_node_t *node, const char *sentence) {
    if (c->status == OPSM_OK)
        c->status =
            config_at(c->document, node, opsm_fail(c->err, OPSM_INVALID, "%s: %s", c->key->path, sentence), c->err);
    return NULL;
}

static json_t *number(const char *text) {
    char *end;
    if (!*text || !strchr("+-.0123456789", *text)) return NULL;
    if (strpbrk(text, "xXpP")) return NULL;
    errno = 0;
    long long whole = strtoll(text, &end, 10);
    if (!*end && !errno) return json_integer(whole);
    double real = strtod(text, &end);
    return !*end && isfinite(real) ? json_real(real) : NULL;
}

static json_t *scalar(struct converter *c, const yaml_node_t *node) {
    if (config_has_nul(node)) return refuse(c, node, "a text holds a NUL byte");
    const char *text = config_scalar(node);
    if (!text) return json_null();
    if (node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
        if (!strcmp(text, "true") || !strcmp(text, "false")) return json_boolean(*text == 't');
        json_t *value = number(text);
        if (value) return value;
    }
    json_t *value = json_string(text);
    return value ? value : refuse(c, node, "a text is not UTF-8");
}

static json_t *convert(struct converter *c, yaml_node_t *node, int depth);

static json_t *list(struct converter *c, const yaml_node_t *node, int depth) {
    json_t *out = json_array();
    for (int i = 0; i < config_list_length(node) && c->status == OPSM_OK; i++)
        json_array_append_new(out, convert(c, config_list_item(c->document, node, i), depth));
    return out;
}

static json_t *map(struct converter *c, const yaml_node_t *node, int depth) {
    json_t *out = json_object();
    for (int i = 0; i < config_map_length(node) && c->status == OPSM_OK; i++) {
        struct config_entry entry;
        opsm_status status = config_map_entry(c->document, node, i, &entry, c->err);
        if (status != OPSM_OK)
            c->status = status;
        else
            json_object_set_new(out, entry.name, convert(c, entry.value, depth));
    }
    return out;
}

static json_t *convert(struct converter *c, yaml_node_t *node, int depth) {
    if (depth > DEPTH_MAX || ++c->nodes > NODES_MAX)
        return refuse(c, node, "too many values, or too deep in each other");
    if (node->type == YAML_SCALAR_NODE) return scalar(c, node);
    return node->type == YAML_SEQUENCE_NODE ? list(c, node, depth + 1) : map(c, node, depth + 1);
}

/* The texts that the field holds: `value` (taken over), or what it held with `name` set to it. */
static opsm_status store(char **slot, const char *name, json_t *value, opsm_error *err) {
    json_t *whole = name ? (*slot ? json_loads(*slot, 0, NULL) : json_object()) : json_incref(value);
    bool made = whole && value && (!name || json_object_set(whole, name, value) == 0);
    char *text = made ? json_dumps(whole, JSON_ENCODE_ANY) : NULL;
    opsm_status status = text ? config_replace_text(slot, text, err) : mem_exhausted(err, "the configuration", 0);
    free(text);
    json_decref(whole);
    json_decref(value);
    return status;
}

opsm_status config_set_value(void *base, const struct config_key *key, const char *name,
                             struct config_document *document, yaml_node_t *node, opsm_error *err) {
    bool is_list = !strcmp(key->choices, "list");
    yaml_node_type_t wanted = is_list ? YAML_SEQUENCE_NODE : YAML_MAPPING_NODE;
    if (!name && node->type != wanted)
        return opsm_fail(err, OPSM_INVALID, "%s: expected a %s, found %s", key->path, key->choices, config_kind(node));
    struct converter c = {.document = document, .key = key, .err = err};
    json_t *value = convert(&c, node, 0);
    if (c.status == OPSM_OK) return store((char **)((char *)base + key->offset), name, value, err);
    json_decref(value);
    return c.status;
}
