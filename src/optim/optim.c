/* SPDX-License-Identifier: Apache-2.0 */
#include "optim/optim.h"
#include "base/mem.h"
#include "kernels/adamw.h"
#include <math.h>

opsm_status optim_create(struct optim *optim, int64_t n_params, opsm_error *err) {
    *optim = (struct optim){.n_params = n_params};
    optim->m = mem_zalloc((size_t)n_params, sizeof *optim->m);
    optim->v = mem_zalloc((size_t)n_params, sizeof *optim->v);
    if (optim->m && optim->v) return OPSM_OK;
    optim_free(optim);
    return mem_exhausted(err, "the optimiser's moments", optim_bytes(n_params));
}

void optim_free(struct optim *optim) {
    mem_free(optim->m);
    mem_free(optim->v);
    *optim = (struct optim){0};
}

size_t optim_bytes(int64_t n_params) {
    return (size_t)n_params * 2 * sizeof(float);
}

double optim_lr(const struct optim *optim, const struct optim_config *config) {
    double t = (double)(optim->updates + 1);
    return config->warmup > 0 && t < config->warmup ? config->lr * t / config->warmup : config->lr;
}

struct optim_report optim_step(struct optim *optim, const struct optim_config *config, struct model *model,
                               const float *grads, double lr_scale) {
    double norm = sqrt(sum_squares(grads, optim->n_params));
    if (!isfinite(norm)) {
        optim->nonfinite++;
        return (struct optim_report){.grad_norm = norm, .skipped = true};
    }
    double lr = optim_lr(optim, config) * lr_scale;
    double t = (double)++optim->updates;
    struct adamw_step step = {
        .lr = (float)lr,
        .beta1 = (float)config->beta1,
        .beta2 = (float)config->beta2,
        .eps = (float)config->eps,
        .weight_decay = (float)config->weight_decay,
        .grad_scale = config->clip_norm > 0 && norm > config->clip_norm ? (float)(config->clip_norm / norm) : 1.0f,
        .bias1 = (float)(1 - pow(config->beta1, t)),
        .bias2 = (float)(1 - pow(config->beta2, t)),
    };
    for (int32_t i = 0; i < model->n_tensors; i++) {
        const struct model_tensor *tensor = &model->tensors[i];
        int64_t at = tensor->offset;
        adamw_update(model->params + at, optim->m + at, optim->v + at, grads + at, tensor->rows * tensor->cols, &step,
                     tensor->decay);
    }
    return (struct optim_report){.grad_norm = norm, .lr = lr};
}
