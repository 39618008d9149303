/* SPDX-License-Identifier: Apache-2.0
 *
 * The checks. Their bounds were set on simulated samplers (tests/unit/test_audit_doctor.c) and on rollouts of real
 * runs: what is sick must lie well beyond them, what is healthy well within.
 */
#include "audit/doctor.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef long long count_t;

static bool found(struct finding *f, int64_t count, int64_t of, const char *advice, const char *format, ...)
    OPSM_PRINTF(5, 6);

static bool found(struct finding *f, int64_t count, int64_t of, const char *advice, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(f->sentence, sizeof f->sentence, format, args);
    va_end(args);
    snprintf(f->advice, sizeof f->advice, "%s", advice);
    f->count = count;
    f->of = of;
    return true;
}

/* Log-probs of the same weights: recomputed by the trainer before it learnt from the rows, or at its first step. Where
 * a file has neither, `stale` is true: the current ones have moved, and only what is plain still shows. */
static const struct audit_pair *evidence(const struct doctor_case *sick, bool *stale) {
    const struct audit_facts *facts = sick->facts;
    bool recomputed = facts->trainer.rows > 0 && facts->trainer.equal_rows < facts->trainer.rows;
    *stale = !recomputed && facts->first_step_rows < facts->rows;
    return recomputed ? &facts->trainer : &facts->current;
}

static const char *other_name(const struct doctor_case *sick, const struct audit_pair *pair) {
    return pair == &sick->facts->trainer ? "logp_trainer" : "logp_current";
}

/* ---- Log-probs that are missing or are something else ---- */

/* One number in place of every log-prob, as a tensor has it that nobody filled. */
static bool is_placeholder(const struct audit_pair *pair) {
    struct moments c = {.n = pair->values.n, .x = pair->values.y, .xx = pair->values.yy};
    return pair->tokens >= 16 && moments_variance(&pair->values) < 1e-9 && moments_variance(&c) > 0.01;
}

static bool check_no_behavior(const struct doctor_case *sick, struct finding *f) {
    int64_t without = sick->facts->rows - sick->facts->behavior_rows;
    const struct audit_pair *pair = &sick->facts->current;
    static const char *const advice =
        "Record the log-probs that the inference engine returned when it sampled (docs/audit.md has the lines for "
        "four trainers), and check that they reach the loss.";
    if (is_placeholder(pair))
        return found(f, pair->rows, sick->facts->rows, advice,
                     "logp_behavior is %.4g at every token of %lld rows: a placeholder stands where the log-probs of "
                     "sampling should be, and the mask compares with it.",
                     moments_mean(&pair->values), (count_t)pair->rows);
    if (without == 0) return false;
    return found(
        f, without, sick->facts->rows, advice,
        "%lld of %lld rows have no behaviour log-probs: their drift cannot be measured and a mask on it can never "
        "fire.",
        (count_t)without, (count_t)sick->facts->rows);
}

static bool check_copied_behavior(const struct doctor_case *sick, struct finding *f) {
    const struct audit_pair *pair = &sick->facts->current;
    /* At the first step equality is what an exact engine gives. */
    if (pair->rows == 0 || pair->near_rows < pair->rows || sick->facts->first_step_rows == sick->facts->rows)
        return false;
    return found(
        f, pair->near_rows, pair->rows,
        "Record logp_current at the second or a later optimiser step of the batch, and logp_behavior from the "
        "engine; mark rows of the first step with \"step\": 0.",
        "logp_behavior equals logp_current %s in all %lld rows: either no optimiser step lies between them and "
        "the engine is exact, or it was filled with the current log-probs; then the mask can never fire.",
        pair->equal_rows == pair->rows ? "bit for bit" : "to within 0.00001", (count_t)pair->rows);
}

static bool check_positive_logps(const struct doctor_case *sick, struct finding *f) {
    const struct audit_facts *facts = sick->facts;
    if (facts->positive == 0) return false;
    if (facts->unit > 0.45 * (double)facts->values)
        return found(f, facts->positive, facts->values, "Take the natural logarithm of what you record.",
                     "%lld of %lld values lie between 0 and 1: these are probabilities, not log-probs.",
                     (count_t)facts->positive, (count_t)facts->values);
    return found(f, facts->positive, facts->values,
                 "Record log-softmax of the logits at the sampled token: not logits, and not with the sign changed.",
                 "%lld of %lld log-probs lie above 0, which no token's log-prob does.", (count_t)facts->positive,
                 (count_t)facts->values);
}

static bool check_unknown_logps(const struct doctor_case *sick, struct finding *f) {
    const struct audit_facts *facts = sick->facts;
    if (facts->unknown == 0) return false;
    return found(
        f, facts->unknown, facts->values,
        "Set \"mask\" to 0 where an engine gives no log-prob, or mend what makes NaN; a row with such a token is "
        "dropped if A < 0.",
        "%lld of %lld log-probs in the loss are null or beyond the range of a float.", (count_t)facts->unknown,
        (count_t)facts->values);
}

static bool check_fill_values(const struct doctor_case *sick, struct finding *f) {
    const struct audit_facts *facts = sick->facts;
    if (is_placeholder(&facts->current)) return false;
    /* A cut sampler leaves a certain token here and there. */
    if (facts->lowest == 0 && !((double)facts->filled > 1e-3 * (double)facts->tokens)) return false;
    return found(
        f, facts->filled, facts->tokens,
        "Set \"mask\" to 0 at these tokens or write null: they are padding or stand for \"unknown\", and each "
        "counts in its row's mean.",
        "%lld of %lld tokens in the loss (%lld rows) hold a filler where a log-prob should be: 0 beside one that "
        "is far from it, or a number that nobody samples.",
        (count_t)facts->filled, (count_t)facts->tokens, (count_t)facts->filled_rows);
}

/* Scaled log-probs are no log-probs: none of the checks of the sampler's distribution has anything to say then. */
static bool is_scaled(const struct audit_pair *pair) {
    double k;
    int64_t tokens;
    return pair_is_proportional(pair, &k, &tokens);
}

static bool check_log_base(const struct doctor_case *sick, struct finding *f) {
    static const double bases[] = {0.43429448, 1.44269504, 2.30258509, 0.69314718};
    const struct audit_pair *pair = &sick->facts->current;
    double k;
    int64_t tokens;
    if (!pair_is_proportional(pair, &k, &tokens)) return false;
    int64_t of = (int64_t)pair->scaled.n;
    for (int i = 0; i < 4; i++)
        if (fabs(k / bases[i] - 1) < 0.006)
            return found(
                f, tokens, of, "Record natural logarithms on both sides: multiply by ln 10 or ln 2.",
                "logp_behavior is %.3f times logp_current at %lld of %lld tokens: %s holds logarithms to base %d.", k,
                (count_t)tokens, (count_t)of, i < 2 ? "logp_behavior" : "logp_current", i % 2 == 0 ? 10 : 2);
    return false;
}

/* ---- Tokens that are not the same ---- */

static bool is_shifted(const struct audit_pair *pair, double *here, double *best) {
    *here = moments_correlation(&pair->values);
    double ahead = moments_correlation(&pair->ahead), behind = moments_correlation(&pair->behind);
    *best = fmax(ahead, behind);
    return pair->ahead.n >= 50 && *best > 0.5 && *best > *here + 0.2;
}

/* Rows that are too short to tell each, taken together. */
static bool is_crossed(const struct audit_pair *pair, bool stale) {
    bool both_ways = (double)fmin((double)pair->far_above, (double)pair->far_below) > 0.08 * (double)pair->tokens;
    return moments_correlation(&pair->values) < 0.3 && (!stale || both_ways) && moments_difference(&pair->values) > 0.3;
}

static bool check_retokenised(const struct doctor_case *sick, struct finding *f) {
    const struct audit_facts *facts = sick->facts;
    double here, best;
    static const char *const advice = "Keep the token ids that the sampler drew and score those; never decode and "
                                      "tokenise again, and check that rows and "
                                      "arrays of a batch are not mixed up.";
    if (facts->differing > 0)
        return found(
            f, facts->differing_rows, facts->rows, advice,
            "%lld rows were scored on other tokens than were sampled: %lld elements of tokens and tokens_behavior "
            "differ.",
            (count_t)facts->differing_rows, (count_t)facts->differing);
    bool stale;
    const struct audit_pair *pair = evidence(sick, &stale);
    /* A run that collapses pushes its tokens down until nothing is left of what they were, but it pushes one way. */
    int64_t rows = stale ? pair->crossed : pair->unrelated;
    double share = stale ? 0.02 : 0.01;
    if (is_shifted(&facts->current, &here, &best) || is_placeholder(&facts->current)) return false;
    if (pair->measured == 0 && pair->level_rows == 0 && pair->tokens >= 64 && is_crossed(pair, stale))
        return found(
            f, pair->rows, pair->rows, advice,
            "logp_behavior and %s have next to nothing in common (correlation %.2f): they are not of the same tokens, "
            "as when a text is tokenised again.",
            other_name(sick, pair), moments_correlation(&pair->values));
    if (rows == 0 || (double)rows < share * (double)pair->measured) return false;
    return found(
        f, rows, pair->measured, advice,
        "In %lld of %lld rows that are long enough to tell, logp_behavior and %s have next to nothing in common "
        "(correlation below 0.3): they are not of the same tokens, as when a text is tokenised again.",
        (count_t)rows, (count_t)pair->measured, other_name(sick, pair));
}

static bool check_shifted(const struct doctor_case *sick, struct finding *f) {
    const struct audit_pair *pair = &sick->facts->current;
    double here, best;
    if (!is_shifted(pair, &here, &best)) return false;
    bool ahead = moments_correlation(&pair->ahead) >= moments_correlation(&pair->behind);
    return found(
        f, pair->rows, pair->rows, "Move one of them by a place: logits at position t - 1 score the token at t.",
        "Log-probs are off by one: logp_behavior at a token correlates with logp_current of the %s at %.2f, with its "
        "own at %.2f.",
        ahead ? "next" : "one before", best, here);
}

/* ---- The statistic ---- */

static double difference_mean(const struct audit_pair *pair) {
    return pair->tokens ? (pair->values.x - pair->values.y) / (double)pair->tokens : 0;
}

/* One b - c in the whole file: no mean of a sequence. */
static bool is_offset(const struct audit_pair *pair) {
    return moments_difference(&pair->values) < 0.01 * fabs(difference_mean(pair));
}

/* Minus the mean, in rows of either sign. */
static bool is_mirrored(const struct audit_facts *facts) {
    return facts->stated_mirrored > 0 && (double)facts->stated_mirrored > 0.8 * (double)facts->stated_positive;
}

static bool check_drift_sign(const struct doctor_case *sick, struct finding *f) {
    const struct audit_facts *facts = sick->facts;
    if (!is_mirrored(facts)) return false;
    return found(
        f, facts->stated_mirrored, facts->stated_positive,
        "Take logp_behavior - logp_current: it is above 0 where an answer has become less likely, which is what "
        "the mask drops.",
        "\"drift\" has the sign changed: it is mean(c - b) and not mean(b - c) in %lld of %lld rows whose mean "
        "is above 0.",
        (count_t)facts->stated_mirrored, (count_t)facts->stated_positive);
}

static bool check_absolute_mean(const struct doctor_case *sick, struct finding *f) {
    const struct audit_facts *facts = sick->facts;
    static const char *const advice = "Take the mean of b - c with its sign: a wrong answer that became likelier (mean "
                                      "below 0) is what the next step must "
                                      "push down, and the mask keeps it.";
    if (!is_mirrored(facts) && facts->stated_absolute > 0 &&
        (double)facts->stated_absolute > 0.8 * (double)facts->stated_negative)
        return found(
            f, facts->stated_absolute, facts->stated, advice,
            "\"drift\" is |mean(b - c)| and not mean(b - c): in %lld rows the mean is negative and the drift recorded "
            "is its absolute value.",
            (count_t)facts->stated_absolute);
    if (!is_mirrored(facts) && facts->stated_unsigned >= 8 &&
        (double)facts->stated_unsigned > 0.95 * (double)facts->stated_negative)
        return found(f, facts->stated_unsigned, facts->stated, advice,
                     "\"drift\" is above 0 in %lld of %lld rows in which mean(b - c) is below: a statistic without "
                     "sign, such as "
                     "the mean of |b - c| or of its square.",
                     (count_t)facts->stated_unsigned, (count_t)facts->stated_negative);
    /* A mask on other log-probs than these drops such a row here and there. */
    if ((double)facts->dropped_likelier > 0.2 * (double)facts->dropped)
        return found(
            f, facts->dropped_likelier, facts->dropped, advice,
            "%lld of the %lld rows that the trainer dropped had become likelier (mean of b - c below 0): its mask "
            "works on |mean| or on a statistic without sign.",
            (count_t)facts->dropped_likelier, (count_t)facts->dropped);
    if (facts->masked_likelier >= 3 && facts->masked_least > facts->unmasked_most)
        return found(
            f, facts->masked_likelier, facts->empty_rows, advice,
            "%lld rows without a token in the loss had become likelier, and by more than any such row that is in "
            "it (mean of b - c below %.3g): the trainer's mask works on |mean|.",
            (count_t)facts->masked_likelier, -facts->masked_least);
    const struct audit_pair *pair = &facts->current;
    /* A mean that happens to be next to 0 leaves a row that is equal. */
    if (!is_offset(pair) && pair->flat_rows >= 8 && (double)pair->flat_rows >= 0.9 * (double)pair->rows &&
        pair->flat_above == pair->flat_rows)
        return found(
            f, pair->flat_rows, pair->rows, advice,
            "In %lld of %lld rows b - c has one value at all tokens, and it is never below 0: what was recorded is "
            "|mean(b - c)| of the sequence, spread over its tokens.",
            (count_t)pair->flat_rows, (count_t)pair->rows);
    if (!sick->sign_free || sick->judged_likelier == 0) return false;
    return found(
        f, sick->judged_likelier, sick->judged_dropped, advice,
        "%s does not tell likelier from less likely: %lld of the %lld negatives that it drops here have become "
        "likelier.",
        sick->sign_free, (count_t)sick->judged_likelier, (count_t)sick->judged_dropped);
}

static bool check_sequence_means(const struct doctor_case *sick, struct finding *f) {
    const struct audit_pair *pair = &sick->facts->current;
    if (is_placeholder(pair)) return false;
    if (pair->level_rows >= 8 && (double)pair->level_rows >= 0.9 * (double)pair->rows)
        return found(f, pair->level_rows, pair->rows,
                     "Record one log-prob per token on both sides: clipping, ESS and every mask by token need them.",
                     "In %lld of %lld rows one side has the same log-prob at every token: the mean of a sequence was "
                     "spread over its tokens.",
                     (count_t)pair->level_rows, (count_t)pair->rows);
    if (is_offset(pair) || pair->flat_rows < 8 || (double)pair->flat_rows < 0.9 * (double)pair->rows) return false;
    return found(
        f, pair->flat_rows, pair->rows,
        "Record one log-prob per token: clipping, ESS and every mask by token need them.",
        "In %lld of %lld rows b - c is the same number at every token: a mean of the sequence was spread over its "
        "tokens.",
        (count_t)pair->flat_rows, (count_t)pair->rows);
}

/* ---- The sampler's distribution ---- */

/* How far the mean of exp(c - b) is from 1, which it is wherever b is what was sampled from. */
static double misfit(double sum, double n) {
    return fabs(log(sum / n));
}

/* By how much more b - c is at tokens new to their row than at repeated ones, among tokens alike; in sigmas too. */
static double penalty_effect(const struct audit_pair *pair, double *sigmas, double *spread, int *agreeing) {
    double sum = 0, n = 0, variance = 0, within = 0;
    int up = 0, down = 0;
    for (int k = 1; k < PAIR_STRATA; k++) {
        const struct moments *old = &pair->repeated[k], *fresh = &pair->fresh[k];
        if (old->n < 20 || fresh->n < 20) continue;
        double error = moments_variance(old) / old->n + moments_variance(fresh) / fresh->n;
        double higher = moments_mean(fresh) - moments_mean(old);
        up += higher > 0;
        down += higher < 0;
        sum += old->n * higher;
        variance += old->n * old->n * error;
        within += old->n * moments_variance(fresh);
        n += old->n;
    }
    *sigmas = variance > 0 ? fabs(sum) / sqrt(variance) : 0;
    *spread = n > 0 ? sqrt(within / n) : 0;
    *agreeing = up > 0 && down > 0 ? 0 : up + down;
    return n > 0 ? sum / n : 0;
}

static bool is_penalised(const struct audit_pair *pair, bool stale, double *effect) {
    double sigmas, spread;
    int agreeing;
    *effect = penalty_effect(pair, &sigmas, &spread, &agreeing);
    /* What was learnt from these very rows moves some tokens more than others too, but past what b can account for, and
     * never one kind alone. */
    double off = misfit(pair->weights, (double)pair->tokens);
    bool accounted = off < 0.1 || spread < 0.1 * fabs(*effect);
    bool plain = fabs(*effect) > 0.03 && sigmas > 8 && fabs(*effect) > spread && agreeing >= 2;
    /* In a small vocabulary what a penalty takes from some tokens moves the others by as much, and unevenly. */
    bool uneven = *effect > 0.05 && sigmas > 15 && *effect > 0.4 * spread && agreeing >= 3 && off < 0.06;
    return (plain && (!stale || accounted)) || uneven;
}

static bool check_repetition_penalty(const struct doctor_case *sick, struct finding *f) {
    bool stale;
    double effect;
    const struct audit_pair *pair = evidence(sick, &stale);
    if (!is_penalised(pair, stale, &effect)) return false;
    int64_t n = 0;
    for (int k = 1; k < PAIR_STRATA; k++) n += (int64_t)pair->repeated[k].n;
    return found(
        f, n, pair->tokens,
        "Sample with repetition_penalty = 1 (presence and frequency penalties 0), or apply the same penalty when "
        "scoring.",
        "A repetition penalty reads as drift: b - c is %.2f nats %s at the %lld tokens that occurred before in their "
        "row than at equally likely ones that did not (%s is penalised).",
        fabs(effect), effect > 0 ? "lower" : "higher", (count_t)n,
        effect > 0 ? "logp_behavior" : other_name(sick, pair));
}

/* Of the two, behaviour log-probs are what was sampled from. */
static bool behavior_fits(const struct audit_pair *pair) {
    double n = (double)pair->tokens;
    return misfit(pair->weights, n) < misfit(pair->inverse, n);
}

static bool is_tempered(const struct audit_pair *pair, bool stale, double *slope) {
    *slope = moments_slope(&pair->odds);
    double scatter = moments_scatter(&pair->odds);
    /* Learning sharpens a policy as a temperature above 1 in the engine would flatten it, if less evenly. */
    if (stale && *slope < 1 && behavior_fits(pair) && scatter > 0.03) return false;
    /* A temperature moves likely and unlikely tokens in different directions, kept tokens all move in one. */
    if (fabs(difference_mean(pair)) > 1.5 * moments_difference(&pair->values)) return false;
    return pair->odds.n >= 100 && fabs(log(*slope)) > (stale ? 0.13 : 0.07) && moments_correlation(&pair->odds) > 0.9 &&
           scatter < 0.5;
}

/* b = k c: log-probs, and not logits, were divided by a temperature. */
static bool is_divided(const struct doctor_case *sick, struct finding *f) {
    const struct audit_pair *pair = &sick->facts->current;
    double k;
    int64_t tokens;
    struct finding other;
    if (!pair_is_proportional(pair, &k, &tokens) || check_log_base(sick, &other)) return false;
    return found(
        f, tokens, (int64_t)pair->scaled.n,
        "Divide the logits, before log-softmax, by the temperature of sampling, and on both sides alike.",
        "logp_behavior is %.3f times logp_current at %lld of %lld tokens: log-probs were divided by a temperature "
        "of about %.2f on one side, and those of the other are raw.",
        k, (count_t)tokens, (count_t)pair->scaled.n, k > 1 ? 1 / k : k);
}

static bool check_temperature(const struct doctor_case *sick, struct finding *f) {
    bool stale;
    double slope, effect;
    const struct audit_pair *pair = evidence(sick, &stale);
    if (is_divided(sick, f)) return true;
    if (!is_tempered(pair, stale, &slope) || is_penalised(pair, stale, &effect) || is_scaled(pair)) return false;
    bool fits = behavior_fits(pair);
    const char *other = other_name(sick, pair);
    return found(
        f, pair->tokens, pair->tokens,
        "Divide the logits by the temperature of sampling on both sides (vLLM: logprobs_mode = processed_logprobs; in "
        "the trainer: logits / temperature).",
        "Log-odds under logp_behavior are %.2f times those under %s, with little scatter: %s are raw and the others "
        "at a temperature of about %.2f (what was sampled fits %s).",
        slope, other, fits ? other : "logp_behavior", fits ? 1 / slope : slope, fits ? "logp_behavior" : other);
}

static bool check_top_p(const struct doctor_case *sick, struct finding *f) {
    bool stale;
    double slope, effect;
    const struct audit_pair *pair = evidence(sick, &stale);
    if (pair->tokens < 50 || is_scaled(pair) || is_penalised(pair, stale, &effect) ||
        is_tempered(pair, stale, &slope) || is_placeholder(pair) ||
        (pair->flat_rows > pair->rows / 2 && !is_offset(pair)))
        return false;
    /* What follows the log-prob itself this closely is a factor. */
    if (fabs(moments_tilt(&pair->values)) > 0.85) return false;
    double n = (double)pair->tokens, mean = difference_mean(pair);
    bool behavior = mean > 0;
    double kept = behavior ? pair->weights / n : pair->inverse / n;
    double squares = behavior ? pair->weight_squares : pair->inverse_squares;
    double error = sqrt(fmax(squares / n - kept * kept, 0) / n);
    double with = (double)(behavior ? pair->above : pair->below) / n;
    double against = (double)(behavior ? pair->below : pair->above) / n;
    /* Rows that were all pushed down look alike, but scatter by more than they moved and leave no token certain. */
    double certain = (double)(behavior ? pair->certain_b : pair->certain_c);
    double uncertain = (double)(behavior ? pair->certain_c : pair->certain_b);
    bool cut = certain > 0.002 * n && certain > 10 * uncertain;
    bool even = fabs(mean) > 1.5 * moments_difference(&pair->values);
    bool mostly = with > 0.5 && against < 0.1 * with && (cut || even);
    bool never = n >= 100 && with > 0.1 && against < 0.002 * with;
    bool one_sided = fabs(mean) > 0.003 && (mostly || never);
    bool lost = !stale && 1 - kept > 0.01 && 1 - kept > 6 * error;
    if (!one_sided && !lost) return false;
    return found(
        f, behavior ? pair->above : pair->below, pair->tokens,
        "Sample with top_p = 1, top_k = -1 and min_p = 0, or renormalise both sides over the same kept tokens: delta "
        "cannot tell this offset from drift.",
        "%s is renormalised over kept tokens (top-p, top-k or min-p): it is the higher one at %.0f%% of tokens and "
        "the lower at %.0f%%, by %.3f nats on average, as if %.1f%% of the probability had been kept; %lld tokens have "
        "probability 1 on that side alone.",
        behavior ? "logp_behavior" : other_name(sick, pair), 100 * with, 100 * against, fabs(mean), 100 * kept,
        (count_t)certain);
}

/* ---- Rows ---- */

static bool check_truncated(const struct doctor_case *sick, struct finding *f) {
    const struct audit_facts *facts = sick->facts;
    static const char *const advice = "Raise the limit, or take cut answers out of the loss (\"mask\" all 0) or out of "
                                      "the reward: they are scored on an end "
                                      "that the model did not write.";
    if (facts->cut_rows > 0.05 * (double)facts->rows)
        return found(f, facts->cut_rows, facts->rows, advice,
                     "%lld of %lld rows are truncated: they ended at the limit.", (count_t)facts->cut_rows,
                     (count_t)facts->rows);
    int64_t high = facts->length_high;
    if (facts->ended_rows > 0 || high < 16 || high >= FACTS_LENGTHS) return false;
    double at_high = (double)facts->lengths[high], rows = (double)facts->rows, below = 0;
    int64_t window = high / 4 > 16 ? high / 4 : 16, others = 0;
    double most = 0;
    for (int64_t n = high - 1; n >= 0 && n >= high - window; n--) {
        below += (double)facts->lengths[n];
        most = fmax(most, (double)facts->lengths[n]);
    }
    for (int64_t n = 1; n < high; n++) others += facts->lengths[n] > 0;
    /* Against the lengths just below it: a tail of natural lengths thins out, it does not pile up at its end. Most rows
     * at one short length are answers of a fixed form, unless the others are of all lengths. */
    bool clear = at_high > 3 * sqrt(below + 1) || (at_high >= 6 && at_high > 2 * most);
    bool piled = at_high >= 3 && at_high >= 0.05 * rows && at_high > 6 * below / (double)window && clear;
    bool form = at_high > 0.5 * rows && (high < 128 || at_high < 8) && (high < 64 || others < 8);
    if (!piled || form) return false;
    return found(f, (int64_t)at_high, facts->rows, advice,
                 "%lld of %lld rows have exactly the largest length, %lld tokens: they look truncated at a limit.",
                 (count_t)at_high, (count_t)facts->rows, (count_t)high);
}

static bool check_empty_mask(const struct doctor_case *sick, struct finding *f) {
    const struct audit_facts *facts = sick->facts;
    if (facts->empty_rows == 0) return false;
    return found(
        f, facts->empty_rows, facts->rows,
        "Record the mask before the trainer's own masking, so that what it dropped can be judged; leave out rows that "
        "have no response.",
        "%lld of %lld rows have no token in the loss (\"mask\" is 0 throughout, or the row is empty).",
        (count_t)facts->empty_rows, (count_t)facts->rows);
}

static bool check_prompt_in_loss(const struct doctor_case *sick, struct finding *f) {
    const struct audit_facts *facts = sick->facts;
    if (!((double)facts->lead_rows > 0.1 * (double)facts->rows)) return false;
    return found(
        f, facts->lead_rows, facts->rows,
        "Set \"mask\" to 0 at prompt tokens: they dilute the mean that the mask compares with delta.",
        "%lld of %lld rows begin with tokens in the loss whose log-probs are all exactly 0: the prompt is in the loss.",
        (count_t)facts->lead_rows, (count_t)facts->rows);
}

static bool check_duplicates(const struct doctor_case *sick, struct finding *f) {
    const struct audit_facts *facts = sick->facts;
    if (facts->repeats < 2 || !((double)facts->repeats > 0.1 * (double)facts->repeated_rows)) return false;
    return found(
        f, facts->repeats, facts->repeated_rows,
        "If a file was appended twice or ranks wrote the same rows, keep one copy; otherwise the policy gives one "
        "answer whatever the seed.",
        "%lld of %lld rows with 32 or more tokens repeat an earlier row of their group, log-probs and all.",
        (count_t)facts->repeats, (count_t)facts->repeated_rows);
}

/* ---- Groups ---- */

static bool check_no_signal(const struct doctor_case *sick, struct finding *f) {
    const struct audit_group_counts *groups = &sick->groups;
    if (groups->groups == 0 || !((double)groups->silent > 0.95 * (double)groups->groups)) return false;
    static const char *const advice =
        "Check the verifier on responses that are right and wrong (opsm reward); take problems that the model solves "
        "sometimes, or larger groups.";
    if (groups->computed == groups->groups && groups->reward_low == groups->reward_high)
        return found(f, groups->silent, groups->groups, advice,
                     "%lld of %lld groups carry no signal: all rewards of the file are %g.", (count_t)groups->silent,
                     (count_t)groups->groups, groups->reward_low);
    return found(f, groups->silent, groups->groups, advice,
                 "%lld of %lld groups carry no signal: their answers are all equally good.", (count_t)groups->silent,
                 (count_t)groups->groups);
}

static bool check_advantage_sign(const struct doctor_case *sick, struct finding *f) {
    const struct audit_group_counts *groups = &sick->groups;
    if (!((double)groups->conflicts > 0.1 * (double)groups->compared)) return false;
    return found(
        f, groups->conflicts, groups->compared,
        "Check the sign and that advantages and rewards are of the same rows in the same order.",
        "In %lld of %lld groups the advantage falls where the reward rises: good answers would be pushed down.",
        (count_t)groups->conflicts, (count_t)groups->compared);
}

static bool check_singleton_groups(const struct doctor_case *sick, struct finding *f) {
    const struct audit_group_counts *groups = &sick->groups;
    /* Where every advantage is given, "group" may be the row's own number. */
    bool own_numbers = groups->single == groups->groups && groups->computed == 0;
    if (groups->single == 0 || own_numbers) return false;
    return found(f, groups->single, groups->groups,
                 "Give all answers to one prompt the same \"group\", and keep whole groups when rows are filtered.",
                 "%lld of %lld groups have a single row%s", (count_t)groups->single, (count_t)groups->groups,
                 groups->single_computed ? ": nothing to compare its reward with, so its advantage is 0." : ".");
}

static bool check_mixed_ids(const struct doctor_case *sick, struct finding *f) {
    const struct audit_facts *facts = sick->facts;
    if (facts->integers == 0 || facts->texts == 0) return false;
    return found(
        f, facts->texts, facts->integers + facts->texts, "Write every \"group\" as the same type.",
        "Group ids are of mixed types: %lld rows have an integer, %lld a string; %lld ids occur as both (1 and \"1\"), "
        "and these count as two groups.",
        (count_t)facts->integers, (count_t)facts->texts, (count_t)sick->groups.twins);
}

static bool check_mixed_versions(const struct doctor_case *sick, struct finding *f) {
    const struct audit_group_counts *groups = &sick->groups;
    if (groups->versions == 0) return false;
    return found(
        f, groups->versions, groups->groups,
        "Number groups over the whole run, not from 0 in each iteration; if one group really was sampled across an "
        "update, this is as meant.",
        "%lld of %lld groups have rows of several \"version\"s: rewards of different policies share one mean.",
        (count_t)groups->versions, (count_t)groups->groups);
}

static bool check_mixed_prompts(const struct doctor_case *sick, struct finding *f) {
    const struct audit_group_counts *groups = &sick->groups;
    if (groups->prompts == 0) return false;
    return found(
        f, groups->prompts, groups->groups,
        "Give each prompt a \"group\" of its own, and keep the prompt's ids as they were when sampling.",
        "In %lld of %lld groups the token ids before the response disagree: several prompts share an id, or a prompt "
        "was tokenised in two ways.",
        (count_t)groups->prompts, (count_t)groups->groups);
}

#define DOCTOR_ENTRY(name) {#name, check_##name},
static const struct {
    const char *id;
    bool (*check)(const struct doctor_case *sick, struct finding *f);
} checks[] = {DOCTOR_LIST(DOCTOR_ENTRY)};
#undef DOCTOR_ENTRY

int doctor_examine(const struct doctor_case *sick, struct finding findings[DOCTOR_CHECKS]) {
    int n = 0;
    for (int k = 0; k < DOCTOR_CHECKS; k++) {
        if (!checks[k].check(sick, &findings[n])) continue;
        findings[n++].id = checks[k].id;
    }
    return n;
}
