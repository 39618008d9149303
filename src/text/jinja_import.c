/* SPDX-License-Identifier: Apache-2.0
 *
 * Values from outside.
 */
#include "text/jinja_value.h"
#include <string.h>

/* Letters, digits, _ and - alone spell no control token. */
static bool is_word(const char *text, size_t length) {
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        bool fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
        if (!fits) return false;
    }
    return length > 0;
}

/* All strangers' strings share one mask of ones, as long as the longest. */
static const uint8_t *ones(struct jinja_run *run, size_t length) {
    if (length <= run->n_ones) return run->ones;
    size_t room = run->n_ones ? run->n_ones : 256;
    while (room < length) room *= 2;
    uint8_t *grown = jinja_alloc(run, room, 1);
    if (!grown) return NULL;
    memset(grown, 1, room);
    run->ones = grown;
    run->n_ones = room;
    return grown;
}

static struct jinja_value import_text(struct jinja_run *run, const char *text, size_t length, bool stranger) {
    struct jinja_value string = {.type = JINJA_STRING, .text = text, .length = (uint32_t)length};
    if (length > UINT32_MAX / 4) return jinja_fail(run, OPSM_INVALID, "a text of more than 1 GiB");
    if (stranger) string.stranger = ones(run, length);
    return string;
}

static struct jinja_value import_object(struct jinja_run *run, const json_t *json, bool stranger) {
    struct jinja_value dict = jinja_new_dict(run, JINJA_DICT, json_object_size(json));
    const char *key;
    json_t *item;
    json_object_foreach((json_t *)json, key, item) {
        if (run->status != OPSM_OK) break;
        struct jinja_pair *pair = &dict.dict->pairs[dict.dict->count++];
        pair->key = import_text(run, key, strlen(key), stranger);
        pair->value = jinja_import(run, item, stranger, key);
    }
    return dict;
}

static struct jinja_value import_array(struct jinja_run *run, const json_t *json, bool stranger) {
    size_t count = json_array_size(json);
    struct jinja_value *items = jinja_alloc(run, count, sizeof *items);
    for (size_t i = 0; items && i < count && run->status == OPSM_OK; i++)
        items[i] = jinja_import(run, json_array_get(json, i), stranger, NULL);
    return jinja_sequence(JINJA_LIST, items, count);
}

static struct jinja_value import_inside(struct jinja_run *run, const json_t *json, bool stranger, const char *name) {
    const char *text = json_string_value(json);
    size_t length = json_string_length(json);
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return import_object(run, json, stranger);
    case JSON_ARRAY:
        return import_array(run, json, stranger);
    case JSON_STRING:
        if (name && run->input->word && !strcmp(name, run->input->word) && is_word(text, length)) stranger = false;
        return import_text(run, text, length, stranger);
    case JSON_INTEGER:
        return jinja_int(json_integer_value(json));
    case JSON_REAL:
        return jinja_float(json_real_value(json));
    case JSON_TRUE:
    case JSON_FALSE:
        return jinja_bool(json_is_true(json));
    case JSON_NULL:
        break;
    }
    return jinja_none();
}

struct jinja_value jinja_import(struct jinja_run *run, const json_t *json, bool stranger, const char *name) {
    struct jinja_value value = jinja_none();
    if (jinja_enter(run)) value = import_inside(run, json, stranger, name);
    jinja_leave(run);
    return value;
}
