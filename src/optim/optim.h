/* SPDX-License-Identifier: Apache-2.0
 *
 * From gradients to new weights: global-norm clip, linear warm-up, AdamW with decoupled decay. A gradient that is not
 * finite is never applied: the step is skipped and counted.
 */
#ifndef OPSM_OPTIM_OPTIM_H
#define OPSM_OPTIM_OPTIM_H
#include "model/model.h"
#include <opsm/status.h>

struct optim_config {
    double lr, beta1, beta2, eps, weight_decay;
    double clip_norm; /* 0: off */
    int32_t warmup;   /* the learning rate rises linearly over this many updates */
};

/* Moments in the layout of model->params. */
struct optim {
    int64_t n_params;
    float *m, *v;      /* [n_params], owned */
    int64_t updates;   /* applied so far: the t of the bias correction */
    int64_t nonfinite; /* steps skipped because of the gradient */
};

opsm_status optim_create(struct optim *optim, int64_t n_params, opsm_error *err);
void optim_free(struct optim *optim);
size_t optim_bytes(int64_t n_params);

/* The learning rate of the next update, before `scale`. */
double optim_lr(const struct optim *optim, const struct optim_config *config);

struct optim_report {
    double grad_norm; /* before clipping; may be infinite or NaN */
    double lr;        /* applied; 0 when skipped */
    bool skipped;
};

/* One update of model->params from grads [n_params]; lr_scale multiplies the learning rate (1: as scheduled). The
 * caller publishes the weights afterwards. */
struct optim_report optim_step(struct optim *optim, const struct optim_config *config, struct model *model,
                               const float *grads, double lr_scale);

#endif
