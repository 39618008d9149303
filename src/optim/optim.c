/* SPDX-License-Identifier: Apache-2.0 */
#include "optim/optim.h"
#include "kernels/adamw.h"
#include <math.h>

double optim_lr(const struct parameters *p, const struct optim_config *config) {
    double t = (double)(p->updates + 1);
    return config->warmup > 0 && t < config->warmup ? config->lr * t / config->warmup : config->lr;
}

struct optim_report optim_step(struct parameters *p, const struct optim_config *config, double lr_scale) {
    double norm = sqrt(sum_squares(p->grads, p->size));
    if (!isfinite(norm)) {
        p->nonfinite++;
        return (struct optim_report){.grad_norm = norm, .skipped = true};
    }
    double lr = optim_lr(p, config) * lr_scale;
    double t = (double)++p->updates;
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
    for (int32_t i = 0; i < p->n_tensors; i++) {
        const struct parameter *x = &p->tensors[i];
        int64_t at = x->offset;
        adamw_update(p->values + at, p->m + at, p->v + at, p->grads + at, x->rows * x->cols, &step, x->decay);
    }
    return (struct optim_report){.grad_norm = norm, .lr = lr};
}
