/* SPDX-License-Identifier: Apache-2.0 */
#include "model/parameters.h"
#include "base/mem.h"
#include <stdio.h>
#include <string.h>

enum { ALIGN = 16 }; /* floats */

opsm_status parameters_reserve(struct parameters *p, int32_t n, opsm_error *err) {
    *p = (struct parameters){.tensors = mem_zalloc((size_t)n, sizeof *p->tensors)};
    return p->tensors ? OPSM_OK : mem_exhausted(err, "the list of tensors", (size_t)n * sizeof *p->tensors);
}

static void list(struct parameters *p, int64_t offset, const char *name, int64_t rows, int64_t cols, bool decay) {
    struct parameter *t = &p->tensors[p->n_tensors++];
    *t = (struct parameter){.offset = offset, .rows = rows, .cols = cols, .decay = decay};
    snprintf(t->name, sizeof t->name, "%s", name);
    p->n_weights += rows * cols;
}

void parameters_declare(struct parameters *p, const char *name, int64_t rows, int64_t cols) {
    list(p, -1, name, rows, cols, true);
}

static int64_t place(struct parameters *p, int64_t offset, const char *name, int64_t rows, int64_t cols, bool decay) {
    list(p, offset, name, rows, cols, decay);
    p->size = (offset + rows * cols + ALIGN - 1) / ALIGN * ALIGN;
    return offset;
}

int64_t parameters_add(struct parameters *p, const char *name, int64_t rows, int64_t cols, bool decay) {
    return place(p, p->size, name, rows, cols, decay);
}

int64_t parameters_append(struct parameters *p, const char *name, int64_t rows, int64_t cols, bool decay) {
    const struct parameter *last = &p->tensors[p->n_tensors - 1];
    return place(p, last->offset + last->rows * last->cols, name, rows, cols, decay);
}

static opsm_status allocate(float **block, const struct parameters *p, const char *what, opsm_error *err) {
    *block = mem_zalloc((size_t)p->size, sizeof **block);
    return *block ? OPSM_OK : mem_exhausted(err, what, parameters_bytes(p));
}

opsm_status parameters_allocate(struct parameters *p, bool trained, opsm_error *err) {
    opsm_status status = allocate(&p->values, p, "the model's weights", err);
    return status == OPSM_OK && trained ? allocate(&p->grads, p, "gradients", err) : status;
}

opsm_status parameters_begin(struct parameters *p, opsm_error *err) {
    mem_free(p->m);
    mem_free(p->v);
    p->m = p->v = NULL;
    p->updates = p->nonfinite = 0;
    opsm_status status = allocate(&p->m, p, "the optimiser's moments", err);
    return status == OPSM_OK ? allocate(&p->v, p, "the optimiser's moments", err) : status;
}

void parameters_zero_grads(struct parameters *p) {
    memset(p->grads, 0, parameters_bytes(p));
}

void parameters_free(struct parameters *p) {
    mem_free(p->tensors);
    mem_free(p->values);
    mem_free(p->grads);
    mem_free(p->m);
    mem_free(p->v);
    *p = (struct parameters){0};
}

size_t parameters_bytes(const struct parameters *p) {
    return (size_t)p->size * sizeof(float);
}

void parameters_write(const struct parameters *p, struct record_out *out) {
    record_write_i64(out, p->updates);
    record_write_i64(out, p->nonfinite);
    record_write_i64(out, p->size);
    record_write(out, p->values, parameters_bytes(p));
    record_write(out, p->m, parameters_bytes(p));
    record_write(out, p->v, parameters_bytes(p));
}

opsm_status parameters_read(struct parameters *p, struct record_in *in, opsm_error *err) {
    int64_t size;
    opsm_status status = record_read_i64(in, 0, INT64_MAX, &p->updates, err);
    if (status == OPSM_OK) status = record_read_i64(in, 0, INT64_MAX, &p->nonfinite, err);
    if (status == OPSM_OK) status = record_read_i64(in, p->size, p->size, &size, err);
    if (status == OPSM_OK) status = record_read(in, p->values, parameters_bytes(p), err);
    if (status == OPSM_OK && p->m) status = record_read(in, p->m, parameters_bytes(p), err);
    if (status == OPSM_OK && p->v) status = record_read(in, p->v, parameters_bytes(p), err);
    return status;
}
