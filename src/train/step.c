/* SPDX-License-Identifier: Apache-2.0 */
#include "train/step.h"
#include "base/clock.h"
#include "base/mem.h"
#include <math.h>
#include <string.h>

const char *step_outcome_name(enum step_outcome outcome) {
    static const char *const names[] = {"applied", "nothing", "nonfinite"};
    return names[outcome];
}

opsm_status trainer_create(struct trainer *t, struct model *model, const opsm_objective *objective,
                           const struct optim_config *optim_config, const struct trainer_limits *limits,
                           opsm_error *err) {
    *t = (struct trainer){.model = model, .objective = objective, .optim_config = *optim_config};
    t->micro_batch = limits->micro_batch < limits->rows ? limits->micro_batch : limits->rows;
    opsm_status status = opsm_threshold_start(objective, &t->threshold, err);
    if (status == OPSM_OK) status = parameters_begin(model->trained, err);
    if (status == OPSM_OK) status = activations_create(&t->acts, model, limits->rows, limits->keep, err);
    if (status == OPSM_OK) status = packer_reserve(&t->packer, 2 * (int64_t)limits->rows, err);
    if (status == OPSM_OK)
        status = minibatch_reserve(&t->mb, limits->minibatch_sequences, limits->minibatch_tokens, err);
    if (status != OPSM_OK) trainer_free(t);
    return status;
}

void trainer_free(struct trainer *t) {
    activations_free(t->acts);
    packer_free(&t->packer);
    minibatch_free(&t->mb);
    *t = (struct trainer){0};
}

/* ---- pass A: log-probs under the current weights ----------------------------------------------------------------- */

static opsm_status forward_packed(struct trainer *t, const struct model *model, const struct rollouts *rollouts,
                                  float *logp, float *entropy, opsm_error *err) {
    struct packer *p = &t->packer;
    struct lm_head_request request = packer_request(p, rollouts);
    opsm_status status = model_forward(t->acts, model, &p->pack, err);
    if (status == OPSM_OK)
        status = lm_head_logprobs(p->logp, entropy ? p->entropy : NULL, t->acts, model, &request, err);
    for (int64_t i = 0; status == OPSM_OK && i < p->n; i++) {
        logp[p->source[i]] = p->logp[i];
        if (entropy) entropy[p->source[i]] = p->entropy[i];
    }
    return status;
}

/* *packs receives the number of micro-batches: after exactly one, its activations are still there. */
static opsm_status forward_pass(struct trainer *t, const struct batch *batch, bool all, int32_t *packs,
                                struct step_report *report, opsm_error *err) {
    struct minibatch *mb = &t->mb;
    double start = clock_seconds();
    for (int32_t i = 0; i < mb->n; i++) {
        mb->forwarded[i] = all || (batch_in_loss(batch, mb->ids[i]) &&
                                   opsm_objective_needs_forward(t->objective, (double)mb->rollouts.advantage[i]));
        report->sequences_forward += mb->forwarded[i];
    }
    minibatch_select(mb, mb->forwarded);
    *packs = 0;
    opsm_status status = OPSM_OK;
    for (int32_t next = 0; status == OPSM_OK && next < mb->n_selected; ++*packs) {
        status = packer_next(&t->packer, &batch->rollouts, mb->selected, mb->selected_at, mb->n_selected,
                             t->micro_batch, &next, err);
        if (status == OPSM_OK) status = forward_packed(t, t->model, &batch->rollouts, mb->current, mb->entropy, err);
        report->tokens_forward += t->packer.pack.n_tokens;
    }
    report->seconds_forward += clock_seconds() - start;
    return status;
}

opsm_status train_logprobs(struct trainer *t, const struct model *model, const struct batch *batch, bool all,
                           float *logp, opsm_error *err) {
    const struct rollouts *r = &batch->rollouts;
    size_t n = (size_t)r->n_sequences;
    int32_t *ids = mem_alloc(n, sizeof *ids), n_ids = 0;
    int64_t *at = mem_alloc(n, sizeof *at);
    opsm_status status = ids && at ? OPSM_OK : mem_exhausted(err, "a list of sequences", n * 12);
    for (int32_t i = 0; status == OPSM_OK && i < r->n_sequences; i++) {
        bool needed = batch_in_loss(batch, i) && opsm_objective_needs_forward(t->objective, (double)r->advantage[i]);
        if (!all && !needed) continue;
        ids[n_ids] = i;
        at[n_ids++] = r->offset[i];
    }
    for (int32_t next = 0; status == OPSM_OK && next < n_ids;) {
        status = packer_next(&t->packer, r, ids, at, n_ids, t->micro_batch, &next, err);
        if (status == OPSM_OK) status = forward_packed(t, model, r, logp, NULL, err);
    }
    mem_free(ids);
    mem_free(at);
    return status;
}

/* The gap between sampler and trainer where both had the same weights: 0 when the arithmetic is one. */
static void measure_parity(const struct minibatch *mb, const struct rollouts *r, struct step_report *report) {
    double sum = 0, largest = 0;
    int64_t n = 0;
    for (int32_t i = 0; i < mb->n; i++) {
        if (mb->lag[i] != 0) return;
        const int64_t *offset = mb->rollouts.offset + i;
        for (int64_t t = offset[0], from = r->offset[mb->ids[i]]; mb->forwarded[i] && t < offset[1]; t++) {
            if (!rollouts_own(r, from + t - offset[0])) continue;
            double gap = fabs((double)mb->rollouts.logp[t] - (double)mb->current[t]);
            sum += gap;
            n++;
            if (!(gap <= largest) && !isnan(largest)) largest = gap; /* a gap that is not a number stays */
        }
    }
    if (n == 0) return;
    report->parity_mean = sum / (double)n;
    report->parity_max = largest;
}

/* ---- drift -> mask -> coefficients ------------------------------------------------------------------------------- */

/* A sequence without a forward pass has no measured drift. */
static void forget_unmeasured(struct minibatch *mb) {
    for (int32_t i = 0; i < mb->n; i++) {
        if (mb->forwarded[i]) continue;
        opsm_sequence *record = &mb->records[i];
        record->drift = record->drift_k1 = record->drift_k3 = record->ratio_max = NAN;
    }
}

/* The objective sees that no token is in the loss; why, it cannot know. */
static void name_truncated(struct minibatch *mb, const struct batch *batch) {
    for (int32_t i = 0; i < mb->n; i++)
        if (!batch_in_loss(batch, mb->ids[i])) mb->records[i].reason = OPSM_REASON_TRUNCATED;
}

static opsm_status evaluate_minibatch(struct trainer *t, const struct batch *batch, int64_t number,
                                      struct step_report *report, opsm_error *err) {
    struct minibatch *mb = &t->mb;
    opsm_batch view = minibatch_view(mb, number);
    opsm_result result;
    opsm_result_init(&result);
    result.records = mb->records;
    result.dlogp = mb->dlogp;
    /* No totals: the minibatch is the whole step, its denominators are exact whatever the micro-batches. */
    opsm_status status = opsm_objective_evaluate(t->objective, &t->threshold, &view, NULL, &result, mb->workspace,
                                                 mb->workspace_size, err);
    if (status != OPSM_OK) return status;
    forget_unmeasured(mb);
    name_truncated(mb, batch);
    report->sequences_backward = result.needs_backward;
    report->metrics.size = sizeof report->metrics;
    status = opsm_metrics_compute(t->objective, mb->records, mb->n, &report->metrics, mb->workspace, mb->workspace_size,
                                  err);
    report->guard = opsm_guard_factor(t->objective, &t->threshold, mb->records, mb->n);
    return status;
}

/* ---- pass B: gradients of what is kept --------------------------------------------------------------------------- */

static opsm_status backward_packed(struct trainer *t, const struct rollouts *rollouts, opsm_error *err) {
    packer_select(&t->packer, t->mb.dlogp);
    struct lm_head_request request = packer_request(&t->packer, rollouts);
    opsm_status status = lm_head_backward(t->acts, t->model, &request, t->packer.coef, err);
    return status == OPSM_OK ? model_backward(t->acts, t->model, &t->packer.pack, err) : status;
}

/* Row invariance makes the second forward pass give the bits of the first, whatever shares the micro-batch now. */
static opsm_status backward_pass(struct trainer *t, const struct batch *batch, bool reuse, struct step_report *report,
                                 opsm_error *err) {
    struct minibatch *mb = &t->mb;
    double start = clock_seconds();
    parameters_zero_grads(t->model->trained);
    opsm_status status = OPSM_OK;
    if (reuse) {
        report->reused = true;
        report->tokens_backward = t->packer.pack.n_tokens;
        status = backward_packed(t, &batch->rollouts, err);
        report->seconds_backward += clock_seconds() - start;
        return status;
    }
    for (int32_t i = 0; i < mb->n; i++) mb->forwarded[i] = mb->records[i].needs_backward;
    minibatch_select(mb, mb->forwarded);
    for (int32_t next = 0; status == OPSM_OK && next < mb->n_selected;) {
        status = packer_next(&t->packer, &batch->rollouts, mb->selected, mb->selected_at, mb->n_selected,
                             t->micro_batch, &next, err);
        double forward_start = clock_seconds();
        if (status == OPSM_OK) status = model_forward(t->acts, t->model, &t->packer.pack, err);
        report->seconds_forward += clock_seconds() - forward_start;
        start += clock_seconds() - forward_start; /* belongs to the forward time */
        if (status == OPSM_OK) status = backward_packed(t, &batch->rollouts, err);
        report->tokens_forward += t->packer.pack.n_tokens;
        report->tokens_backward += t->packer.pack.n_tokens;
    }
    report->seconds_backward += clock_seconds() - start;
    return status;
}

static opsm_status update(struct trainer *t, struct step_report *report, opsm_error *err) {
    double start = clock_seconds();
    struct optim_report result = optim_step(t->model->trained, &t->optim_config, report->guard);
    report->grad_norm = result.grad_norm;
    report->lr = result.lr;
    report->outcome = result.skipped ? STEP_NONFINITE : STEP_APPLIED;
    opsm_status status = result.skipped ? OPSM_OK : model_publish(t->model, err);
    report->seconds_optim += clock_seconds() - start;
    return status;
}

/* What `opsm audit` shall see later: the log-probs at the last step that used the sequence. */
static void keep_current(const struct minibatch *mb, struct batch *batch) {
    struct rollouts *r = &batch->rollouts;
    const int64_t *offset = mb->rollouts.offset;
    if (!r->logp_current) return;
    for (int32_t i = 0; i < mb->n; i++)
        memcpy(r->logp_current + r->offset[mb->ids[i]], mb->current + offset[i],
               (size_t)(offset[i + 1] - offset[i]) * sizeof(float));
}

/* ---- the step ---------------------------------------------------------------------------------------------------- */

opsm_status train_step(struct trainer *t, struct batch *batch, const int32_t *ids, int32_t n, int64_t number, bool all,
                       struct step_report *report, opsm_error *err) {
    *report = (struct step_report){.grad_norm = NAN,
                                   .guard = 1,
                                   .parity_mean = -1,
                                   .parity_max = -1,
                                   .trust = t->threshold.trust,
                                   .decline = t->threshold.decline};
    struct minibatch *mb = &t->mb;
    int32_t packs;

    opsm_status status = minibatch_gather(mb, batch, ids, n, t->model->version, err);
    if (status == OPSM_OK) status = forward_pass(t, batch, all || batch->rollouts.logp_current, &packs, report, err);
    if (status != OPSM_OK) return status;
    measure_parity(mb, &batch->rollouts, report);
    keep_current(mb, batch);

    status = evaluate_minibatch(t, batch, number, report, err);
    if (status == OPSM_NONFINITE) {
        t->model->trained->nonfinite++;
        report->outcome = STEP_NONFINITE;
        return OPSM_OK;
    }
    if (status != OPSM_OK) return status;
    if (report->parity_max >= 0) status = opsm_threshold_calibrate(&t->threshold, mb->records, mb->n, err);
    report->noise_floor = t->threshold.noise_floor;

    if (status == OPSM_OK && report->sequences_backward == 0) {
        report->outcome = STEP_NOTHING;
    } else if (status == OPSM_OK) {
        bool reuse = packs == 1 && report->sequences_backward == report->sequences_forward;
        status = backward_pass(t, batch, reuse, report, err);
        if (status == OPSM_OK) status = update(t, report, err);
    }
    if (status != OPSM_OK) return status;
    /* Also after a skipped step: a threshold that masked everything must be able to open again. */
    return opsm_threshold_update(t->objective, &t->threshold, mb->records, mb->n, mb->workspace, mb->workspace_size,
                                 err);
}
