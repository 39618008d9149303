/* SPDX-License-Identifier: Apache-2.0
 *
 * Our side of compare_safetensors.py: copy_safetensors IN OUT.safetensors SHARD_BYTES
 *
 * Reads a file, an index or a directory and writes all tensors again, of the same type, through floats. Prints one line
 * for each: name, type, shape.
 */
#include "base/mem.h"
#include "io/safetensors.h"
#include <stdio.h>
#include <stdlib.h>

static opsm_status announce(struct safetensors_writer *w, const struct safetensors *in, opsm_error *err) {
    opsm_status status = OPSM_OK;
    for (int64_t i = 0; i < in->n_tensors && status == OPSM_OK; i++) {
        const struct safetensors_tensor *t = &in->tensors[i];
        printf("%s %s", t->name, t->dtype->name);
        for (int d = 0; d < t->n_dims; d++) printf(" %lld", (long long)t->shape[d]);
        printf("\n");
        status = safetensors_writer_add(w, t->name, t->n_dims, t->shape, t->dtype->type, err);
    }
    return status;
}

static opsm_status copy_values(struct safetensors_writer *w, const struct safetensors *in, opsm_error *err) {
    opsm_status status = OPSM_OK;
    for (int64_t i; status == OPSM_OK && (i = safetensors_writer_next(w)) >= 0;) {
        const struct safetensors_tensor *t = &in->tensors[i];
        float *values = mem_alloc((size_t)t->n_elements, sizeof *values);
        status = safetensors_read(in, t, 0, t->n_elements, values, err);
        if (status == OPSM_OK) status = safetensors_writer_put(w, values, t->n_elements, err);
        mem_free(values);
        safetensors_drop_pages(in);
    }
    return status;
}

int main(int argc, char **argv) {
    opsm_error err = {0};
    struct safetensors *in = NULL;
    struct safetensors_writer *w = NULL;
    if (argc != 4) {
        fprintf(stderr, "usage: copy_safetensors IN OUT.safetensors SHARD_BYTES\n");
        return 2;
    }
    opsm_status status = safetensors_open(&in, argv[1], &err);
    if (status == OPSM_OK) status = safetensors_writer_create(&w, argv[2], strtoull(argv[3], NULL, 10), &err);
    if (status == OPSM_OK) status = announce(w, in, &err);
    if (status == OPSM_OK) status = copy_values(w, in, &err);
    if (status == OPSM_OK)
        status = safetensors_writer_commit(w, &err);
    else
        safetensors_writer_abort(w);
    safetensors_close(in);
    if (status != OPSM_OK) fprintf(stderr, "%s\n", err.text);
    return status == OPSM_OK ? 0 : 1;
}
