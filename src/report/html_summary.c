/* SPDX-License-Identifier: Apache-2.0
 *
 * What a reader wants to know first of a single run: from what to what, how sure, how long, how fast.
 */
#include "report/html_report.h"
#include <math.h>

void report_facts_start(struct report_facts *facts) {
    const struct report_eval none = {0, NAN, NAN, NAN, NAN, NAN};
    *facts = (struct report_facts){.first_eval = none,
                                   .last_eval = none,
                                   .first_reward = NAN,
                                   .last_reward = NAN,
                                   .first_length = NAN,
                                   .last_length = NAN,
                                   .first_finished = NAN,
                                   .last_finished = NAN};
}

/* NaN where it is missing or no number. */
static double number(const json_t *row, const char *key) {
    const json_t *value = json_object_get(row, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static void add(double *sum, double x) {
    if (isfinite(x) && x > 0) *sum += x;
}

static void first_and_last(double *first, double *last, double x) {
    if (!isfinite(x)) return;
    if (isnan(*first)) *first = x;
    *last = x;
}

static double phases(const json_t *seconds, const char *const *names, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) add(&sum, number(seconds, names[i]));
    return sum;
}

void report_facts_iteration(struct report_facts *facts, const json_t *row) {
    static const char *const fresh[] = {"rollout"}, *const judged[] = {"reward", "logprobs"};
    static const char *const train[] = {"forward", "backward", "optim"};
    const json_t *seconds = json_object_get(row, "seconds");
    double rollout = phases(seconds, fresh, 1), training = phases(seconds, train, 3);
    facts->rollout_seconds += rollout;
    facts->train_seconds += training;
    facts->seconds += rollout + training + phases(seconds, judged, 2);
    add(&facts->tokens, number(row, "tokens"));
    add(&facts->trained, number(row, "tokens_forward"));
    first_and_last(&facts->first_reward, &facts->last_reward, number(row, "reward_mean"));
    first_and_last(&facts->first_length, &facts->last_length, number(row, "length_mean"));
    first_and_last(&facts->first_finished, &facts->last_finished, number(row, "finished"));
}

void report_facts_eval(struct report_facts *facts, const json_t *row, int64_t step) {
    static const char *const phase[] = {"eval"};
    struct report_eval eval = {step,
                               number(row, "accuracy"),
                               number(row, "accuracy_low"),
                               number(row, "accuracy_high"),
                               number(row, "length_mean"),
                               number(row, "finished")};
    facts->seconds += phases(json_object_get(row, "seconds"), phase, 1);
    if (!isfinite(eval.accuracy)) return;
    if (facts->evals++ == 0) facts->first_eval = eval;
    facts->last_eval = eval;
    double problems = number(row, "problems"), samples = number(row, "samples");
    if (problems >= 1 && problems < 1e12) facts->problems = (int64_t)problems;
    if (samples >= 1 && samples < 1e12) facts->samples = (int64_t)samples;
}

static void put_eval(struct json_writer *json, const char *key, const struct report_eval *eval) {
    json_put_open(json, key, '{');
    json_put_int(json, "step", eval->step);
    json_put_number(json, "accuracy", eval->accuracy);
    json_put_number(json, "low", eval->low);
    json_put_number(json, "high", eval->high);
    json_put_number(json, "length", eval->length);
    json_put_number(json, "finished", eval->finished);
    json_put_close(json, '}');
}

void report_put_summary(const struct report *report, struct json_writer *json) {
    if (report->n_arms != 1 || report->arms[0].n_runs != 1 || report->labs.length) {
        json_put_null(json, "summary");
        return;
    }
    const struct report_run *run = &report->arms[0].runs[0];
    const struct report_facts *f = &run->facts;
    json_put_open(json, "summary", '{');
    json_put_int(json, "steps", run->steps);
    json_put_int(json, "iterations", run->iterations);
    json_put_int(json, "evals", f->evals);
    json_put_int(json, "problems", f->problems);
    json_put_int(json, "samples", f->samples);
    if (f->evals > 0) {
        put_eval(json, "first", &f->first_eval);
        put_eval(json, "last", &f->last_eval);
    }
    json_put_number(json, "seconds", f->seconds);
    json_put_number(json, "tokens", f->tokens);
    json_put_number(json, "generated_per_second", f->rollout_seconds > 0 ? f->tokens / f->rollout_seconds : NAN);
    json_put_number(json, "trained_per_second", f->train_seconds > 0 ? f->trained / f->train_seconds : NAN);
    json_put_number(json, "first_reward", f->first_reward);
    json_put_number(json, "last_reward", f->last_reward);
    json_put_number(json, "first_length", f->first_length);
    json_put_number(json, "last_length", f->last_length);
    json_put_number(json, "first_finished", f->first_finished);
    json_put_number(json, "last_finished", f->last_finished);
    json_put_close(json, '}');
}
