/* SPDX-License-Identifier: Apache-2.0 */
#include "train/diagnosis.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/jsonl.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Collapse as a laboratory defines it by default; too few groups to learn from; a mean drift within one batch, in nats a
 * token, that no sound step makes. */
static const double BELOW = 0.5, WINDOW = 1.0 / 3, FEW = 0.05, LEAP = 1;

int32_t curve_share(double share, int32_t n) {
    int32_t part = (int32_t)lround(share * n);
    return part < 1 ? 1 : part > n ? n : part;
}

bool curve_collapsed(const double *curve, int32_t n, double below, double window) {
    int32_t first = n - curve_share(window, n);
    double best = -INFINITY;
    for (int32_t i = 0; i < n; i++) {
        if (curve[i] > best) best = curve[i];
        if (i >= first && (best <= 0 ? isfinite(curve[i]) : curve[i] >= below * best)) return false;
    }
    return true;
}

/* ---- no signal ------------------------------------------------------------------------------------------------------ */

bool diagnose_signal(const struct diagnosis_row *rows, int64_t n, struct text *sentence) {
    int64_t groups = 0, silent = 0;
    double low = INFINITY, high = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        groups += rows[i].groups;
        silent += rows[i].silent;
        low = fmin(low, rows[i].lowest);
        high = fmax(high, rows[i].highest);
    }
    int64_t useful = groups - silent;
    if (groups == 0 || (double)useful >= FEW * (double)groups) return false;
    if (useful == 0)
        text_printf(sentence,
                    "no group had both better and worse answers in %" PRId64 " iteration%s: nothing was learnt; ", n,
                    n == 1 ? "" : "s");
    else
        text_printf(sentence,
                    "only %" PRId64 " of %" PRId64 " groups had both better and worse answers: little was learnt; ",
                    useful, groups);
    if (high <= FEW)
        text_printf(sentence,
                    "%s answer was judged 0: try easier problems, a warm start (`opsm sft`), more answers "
                    "(rollout.group) or tokens (rollout.max_tokens), and see with `opsm reward` what the reward takes "
                    "as the answer",
                    high == 0 ? "every" : "nearly every");
    else if (low >= 1 - FEW)
        text_printf(sentence, "%s answer was judged right: try harder problems", low == 1 ? "every" : "nearly every");
    else
        text_puts(sentence, "try more answers a problem (rollout.group), a higher rollout.temperature, easier "
                            "problems, or a reward that "
                            "tells answers apart");
    return true;
}

/* ---- collapse ------------------------------------------------------------------------------------------------------- */

static bool collapsed_at_all(const struct diagnosis_row *rows, int32_t n) {
    double *curve = n >= 3 ? mem_alloc((size_t)n, sizeof *curve) : NULL;
    if (!curve) return false;
    for (int32_t i = 0; i < n; i++) curve[i] = rows[i].reward;
    bool collapsed = curve_collapsed(curve, n, BELOW, WINDOW);
    mem_free(curve);
    return collapsed;
}

/* Means over few groups fluctuate: whether a fall stands out from that of the best one. */
static bool stands_out(const struct diagnosis_row *best, double last) {
    return !(best->reward - last < 2 * best->reward_std / sqrt((double)best->groups));
}

bool diagnose_collapse(const struct diagnosis_row *rows, int32_t n, int64_t nonfinite, const struct run_config *config,
                       struct text *sentence) {
    int32_t best = 0, leap = 0, window = n > 0 ? curve_share(WINDOW, n) : 0;
    double last = 0;
    for (int32_t i = 0; i < n; i++) {
        if (rows[i].reward > rows[best].reward) best = i;
        if (rows[i].drift > rows[leap].drift || isnan(rows[leap].drift)) leap = i;
        if (i >= n - window) last += rows[i].reward / window;
    }
    /* Rollouts of older weights have drifted by as many batches. */
    bool leapt = n > 0 && rows[leap].drift > LEAP * (1 + config->schedule.staleness);
    bool collapsed = collapsed_at_all(rows, n) && (leapt || nonfinite || stands_out(&rows[best], last));
    if (!leapt && !collapsed && nonfinite == 0) return false;
    if (collapsed)
        text_printf(sentence, "the reward collapsed: from %.3f in iteration %d to %.3f in the last third; ",
                    rows[best].reward, best + 1, last);
    if (leapt)
        text_printf(sentence, "in iteration %d the policy moved by %.2g nats a token within a batch; ", leap + 1,
                    rows[leap].drift);
    if (nonfinite) text_printf(sentence, "%" PRId64 " optimiser steps were not finite and skipped; ", nonfinite);
    if (leapt || nonfinite)
        text_printf(sentence, "the learning rate is too high: try optim.lr=%.0e (now %g), or a longer optim.warmup",
                    config->optim.lr / 10, config->optim.lr);
    else
        text_printf(sentence,
                    "try a lower optim.lr (now %g), fewer steps on a batch (schedule.minibatches, schedule.epochs), or "
                    "a mask (objective.mask.delta); `opsm report` shows when it began",
                    config->optim.lr);
    return true;
}

/* ---- the record ------------------------------------------------------------------------------------------------------ */

struct history {
    struct diagnosis_row *rows; /* [room] */
    int32_t n, room, groups;
    int64_t nonfinite;
};

static double number_of(const json_t *row, const char *key) {
    const json_t *value = json_object_get(row, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static void read_row(struct history *h, const json_t *row) {
    const char *kind = json_string_value(json_object_get(row, "kind"));
    const char *outcome = json_string_value(json_object_get(row, "outcome"));
    if (kind && outcome && !strcmp(kind, "step")) h->nonfinite += !strcmp(outcome, "nonfinite");
    if (!kind || strcmp(kind, "iteration") != 0 || h->n == h->room) return;
    double lowest = INFINITY, highest = -INFINITY;
    const char *name;
    json_t *mean;
    json_object_foreach(json_object_get(row, "rewards"), name, mean) {
        lowest = fmin(lowest, json_number_value(mean));
        highest = fmax(highest, json_number_value(mean));
    }
    h->rows[h->n++] = (struct diagnosis_row){
        .reward = number_of(row, "reward_mean"),
        .reward_std = number_of(row, "reward_std"),
        .lowest = lowest,
        .highest = highest,
        .drift = fmax(number_of(row, "drift_negative_mean"), number_of(row, "drift_positive_mean")),
        .groups = h->groups,
        .silent = (int64_t)number_of(row, "skipped_groups")};
}

static opsm_status read_history(struct history *h, const struct run_config *config, opsm_error *err) {
    *h = (struct history){.room = config->train.iterations, .groups = config->rollout.prompts};
    h->rows = mem_alloc((size_t)h->room, sizeof *h->rows);
    char *path = file_join(config->output, "metrics.jsonl");
    struct jsonl *lines = NULL;
    opsm_status status =
        h->rows && path ? OPSM_OK : mem_exhausted(err, "a run's history", (size_t)h->room * sizeof *h->rows);
    if (status == OPSM_OK) status = jsonl_open(&lines, path, JSONL_LINE_DEFAULT, err);
    for (json_t *row; status == OPSM_OK && (status = jsonl_next(lines, &row, err)) == OPSM_OK && row; json_decref(row))
        read_row(h, row);
    jsonl_close(lines);
    mem_free(path);
    return status;
}

opsm_status diagnose_run(const struct run_config *config, opsm_error *err) {
    struct history h;
    struct text signal = {0}, collapse = {0};
    opsm_status status = read_history(&h, config, err);
    if (status == OPSM_OK && diagnose_signal(h.rows, h.n, &signal) && !signal.failed)
        log_line(LOG_WARN, "%s", signal.data);
    if (status == OPSM_OK && diagnose_collapse(h.rows, h.n, h.nonfinite, config, &collapse) && !collapse.failed)
        log_line(LOG_WARN, "%s", collapse.data);
    text_free(&signal);
    text_free(&collapse);
    mem_free(h.rows);
    return status;
}
