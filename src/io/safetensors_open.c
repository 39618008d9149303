/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening a file, an index or a directory; looking tensors up and reading them.
 */
#include "base/mem.h"
#include "io/json_members.h"
#include "io/quote.h"
#include "io/safetensors_internal.h"
#include <string.h>

enum { INDEX_MAX = 32 << 20 }; /* bytes: a quarter of a million tensors */

/* ---- several files ----------------------------------------------------------------------------------------------- */

static opsm_status map_file(struct safetensors *st, const char *path, const json_t *weight_map, const char *shard,
                            opsm_error *err) {
    struct file_map *maps = mem_resize(st->maps, (size_t)st->n_maps, (size_t)st->n_maps + 1, sizeof *maps);
    if (!maps) return mem_exhausted(err, "a table of files", sizeof *maps);
    st->maps = maps;
    opsm_status status = file_map_open(&maps[st->n_maps], path, err);
    if (status != OPSM_OK) return status;
    const struct file_map *map = &maps[st->n_maps++];
    return safetensors_add_file(st, map->data, map->size, path, weight_map, shard, err);
}

/* A name in the index is a file in its directory and nothing else, and can be shown. */
static bool is_plain_name(const char *name) {
    for (const char *c = name; *c; c++)
        if (*c < 0x20 || *c >= 0x7f || *c == '/' || *c == '\\') return false;
    return name[0] != '\0' && name[0] != '.';
}

/* The files that weight_map names, each once, as keys of *shards. */
static opsm_status list_shards(json_t *weight_map, const char *path, json_t **shards, opsm_error *err) {
    char shown[QUOTE_ROOM];
    const char *name;
    json_t *file;
    *shards = json_object();
    if (!*shards) return mem_exhausted(err, "a table of files", 0);
    json_object_foreach(weight_map, name, file) {
        quote(shown, name, strlen(name));
        if (!json_is_string(file) || !is_plain_name(json_string_value(file)))
            return opsm_fail(
                err, OPSM_FORMAT,
                "'%.150s': tensor %s: expected the plain name of a file in the same directory, without '/'", path,
                shown);
        if (json_object_set_new(*shards, json_string_value(file), json_true()) != 0)
            return mem_exhausted(err, "a table of files", 0);
    }
    return OPSM_OK;
}

static opsm_status check_all_found(const struct safetensors *st, json_t *weight_map, const char *path,
                                   opsm_error *err) {
    char shown[QUOTE_ROOM], shown_file[QUOTE_ROOM];
    const char *name;
    json_t *file;
    json_object_foreach(weight_map, name, file) {
        if (safetensors_find(st, name)) continue;
        return opsm_fail(err, OPSM_FORMAT, "'%.150s' places tensor %s in %s, which does not hold it", path,
                         quote(shown, name, strlen(name)),
                         quote(shown_file, json_string_value(file), json_string_length(file)));
    }
    return OPSM_OK;
}

static opsm_status open_shards(struct safetensors *st, json_t *weight_map, const char *path, opsm_error *err) {
    json_t *shards;
    const char *name;
    json_t *unused;
    const char *slash = strrchr(path, '/');
    char *dir = slash ? mem_strndup(path, (size_t)(slash - path)) : mem_strdup(".");
    opsm_status status = dir ? list_shards(weight_map, path, &shards, err) : mem_exhausted(err, "a file name", 0);
    if (!dir) return status;
    json_object_foreach(shards, name, unused) {
        char *file = status == OPSM_OK ? file_join(dir, name) : NULL;
        if (status == OPSM_OK)
            status = file ? map_file(st, file, weight_map, name, err) : mem_exhausted(err, "a file name", 0);
        mem_free(file);
    }
    json_decref(shards);
    mem_free(dir);
    return status == OPSM_OK ? check_all_found(st, weight_map, path, err) : status;
}

/* The index is small beside the header it speaks of, and is taken as a whole: weight_map is looked up in. */
static opsm_status parse_index(json_t **index, const char *text, size_t size, const char *path, opsm_error *err) {
    struct json_members whole = {.text = text, .length = size, .file = path, .err = err};
    return json_members_parse(&whole, index, (struct text_view){.data = text, .length = size});
}

static opsm_status open_index(struct safetensors *st, const char *path, opsm_error *err) {
    char *text = NULL;
    size_t size;
    json_t *index = NULL;
    opsm_status status = file_read(path, INDEX_MAX, &text, &size, err);
    if (status == OPSM_OK) status = parse_index(&index, text, size, path, err);
    mem_free(text);
    json_t *weight_map = json_object_get(index, "weight_map");
    if (status == OPSM_OK && !json_is_object(weight_map))
        status = opsm_fail(err, OPSM_FORMAT, "'%.150s': 'weight_map' is %s, expected an object: tensor -> file", path,
                           weight_map ? "something else" : "missing");
    if (status == OPSM_OK) status = open_shards(st, weight_map, path, err);
    json_decref(index);
    return status;
}

static opsm_status open_directory(struct safetensors *st, const char *path, opsm_error *err) {
    char *file = file_join(path, "model.safetensors"), *index = file_join(path, "model.safetensors.index.json");
    opsm_status status;
    if (!file || !index)
        status = mem_exhausted(err, "a file name", 0);
    else if (file_exists(file))
        status = map_file(st, file, NULL, NULL, err);
    else if (file_exists(index))
        status = open_index(st, index, err);
    else
        status = opsm_fail(
            err, OPSM_IO,
            "'%.150s' is a directory with neither model.safetensors nor model.safetensors.index.json in it", path);
    mem_free(file);
    mem_free(index);
    return status;
}

/* ---- handles ----------------------------------------------------------------------------------------------------- */

static opsm_status create(struct safetensors **result, const char *path, opsm_error *err) {
    *result = mem_zalloc(1, sizeof **result);
    char *copy = mem_strdup(path);
    if (!*result || !copy) {
        mem_free(*result);
        mem_free(copy);
        *result = NULL;
        return mem_exhausted(err, "a safetensors file", sizeof **result);
    }
    (*result)->path = copy;
    (*result)->names = name_map_make();
    return OPSM_OK;
}

/* Hands over what was opened, or nothing. */
static opsm_status finish(struct safetensors **result, opsm_status status) {
    if (status == OPSM_OK) return OPSM_OK;
    safetensors_close(*result);
    *result = NULL;
    return status;
}

static bool ends_with(const char *text, const char *end) {
    size_t length = strlen(text), n = strlen(end);
    return length >= n && strcmp(text + length - n, end) == 0;
}

bool safetensors_is_path(const char *path) {
    return ends_with(path, ".safetensors") || ends_with(path, ".safetensors.index.json") || file_is_dir(path);
}

opsm_status safetensors_open(struct safetensors **result, const char *path, opsm_error *err) {
    opsm_status status = create(result, path, err);
    if (status != OPSM_OK) return status;
    if (file_is_dir(path)) return finish(result, open_directory(*result, path, err));
    if (ends_with(path, ".index.json")) return finish(result, open_index(*result, path, err));
    return finish(result, map_file(*result, path, NULL, NULL, err));
}

opsm_status safetensors_open_memory(struct safetensors **result, const void *data, size_t size, const char *name,
                                    opsm_error *err) {
    opsm_status status = create(result, name, err);
    return status == OPSM_OK ? finish(result, safetensors_add_file(*result, data, size, name, NULL, NULL, err))
                             : status;
}

void safetensors_close(struct safetensors *st) {
    if (!st) return;
    name_map_free(&st->names);
    for (int64_t i = 0; i < st->n_tensors; i++) mem_free(st->tensors[i].name);
    for (int64_t i = 0; i < st->n_maps; i++) file_map_close(&st->maps[i]);
    mem_free(st->tensors);
    mem_free(st->maps);
    mem_free(st->path);
    mem_free(st);
}

void safetensors_drop_pages(const struct safetensors *st) {
    for (int64_t i = 0; i < st->n_maps; i++) file_map_drop(&st->maps[i]);
}

const struct safetensors_tensor *safetensors_find(const struct safetensors *st, const char *name) {
    int64_t i = name_map_find(&st->names, name, strlen(name));
    return i < 0 ? NULL : &st->tensors[i];
}

opsm_status safetensors_read(const struct safetensors *st, const struct safetensors_tensor *t, int64_t first,
                             int64_t count, float *out, opsm_error *err) {
    char shown[QUOTE_ROOM];
    if (!t->dtype->readable)
        return opsm_fail(
            err, OPSM_UNSUPPORTED,
            "'%.150s': tensor %s is stored as %s, which cannot be read; convert the model to F32, F16 or BF16",
            st->path, quote(shown, t->name, strlen(t->name)), t->dtype->name);
    if (first < 0 || count < 0 || first > t->n_elements || count > t->n_elements - first)
        return opsm_fail(err, OPSM_INVALID, "'%.150s': elements %lld + %lld asked of tensor %s, which has %lld",
                         st->path, (long long)first, (long long)count, quote(shown, t->name, strlen(t->name)),
                         (long long)t->n_elements);
    const struct quant_traits *traits = quant_traits((uint32_t)t->dtype->type);
    if (count > 0) traits->decode(t->data + first * traits->bytes, count, out);
    return OPSM_OK;
}
