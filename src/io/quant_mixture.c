/* SPDX-License-Identifier: Apache-2.0 */
#include "io/quant_mixture.h"
#include <stdlib.h>
#include <string.h>

static bool has(const char *name, const char *part) {
    return strstr(name, part) != NULL;
}

static bool is_quantised(const char *name, int n_dims) {
    size_t length = strlen(name), end = strlen("weight");
    return n_dims >= 2 && length >= end && strcmp(name + length - end, "weight") == 0 && !has(name, "_norm.weight") &&
           !has(name, "ffn_gate_inp.weight");
}

/* N of "blk.N."; 0 for other tensors. */
static int layer_of(const char *name) {
    return strncmp(name, "blk.", 4) == 0 ? (int)strtol(name + 4, NULL, 10) : 0;
}

/* The first and the last eighth of the layers, and every third between. */
static bool deserves_more_bits(int layer, int n_layers) {
    int eighth = n_layers / 8;
    return layer < eighth || layer >= 7 * n_layers / 8 || (layer - eighth) % 3 == 2;
}

static enum quant_type values_type(const struct quant_mixture *m, bool more) {
    if (m->n_experts == 8) return QUANT_Q8_0;
    if (more) return QUANT_Q6_K;
    /* Models of 70 billion parameters: eight heads share these weights, so they are few. */
    return m->base == QUANT_Q4_K && m->n_layers == 80 && m->shared_heads ? QUANT_Q5_K : m->base;
}

/* Before the shape is looked at. */
static enum quant_type wanted_type(const struct quant_mixture *m, const char *name, int64_t row) {
    bool embedding = strcmp(name, "token_embd.weight") == 0;
    if (strcmp(name, "output.weight") == 0 || (embedding && m->tied))
        return row % quant_traits((uint32_t)m->base)->block != 0 || m->base == QUANT_Q8_0 ? QUANT_Q8_0 : QUANT_Q6_K;
    if (embedding) return m->base;
    bool more = m->base == QUANT_Q4_K && deserves_more_bits(layer_of(name), m->n_layers);
    if (has(name, "attn_v.weight") || has(name, "attn_qkv.weight")) return values_type(m, more);
    if (has(name, "ffn_down") && more) return QUANT_Q6_K;
    if (has(name, "attn_k.weight") && m->n_experts == 8) return QUANT_Q8_0;
    if (has(name, "attn_output.weight") && m->n_experts == 8 && m->base == QUANT_Q4_K) return QUANT_Q5_K;
    return m->base;
}

/* The nearest type of blocks of 32, with more bits rather than fewer. */
static enum quant_type smaller_blocks(enum quant_type type) {
    return type == QUANT_Q4_K ? QUANT_Q5_0 : type == QUANT_Q5_K || type == QUANT_Q6_K ? QUANT_Q8_0 : type;
}

enum quant_type quant_mixture_type(const struct quant_mixture *m, const char *name, int n_dims, const int64_t *shape,
                                   enum quant_type own) {
    if (!is_quantised(name, n_dims)) return own;
    if (quant_traits((uint32_t)m->base)->block == 1) return m->base;
    enum quant_type type = wanted_type(m, name, shape[0]);
    if (shape[0] % quant_traits((uint32_t)type)->block != 0) type = smaller_blocks(type);
    return shape[0] % quant_traits((uint32_t)type)->block == 0 ? type : QUANT_F16;
}
