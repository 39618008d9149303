/* SPDX-License-Identifier: Apache-2.0
 *
 * The audit for programs: {"sequences":[one object a row],...}, row by row and then what they add up to.
 */
#include "audit/audit.h"

void audit_json_begin(struct json_writer *json) {
    json_put_open(json, NULL, '{');
    json_put_open(json, "sequences", '[');
}

void audit_json_sequence(struct json_writer *json, const char *group, const struct audit_row *row,
                         const opsm_sequence *record, const float *dlogp) {
    json->breaks = true;
    json_put_open(json, NULL, '{');
    json_put_raw(json, "group", group ? group : "null");
    json_put_number(json, "advantage", record->advantage);
    json_put_number(json, "drift", record->drift);
    json_put_bool(json, "keep", record->keep);
    json_put_string(json, "reason", opsm_reason_name((opsm_reason)record->reason));
    json_put_number(json, "loss", record->loss);
    json_put_number(json, "surrogate", record->surrogate);
    json_put_number(json, "penalty", record->penalty);
    json_put_number(json, "delta", record->delta);
    json_put_number(json, "drift_k3", record->drift_k3);
    json_put_int(json, "tokens", record->tokens);
    json_put_int(json, "dropped_tokens", record->dropped_tokens);
    json_put_bool(json, "nonfinite", record->nonfinite);
    json_put_int(json, "line", row->line);
    if (dlogp) {
        json->digits = 9; /* a float's */
        json_put_open(json, "dlogp", '[');
        for (int64_t t = 0; t < row->length; t++) json_put_number(json, NULL, (double)dlogp[t] + 0.0);
        json_put_close(json, ']');
        json->digits = 0;
    }
    json_put_close(json, '}');
}

static double share(double part, double whole) {
    return whole > 0 ? part / whole : 0;
}

static void put_thresholds(struct json_writer *json, const struct audit_summary *summary) {
    for (int k = 0; k < summary->n_thresholds; k++) {
        const struct audit_threshold *threshold = &summary->thresholds[k];
        double dropped = (double)threshold->dropped;
        json->breaks = true;
        json_put_open(json, NULL, '{');
        json_put_number(json, "delta", threshold->delta);
        json_put_number(json, "dropped", share(dropped, (double)summary->sums.sequences));
        json_put_number(json, "dropped_negatives", share(dropped, (double)summary->sums.negatives));
        json_put_number(json, "dropped_tokens", share((double)threshold->dropped_tokens, (double)summary->sums.tokens));
        json_put_number(json, "dropped_mass", share(threshold->dropped_mass, summary->sums.mass));
        json_put_int(json, "sequences", threshold->dropped);
        json_put_close(json, '}');
    }
}

static void put_findings(struct json_writer *json, const struct audit_summary *summary) {
    json_put_open(json, "findings", '[');
    for (int k = 0; k < summary->n_findings; k++) {
        const struct finding *finding = &summary->findings[k];
        json->breaks = true;
        json_put_open(json, NULL, '{');
        json_put_string(json, "id", finding->id);
        json_put_string(json, "sentence", finding->sentence);
        json_put_string(json, "advice", finding->advice);
        json_put_int(json, "count", finding->count);
        json_put_int(json, "of", finding->of);
        json_put_close(json, '}');
    }
    json_put_close(json, ']');
}

void audit_json_failure(struct json_writer *json, const struct audit_summary *summary, const char *sentence) {
    json_put_close(json, ']');
    put_findings(json, summary);
    json_put_string(json, "error", sentence);
    json_put_close(json, '}');
    json_put_end(json);
}

void audit_json_summary(struct json_writer *json, const struct audit_options *options,
                        const struct audit_summary *summary) {
    char advice[2000];
    json_put_close(json, ']');
    json_put_number(json, "loss", summary->metrics.loss);
    json_put_number(json, "surrogate", summary->metrics.surrogate);
    json_put_number(json, "penalty", summary->metrics.penalty);
    json_put_open(json, "metrics", '{');
    for (int k = 0; k < opsm_metrics_count(); k++)
        json_put_number(json, opsm_metrics_name(k), opsm_metrics_value(&summary->metrics, k));
    json_put_close(json, '}');
    json_put_open(json, "thresholds", '[');
    put_thresholds(json, summary);
    json_put_close(json, ']');
    json_put_open(json, "policies", '{');
    json_put_number(json, "auto", summary->policy_auto);
    json_put_number(json, "length", summary->policy_length);
    json_put_number(json, "quantile", summary->policy_quantile);
    json_put_number(json, "controller", summary->policy_controller);
    json_put_close(json, '}');
    json_put_number(json, "decline", summary->decline);
    json_put_open(json, "noise_floor", '{');
    json_put_number(json, "first_step", audit_noise_floor(&summary->first_step));
    json_put_number(json, "recomputed", audit_noise_floor(&summary->recomputed));
    json_put_close(json, '}');
    audit_advice(options, summary, advice, sizeof advice);
    json_put_string(json, "advice", advice);
    put_findings(json, summary);
    json_put_close(json, '}');
    json_put_end(json);
}
