/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer target of the safetensors reader. After a first byte of 1 comes an index, beside two files whose tensors are
 * a, b and b, c; after any other, a file. Either is refused with a sentence that names the file, or accepted, and then
 * every tensor is safe to read.
 */
#include "base/mem.h"
#include "io/safetensors.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition, const char *what) {
    if (condition) return;
    fprintf(stderr, "broken promise: %s\n", what);
    abort();
}

static char directory[] = "/tmp/fuzz-safetensors-XXXXXX", shard[2][64], index_path[64];

static void write_bytes(const char *path, const void *bytes, size_t size) {
    FILE *f = fopen(path, "wb");
    require(f && fwrite(bytes, 1, size, f) == size && fclose(f) == 0, "a scratch file can be written");
}

static void clean_up(void) {
    unlink(shard[0]);
    unlink(shard[1]);
    unlink(index_path);
    rmdir(directory);
}

static void make_directory(void) {
    static int made;
    if (made++) return;
    require(mkdtemp(directory) != NULL, "a scratch directory can be made");
    snprintf(index_path, sizeof index_path, "%s/model.safetensors.index.json", directory);
    for (int i = 0; i < 2; i++) {
        uint8_t bytes[256] = {0};
        int n = snprintf((char *)bytes + 8, sizeof bytes - 8,
                         "{\"%c\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[0,2]},"
                         "\"%c\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[2,4]}}",
                         'a' + i, 'b' + i);
        bytes[0] = (uint8_t)n;
        snprintf(shard[i], sizeof shard[i], "%s/%d.safetensors", directory, i + 1);
        write_bytes(shard[i], bytes, 8 + (size_t)n + 4);
    }
    atexit(clean_up);
}

static void read_tensors(const struct safetensors *file) {
    unsigned sum = 0;
    opsm_error err = {0};
    for (int64_t i = 0; i < file->n_tensors; i++) {
        const struct safetensors_tensor *t = &file->tensors[i];
        require(safetensors_find(file, t->name) == t, "tensors are found");
        require(t->n_elements * t->dtype->bits == (int64_t)t->size * 8, "sizes are what shapes say");
        for (size_t b = 0; b < t->size; b++) sum += t->data[b];
        float *values = mem_alloc((size_t)t->size, sizeof *values);
        opsm_status status = safetensors_read(file, t, 0, t->n_elements, values, &err);
        require(status == (t->dtype->readable ? OPSM_OK : OPSM_UNSUPPORTED), "readable types are read");
        mem_free(values);
    }
    volatile unsigned sink = sum;
    (void)sink;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    opsm_error err = {0};
    struct safetensors *file;
    opsm_status status;
    if (size == 0) return 0;
    bool index = data[0] == 1;
    if (index) {
        make_directory();
        write_bytes(index_path, data + 1, size - 1);
        status = safetensors_open(&file, directory, &err);
    } else {
        status = safetensors_open_memory(&file, data + 1, size - 1, "fuzz", &err);
    }
    if (status == OPSM_OK) {
        read_tensors(file);
        safetensors_close(file);
        return 0;
    }
    require(!file && status == err.code, "a refused file leaves no handle");
    require(status == OPSM_FORMAT || status == OPSM_UNSUPPORTED || status == OPSM_IO, "the bytes are to blame");
    require(strncmp(err.text, index ? "'/tmp/fuzz" : "'fuzz'", 6) == 0 || status == OPSM_IO, "the file is named");
    for (const char *c = err.text; *c; c++)
        require((unsigned char)*c >= 0x20 && *c != 0x7f, "the sentence is printable");
    return 0;
}
