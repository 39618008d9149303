/* SPDX-License-Identifier: Apache-2.0
 *
 * A block of weights: named tensors one behind the other in f32 (the masters), and where they are trained gradients and
 * AdamW's moments as blocks of the same layout, so that clipping, updates and checkpoints are single loops. What is
 * trained is such a block, the whole model or the adapters beside it; optimiser, checkpoint and trainer know nothing else
 * of it.
 */
#ifndef OPSM_MODEL_PARAMETERS_H
#define OPSM_MODEL_PARAMETERS_H
#include "io/record.h"
#include <stdbool.h>
#include <stdint.h>

enum { PARAMETER_NAME_MAX = 64 };

/* A tensor of the block: [rows, cols] row-major, or [cols] with rows == 1. */
struct parameter {
    char name[PARAMETER_NAME_MAX]; /* as in GGUF */
    int64_t offset; /* floats from the block's start; every matrix of its own is 16-float aligned. -1: kept elsewhere */
    int64_t rows, cols;
    bool decay; /* matrices decay, norms and biases do not */
};

struct parameters {
    struct parameter *tensors; /* [n_tensors], owned */
    int32_t n_tensors;
    int64_t size;      /* floats of a block, padding included (padding stays zero) */
    int64_t n_weights; /* what a person calls the number of parameters */
    float *values;     /* [size], owned, as are the blocks below */
    float *grads;      /* [size] what backward passes add to; NULL: frozen */
    float *m, *v;      /* [size] AdamW's first and second moments; NULL: nothing was trained yet */
    int64_t updates;   /* applied so far: the t of the bias correction */
    int64_t nonfinite; /* updates left out because something in them was not finite */
};

/* First the list: room for n tensors, then one after the other. Each returns the offset of its tensor. */
opsm_status parameters_reserve(struct parameters *p, int32_t n, opsm_error *err);
int64_t parameters_add(struct parameters *p, const char *name, int64_t rows, int64_t cols, bool decay);
/* Right behind the tensor before it, which together with this one is one matrix of a fused product. */
int64_t parameters_append(struct parameters *p, const char *name, int64_t rows, int64_t cols, bool decay);

/* One that counts as a weight and takes no room here. */
void parameters_declare(struct parameters *p, const char *name, int64_t rows, int64_t cols);

/* Then the memory: values, zero; with `trained` gradients, too. */
opsm_status parameters_allocate(struct parameters *p, bool trained, opsm_error *err);

/* A training begins: moments and counts are zero. */
opsm_status parameters_begin(struct parameters *p, opsm_error *err);

void parameters_zero_grads(struct parameters *p);
void parameters_free(struct parameters *p);

/* Where the gradient of the tensor at this offset is added up; NULL: frozen. */
static inline float *parameters_grad(const struct parameters *p, int64_t offset) {
    return p->grads ? p->grads + offset : NULL;
}

/* Of one block: values, gradients, and each of the two moments are as large. */
size_t parameters_bytes(const struct parameters *p);

/* Values, moments and counts of a trained block. */
void parameters_write(const struct parameters *p, struct record_out *out);
/* Reads them back; OPSM_FORMAT when the block has another size. Without moments only the values are filled, and the
 * record stands before the moments. */
opsm_status parameters_read(struct parameters *p, struct record_in *in, opsm_error *err);

#endif
