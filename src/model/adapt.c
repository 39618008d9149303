/* SPDX-License-Identifier: Apache-2.0
 *
 * Adapters on a model's products: which there are, their first values, merging them.
 */
#include "base/rng.h"
#include "base/threads.h"
#include "model/layout.h"
#include "model/load.h"
#include <stdio.h>
#include <string.h>

/* The tensor of target `target` in layer l; NULL: the model has none. */
static const struct parameter *find_target(const struct model *m, int32_t l, int target) {
    const char *word = LORA_TARGETS;
    for (; target > 0; target--) word = strchr(word, '|') + 1;
    char name[PARAMETER_NAME_MAX];
    snprintf(name, sizeof name, "blk.%d.%.*s.weight", l, (int)strcspn(word, "|"), word);
    for (int32_t i = 0; i < m->params.n_tensors; i++)
        if (!strcmp(m->params.tensors[i].name, name)) return &m->params.tensors[i];
    return NULL;
}

static opsm_status check_rank(const struct model *m, const struct parameter *t, opsm_error *err) {
    int64_t smaller = t->rows < t->cols ? t->rows : t->cols;
    if (m->lora.rank <= smaller) return OPSM_OK;
    return opsm_fail(
        err, OPSM_INVALID,
        "train.lora.rank is %d, but %s of '%s' is %lld x %lld: an adapter of rank %lld is the whole matrix; "
        "take a smaller rank or other train.lora.targets",
        m->lora.rank, t->name, tensor_source_path(m->source), (long long)t->rows, (long long)t->cols,
        (long long)smaller);
}

static int64_t add(struct model *m, const struct parameter *t, const char *suffix, int64_t rows, int64_t cols,
                   bool behind) {
    char name[PARAMETER_NAME_MAX];
    snprintf(name, sizeof name, "%.*s%s", (int)(sizeof name - 8), t->name, suffix);
    return (behind ? parameters_append : parameters_add)(&m->adapters, name, rows, cols, true);
}

/* Adapters for the targets from `first` to `last` in layer l, whose tensors are the rows of this product. The A first:
 * they are one matrix. */
static opsm_status adapt_product(struct model *m, struct linear *linear, int32_t l, int first, int last,
                                 opsm_error *err) {
    struct lora *lora = &linear->lora;
    const struct parameter *tensors[LORA_PARTS_MAX] = {NULL};
    int64_t row = 0;
    for (int target = first; target <= last; target++) {
        const struct parameter *t = find_target(m, l, target);
        if (!t) return opsm_fail(err, OPSM_INTERNAL, "layer %d has no tensor for an adapter", l);
        if (m->lora.targets >> target & 1) {
            opsm_status status = check_rank(m, t, err);
            if (status != OPSM_OK) return status;
            int64_t a = add(m, t, ".lora_a", m->lora.rank, t->cols, lora->n_parts > 0);
            if (lora->n_parts == 0) lora->a = a;
            lora->part[lora->n_parts] = (struct lora_part){.row = row, .rows = t->rows};
            tensors[lora->n_parts++] = t;
        }
        row += t->rows;
    }
    if (lora->n_parts == 0) return OPSM_OK;
    lora->params = &m->adapters;
    lora->rank = m->lora.rank;
    lora->n_out = linear->n_out;
    lora->n_in = linear->n_in;
    lora->scale = (float)lora_scale(&m->lora);
    for (int32_t p = 0; p < lora->n_parts; p++)
        lora->part[p].b = add(m, tensors[p], ".lora_b", lora->part[p].rows, m->lora.rank, false);
    int64_t width = lora_width(lora);
    m->n_adapted += (linear->n_out + linear->n_in) * width;
    if (m->lora_width < width) m->lora_width = width;
    return OPSM_OK;
}

/* The frozen matrices will be kept as the file has them. */
static void keep_as_it_came(struct model *m) {
    for (int32_t i = 0; i < m->n_linears; i++) {
        struct linear *l = &m->linears[i];
        if (l->weight >= 0) continue;
        const struct parameter *t = &m->params.tensors[l->tensor];
        for (int64_t row = 0; row < l->n_out; row += t++->rows) {
            const struct quant_traits *traits = quant_traits(tensor_source_find(m->source, t->name)->type);
            l->part[l->n_parts++] = (struct gemm_blocks){
                .rows = t->rows, .block = traits->block, .bytes = traits->bytes, .decode = traits->decode};
        }
        m->n_in_blocks += l->n_out * l->n_in;
        m->block_bytes += linear_block_bytes(l);
    }
}

opsm_status model_adapt(struct model *m, const struct lora_config *config, uint64_t seed, opsm_error *err) {
    if (config->rank < 1 || !(config->targets & LORA_ALL))
        return opsm_fail(err, OPSM_INVALID, "adapters of rank %d on %s", config->rank,
                         config->targets & LORA_ALL ? "a model" : "no tensor at all");
    model_layout_free(m);
    m->n_linears = 0;
    m->n_multiplied = 0;
    m->lora = *config;
    m->lora_seed = seed;
    opsm_status status = model_layout(m, err); /* anew: frozen matrices are kept otherwise */
    if (status == OPSM_OK && config->base == LORA_BASE_FILE) keep_as_it_came(m);
    if (status == OPSM_OK) status = parameters_reserve(&m->adapters, 2 * LORA_N_TARGETS * m->config.n_layers, err);
    for (int32_t l = 0; l < m->config.n_layers && status == OPSM_OK; l++) {
        struct model_layer *layer = &m->layers[l];
        status = adapt_product(m, layer->qkv, l, 0, 2, err);
        if (status == OPSM_OK) status = adapt_product(m, layer->out, l, 3, 3, err);
        if (status == OPSM_OK) status = adapt_product(m, layer->gate_up, l, 4, 5, err);
        if (status == OPSM_OK) status = adapt_product(m, layer->down, l, 6, 6, err);
    }
    return status;
}

static bool is_a(const struct parameter *t) {
    return strstr(t->name, ".lora_a") != NULL;
}

/* As PEFT has it: A uniform within 1 / sqrt(inputs) (Kaiming with a = sqrt(5)), B zero. */
void model_adapters_start(struct model *m) {
#pragma omp parallel for schedule(dynamic) num_threads(threads_count())
    for (int32_t i = 0; i < m->adapters.n_tensors; i++) {
        const struct parameter *t = &m->adapters.tensors[i];
        if (!is_a(t)) continue;
        struct rng r = rng_make(m->lora_seed, RNG_INIT, (uint32_t)i, 2, 0);
        float *a = m->adapters.values + t->offset;
        double bound = 1.0 / sqrt((double)t->cols);
        for (int64_t j = 0; j < t->rows * t->cols; j++) a[j] = (float)((2 * rng_unit(&r) - 1) * bound);
    }
}

void model_switch_adapters(struct model *m, bool on) {
    for (int32_t i = 0; i < m->n_linears; i++) m->linears[i].lora.off = !on;
}

const struct parameters *model_to_train(const struct model *m) {
    return m->lora.rank > 0 ? &m->adapters : &m->params;
}

static const struct parameter *find_adapter(const struct model *m, const struct parameter *t, const char *suffix) {
    size_t n = strlen(t->name);
    for (int32_t i = 0; i < m->adapters.n_tensors; i++) {
        const char *name = m->adapters.tensors[i].name;
        if (!strncmp(name, t->name, n) && !strcmp(name + n, suffix)) return &m->adapters.tensors[i];
    }
    return NULL;
}

void model_merge(const struct model *m, const struct parameter *t, float *w) {
    const struct parameter *ta = find_adapter(m, t, ".lora_a"), *tb = find_adapter(m, t, ".lora_b");
    if (!ta || !tb) return;
    const float *a = m->adapters.values + ta->offset, *b = m->adapters.values + tb->offset;
    double scale = lora_scale(&m->lora);
#pragma omp parallel for num_threads(threads_count())
    for (int64_t i = 0; i < t->rows; i++)
        for (int64_t j = 0; j < t->cols; j++) {
            double sum = 0;
            for (int64_t k = 0; k < ta->rows; k++) sum += (double)b[i * tb->cols + k] * a[k * ta->cols + j];
            w[i * t->cols + j] = (float)(w[i * t->cols + j] + scale * sum);
        }
}
