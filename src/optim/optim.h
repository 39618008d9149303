/* SPDX-License-Identifier: Apache-2.0
 *
 * From gradients to new weights: global-norm clip, linear warm-up, AdamW with decoupled decay. A gradient that is not
 * finite is never applied: the step is skipped and counted.
 */
#ifndef OPSM_OPTIM_OPTIM_H
#define OPSM_OPTIM_OPTIM_H
#include "model/parameters.h"
#include <opsm/status.h>

struct optim_config {
    double lr, beta1, beta2, eps, weight_decay;
    double clip_norm; /* 0: off */
    int32_t warmup;   /* the learning rate rises linearly over this many updates */
};

/* The learning rate of the next update, before `scale`. */
double optim_lr(const struct parameters *params, const struct optim_config *config);

struct optim_report {
    double grad_norm; /* before clipping; may be infinite or NaN */
    double lr;        /* applied; 0 when skipped */
    bool skipped;
};

/* One update of a block (parameters_begin) from its gradients; lr_scale multiplies the learning rate (1: as scheduled).
 * Who computes with the weights publishes them afterwards. */
struct optim_report optim_step(struct parameters *params, const struct optim_config *config, double lr_scale);

#endif
