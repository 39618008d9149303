/* SPDX-License-Identifier: Apache-2.0
 *
 * The one table of configuration keys: field, default, range, meaning. The run configuration, the audit's command line,
 * the written config.yaml and the help text all come from it.
 */
#include "objective/names.h"
#include "objective/parts.h"
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { KIND_NAME, KIND_REAL, KIND_INTEGER, KIND_FLAG };

/* What a real may be besides a finite number within [low, high]: infinity as "off", NaN as "auto", not low itself. */
enum special { PLAIN = 0, OPEN_LOW = 1, OFF = 2, AUTO = 4 };

struct row {
    const char *key;
    enum kind kind;
    int special;
    size_t offset;
    const struct name_list *names;
    double initial; /* the default: a number, or the position in names */
    double low, high;
    const char *initial_text, *range, *doc; /* initial_text of a finite number */
};

#define INF   ((double)INFINITY)
#define UNSET ((double)NAN)
#define NAME(key, field, list, C, doc)                                                                                 \
    { key, KIND_NAME, PLAIN, offsetof(opsm_objective, field), &names_##list, C, 0, 0, NULL, NULL, doc }
#define REAL(key, field, initial, low, high, special, range, doc)                                                      \
    { key, KIND_REAL, special, offsetof(opsm_objective, field), NULL, initial, low, high, #initial, range, doc }
#define INTEGER(key, field, initial, low, high, range, doc)                                                            \
    { key, KIND_INTEGER, PLAIN, offsetof(opsm_objective, field), NULL, initial, low, high, #initial, range, doc }
#define FLAG(key, field, initial, doc)                                                                                 \
    { key, KIND_FLAG, PLAIN, offsetof(opsm_objective, field), NULL, initial, 0, 1, NULL, "true | false", doc }

static const struct row table[] = {
    NAME("advantage", advantage, advantage, OPSM_ADVANTAGE_MEAN, "advantage from the rewards of a group"),
    REAL("advantage_epsilon", advantage_epsilon, 0.0001, 0, 1, PLAIN, "0..1",
         "added to the standard deviation by advantage grpo and batch"),
    NAME("surrogate.name", surrogate_name, surrogate, OPSM_SURROGATE_PPO, "policy-gradient surrogate"),
    NAME("surrogate.ratio", surrogate_ratio, source, OPSM_SOURCE_SAMPLER, "whose log-probs stand below the ratio r"),
    REAL("surrogate.clip_low", surrogate_clip_low, 0.2, 0, 1, OFF, "0..1, off", "lower clip: r >= 1 - clip_low"),
    REAL("surrogate.clip_high", surrogate_clip_high, 0.2, 0, INF, OFF, ">= 0, off", "upper clip: r <= 1 + clip_high"),
    REAL("surrogate.dual_clip", surrogate_dual_clip, INF, 1, INF, OPEN_LOW | OFF, "> 1, off",
         "for A < 0 the surrogate is at most -dual_clip A (3 is usual)"),
    REAL("surrogate.cap", surrogate_cap, 2, 0, INF, OPEN_LOW | OFF, "> 0, off",
         "cap C of the weights of tis and decoupled"),
    REAL("surrogate.tau_pos", surrogate_tau_pos, 1, 0, INF, OPEN_LOW, "> 0", "sapo: temperature for A > 0"),
    REAL("surrogate.tau_neg", surrogate_tau_neg, 1.05, 0, INF, OPEN_LOW, "> 0", "sapo: temperature otherwise"),
    REAL("surrogate.beta", surrogate_beta, 0.1, 0, INF, OPEN_LOW, "> 0", "dpo: inverse temperature"),
    NAME("mask.rule", mask_rule, rule, OPSM_RULE_OPSM, "what is left out of the surrogate"),
    REAL("mask.delta", mask_delta, 0.05, 0, INF, OFF, ">= 0, off",
         "drift threshold, nats per token; not read by the policies length and auto"),
    NAME("mask.policy", mask_policy, policy, OPSM_POLICY_FIXED,
         "how the threshold moves; quantile and controller start from mask.delta"),
    NAME("mask.estimator", mask_estimator, estimator, OPSM_ESTIMATOR_K1, "drift of one token"),
    NAME("mask.reduce", mask_reduce, reduce, OPSM_REDUCE_MEAN, "drift of a sequence from its tokens'"),
    NAME("mask.also", mask_also, band, OPSM_BAND_NONE,
         "a second rule beside mask.rule: what either drops is dropped (AgileRL: icepop)"),
    NAME("mask.behavior", mask_behavior, source, OPSM_SOURCE_SAMPLER, "whose log-probs drift is measured from"),
    NAME("mask.current", mask_current, point, OPSM_POINT_CURRENT, "whose log-probs drift leads to"),
    FLAG("mask.skip_nan", mask_skip_nan, 0,
         "true: a token whose logp_behavior is NaN counts as not drifted, with weight 1 (TRL)"),
    NAME("mask.sign", mask_sign, sign, OPSM_SIGN_SEQUENCE,
         "whose sign decides when advantages differ within a sequence"),
    FLAG("mask.kl", mask_kl, 0, "true: what is dropped loses its KL penalty too (ms-swift)"),
    REAL("mask.low", mask_low, UNSET, 0, 1, AUTO, "0..1, auto",
         "lower end of the band of geometric (auto: 0.99), icepop and outlier (auto: 0.5)"),
    REAL("mask.high", mask_high, UNSET, 1, INF, AUTO | OFF, ">= 1, off, auto",
         "upper end of the band of geometric (auto: 1.01), icepop and outlier (auto: 5)"),
    INTEGER("mask.seed", mask_seed, 1, 0, 9007199254740992.0, "0..2^53", "seed of mask.rule random"),
    REAL("mask.quantile", mask_quantile, 0.8, 0, 1, PLAIN, "0..1", "policy quantile: the share of negatives to keep"),
    REAL("mask.rate", mask_rate, 0.1, 0, 1, OPEN_LOW, "0..1, not 0",
         "policy quantile: how far log delta moves towards the quantile, per step"),
    REAL("mask.floor", mask_floor, 0.001, 0, INF, OPEN_LOW, "> 0", "adaptive policies: smallest delta"),
    REAL("mask.ceiling", mask_ceiling, 0.1, 0, INF, OPEN_LOW | OFF, "> 0, off", "adaptive policies: largest delta"),
    REAL("mask.target", mask_target, 0.01, 0, INF, OPEN_LOW, "> 0",
         "policy controller: wanted mean drift of the kept negatives"),
    REAL("mask.budget", mask_budget, 2, 0, INF, OPEN_LOW, "> 0",
         "policy auto: drift allowed to a whole sequence at full trust, in nats"),
    REAL("mask.kappa", mask_kappa, 0.01, 0, INF, PLAIN, ">= 0", "policy length: drift budget per token"),
    REAL("mask.z", mask_z, 2, 0, INF, PLAIN, ">= 0", "policy length: standard deviations of sampling noise"),
    REAL("penalty.beta", penalty_beta, 0, 0, INF, PLAIN, ">= 0", "weight of the KL penalty"),
    NAME("penalty.estimator", penalty_estimator, penalty, OPSM_PENALTY_UNBIASED,
         "KL of one token against the reference"),
    REAL("penalty.clamp", penalty_clamp, INF, 0, INF, OPEN_LOW | OFF, "> 0, off",
         "tokens below the reference with a larger penalty are held at it, without gradient (AgileRL: 10)"),
    FLAG("penalty.clamp_both", penalty_clamp_both, 0,
         "true: penalty.clamp holds tokens above the reference too (verl, NeMo-RL, ms-swift: at 10)"),
    NAME("weight.level", weight_level, weight, OPSM_WEIGHT_NONE,
         "constant weight on the surrogate that corrects for the mismatch of sampler and trainer"),
    REAL("weight.low", weight_low, 0, 0, INF, PLAIN, ">= 0", "lower bound of the weight"),
    REAL("weight.high", weight_high, 2, 0, INF, OPEN_LOW | OFF, "> 0, off", "upper bound of the weight"),
    FLAG("weight.zero", weight_zero, 0,
         "true: a weight outside its bounds becomes 0 instead of the bound (TRL's *_mask, IcePop)"),
    FLAG("weight.kl", weight_kl, 0, "true: the weight multiplies the KL penalty too (ms-swift)"),
    REAL("ratio_clamp", ratio_clamp, INF, 0, INF, OPEN_LOW | OFF, "> 0, off",
         "log ratios of drift, surrogate and weight are held within +-ratio_clamp (verl, OpenRLHF, Trinity-RFT: 20)"),
    NAME("aggregation", aggregation, aggregation, OPSM_AGGREGATION_SEQUENCE_MEAN,
         "weights of tokens and sequences in the loss"),
    INTEGER("max_length", max_length, 0, 0, 9007199254740992.0, ">= 0",
            "L_max of aggregation constant; 0: the longest sequence"),
    NAME("denominator", denominator, denominator, OPSM_DENOMINATOR_ALL, "whether dropped sequences still count"),
    NAME("guard", guard, guard, OPSM_GUARD_POLICY, "brake on the learning rate"),
    REAL("guard_base", guard_base, 1, 0, 1, OPEN_LOW, "0..1, not 0", "guard ess: ESS that needs no brake"),
    REAL("guard_cap", guard_cap, 8, 0, INF, OPEN_LOW | OFF, "> 0, off", "cap of the weights in the ESS"),
};

enum { ROWS = sizeof table / sizeof table[0] };

/* mask.policy is called threshold.policy where thresholds are discussed: both names work. */
static const struct row *find(const char *key) {
    if (key && strcmp(key, "threshold.policy") == 0) key = "mask.policy";
    for (int i = 0; key && i < ROWS; i++)
        if (strcmp(key, table[i].key) == 0) return &table[i];
    return NULL;
}

/* Levenshtein distance, one row at a time; keys longer than the buffer count as far away. */
static int distance(const char *a, const char *b) {
    enum { MOST = 63 };
    int previous[MOST + 1];
    int columns = (int)strlen(b);
    if (columns > MOST || strlen(a) > MOST) return MOST;
    for (int j = 0; j <= columns; j++) previous[j] = j;
    for (int i = 1; a[i - 1]; i++) {
        int diagonal = previous[0];
        previous[0] = i;
        for (int j = 1; j <= columns; j++) {
            int best = diagonal + (a[i - 1] != b[j - 1]);
            if (previous[j] + 1 < best) best = previous[j] + 1;
            if (previous[j - 1] + 1 < best) best = previous[j - 1] + 1;
            diagonal = previous[j];
            previous[j] = best;
        }
    }
    return previous[columns];
}

static opsm_status unknown_key(const char *key, opsm_error *err) {
    const char *nearest = table[0].key;
    for (int i = 0; key && i < ROWS; i++)
        if (distance(key, table[i].key) < distance(key, nearest)) nearest = table[i].key;
    return opsm_fail(err, OPSM_INVALID, "unknown objective key \"%.60s\": did you mean %s?", key ? key : "(null)",
                     nearest);
}

static const char *range_of(const struct row *row) {
    return row->kind == KIND_NAME ? row->names->choices : row->range;
}

static opsm_status bad_value(const struct row *row, const char *value, opsm_error *err) {
    const char *kind = row->kind == KIND_INTEGER ? "a whole number, " : row->kind == KIND_REAL ? "a number, " : "";
    return opsm_fail(err, OPSM_INVALID, "%s = \"%.60s\": expected %s%s", row->key, value ? value : "(null)", kind,
                     range_of(row));
}

/* Comparisons are written so that NaN fails. */
static bool in_range(const struct row *row, double x) {
    if (row->kind == KIND_NAME) return x >= 0 && x < row->names->count;
    if (isnan(x)) return row->kind == KIND_REAL && (row->special & AUTO);
    if (isinf(x)) return row->kind == KIND_REAL && x > 0 && (row->special & OFF);
    return (row->special & OPEN_LOW ? x > row->low : x >= row->low) && x <= row->high;
}

/* A decimal number with a point whatever the locale says; false unless all of `text` is one. Hexadecimal, infinity and
 * nan are not numbers here. */
static bool parse_decimal(const char *text, double *value) {
    char copy[64];
    size_t length = strlen(text);
    if (length == 0 || length >= sizeof copy || strspn(text, "+-.0123456789eE") != length) return false;
    memcpy(copy, text, length + 1);
    char *point = strchr(copy, '.');
    if (point) *point = localeconv()->decimal_point[0];
    char *end;
    *value = strtod(copy, &end);
    return *end == '\0' && isfinite(*value);
}

static void print_decimal(double value, char *text, size_t size) {
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, size, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    char *point = strchr(text, localeconv()->decimal_point[0]);
    if (point) *point = '.';
}

static bool one_of(const char *value, const char *const names[]) {
    for (int i = 0; names[i]; i++)
        if (strcmp(value, names[i]) == 0) return true;
    return false;
}

static bool parse_real(const struct row *row, const char *value, double *x) {
    if ((row->special & OFF) && one_of(value, (const char *const[]){"off", "inf", ".inf", "infinity", "null", NULL})) {
        *x = INF;
        return true;
    }
    if ((row->special & AUTO) && one_of(value, (const char *const[]){"auto", "null", NULL})) {
        *x = UNSET;
        return true;
    }
    return parse_decimal(value, x);
}

/* Up to 2^53 a double holds it exactly. */
static bool parse_integer(const char *value, double *x) {
    char *end;
    long long parsed = strtoll(value, &end, 10);
    *x = (double)parsed;
    return end != value && *end == '\0' && parsed >= -(1LL << 53) && parsed <= 1LL << 53 &&
           strspn(value, "+-0123456789") == strlen(value);
}

static bool parse_flag(const char *value, double *x) {
    *x = one_of(value, (const char *const[]){"true", "1", "yes", "on", NULL});
    return *x > 0 || one_of(value, (const char *const[]){"false", "0", "no", "off", NULL});
}

static bool parse_name(const struct name_list *names, const char *value, double *x) {
    int found = 0;
    opsm_status status = names_parse(names, value, &found, NULL);
    *x = found;
    return status == OPSM_OK;
}

static bool parse(const struct row *row, const char *value, double *x) {
    switch (row->kind) {
    case KIND_NAME:
        return parse_name(row->names, value, x);
    case KIND_REAL:
        return parse_real(row, value, x);
    case KIND_INTEGER:
        return parse_integer(value, x);
    default:
        return parse_flag(value, x);
    }
}

/* Enumerations are stored through int: every enum here has the representation of int or unsigned int. */
_Static_assert(sizeof(opsm_rule) == sizeof(int), "the key table writes enums as int");

static double load(const opsm_objective *config, const struct row *row) {
    const char *at = (const char *)config + row->offset;
    if (row->kind == KIND_REAL) {
        double x;
        memcpy(&x, at, sizeof x);
        return x;
    }
    if (row->kind == KIND_INTEGER) {
        int64_t x;
        memcpy(&x, at, sizeof x);
        return (double)x;
    }
    int x;
    memcpy(&x, at, sizeof x);
    return (double)x;
}

static void store(opsm_objective *config, const struct row *row, double x) {
    char *at = (char *)config + row->offset;
    if (row->kind == KIND_REAL) {
        memcpy(at, &x, sizeof x);
    } else if (row->kind == KIND_INTEGER) {
        int64_t integer = (int64_t)x;
        memcpy(at, &integer, sizeof integer);
    } else {
        int small = (int)x;
        memcpy(at, &small, sizeof small);
    }
}

/* The row of a key that the caller's struct has. */
static opsm_status find_known(const opsm_objective *config, const char *key, const struct row **row, opsm_error *err) {
    *row = find(key);
    if (!*row) return unknown_key(key, err);
    size_t width = (*row)->kind == KIND_REAL || (*row)->kind == KIND_INTEGER ? 8 : sizeof(int);
    if (config->size >= (*row)->offset + width) return OPSM_OK;
    return opsm_fail(err, OPSM_UNSUPPORTED, "%s: the program was compiled for an older libopsm", (*row)->key);
}

void opsm_objective_init(opsm_objective *config, size_t size) {
    opsm_objective full;
    memset(&full, 0, sizeof full); /* padding too: configurations compare as bytes */
    full.size = size < sizeof full ? size : sizeof full;
    for (int i = 0; i < ROWS; i++) store(&full, &table[i], table[i].initial);
    memcpy(config, &full, full.size);
}

opsm_status opsm_objective_set(opsm_objective *config, const char *key, const char *value, opsm_error *err) {
    const struct row *row;
    double x;
    opsm_status status = find_known(config, key, &row, err);
    if (status != OPSM_OK) return status;
    if (!value || !parse(row, value, &x) || !in_range(row, x)) return bad_value(row, value, err);
    store(config, row, x);
    return OPSM_OK;
}

opsm_status opsm_objective_get(const opsm_objective *config, const char *key, char *text, size_t size,
                               opsm_error *err) {
    const struct row *row;
    opsm_status status = find_known(config, key, &row, err);
    if (status != OPSM_OK) return status;
    double x = load(config, row);
    if (row->kind == KIND_NAME)
        snprintf(text, size, "%s", names_name(row->names, (int)x));
    else if (row->kind == KIND_FLAG)
        snprintf(text, size, "%s", x != 0 ? "true" : "false");
    else if (isnan(x))
        snprintf(text, size, "auto");
    else if (isinf(x))
        snprintf(text, size, "off");
    else
        print_decimal(x, text, size);
    return OPSM_OK;
}

int opsm_objective_key_count(void) {
    return ROWS;
}

opsm_key opsm_objective_key(int index) {
    if (index < 0 || index >= ROWS) return (opsm_key){0};
    const struct row *row = &table[index];
    const char *initial = row->initial_text;
    if (row->kind == KIND_NAME) initial = names_name(row->names, (int)row->initial);
    if (row->kind == KIND_FLAG) initial = row->initial > 0 ? "true" : "false";
    if (isinf(row->initial)) initial = "off";
    if (isnan(row->initial)) initial = "auto";
    return (opsm_key){row->key, initial, range_of(row), row->doc};
}

opsm_status keys_check(const opsm_objective *config, opsm_error *err) {
    for (int i = 0; i < ROWS; i++) {
        const struct row *row = &table[i];
        double x = load(config, row);
        if (in_range(row, x)) continue;
        char text[40];
        snprintf(text, sizeof text, "%g", x);
        return bad_value(row, text, err);
    }
    return OPSM_OK;
}
