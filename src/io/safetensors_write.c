/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing safetensors, in one file or in shards. All shards are open until the end: they get their names together, the
 * index last.
 */
#include "base/mem.h"
#include "base/text.h"
#include "io/cursor.h"
#include "io/encode.h"
#include "io/json_writer.h"
#include "io/name_map.h"
#include "io/quote.h"
#include "io/safetensors.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_ROOM = 64, ALIGNMENT = 8 };

struct planned {
    char *name;
    int n_dims;
    int64_t shape[SAFETENSORS_DIMS_MAX];
    int64_t n_elements;
    enum quant_type type;
    uint64_t size;  /* bytes */
    int64_t number; /* in the order of announcing */
    int64_t shard;  /* from 0 */
};

struct safetensors_writer {
    char *path;
    uint64_t shard_bytes;
    struct planned *tensors; /* as announced; from the first safetensors_writer_next on as written */
    int64_t n_tensors, room, next;
    struct name_map names;
    int64_t n_shards; /* 0: still announcing */
    struct file_out **shards;
    uint8_t *scratch;
};

/* ---- announcing -------------------------------------------------------------------------------------------------- */

opsm_status safetensors_writer_create(struct safetensors_writer **result, const char *path, uint64_t shard_bytes,
                                      opsm_error *err) {
    *result = NULL;
    struct safetensors_writer *w = mem_zalloc(1, sizeof *w);
    if (!w) return mem_exhausted(err, "a safetensors writer", sizeof *w);
    w->shard_bytes = shard_bytes ? shard_bytes : UINT64_MAX;
    w->names = name_map_make();
    w->path = mem_strdup(path);
    w->scratch = mem_alloc(ENCODE_ROOM, 1);
    if (w->path && w->scratch) {
        *result = w;
        return OPSM_OK;
    }
    safetensors_writer_abort(w);
    return mem_exhausted(err, "a safetensors writer", ENCODE_ROOM);
}

void safetensors_writer_abort(struct safetensors_writer *w) {
    if (!w) return;
    for (int64_t i = 0; w->shards && i < w->n_shards; i++) file_abort(w->shards[i]);
    for (int64_t i = 0; i < w->n_tensors; i++) mem_free(w->tensors[i].name);
    name_map_free(&w->names);
    mem_free(w->shards);
    mem_free(w->tensors);
    mem_free(w->scratch);
    mem_free(w->path);
    mem_free(w);
}

static bool is_utf8(const char *text, size_t length) {
    while (length > 0) {
        size_t n = text_utf8_length(text, length);
        if (n == 0) return false;
        text += n;
        length -= n;
    }
    return true;
}

static opsm_status check_name(const struct safetensors_writer *w, const char *name, const char *shown,
                              opsm_error *err) {
    if (name[0] != '\0' && strcmp(name, "__metadata__") != 0 && is_utf8(name, strlen(name))) return OPSM_OK;
    return opsm_fail(err, OPSM_INVALID, "'%.150s': a tensor cannot be called %s", w->path, shown);
}

static opsm_status plan_shape(const struct safetensors_writer *w, const char *shown, const int64_t *shape,
                              struct planned *t, opsm_error *err) {
    if (t->n_dims < 0 || t->n_dims > SAFETENSORS_DIMS_MAX)
        return opsm_fail(err, OPSM_INVALID, "'%.150s': tensor %s has %d dimensions, expected 0 to %d", w->path, shown,
                         t->n_dims, SAFETENSORS_DIMS_MAX);
    int64_t limit = INT64_MAX / 64;
    t->n_elements = 1;
    for (int d = 0; d < t->n_dims; d++) {
        if (shape[d] < 0 || (shape[d] > 0 && t->n_elements > limit / shape[d]))
            return opsm_fail(err, OPSM_INVALID, "'%.150s': tensor %s: dimension %d is %lld, negative or too large",
                             w->path, shown, d, (long long)shape[d]);
        t->shape[d] = shape[d];
        t->n_elements *= shape[d];
    }
    t->size = (uint64_t)t->n_elements * (uint64_t)quant_traits((uint32_t)t->type)->bytes;
    return OPSM_OK;
}

/* Takes over `name`. */
static opsm_status append(struct safetensors_writer *w, struct planned *t, const char *shown, opsm_error *err) {
    if (w->n_tensors == w->room) {
        int64_t more = w->room ? 2 * w->room : FIRST_ROOM;
        struct planned *bigger = mem_resize(w->tensors, (size_t)w->room, (size_t)more, sizeof *bigger);
        if (!bigger)
            return mem_exhausted(err, "the tensor table of a safetensors writer", (size_t)more * sizeof *bigger);
        w->tensors = bigger;
        w->room = more;
    }
    uint32_t index = (uint32_t)w->n_tensors;
    if (name_map_add(&w->names, t->name, strlen(t->name), &index) != OPSM_OK)
        return mem_exhausted(err, "the index of a safetensors writer", 0);
    if (index != (uint32_t)w->n_tensors)
        return opsm_fail(err, OPSM_INVALID, "'%.150s': tensor %s is announced twice", w->path, shown);
    t->number = w->n_tensors;
    w->tensors[w->n_tensors++] = *t;
    return OPSM_OK;
}

opsm_status safetensors_writer_add(struct safetensors_writer *w, const char *name, int n_dims, const int64_t *shape,
                                   enum quant_type type, opsm_error *err) {
    char shown[QUOTE_ROOM];
    quote(shown, name, strlen(name));
    struct planned t = {.n_dims = n_dims, .type = type};
    if (w->n_shards > 0)
        return opsm_fail(err, OPSM_INVALID, "'%.150s': tensor %s announced after tensor data was written", w->path,
                         shown);
    if (type != QUANT_F32 && type != QUANT_F16 && type != QUANT_BF16)
        return opsm_fail(err, OPSM_UNSUPPORTED, "'%.150s': tensor %s cannot be written as %s; use F32, F16 or BF16",
                         w->path, shown, quant_traits((uint32_t)type)->name);
    opsm_status status = check_name(w, name, shown, err);
    if (status == OPSM_OK) status = plan_shape(w, shown, shape, &t, err);
    if (status != OPSM_OK) return status;
    t.name = mem_strdup(name);
    status = t.name ? append(w, &t, shown, err) : mem_exhausted(err, "a tensor's name", strlen(name));
    if (status != OPSM_OK) mem_free(t.name);
    return status;
}

/* ---- shards ------------------------------------------------------------------------------------------------------ */

/* By shard; four-byte elements first; then as announced. */
static int compare_planned(const void *a, const void *b) {
    const struct planned *x = a, *y = b;
    if (x->shard != y->shard) return x->shard < y->shard ? -1 : 1;
    int wide_x = x->type == QUANT_F32, wide_y = y->type == QUANT_F32;
    if (wide_x != wide_y) return wide_y - wide_x;
    return x->number < y->number ? -1 : 1;
}

/* As many tensors to each file as fit; at least one. */
static void plan_shards(struct safetensors_writer *w) {
    uint64_t filled = 0;
    w->n_shards = 1;
    for (int64_t i = 0; i < w->n_tensors; i++) {
        struct planned *t = &w->tensors[i];
        if (filled > 0 && t->size > w->shard_bytes - filled) {
            w->n_shards++;
            filled = 0;
        }
        t->shard = w->n_shards - 1;
        filled = t->size < w->shard_bytes - filled ? filled + t->size : w->shard_bytes;
    }
    if (w->n_tensors > 0) qsort(w->tensors, (size_t)w->n_tensors, sizeof *w->tensors, compare_planned);
}

/* The path of a shard, or the path itself where there is one file only; release with text_free. */
static struct text shard_path(const struct safetensors_writer *w, int64_t shard) {
    static const char end[] = ".safetensors";
    struct text path = {0};
    size_t stem = strlen(w->path);
    if (stem >= strlen(end) && strcmp(w->path + stem - strlen(end), end) == 0) stem -= strlen(end);
    if (w->n_shards == 1)
        text_puts(&path, w->path);
    else
        text_printf(&path, "%.*s-%05lld-of-%05lld%s", (int)stem, w->path, (long long)shard + 1, (long long)w->n_shards,
                    end);
    return path;
}

static const char *file_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void describe(struct json_writer *json, const struct planned *t, uint64_t offset) {
    json_put_open(json, t->name, '{');
    json_put_string(json, "dtype", quant_traits((uint32_t)t->type)->name);
    json_put_open(json, "shape", '[');
    for (int d = 0; d < t->n_dims; d++) json_put_int(json, NULL, t->shape[d]);
    json_put_close(json, ']');
    json_put_open(json, "data_offsets", '[');
    json_put_int(json, NULL, (int64_t)offset);
    json_put_int(json, NULL, (int64_t)(offset + t->size));
    json_put_close(json, ']');
    json_put_close(json, '}');
}

/* Length and header; `format` is what transformers wants to find in it. */
static opsm_status write_header(struct safetensors_writer *w, int64_t shard, opsm_error *err) {
    struct text header = {0};
    struct json_writer json = {.text = &header};
    uint64_t offset = 0;
    json_put_open(&json, NULL, '{');
    json_put_open(&json, "__metadata__", '{');
    json_put_string(&json, "format", "pt");
    json_put_close(&json, '}');
    for (int64_t i = 0; i < w->n_tensors; i++) {
        if (w->tensors[i].shard != shard) continue;
        describe(&json, &w->tensors[i], offset);
        offset += w->tensors[i].size;
    }
    json_put_close(&json, '}');
    while (!header.failed && header.length % ALIGNMENT != 0) text_puts(&header, " ");
    opsm_status status = OPSM_OK;
    if (header.failed)
        status = mem_exhausted(err, "the header of a safetensors file", header.length);
    else if (header.length > SAFETENSORS_HEADER_MAX)
        status = opsm_fail(err, OPSM_INVALID, "'%.150s': a header of %zu bytes, at most %d are allowed", w->path,
                           header.length, SAFETENSORS_HEADER_MAX);
    if (status == OPSM_OK) {
        uint8_t length[8];
        store_u64(length, header.length);
        file_write(w->shards[shard], length, sizeof length);
        file_write(w->shards[shard], header.data, header.length);
    }
    text_free(&header);
    return status;
}

/* Opens all files, with their headers. */
static opsm_status begin(struct safetensors_writer *w, opsm_error *err) {
    if (w->n_shards == 0) plan_shards(w);
    w->shards = mem_zalloc((size_t)w->n_shards, sizeof(struct file_out *));
    if (!w->shards) return mem_exhausted(err, "a table of files", (size_t)w->n_shards * sizeof(struct file_out *));
    opsm_status status = OPSM_OK;
    for (int64_t i = 0; i < w->n_shards && status == OPSM_OK; i++) {
        struct text path = shard_path(w, i);
        status =
            path.failed ? mem_exhausted(err, "a file name", path.length) : file_create(&w->shards[i], path.data, err);
        text_free(&path);
        if (status == OPSM_OK) status = write_header(w, i, err);
    }
    return status;
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

int64_t safetensors_writer_next(struct safetensors_writer *w) {
    if (w->n_shards == 0) plan_shards(w);
    return w->next < w->n_tensors ? w->tensors[w->next].number : -1;
}

opsm_status safetensors_writer_put(struct safetensors_writer *w, const float *values, int64_t count, opsm_error *err) {
    opsm_status status = w->shards ? OPSM_OK : begin(w, err);
    if (status != OPSM_OK) return status;
    if (w->next == w->n_tensors)
        return opsm_fail(err, OPSM_INVALID, "'%.150s': data for more than the %lld announced tensors", w->path,
                         (long long)w->n_tensors);
    const struct planned *t = &w->tensors[w->next];
    char shown[QUOTE_ROOM];
    if (count != t->n_elements)
        return opsm_fail(err, OPSM_INVALID, "'%.150s': %lld values for tensor %s, expected %lld", w->path,
                         (long long)count, quote(shown, t->name, strlen(t->name)), (long long)t->n_elements);
    status = encode_to_file(w->shards[t->shard], t->type, values, count, w->scratch, w->path, t->name, err);
    if (status == OPSM_OK) w->next++;
    return status;
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static opsm_status compose_index(const struct safetensors_writer *w, struct text *index, opsm_error *err) {
    struct json_writer json = {.text = index, .spaced = true};
    uint64_t total = 0;
    for (int64_t i = 0; i < w->n_tensors; i++) total += w->tensors[i].size;
    json_put_open(&json, NULL, '{');
    json_put_open(&json, "metadata", '{');
    json_put_int(&json, "total_size", (int64_t)total);
    json_put_close(&json, '}');
    json_put_open(&json, "weight_map", '{');
    for (int64_t i = 0; i < w->n_tensors; i++) {
        struct text path = shard_path(w, w->tensors[i].shard);
        if (path.failed) index->failed = true;
        json_put_string(&json, w->tensors[i].name, path.failed ? NULL : file_name(path.data));
        text_free(&path);
    }
    json_put_close(&json, '}');
    json_put_close(&json, '}');
    json_put_end(&json);
    return index->failed ? mem_exhausted(err, "the index of a model", index->length) : OPSM_OK;
}

static opsm_status write_index(const struct safetensors_writer *w, opsm_error *err) {
    struct text index = {0}, path = {0};
    struct file_out *out;
    opsm_status status = compose_index(w, &index, err);
    text_printf(&path, "%s.index.json", w->path);
    if (status == OPSM_OK && path.failed) status = mem_exhausted(err, "a file name", path.length);
    if (status == OPSM_OK) status = file_create(&out, path.data, err);
    if (status == OPSM_OK) {
        file_write(out, index.data, index.length);
        status = file_commit(out, err);
    }
    text_free(&index);
    text_free(&path);
    return status;
}

/* A file of an earlier model, which readers would take before the index. */
static opsm_status remove_single(const struct safetensors_writer *w, opsm_error *err) {
    if (remove(w->path) == 0 || errno == ENOENT) return OPSM_OK;
    return opsm_fail(err, OPSM_IO, "cannot remove '%.150s', which hides the files written beside it: %s", w->path,
                     strerror(errno));
}

opsm_status safetensors_writer_commit(struct safetensors_writer *w, opsm_error *err) {
    opsm_status status = w->shards ? OPSM_OK : begin(w, err);
    if (status == OPSM_OK && w->next < w->n_tensors)
        status =
            opsm_fail(err, OPSM_INVALID, "'%.150s': the data of tensor '%.60s' was never written (%lld of %lld were)",
                      w->path, w->tensors[w->next].name, (long long)w->next, (long long)w->n_tensors);
    for (int64_t i = 0; i < w->n_shards && status == OPSM_OK; i++) {
        status = file_commit(w->shards[i], err);
        w->shards[i] = NULL;
    }
    if (status == OPSM_OK && w->n_shards > 1) status = write_index(w, err);
    if (status == OPSM_OK && w->n_shards > 1) status = remove_single(w, err);
    safetensors_writer_abort(w);
    return status;
}
