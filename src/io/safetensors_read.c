/* SPDX-License-Identifier: Apache-2.0
 *
 * Parsing of one safetensors file: u64 length of the header, the header (a JSON object: name -> dtype, shape, data_offsets),
 * data. Memory stays within a small multiple of the header, whatever it holds.
 */
#include "base/mem.h"
#include "io/cursor.h"
#include "io/json_members.h"
#include "io/quote.h"
#include "io/safetensors_internal.h"
#include <stdlib.h>
#include <string.h>

enum {
    LENGTH_BYTES = 8,
    ENTRY_MAX = 1 << 16, /* bytes that describe one tensor */
    FIRST_ROOM = 64
};

static const struct safetensors_dtype dtypes[] = {
    {"F32", 32, true, QUANT_F32},       {"F16", 16, true, QUANT_F16},   {"BF16", 16, true, QUANT_BF16},
    {.name = "F64", .bits = 64},        {.name = "I64", .bits = 64},    {.name = "I32", .bits = 32},
    {.name = "I16", .bits = 16},        {.name = "I8", .bits = 8},      {.name = "U64", .bits = 64},
    {.name = "U32", .bits = 32},        {.name = "U16", .bits = 16},    {.name = "U8", .bits = 8},
    {.name = "BOOL", .bits = 8},        {.name = "C64", .bits = 64},    {.name = "F8_E4M3", .bits = 8},
    {.name = "F8_E5M2", .bits = 8},     {.name = "F8_E8M0", .bits = 8}, {.name = "F8_E4M3FNUZ", .bits = 8},
    {.name = "F8_E5M2FNUZ", .bits = 8}, {.name = "F6_E2M3", .bits = 6}, {.name = "F6_E3M2", .bits = 6},
    {.name = "F4", .bits = 4},
};

/* Where something in a header stands, for sentences. */
struct place {
    const char *file;
    char tensor[QUOTE_ROOM];
    opsm_error *err;
};

/* ---- one tensor -------------------------------------------------------------------------------------------------- */

/* A whole number of a header, at least 0. */
static opsm_status read_whole(const struct place *p, const char *what, const json_t *value, int64_t *out) {
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return opsm_fail(p->err, OPSM_FORMAT, "'%.150s': tensor %s: '%s' must hold whole numbers from 0", p->file,
                         p->tensor, what);
    *out = json_integer_value(value);
    return OPSM_OK;
}

static opsm_status read_numbers(const struct place *p, const json_t *entry, const char *key, const json_t **list) {
    *list = json_object_get(entry, key);
    if (json_is_array(*list)) return OPSM_OK;
    return opsm_fail(p->err, OPSM_FORMAT, "'%.150s': tensor %s: '%s' is %s, expected a list of whole numbers", p->file,
                     p->tensor, key, *list ? "something else" : "missing");
}

static opsm_status read_dtype(const struct place *p, const json_t *entry, const struct safetensors_dtype **dtype) {
    const json_t *value = json_object_get(entry, "dtype");
    if (!json_is_string(value))
        return opsm_fail(p->err, OPSM_FORMAT, "'%.150s': tensor %s: 'dtype' is %s, expected a name such as \"BF16\"",
                         p->file, p->tensor, value ? "no text" : "missing");
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (strcmp(dtypes[i].name, json_string_value(value)) == 0) {
            *dtype = &dtypes[i];
            return OPSM_OK;
        }
    char shown[QUOTE_ROOM];
    return opsm_fail(p->err, OPSM_UNSUPPORTED, "'%.150s': tensor %s has the unknown dtype %s", p->file, p->tensor,
                     quote(shown, json_string_value(value), json_string_length(value)));
}

static opsm_status read_shape(const struct place *p, const json_t *entry, struct safetensors_tensor *t) {
    const json_t *shape;
    opsm_status status = read_numbers(p, entry, "shape", &shape);
    if (status != OPSM_OK) return status;
    if (json_array_size(shape) > SAFETENSORS_DIMS_MAX)
        return opsm_fail(p->err, OPSM_UNSUPPORTED, "'%.150s': tensor %s has %zu dimensions, at most %d can be read",
                         p->file, p->tensor, json_array_size(shape), SAFETENSORS_DIMS_MAX);
    t->n_dims = (int)json_array_size(shape);
    t->n_elements = 1;
    int64_t limit = INT64_MAX / t->dtype->bits;
    for (int d = 0; d < t->n_dims; d++) {
        status = read_whole(p, "shape", json_array_get(shape, (size_t)d), &t->shape[d]);
        if (status != OPSM_OK) return status;
        if (t->shape[d] > 0 && t->n_elements > limit / t->shape[d])
            return opsm_fail(p->err, OPSM_FORMAT, "'%.150s': tensor %s: dimension %d is %lld, its size overflows",
                             p->file, p->tensor, d, (long long)t->shape[d]);
        t->n_elements *= t->shape[d];
    }
    return OPSM_OK;
}

/* `data` is what follows the header. */
static opsm_status read_offsets(const struct place *p, const json_t *entry, const uint8_t *data, size_t data_size,
                                struct safetensors_tensor *t) {
    const json_t *offsets;
    int64_t begin = 0, end = 0, bits = t->n_elements * t->dtype->bits;
    opsm_status status = read_numbers(p, entry, "data_offsets", &offsets);
    if (status == OPSM_OK && json_array_size(offsets) != 2)
        status = opsm_fail(p->err, OPSM_FORMAT, "'%.150s': tensor %s: 'data_offsets' has %zu numbers, expected 2",
                           p->file, p->tensor, json_array_size(offsets));
    if (status == OPSM_OK) status = read_whole(p, "data_offsets", json_array_get(offsets, 0), &begin);
    if (status == OPSM_OK) status = read_whole(p, "data_offsets", json_array_get(offsets, 1), &end);
    if (status != OPSM_OK) return status;
    if (begin > end || (uint64_t)end > data_size)
        return opsm_fail(
            p->err, OPSM_FORMAT,
            "'%.150s': tensor %s takes bytes %lld to %lld of the data, which has %zu; the file is truncated "
            "or damaged",
            p->file, p->tensor, (long long)begin, (long long)end, data_size);
    if (bits % 8 != 0 || end - begin != bits / 8)
        return opsm_fail(p->err, OPSM_FORMAT,
                         "'%.150s': tensor %s has %lld elements of %s, which are %lld bits, but takes %lld bytes",
                         p->file, p->tensor, (long long)t->n_elements, t->dtype->name, (long long)bits,
                         (long long)(end - begin));
    t->data = data + begin;
    t->size = (size_t)(end - begin);
    return OPSM_OK;
}

static opsm_status read_tensor(const struct place *p, const char *name, const json_t *entry, const uint8_t *data,
                               size_t data_size, struct safetensors_tensor *t) {
    if (!json_is_object(entry))
        return opsm_fail(p->err, OPSM_FORMAT, "'%.150s': tensor %s is not described by an object", p->file, p->tensor);
    *t = (struct safetensors_tensor){0};
    opsm_status status = read_dtype(p, entry, &t->dtype);
    if (status == OPSM_OK) status = read_shape(p, entry, t);
    if (status == OPSM_OK) status = read_offsets(p, entry, data, data_size, t);
    if (status != OPSM_OK) return status;
    t->name = mem_strdup(name);
    return t->name ? OPSM_OK : mem_exhausted(p->err, "a tensor's name", strlen(name));
}

/* ---- one file ---------------------------------------------------------------------------------------------------- */

/* By position; empty ones before what begins there, too. */
static int compare_positions(const void *a, const void *b) {
    const struct safetensors_tensor *x = a, *y = b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    return x->size < y->size ? -1 : x->size > y->size;
}

/* tensors[n], sorted, must cover the data exactly: that leaves no place to hide anything, nor one that is read twice. */
static opsm_status check_cover(const struct safetensors_tensor *tensors, size_t n, const uint8_t *data,
                               size_t data_size, const char *file, opsm_error *err) {
    char shown[QUOTE_ROOM];
    const uint8_t *expected = data;
    for (size_t i = 0; i < n; i++) {
        if (tensors[i].data != expected)
            return opsm_fail(
                err, OPSM_FORMAT,
                "'%.150s': tensor %s begins at byte %zu of the data, expected %zu: tensors must follow each "
                "other without gaps or overlaps",
                file, quote(shown, tensors[i].name, strlen(tensors[i].name)), (size_t)(tensors[i].data - data),
                (size_t)(expected - data));
        expected += tensors[i].size;
    }
    if ((size_t)(expected - data) == data_size) return OPSM_OK;
    return opsm_fail(err, OPSM_FORMAT,
                     "'%.150s': the tensors end at byte %zu of the data, which has %zu; the file is damaged", file,
                     (size_t)(expected - data), data_size);
}

/* An object of texts. */
static opsm_status check_metadata(const struct json_members *header, struct text_view value) {
    struct json_member member;
    json_t *parsed;
    struct json_members m = {.text = value.data,
                             .length = value.length,
                             .file = header->file,
                             .err = header->err,
                             .offset = header->offset + (size_t)(value.data - header->text)};
    opsm_status status;
    while ((status = json_members_next(&m, &member)) == OPSM_OK && !member.end) {
        const struct text_view parts[] = {member.key, member.value};
        for (int i = 0; i < 2; i++) {
            status = json_members_parse(&m, &parsed, parts[i]);
            if (status != OPSM_OK) return status;
            bool text = json_is_string(parsed);
            json_decref(parsed);
            if (!text)
                return opsm_fail(m.err, OPSM_FORMAT, "'%.150s': '__metadata__' must be an object of texts", m.file);
        }
    }
    return status;
}

/* The tensors of one file. */
struct list {
    struct safetensors_tensor *tensors; /* [n], with names of their own */
    size_t n, room;
};

static void free_list(struct list *list) {
    for (size_t i = 0; i < list->n; i++) mem_free(list->tensors[i].name);
    mem_free(list->tensors);
}

static opsm_status make_room(struct list *list, opsm_error *err) {
    if (list->n < list->room) return OPSM_OK;
    size_t more = list->room ? 2 * list->room : FIRST_ROOM;
    struct safetensors_tensor *bigger = mem_resize(list->tensors, list->n, more, sizeof *bigger);
    if (!bigger) return mem_exhausted(err, "the tensor table of a safetensors file", more * sizeof *bigger);
    list->tensors = bigger;
    list->room = more;
    return OPSM_OK;
}

static opsm_status read_entry(struct list *list, const struct json_members *m, const char *name, struct text_view value,
                              const uint8_t *data, size_t data_size) {
    struct place place = {.file = m->file, .err = m->err};
    json_t *entry;
    quote(place.tensor, name, strlen(name));
    if (value.length > ENTRY_MAX)
        return opsm_fail(m->err, OPSM_FORMAT, "'%.150s': tensor %s is described in %zu bytes, at most %d are allowed",
                         m->file, place.tensor, value.length, ENTRY_MAX);
    opsm_status status = make_room(list, m->err);
    if (status == OPSM_OK) status = json_members_parse(m, &entry, value);
    if (status != OPSM_OK) return status;
    status = read_tensor(&place, name, entry, data, data_size, &list->tensors[list->n]);
    json_decref(entry);
    if (status == OPSM_OK) list->n++;
    return status;
}

static opsm_status read_member(struct list *list, const struct json_members *m, const struct json_member *member,
                               const uint8_t *data, size_t data_size) {
    json_t *name;
    opsm_status status = json_members_parse(m, &name, member->key);
    if (status != OPSM_OK) return status;
    if (strcmp(json_string_value(name), "__metadata__") == 0)
        status = check_metadata(m, member->value);
    else
        status = read_entry(list, m, json_string_value(name), member->value, data, data_size);
    json_decref(name);
    return status;
}

/* All tensors of a file in the order of their data. */
static opsm_status read_list(struct list *list, struct json_members *m, const uint8_t *data, size_t data_size) {
    struct json_member member;
    opsm_status status;
    while ((status = json_members_next(m, &member)) == OPSM_OK && !member.end) {
        status = read_member(list, m, &member, data, data_size);
        if (status != OPSM_OK) return status;
    }
    if (status != OPSM_OK) return status;
    if (list->n > 0) qsort(list->tensors, list->n, sizeof *list->tensors, compare_positions);
    return check_cover(list->tensors, list->n, data, data_size, m->file, m->err);
}

/* The first bytes: how long the header is. */
static opsm_status read_length(const uint8_t *bytes, size_t size, size_t *header, const char *file, opsm_error *err) {
    if (size < LENGTH_BYTES)
        return opsm_fail(err, OPSM_FORMAT, "'%.150s': %zu bytes are no safetensors file; it is truncated or damaged",
                         file, size);
    uint64_t length = load_u64(bytes);
    if (length > SAFETENSORS_HEADER_MAX)
        return opsm_fail(
            err, OPSM_FORMAT,
            "'%.150s', byte 0: a header of %llu bytes, at most %d are allowed; is this a safetensors file?", file,
            (unsigned long long)length, SAFETENSORS_HEADER_MAX);
    if (length > size - LENGTH_BYTES)
        return opsm_fail(
            err, OPSM_FORMAT,
            "'%.150s', byte 0: a header of %llu bytes, but only %zu follow; the file is truncated or damaged", file,
            (unsigned long long)length, size - LENGTH_BYTES);
    *header = (size_t)length;
    if (length > 0 && bytes[LENGTH_BYTES] == '{') return OPSM_OK;
    return opsm_fail(err, OPSM_FORMAT, "'%.150s', byte %d: the header does not begin with '{'", file, LENGTH_BYTES);
}

static opsm_status enter_name(struct safetensors *st, uint32_t index, const char *file, opsm_error *err) {
    char shown[QUOTE_ROOM];
    const char *name = st->tensors[index].name;
    uint32_t found = index;
    if (name_map_add(&st->names, name, strlen(name), &found) != OPSM_OK)
        return mem_exhausted(err, "the index of a safetensors file", st->names.capacity * 2 * sizeof *st->names.slots);
    if (found == index) return OPSM_OK;
    return opsm_fail(err, OPSM_FORMAT, "'%.150s': tensor %s appears twice", file, quote(shown, name, strlen(name)));
}

/* Moves those of the list that count. */
static opsm_status append(struct safetensors *st, struct list *list, const char *file, const json_t *weight_map,
                          const char *shard, opsm_error *err) {
    size_t before = (size_t)st->n_tensors, room = before + list->n;
    struct safetensors_tensor *all = room < UINT32_MAX ? mem_resize(st->tensors, before, room, sizeof *all) : NULL;
    if (!all) return mem_exhausted(err, "the tensor table of a safetensors file", room * sizeof *all);
    st->tensors = all;
    opsm_status status = OPSM_OK;
    for (size_t i = 0; i < list->n && status == OPSM_OK; i++) {
        const json_t *place = weight_map ? json_object_get(weight_map, list->tensors[i].name) : NULL;
        if (weight_map && (!place || strcmp(json_string_value(place), shard) != 0)) continue;
        st->tensors[st->n_tensors] = list->tensors[i];
        list->tensors[i].name = NULL;
        status = enter_name(st, (uint32_t)st->n_tensors++, file, err);
    }
    return status;
}

opsm_status safetensors_add_file(struct safetensors *st, const uint8_t *bytes, size_t size, const char *file,
                                 const json_t *weight_map, const char *shard, opsm_error *err) {
    size_t length = 0;
    opsm_status status = read_length(bytes, size, &length, file, err);
    if (status != OPSM_OK) return status;
    size_t data_at = LENGTH_BYTES + length;
    struct json_members header = {
        .text = (const char *)bytes + LENGTH_BYTES, .length = length, .offset = LENGTH_BYTES, .file = file, .err = err};
    struct list list = {0};
    status = read_list(&list, &header, bytes + data_at, size - data_at);
    if (status == OPSM_OK) status = append(st, &list, file, weight_map, shard, err);
    free_list(&list);
    return status;
}
