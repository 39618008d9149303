/* SPDX-License-Identifier: Apache-2.0
 *
 * Parsing of one safetensors file: u64 length of the header, the header (a JSON object: name -> dtype, shape, data_offsets), data.
 */
#include "base/mem.h"
#include "io/cursor.h"
#include "io/quote.h"
#include "io/safetensors_internal.h"
#include <stdlib.h>
#include <string.h>

enum { LENGTH_BYTES = 8 };

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

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

/* What jansson says may quote the file: shown as printable ASCII. */
static void make_printable(char *text) {
    for (; *text; text++)
        if (*text < 0x20 || *text >= 0x7f) *text = '?';
}

opsm_status safetensors_parse_object(json_t **object, const char *text, size_t length, size_t offset, const char *file,
                                     opsm_error *err) {
    json_error_t problem;
    *object = json_loadb(text, length, JSON_REJECT_DUPLICATES, &problem);
    if (!*object && (!problem.text[0] || json_error_code(&problem) == json_error_out_of_memory))
        return mem_exhausted(err, "a file's header", length);
    make_printable(problem.text);
    if (!*object)
        return opsm_fail(err, OPSM_FORMAT, "'%.150s', byte %zu: %s; expected a JSON object", file,
                         offset + (size_t)(problem.position > 0 ? problem.position : 0), problem.text);
    if (json_is_object(*object)) return OPSM_OK;
    json_decref(*object);
    *object = NULL;
    return opsm_fail(err, OPSM_FORMAT, "'%.150s', byte %zu: a JSON array; expected a JSON object", file, offset);
}

/* A whole number of a header, at least 0. */
static opsm_status read_whole(const struct place *p, const char *what, const json_t *value, int64_t *out) {
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return opsm_fail(p->err, OPSM_FORMAT, "'%.150s': tensor %s: '%s' must hold whole numbers from 0", p->file,
                         p->tensor, what);
    *out = json_integer_value(value);
    return OPSM_OK;
}

static opsm_status read_list(const struct place *p, const json_t *entry, const char *key, const json_t **list) {
    *list = json_object_get(entry, key);
    if (json_is_array(*list)) return OPSM_OK;
    return opsm_fail(p->err, OPSM_FORMAT, "'%.150s': tensor %s: '%s' is %s, expected a list of whole numbers", p->file,
                     p->tensor, key, *list ? "something else" : "missing");
}

/* ---- one tensor -------------------------------------------------------------------------------------------------- */

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
    opsm_status status = read_list(p, entry, "shape", &shape);
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
    opsm_status status = read_list(p, entry, "data_offsets", &offsets);
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

static opsm_status read_tensor(struct place *p, const char *name, size_t length, const json_t *entry,
                               const uint8_t *data, size_t data_size, struct safetensors_tensor *t) {
    quote(p->tensor, name, length);
    if (!json_is_object(entry))
        return opsm_fail(p->err, OPSM_FORMAT, "'%.150s': tensor %s is not described by an object", p->file, p->tensor);
    *t = (struct safetensors_tensor){0};
    opsm_status status = read_dtype(p, entry, &t->dtype);
    if (status == OPSM_OK) status = read_shape(p, entry, t);
    if (status == OPSM_OK) status = read_offsets(p, entry, data, data_size, t);
    if (status != OPSM_OK) return status;
    t->name = mem_strndup(name, length);
    return t->name ? OPSM_OK : mem_exhausted(p->err, "a tensor's name", length);
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

static opsm_status check_metadata(json_t *metadata, const char *file, opsm_error *err) {
    const char *key;
    json_t *value;
    bool texts = json_is_object(metadata);
    json_object_foreach(metadata, key, value) texts = texts && json_is_string(value);
    if (texts) return OPSM_OK;
    return opsm_fail(err, OPSM_FORMAT, "'%.150s': '__metadata__' must be an object of texts", file);
}

/* Every tensor of a header, at most `room`, in `tensors`; *n receives how many have names to be freed. */
static opsm_status read_entries(json_t *header, const uint8_t *data, size_t data_size, const char *file,
                                struct safetensors_tensor *tensors, size_t *n, opsm_error *err) {
    struct place place = {.file = file, .err = err};
    opsm_status status = OPSM_OK;
    for (void *it = json_object_iter(header); it && status == OPSM_OK; it = json_object_iter_next(header, it)) {
        const char *name = json_object_iter_key(it);
        json_t *entry = json_object_iter_value(it);
        if (strcmp(name, "__metadata__") == 0)
            status = check_metadata(entry, file, err);
        else
            status = read_tensor(&place, name, strlen(name), entry, data, data_size, &tensors[*n]);
        if (tensors[*n].name) ++*n;
    }
    if (status != OPSM_OK) return status;
    qsort(tensors, *n, sizeof *tensors, compare_positions);
    return check_cover(tensors, *n, data, data_size, file, err);
}

/* The first bytes: the header as JSON, and where the data begins. */
static opsm_status read_header(json_t **header, const uint8_t *bytes, size_t size, size_t *data_at, const char *file,
                               opsm_error *err) {
    if (size < LENGTH_BYTES)
        return opsm_fail(err, OPSM_FORMAT, "'%.150s': %zu bytes are no safetensors file; it is truncated or damaged",
                         file, size);
    uint64_t length = load_u64(bytes);
    if (length > SAFETENSORS_HEADER_MAX)
        return opsm_fail(err, OPSM_FORMAT,
                         "'%.150s', byte 0: a header of %llu bytes, at most %d are allowed; is this a "
                         "safetensors file?",
                         file, (unsigned long long)length, SAFETENSORS_HEADER_MAX);
    if (length > size - LENGTH_BYTES)
        return opsm_fail(
            err, OPSM_FORMAT,
            "'%.150s', byte 0: a header of %llu bytes, but only %zu follow; the file is truncated or damaged", file,
            (unsigned long long)length, size - LENGTH_BYTES);
    const char *text = (const char *)bytes + LENGTH_BYTES;
    if (length == 0 || text[0] != '{')
        return opsm_fail(err, OPSM_FORMAT, "'%.150s', byte %d: the header does not begin with '{'", file, LENGTH_BYTES);
    *data_at = LENGTH_BYTES + (size_t)length;
    return safetensors_parse_object(header, text, (size_t)length, LENGTH_BYTES, file, err);
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

opsm_status safetensors_add_file(struct safetensors *st, const uint8_t *bytes, size_t size, const char *file,
                                 const json_t *weight_map, const char *shard, opsm_error *err) {
    json_t *header = NULL;
    size_t data_at = 0, n = 0;
    opsm_status status = read_header(&header, bytes, size, &data_at, file, err);
    if (status != OPSM_OK) return status;
    size_t room = (size_t)st->n_tensors + json_object_size(header) + 1; /* one more: none may be empty */
    struct safetensors_tensor *all =
        room < UINT32_MAX ? mem_resize(st->tensors, (size_t)st->n_tensors, room, sizeof *all) : NULL;
    if (!all) {
        json_decref(header);
        return mem_exhausted(err, "the tensor table of a safetensors file", room * sizeof *all);
    }
    st->tensors = all;
    struct safetensors_tensor *added = all + st->n_tensors;
    memset(added, 0, (room - (size_t)st->n_tensors) * sizeof *added);
    status = read_entries(header, bytes + data_at, size - data_at, file, added, &n, err);
    json_decref(header);
    for (size_t i = 0; i < n; i++) {
        const json_t *place = weight_map ? json_object_get(weight_map, added[i].name) : NULL;
        if (status != OPSM_OK || (weight_map && (!place || strcmp(json_string_value(place), shard) != 0))) {
            mem_free(added[i].name);
            continue;
        }
        st->tensors[st->n_tensors] = added[i];
        status = enter_name(st, (uint32_t)st->n_tensors++, file, err);
    }
    return status;
}
