/* SPDX-License-Identifier: Apache-2.0
 *
 * Which type each tensor of a model file gets when the file is quantised: the choices of llama.cpp, so that a file has
 * the size and quality that people know under the name of its type.
 */
#ifndef OPSM_IO_QUANT_MIXTURE_H
#define OPSM_IO_QUANT_MIXTURE_H
#include "io/quant.h"
#include <stdbool.h>

struct quant_mixture {
    enum quant_type base; /* F32, F16, BF16: alike for all; Q8_0, Q4_0; Q4_K: the mixture Q4_K_M */
    int n_layers;
    int n_experts;     /* 0 without experts */
    bool tied;         /* no output.weight: the embeddings are the head, too */
    bool shared_heads; /* llama and qwen2 alone: fewer heads for keys and values than for queries */
};

/* The type of one tensor with its GGUF name; shape[0] is the length of a row. `own` is what it keeps where a file is not
 * quantised: vectors, norms, the routers of experts. Rows that are not whole blocks of the type get another one. */
enum quant_type quant_mixture_type(const struct quant_mixture *mixture, const char *name, int n_dims,
                                   const int64_t *shape, enum quant_type own);

#endif
