/* SPDX-License-Identifier: Apache-2.0
 *
 * How many tokens a second a model generates and trains, and how many operations the matrix products of that are: for
 * the share of the ceiling (kernels/gemm_bench.h) measured in the same run.
 */
#ifndef OPSM_BENCH_MODEL_H
#define OPSM_BENCH_MODEL_H
#include "model/model.h"

/* What is run again and again for `seconds`: groups of `group` responses of `tokens` tokens behind a prompt; or
 * `in_flight` responses generated side by side behind one prompt. prompt, tokens 0: see bench_settle. */
struct bench_work {
    int64_t in_flight, groups, group, prompt, tokens;
    double seconds;
};

struct bench_rate {
    double tokens, seconds;
    double flop; /* of matrix products, that of tokens through every layer and of responses through the head */
};

/* Sets the lengths that nobody gave. OPSM_INVALID where those that were given exceed the model's context. */
opsm_status bench_settle(struct bench_work *work, const struct model *model, opsm_error *err);

/* As a rollout has it but for the end tokens: no response ends before its last token. */
opsm_status bench_generate(struct bench_rate *rate, const struct bench_work *work, const struct model *model,
                           opsm_error *err);

/* Forward and backward pass of one batch, in one piece, without an optimiser step. `model` was read as trainable. */
opsm_status bench_train(struct bench_rate *rate, const struct bench_work *work, const struct model *model,
                        opsm_error *err);

#endif
