/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer target of the GGUF reader: any bytes are either refused with a sentence that names the byte, or accepted
 * and then safe to read through every function of tensor_source.h and metadata.h.
 */
#include "base/mem.h"
#include "io/tensor_source.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition, const char *what) {
    if (condition) return;
    fprintf(stderr, "broken promise: %s\n", what);
    abort();
}

static void read_key(const struct tensor_source *file, const struct metadata_value *kv, unsigned *sum) {
    opsm_error err = {0};
    char *key = mem_strndup(kv->key.data, kv->key.length);
    if (!memchr(kv->key.data, '\0', kv->key.length))
        require(metadata_find(&file->metadata, key) == kv, "keys are found");
    for (size_t b = 0; b < kv->size; b++) *sum += kv->data[b];
    struct text_view text, *strings;
    int32_t *ints;
    float *floats, x;
    uint32_t u;
    bool flag;
    uint64_t n;
    if (metadata_get_string(&file->metadata, key, &text, &err) == OPSM_OK)
        for (size_t b = 0; b < text.length; b++) *sum += (unsigned char)text.data[b];
    if (metadata_get_strings(&file->metadata, key, &strings, &n, &err) == OPSM_OK) {
        for (uint64_t i = 0; i < n; i++)
            for (size_t b = 0; b < strings[i].length; b++) *sum += (unsigned char)strings[i].data[b];
        mem_free(strings);
    }
    if (metadata_get_i32s(&file->metadata, key, &ints, &n, &err) == OPSM_OK) mem_free(ints);
    if (metadata_get_f32s(&file->metadata, key, &floats, &n, &err) == OPSM_OK) mem_free(floats);
    *sum += metadata_get_u32(&file->metadata, key, &u, &err) + metadata_get_f32(&file->metadata, key, &x, &err) +
            metadata_get_bool(&file->metadata, key, &flag, &err);
    mem_free(key);
}

static void read_tensor(const struct tensor_source *file, const struct tensor_info *t, unsigned *sum) {
    opsm_error err = {0};
    require(tensor_source_find(file, t->name) == t, "tensors are found");
    for (size_t b = 0; b < t->size; b++) *sum += t->data[b];
    float *values = mem_alloc((size_t)t->n_elements, sizeof *values);
    opsm_status status = tensor_source_read(file, t, 0, t->n_elements, values, &err);
    require(status == (quant_traits((uint32_t)t->type)->decode ? OPSM_OK : OPSM_UNSUPPORTED), "known types decode");
    mem_free(values);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    opsm_error err = {0};
    struct tensor_source *file;
    opsm_status status = tensor_source_open_memory(&file, data, size, "fuzz", &err);
    if (status != OPSM_OK) {
        require(!file && status == err.code, "a refused file leaves no handle");
        require(status == OPSM_FORMAT || status == OPSM_UNSUPPORTED, "the bytes are to blame");
        require(strncmp(err.text, "'fuzz', byte ", 13) == 0, "the sentence names the byte");
        return 0;
    }
    unsigned sum = 0;
    for (int64_t i = 0; i < file->metadata.n; i++) read_key(file, &file->metadata.values[i], &sum);
    for (int64_t i = 0; i < file->n_tensors; i++) read_tensor(file, &file->tensors[i], &sum);
    tensor_source_close(file);
    volatile unsigned sink = sum;
    (void)sink;
    return 0;
}
