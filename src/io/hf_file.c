/* SPDX-License-Identifier: Apache-2.0
 *
 * The small JSON files of a directory.
 */
#include "base/mem.h"
#include "io/hf_internal.h"
#include "io/json_lenient.h"
#include "io/quote.h"
#include <stdlib.h>
#include <string.h>

enum { SMALL_FILE_MAX = 4 << 20 }; /* the largest published tokenizer_config.json has one MiB */

static opsm_status parse(struct hf_file *file, const char *text, size_t size) {
    char shown[QUOTE_ROOM];
    json_error_t why;
    file->root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);
    /* model_max_length is often 10^30, for "none". */
    if (!file->root && json_lenient_helps(&why)) file->root = json_lenient_load(text, size, false, &why);
    if (!file->root && !why.text[0]) return mem_exhausted(file->err, file->path, size);
    if (!file->root)
        return opsm_fail(file->err, OPSM_FORMAT, "'%.150s', line %d, column %d: no JSON: %s", file->path, why.line,
                         why.column, quote(shown, why.text, strlen(why.text)));
    if (json_is_object(file->root)) return OPSM_OK;
    return opsm_fail(file->err, OPSM_FORMAT, "'%.150s': expected a JSON object", file->path);
}

opsm_status hf_file_open(struct hf_file *file, const char *dir, const char *name, bool required, opsm_error *err) {
    *file = (struct hf_file){.path = file_join(dir, name), .err = err};
    if (!file->path) return mem_exhausted(err, "a file name", 0);
    if (!required && !file_exists(file->path)) return OPSM_OK;
    char *text;
    size_t size;
    opsm_status status = file_read(file->path, SMALL_FILE_MAX, &text, &size, err);
    if (status != OPSM_OK) return status;
    status = parse(file, text, size);
    mem_free(text);
    return status;
}

void hf_file_free(struct hf_file *file) {
    json_decref(file->root);
    mem_free(file->path);
    *file = (struct hf_file){0};
}

opsm_status hf_put_text(const char *dir, const char *name, const struct text *text, opsm_error *err) {
    struct file_out *out;
    if (text->failed) return mem_exhausted(err, name, text->length);
    char *path = file_join(dir, name);
    if (!path) return mem_exhausted(err, "a file name", 0);
    opsm_status status = file_create(&out, path, err);
    mem_free(path);
    if (status != OPSM_OK) return status;
    file_write(out, text->data, text->length);
    return file_commit(out, err);
}

const json_t *hf_member(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

opsm_status hf_wrong(const struct hf_file *file, const char *key, const char *what) {
    return opsm_fail(file->err, OPSM_FORMAT, "'%.150s': %s is %s", file->path, key, what);
}

opsm_status hf_refuse(const struct hf_file *file, const char *key, const json_t *value) {
    char shown[QUOTE_ROOM];
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15));
    if (!text) return mem_exhausted(file->err, "a value of JSON", 0);
    quote(shown, text, strlen(text));
    free(text);
    return opsm_fail(file->err, OPSM_UNSUPPORTED, "'%.150s': %s %s is not supported", file->path, key, shown);
}
