/* SPDX-License-Identifier: Apache-2.0
 *
 * Safetensors as the tensors of a model: names translated, shapes turned round, types that cannot be read refused.
 */
#include "base/mem.h"
#include "io/hf_names.h"
#include "io/quote.h"
#include "io/safetensors.h"
#include "io/tensor_source.h"
#include <stdio.h>
#include <string.h>

enum { DIMS_MAX = sizeof((struct tensor_info *)0)->shape / sizeof(int64_t) };

/* Old models carry a constant of RoPE along, which is computed from the configuration, and some a copy of the embedding
 * that is tied to it. */
static bool is_ignored(const char *name, bool tied) {
    static const char end[] = ".rotary_emb.inv_freq";
    size_t length = strlen(name);
    if (tied && strcmp(name, "lm_head.weight") == 0) return true;
    return length >= strlen(end) && strcmp(name + length - strlen(end), end) == 0;
}

/* A name without a counterpart is kept: whoever loads the model refuses by that what it does not know. */
static opsm_status set_name(struct tensor_info *t, const struct safetensors *from, const char *name, bool sandwich,
                            opsm_error *err) {
    char shown[QUOTE_ROOM];
    size_t length = strlen(name);
    if (hf_name_to_gguf(t->name, name, sandwich)) return OPSM_OK;
    if (length == 0 || length >= sizeof t->name)
        return opsm_fail(err, OPSM_UNSUPPORTED, "'%.150s': tensor %s is not part of a language model as opsm knows it",
                         from->path, quote(shown, name, length));
    memcpy(t->name, name, length + 1);
    return OPSM_OK;
}

static opsm_status set_tensor(struct tensor_info *t, const struct safetensors *from, const struct safetensors_tensor *s,
                              bool sandwich, opsm_error *err) {
    char shown[QUOTE_ROOM];
    *t = (struct tensor_info){.n_dims = s->n_dims, .n_elements = s->n_elements, .data = s->data, .size = s->size};
    if (s->n_dims > DIMS_MAX)
        return opsm_fail(err, OPSM_UNSUPPORTED, "'%.150s': tensor %s has %d dimensions, at most %d can be used",
                         from->path, quote(shown, s->name, strlen(s->name)), s->n_dims, DIMS_MAX);
    opsm_status status = safetensors_read(from, s, 0, 0, NULL, err); /* whether it can be */
    if (status != OPSM_OK) return status;
    t->type = s->dtype->type;
    for (int d = 0; d < DIMS_MAX; d++) t->shape[d] = d < s->n_dims ? s->shape[s->n_dims - 1 - d] : 1;
    return set_name(t, from, s->name, sandwich, err);
}

static opsm_status enter(struct tensor_source *source, opsm_error *err) {
    char shown[QUOTE_ROOM];
    const char *name = source->tensors[source->n_tensors].name;
    uint32_t index = (uint32_t)source->n_tensors;
    if (name_map_add(&source->names, name, strlen(name), &index) != OPSM_OK)
        return mem_exhausted(err, "the index of a model", source->names.capacity * 2 * sizeof *source->names.slots);
    if (index != (uint32_t)source->n_tensors)
        return opsm_fail(err, OPSM_FORMAT, "'%.150s': tensor %s is there under two names", source->metadata.where,
                         quote(shown, name, strlen(name)));
    source->n_tensors++;
    return OPSM_OK;
}

opsm_status safetensors_fill_floats(struct tensor_source *source, const char *name, const float *values, int64_t n,
                                    opsm_error *err) {
    struct tensor_info *t = &source->tensors[source->n_tensors];
    *t = (struct tensor_info){.n_dims = 1, .shape = {n, 1, 1, 1}, .n_elements = n, .type = QUANT_F32};
    snprintf(t->name, sizeof t->name, "%s", name);
    t->data = (const uint8_t *)values;
    t->size = (size_t)n * sizeof *values;
    return enter(source, err);
}

opsm_status safetensors_fill(struct tensor_source *source, const char *path, bool tied, opsm_error *err) {
    opsm_status status = safetensors_open(&source->safetensors, path, err);
    if (status != OPSM_OK) return status;
    const struct safetensors *from = source->safetensors;
    source->rotate_half = true;
    size_t room = (size_t)from->n_tensors + 1; /* for rope_freqs.weight */
    source->tensors = mem_alloc(room, sizeof *source->tensors);
    if (!source->tensors) return mem_exhausted(err, "the tensor table of a model", room * sizeof *source->tensors);
    bool sandwich = false;
    for (int64_t i = 0; i < from->n_tensors; i++)
        sandwich = sandwich || strstr(from->tensors[i].name, HF_SANDWICH_MARK);
    for (int64_t i = 0; i < from->n_tensors && status == OPSM_OK; i++) {
        if (is_ignored(from->tensors[i].name, tied)) continue;
        status = set_tensor(&source->tensors[source->n_tensors], from, &from->tensors[i], sandwich, err);
        if (status == OPSM_OK) status = enter(source, err);
    }
    return status;
}
