/* SPDX-License-Identifier: Apache-2.0
 *
 * The audit for people: tables of at most 100 columns, then what follows from them.
 */
#include "audit/audit.h"
#include <math.h>
#include <stdarg.h>
#include <string.h>

/* A number in a column of `width`, "-" for NaN. */
static void put(FILE *out, int width, double x) {
    if (isnan(x))
        fprintf(out, " %*s", width, "-");
    else
        fprintf(out, " %*.4g", width, x);
}

static void put_share(FILE *out, double part, double whole) {
    if (whole > 0)
        fprintf(out, " %8.2f%%", 100 * part / whole);
    else
        fprintf(out, " %9s", "-");
}

static void print_head(const struct audit_options *options, const struct audit_summary *summary, FILE *out) {
    const opsm_metrics *m = &summary->metrics;
    fprintf(out, "%s: %lld sequences in %lld groups, %lld tokens in the loss (%lld to %lld per sequence)\n",
            options->name, (long long)summary->sums.sequences, (long long)summary->groups,
            (long long)summary->sums.tokens, (long long)summary->length_min, (long long)summary->length_max);
    fprintf(out, "A < 0: %lld   A > 0: %lld   groups without signal: %lld\n", (long long)summary->sums.negatives,
            (long long)summary->sums.positives, (long long)summary->zero_groups);
    if (summary->interleaved) fputs("groups are interleaved; all rewards were held in memory\n", out);
    if (m->nonfinite > 0) fprintf(out, "%.0f sequences hold a value that is not finite\n", m->nonfinite);
    if (m->positive_logp > 0)
        fprintf(out, "%.0f sequences hold a log-prob above 0: those are not log-probs of tokens\n", m->positive_logp);
}

/* Policies auto and length give every sequence a threshold of its own and do not read mask.delta. */
static bool delta_by_sequence(const opsm_objective *config) {
    return config->mask_policy == OPSM_POLICY_AUTO || config->mask_policy == OPSM_POLICY_LENGTH;
}

/* The threshold in force; where it differs between sequences, its mean over the negatives, or without any of them that
 * of the mean length. */
static double delta_in_force(const struct audit_options *options, const struct audit_summary *summary) {
    const opsm_objective *config = &options->config;
    if (!delta_by_sequence(config)) return config->mask_delta;
    if (!isnan(summary->metrics.delta)) return summary->metrics.delta;
    return config->mask_policy == OPSM_POLICY_AUTO ? summary->policy_auto : summary->policy_length;
}

static void print_objective(const struct audit_options *options, const struct audit_summary *summary, FILE *out) {
    const opsm_metrics *m = &summary->metrics;
    const opsm_objective *config = &options->config;
    fprintf(out, "\nObjective: %s, rule %s, delta %.4g%s (%s%s), %s\n", opsm_surrogate_name(config->surrogate_name),
            opsm_rule_name(config->mask_rule), delta_in_force(options, summary),
            delta_by_sequence(config) ? " on average" : "", opsm_policy_name(config->mask_policy),
            config->mask_policy == OPSM_POLICY_AUTO ? ", at full trust" : "",
            opsm_aggregation_name(config->aggregation));
    fprintf(out, "  loss %.6g = surrogate %.6g + penalty %.6g", m->loss, m->surrogate, m->penalty);
    if (!isnan(m->kl_ref)) fprintf(out, "   KL to the reference %.4g nats/token", m->kl_ref);
    fprintf(out, "\n  dropped: %.2f%% of sequences, %.2f%% of negatives, %.2f%% of tokens, %.2f%% of advantage mass\n",
            100 * m->dropped, 100 * (isnan(m->dropped_negatives) ? 0 : m->dropped_negatives),
            100 * (isnan(m->dropped_tokens) ? 0 : m->dropped_tokens),
            100 * (isnan(m->dropped_mass) ? 0 : m->dropped_mass));
    fprintf(out, "  clipped: %.2f%% of tokens low, %.2f%% high   largest ratio %.4g   ESS %.3f\n",
            100 * (isnan(m->clip_low) ? 0 : m->clip_low), 100 * (isnan(m->clip_high) ? 0 : m->clip_high), m->ratio_max,
            m->ess);
}

static void print_drift(const struct audit_summary *summary, FILE *out) {
    const opsm_metrics *m = &summary->metrics;
    fputs("\nDrift X, nats per token (b - c, averaged over the sequence by the estimator in force)\n", out);
    fputs("               mean        10%        50%        90%        99%\n", out);
    fputs("  A < 0  ", out);
    put(out, 10, m->drift_negative_mean);
    put(out, 10, m->drift_negative_p10);
    put(out, 10, m->drift_negative_p50);
    put(out, 10, m->drift_negative_p90);
    put(out, 10, m->drift_negative_p99);
    fputs("\n  A > 0  ", out);
    put(out, 10, m->drift_positive_mean);
    put(out, 10, m->drift_positive_p10);
    put(out, 10, m->drift_positive_p50);
    put(out, 10, m->drift_positive_p90);
    put(out, 10, m->drift_positive_p99);
    fputs("\n", out);
    if (summary->negatives.stride > 1 || summary->positives.stride > 1)
        fprintf(out, "  (quantiles over every %lldth negative and every %lldth positive)\n",
                (long long)summary->negatives.stride, (long long)summary->positives.stride);
}

static void bar(FILE *out, int64_t count, int64_t largest) {
    enum { WIDTH = 28 };
    int length = largest > 0 ? (int)((double)count / (double)largest * WIDTH + 0.5) : 0;
    if (count > 0 && length == 0) length = 1;
    fprintf(out, "%8lld ", (long long)count);
    for (int k = 0; k < WIDTH; k++) fputc(k < length ? '#' : ' ', out);
}

static void print_histogram(const struct audit_summary *summary, FILE *out) {
    int64_t largest[2] = {0, 0};
    int first = AUDIT_BINS, last = -1;
    for (int k = 0; k < AUDIT_BINS; k++) {
        for (int sign = 0; sign < 2; sign++)
            if (summary->bins[sign][k] > largest[sign]) largest[sign] = summary->bins[sign][k];
        if (summary->bins[0][k] + summary->bins[1][k] == 0) continue;
        if (first == AUDIT_BINS) first = k;
        last = k;
    }
    if (last < 0) return;
    fprintf(out, "\n  %-17s %8s %-28s %8s\n", "X", "A < 0", "", "A > 0");
    for (int k = first; k <= last; k++) {
        char from[16] = "", to[16] = "";
        if (k > 0) snprintf(from, sizeof from, "%g", audit_edges[k - 1]);
        if (k < AUDIT_BINS - 1) snprintf(to, sizeof to, "%g", audit_edges[k]);
        fprintf(out, "  %6s .. %-6s ", from, to);
        bar(out, summary->bins[0][k], largest[0]);
        bar(out, summary->bins[1][k], largest[1]);
        fputc('\n', out);
    }
}

static void print_thresholds(const struct audit_summary *summary, FILE *out) {
    if (summary->n_thresholds == 0) return;
    fputs("\nWhat rule opsm would drop   (share of)\n       delta sequences negatives    tokens advantage mass\n", out);
    for (int k = 0; k < summary->n_thresholds; k++) {
        const struct audit_threshold *t = &summary->thresholds[k];
        fprintf(out, "  %10.4g", t->delta);
        put_share(out, (double)t->dropped, (double)summary->sums.sequences);
        put_share(out, (double)t->dropped, (double)summary->sums.negatives);
        put_share(out, (double)t->dropped_tokens, (double)summary->sums.tokens);
        put_share(out, t->dropped_mass, summary->sums.mass);
        fputc('\n', out);
    }
}

static void print_worst(const struct audit_summary *summary, FILE *out) {
    if (summary->n_worst == 0) return;
    fprintf(out,
            "\nDropped under the objective above, by drift (%d of %lld)\n        line     drift  advantage   tokens\n",
            summary->n_worst, (long long)summary->sums.dropped);
    for (int k = 0; k < summary->n_worst; k++)
        fprintf(out, "  %10lld %9.4g %10.4g %8lld\n", (long long)summary->worst[k].line, summary->worst[k].drift,
                summary->worst[k].advantage, (long long)summary->worst[k].tokens);
}

static void print_policies(const struct audit_options *options, const struct audit_summary *summary, FILE *out) {
    fputs("\nDelta that each policy would choose here\n", out);
    fprintf(out, "  fixed      %.4g\n", options->config.mask_delta);
    fprintf(out, "  auto       %.4g at the mean length and full trust (mask.budget = %g nats a sequence)\n",
            summary->policy_auto, options->config.mask_budget);
    fprintf(out, "  length     %.4g at the mean length\n", summary->policy_length);
    if (isnan(summary->policy_quantile)) return;
    fprintf(out, "  quantile   %.4g (mask.quantile = %g, between mask.floor and mask.ceiling)\n",
            summary->policy_quantile, options->config.mask_quantile);
    fprintf(out, "  controller %.4g (mask.target = %g)\n", summary->policy_controller, options->config.mask_target);
}

static void print_noise(const struct audit_summary *summary, FILE *out) {
    double first = audit_noise_floor(&summary->first_step), recomputed = audit_noise_floor(&summary->recomputed);
    fputs("\nNoise floor (what a drift of engine noise alone rarely exceeds)\n  ", out);
    if (!isnan(first))
        fprintf(out, "%.4g, from %lld rows with \"step\": 0\n", first, (long long)summary->first_step.n);
    else if (!isnan(recomputed))
        fprintf(out, "at most %.4g, from b - p of %lld rows (noise alone if they were fresh)\n", recomputed,
                (long long)summary->recomputed.n);
    else
        fputs("unknown; mark first-step rows with \"step\": 0, or record logp_trainer\n", out);
}

/* ---- Advice ---- */

struct advice {
    char *text;
    size_t size, used;
};

static void say(struct advice *advice, const char *format, ...) OPSM_PRINTF(2, 3);

static void say(struct advice *advice, const char *format, ...) {
    if (advice->used + 2 >= advice->size) return;
    if (advice->used > 0) advice->text[advice->used++] = ' ';
    va_list args;
    va_start(args, format);
    int wrote = vsnprintf(advice->text + advice->used, advice->size - advice->used, format, args);
    va_end(args);
    advice->used += wrote > 0 ? (size_t)wrote : 0;
    if (advice->used >= advice->size) advice->used = advice->size - 1;
}

/* Sampling noise of X at mean length: sd about sqrt(2 D / n) for a drift of D nats per token. */
static double sampling_noise(const opsm_metrics *m) {
    return m->length_mean > 0 && m->drift_k3 > 0 ? sqrt(2 * m->drift_k3 / m->length_mean) : 0;
}

static void advise_on_delta(const struct audit_options *options, const struct audit_summary *summary,
                            struct advice *advice) {
    const opsm_metrics *m = &summary->metrics;
    double delta = delta_in_force(options, summary), noise = audit_noise_floor(&summary->first_step);
    struct audit_threshold at = {.delta = delta};
    for (int64_t i = 0; i < summary->negatives.n; i++) at.dropped += summary->negatives.drifts[i] > delta;
    double share = summary->negatives.n ? (double)at.dropped / (double)summary->negatives.n : 0;
    if (!isnan(noise) && delta < noise)
        say(advice,
            "delta = %.3g lies below the noise floor of %.3g: it drops sequences whose only fault is engine noise; "
            "use at least %.3g.",
            delta, noise, noise);
    if (share == 0)
        say(advice, "delta = %.3g drops nothing: 99%% of the negatives drift less than %.3g.", delta,
            m->drift_negative_p99);
    else if (share > 0.9)
        say(advice, "delta = %.3g drops %.0f%% of the negatives: that is close to training on positives alone.", delta,
            100 * share);
    else
        say(advice, "delta = %.3g drops %.1f%% of the negatives.", delta, 100 * share);
    double random = sampling_noise(m);
    if (share > 0 && random > 0 && delta < m->drift_k3 + random)
        say(advice,
            "At this drift (k3 %.2g nats per token) and length (%.0f tokens) the drift of one sequence scatters by "
            "%.2g, so that %s; policy length would ask for %.3g.",
            m->drift_k3, m->length_mean, random,
            delta < random ? "most of what is dropped is scatter" : "part of what is dropped is scatter",
            summary->policy_length);
}

/* The warning of policy auto, taken over the whole file. */
static void advise_on_decline(const struct audit_summary *summary, struct advice *advice) {
    double decline = summary->decline;
    if (summary->sums.positive_weights == 0) return;
    if (decline > OPSM_DECLINE_ALARM)
        say(advice,
            "Good answers are getting less likely: by importance weights %.0f%% of the old accuracy is lost (drift of "
            "the positives %+.3g on average). Updates hurt what they should reinforce. Policy auto would tighten delta "
            "below %.3g and cut the learning rate; fresher rollouts or fewer steps on each help too.",
            100 * decline, summary->metrics.drift_positive_mean, summary->policy_auto);
    else
        say(advice,
            "By importance weights good answers are %.0f%% more likely than when they were sampled (warning below "
            "-%.0f%%): policy auto would allow %.3g at the mean length.",
            -100 * decline, 100 * OPSM_DECLINE_ALARM, summary->policy_auto);
}

void audit_advice(const struct audit_options *options, const struct audit_summary *summary, char *text, size_t size) {
    const opsm_metrics *m = &summary->metrics;
    struct advice advice = {text, size, 0};
    text[0] = '\0';
    if (summary->sums.drifts == 0) {
        say(&advice, "No behaviour log-probs: drift cannot be measured and the mask cannot act. Record the sampler's "
                     "log-probs when sampling.");
        return;
    }
    if (summary->sums.negatives == 0) {
        say(&advice, "No sequence has a negative advantage: the mask has nothing to act on.");
        return;
    }
    if (m->ratio_max == 1 && m->drift_k3 == 0) {
        say(&advice,
            "Drift is exactly zero everywhere: either every row is on-policy, or logp_behavior was filled with "
            "the current log-probs, which makes the mask a silent no-op.");
        return;
    }
    advise_on_delta(options, summary, &advice);
    advise_on_decline(summary, &advice);
    if (m->ess < 0.3)
        say(&advice,
            "The effective sample size is %.2f of the sequences: fewer optimiser steps per rollout, fresher "
            "rollouts, or guard = ess.",
            m->ess);
}

/* Wraps at 96 columns; lines after the first are indented. */
static void print_wrapped(FILE *out, const char *text, int indent) {
    int column = 0;
    while (*text) {
        int word = (int)strcspn(text, " ");
        if (column > indent && column + 1 + word > 96) {
            fputc('\n', out);
            column = fprintf(out, "%*s", indent, "");
        }
        column += fprintf(out, "%s%.*s", column > indent ? " " : "", word, text);
        text += word;
        while (*text == ' ') text++;
    }
    fputc('\n', out);
}

void audit_print_findings(const struct audit_summary *summary, FILE *out) {
    fputs(summary->n_findings ? "\nDoctor\n" : "\nDoctor: nothing found\n", out);
    for (int k = 0; k < summary->n_findings; k++) {
        char text[sizeof summary->findings[k].sentence + sizeof summary->findings[k].advice + 64];
        snprintf(text, sizeof text, "%s: %s %s", summary->findings[k].id, summary->findings[k].sentence,
                 summary->findings[k].advice);
        fputs("  ", out);
        print_wrapped(out, text, 4);
    }
}

void audit_print_text(const struct audit_options *options, const struct audit_summary *summary, FILE *out) {
    char advice[2000];
    print_head(options, summary, out);
    audit_print_findings(summary, out);
    print_objective(options, summary, out);
    print_drift(summary, out);
    print_histogram(summary, out);
    print_noise(summary, out);
    print_thresholds(summary, out);
    print_policies(options, summary, out);
    print_worst(summary, out);
    audit_advice(options, summary, advice, sizeof advice);
    fputc('\n', out);
    print_wrapped(out, advice, 0);
}
