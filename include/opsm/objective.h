/* SPDX-License-Identifier: Apache-2.0
 *
 * libopsm: reinforcement-learning objectives for language models trained off-policy, with Off-Policy Sequence Masking
 * (OPSM, DeepSeek-V3.2, arXiv 2512.02556, eq. 5-9). Arrays of log-probs in; loss, d loss / d log-prob, drift, mask and
 * metrics out. Needs libc and libm only. No allocation, no globals, no I/O, no threads: every call is re-entrant, and
 * its result depends on its arguments alone, bit for bit.
 *
 * One optimiser step, in the order of the calls:
 *
 *     opsm_objective config;  opsm_objective_defaults(&config);         then fields, or opsm_objective_set(...)
 *     opsm_threshold state;   opsm_threshold_start(&config, &state);    once per run; saved and restored as bytes
 *     opsm_advantages(...)                                              rewards of groups -> advantages
 *     opsm_objective_totals(...)                                        denominators of the whole step
 *     for each micro-batch:
 *         forward pass                                                  logp_current
 *         opsm_objective_evaluate(...)                                  loss, d loss / d logp_current, records
 *         backward pass                                                 of the rows with needs_backward
 *     opsm_metrics_compute(...)                                         from the records of all micro-batches
 *     opsm_threshold_update(...)                                        likewise
 *
 * Notation: i sequence, t token; log-probs, all natural: b of the sampler (behaviour), p of the trainer before the
 * first optimiser step, c current, f of the reference; m loss mask, n_i = sum_t m_it, A advantage, r = exp(c - b).
 */
#ifndef OPSM_OBJECTIVE_H
#define OPSM_OBJECTIVE_H
#include <opsm/status.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Changes when a struct below changes in a way that `size` cannot cover. */
#define OPSM_OBJECTIVE_ABI 1
OPSM_API int opsm_objective_abi(void);   /* the OPSM_OBJECTIVE_ABI of the library that was loaded */
OPSM_API const char *opsm_version(void); /* "major.minor.patch" of the library that was loaded */

/* ---- Names. X(CONSTANT, "name", "one line"): enum, configuration, command line and help share these lists. ---- */

#define OPSM_ADVANTAGE_LIST(X)                                                                                         \
    X(MEAN, "mean", "R - mean of the group (DeepSeek-V3.2; Dr.GRPO 2503.20783)")                                       \
    X(GRPO, "grpo", "(R - mean) / (unbiased std + epsilon) (DeepSeekMath 2402.03300, TRL)")                            \
    X(RLOO, "rloo", "R - mean of the others of the group (2402.14740)")                                                \
    X(BATCH, "batch", "R - mean of the group, over unbiased std of the batch's rewards + epsilon (TRL)")               \
    X(GIVEN, "given", "read from the data")

#define OPSM_SURROGATE_LIST(X)                                                                                         \
    X(PPO, "ppo", "-min(r A, clip(r) A), optional dual clip (1707.06347, DAPO 2503.14476)")                            \
    X(IS, "is", "-r A, no clip")                                                                                       \
    X(REINFORCE, "reinforce", "-A c, no ratio")                                                                        \
    X(TIS, "tis", "-sg(min(r, cap)) A c, truncated importance sampling")                                               \
    X(CISPO, "cispo", "-sg(clip(r)) A c (MiniMax-M1 2506.13585)")                                                      \
    X(GSPO, "gspo", "ppo with the sequence ratio exp(mean(c - b)) (2507.18071)")                                       \
    X(SAPO, "sapo", "-(4 / tau) sigmoid(tau (r - 1)) A (2511.20347)")                                                  \
    X(DECOUPLED, "decoupled", "ppo on exp(c - p), times sg(min(exp(p - b), cap)) (AReaL 2505.24298)")                  \
    X(DPO, "dpo", "best and worst of each group as a preference pair (2305.18290)")

#define OPSM_RULE_LIST(X)                                                                                              \
    X(NONE, "none", "keep everything")                                                                                 \
    X(OPSM, "opsm", "drop the sequence if A < 0 and drift > delta (2512.02556 eq. 9)")                                 \
    X(GEOMETRIC, "geometric", "drop the sequence if exp(-drift) is outside [low, high], any sign of A")                \
    X(ICEPOP, "icepop", "drop tokens with exp(c - b) outside [low, high] (2510.18855)")                                \
    X(TOKEN_K2, "token_k2", "drop tokens with (b - c)^2 / 2 > delta (torchrl)")                                        \
    X(NEGATIVES, "negatives", "control: drop every sequence with A < 0")                                               \
    X(RANDOM, "random", "control: drop as many negatives as opsm would, chosen at random")                             \
    X(POSITIVES, "positives", "control, the mirror image: drop if A > 0 and drift > delta")                            \
    X(TOKEN, "token", "drop tokens whose drift by the estimator exceeds delta, any sign of A (verl token_k3)")         \
    X(OUTLIER, "outlier", "drop the sequence if exp(c - b) of any token is outside [low, high] (SkyRL)")               \
    X(TV, "tv", "drop tokens whose probability has moved the way A pushes by more than delta (DPPO 2602.04879)")

/* Rules that can act beside mask.rule: they read low and high, not delta. */
#define OPSM_BAND_LIST(X)                                                                                              \
    X(NONE, "none", "nothing")                                                                                         \
    X(GEOMETRIC, "geometric", "as the rule of that name")                                                              \
    X(ICEPOP, "icepop", "as the rule of that name")                                                                    \
    X(OUTLIER, "outlier", "as the rule of that name")

#define OPSM_POLICY_LIST(X)                                                                                            \
    X(FIXED, "fixed", "delta as configured")                                                                           \
    X(LENGTH, "length", "kappa + z sqrt(2 kappa / n_i): constant false-drop rate over lengths")                        \
    X(QUANTILE, "quantile", "moving quantile of the negatives' drift, between floor and ceiling")                      \
    X(CONTROLLER, "controller", "steers the mean drift of the kept negatives to `target`")                             \
    X(AUTO, "auto", "trust x budget / n_i; trust falls where good answers get less likely; brakes the learning rate")

#define OPSM_ESTIMATOR_LIST(X)                                                                                         \
    X(K1, "k1", "b - c")                                                                                               \
    X(K2, "k2", "(b - c)^2 / 2")                                                                                       \
    X(K3, "k3", "exp(c - b) - 1 - (c - b)")                                                                            \
    X(ABS, "abs", "|b - c|")                                                                                           \
    X(EXP_ABS, "exp_abs", "exp|b - c|, at least 1 (NeMo-RL's probability error)")

#define OPSM_REDUCE_LIST(X)                                                                                            \
    X(MEAN, "mean", "mean over the sequence's loss tokens")                                                            \
    X(SUM, "sum", "sum over the sequence's loss tokens")                                                               \
    X(MAX, "max", "largest token")

#define OPSM_SOURCE_LIST(X)                                                                                            \
    X(SAMPLER, "sampler", "b: recorded by whatever generated the tokens, when it generated them")                      \
    X(TRAINER, "trainer", "p: recomputed by the trainer before the first optimiser step on the batch")

#define OPSM_SIGN_LIST(X)                                                                                              \
    X(SEQUENCE, "sequence", "sign of the masked mean of A over the sequence")                                          \
    X(TOKEN, "token", "sign of each token's A (slime, AgileRL)")                                                       \
    X(ANY, "any", "no sign: drop whatever A is (verl, NeMo-RL, AReaL)")

#define OPSM_POINT_LIST(X)                                                                                             \
    X(CURRENT, "current", "c: staleness and mismatch together (the paper)")                                            \
    X(TRAINER, "trainer", "p: the mismatch of sampler and trainer alone, frozen over the batch")

#define OPSM_WEIGHT_LIST(X)                                                                                            \
    X(NONE, "none", "no correction")                                                                                   \
    X(TOKEN, "token", "exp(p - b) of each token")                                                                      \
    X(SEQUENCE, "sequence", "their product over the sequence")                                                         \
    X(GEOMETRIC, "geometric", "their geometric mean over the sequence")

#define OPSM_PENALTY_LIST(X)                                                                                           \
    X(K1, "k1", "c - f")                                                                                               \
    X(K2, "k2", "(c - f)^2 / 2")                                                                                       \
    X(K3, "k3", "exp(f - c) - (f - c) - 1")                                                                            \
    X(UNBIASED, "unbiased", "r k3, differentiated through both factors (2512.02556 eq. 7)")

#define OPSM_AGGREGATION_LIST(X)                                                                                       \
    X(SEQUENCE_MEAN, "sequence_mean", "mean over sequences of means over tokens (GRPO, DeepSeek-V3.2)")                \
    X(TOKEN_MEAN, "token_mean", "mean over all loss tokens (DAPO)")                                                    \
    X(CONSTANT, "constant", "sum over N max_length (Dr.GRPO)")

#define OPSM_DENOMINATOR_LIST(X)                                                                                       \
    X(ALL, "all", "masked sequences still count (the paper)")                                                          \
    X(KEPT, "kept", "only what the mask keeps counts (ms-swift bnpo, verl decoupled)")                                 \
    X(TOKENS, "tokens", "dropped tokens do not count, N does (verl decoupled with sequence means)")

#define OPSM_GUARD_LIST(X)                                                                                             \
    X(POLICY, "policy", "what the threshold policy brings: auto brakes as guard trust does, the others do not")        \
    X(NONE, "none", "learning rate as scheduled")                                                                      \
    X(ESS, "ess", "learning rate times sqrt(min(1, ESS / guard_base)) (VCPO 2602.17616)")                              \
    X(TRUST, "trust", "learning rate times trust^(1/4), 0.32 to 1, whatever the threshold policy")                     \
    X(KEPT, "kept", "control: learning rate times the share of sequences that rule opsm would keep")

/* Why a sequence was dropped, or some of its tokens: not keys of the configuration, but what the records say. */
#define OPSM_REASON_LIST(X)                                                                                            \
    X(UNKNOWN, "unknown", "no evaluation has looked at it")                                                            \
    X(KEPT, "kept", "not dropped, no token of it")                                                                     \
    X(EMPTY, "empty", "no token of it is in the loss")                                                                 \
    X(TRUNCATED, "truncated", "it was cut off and is in no loss (said by the trainer, whose mask it is)")              \
    X(NONFINITE, "nonfinite", "A < 0 and a log-prob is not finite")                                                    \
    X(OPSM, "opsm", "A < 0 and drift > delta")                                                                         \
    X(DRIFT, "drift", "drift > delta, whatever A is (mask.sign any)")                                                  \
    X(POSITIVES, "positives", "A > 0 and drift > delta")                                                               \
    X(NEGATIVES, "negatives", "A < 0")                                                                                 \
    X(RANDOM, "random", "A < 0, drawn at random")                                                                      \
    X(GEOMETRIC, "geometric", "exp(-drift) is outside the band")                                                       \
    X(OUTLIER, "outlier", "exp(c - b) of a token is outside the band")                                                 \
    X(ICEPOP, "icepop", "its tokens with exp(c - b) outside the band")                                                 \
    X(TOKEN_K2, "token_k2", "its tokens with (b - c)^2 / 2 > delta")                                                   \
    X(TOKEN, "token", "its tokens whose drift exceeds delta")                                                          \
    X(TV, "tv", "its tokens whose probability has moved too far")

/* For every list: the enum, its name ("?" when out of range) and the way back. Parsing an unknown name gives
 * OPSM_INVALID and a sentence with the names that exist. */
#define OPSM_ENUM(Type, TYPE)                                                                                          \
    typedef enum opsm_##Type{OPSM_##TYPE##_LIST(OPSM_X_##TYPE) OPSM_##TYPE##_COUNT} opsm_##Type;                       \
    OPSM_API const char *opsm_##Type##_name(opsm_##Type value);                                                        \
    OPSM_API opsm_status opsm_##Type##_parse(const char *name, opsm_##Type *value, opsm_error *err)

#define OPSM_X_ADVANTAGE(C, name, doc)   OPSM_ADVANTAGE_##C,
#define OPSM_X_SURROGATE(C, name, doc)   OPSM_SURROGATE_##C,
#define OPSM_X_RULE(C, name, doc)        OPSM_RULE_##C,
#define OPSM_X_POLICY(C, name, doc)      OPSM_POLICY_##C,
#define OPSM_X_ESTIMATOR(C, name, doc)   OPSM_ESTIMATOR_##C,
#define OPSM_X_REDUCE(C, name, doc)      OPSM_REDUCE_##C,
#define OPSM_X_SOURCE(C, name, doc)      OPSM_SOURCE_##C,
#define OPSM_X_SIGN(C, name, doc)        OPSM_SIGN_##C,
#define OPSM_X_PENALTY(C, name, doc)     OPSM_PENALTY_##C,
#define OPSM_X_AGGREGATION(C, name, doc) OPSM_AGGREGATION_##C,
#define OPSM_X_DENOMINATOR(C, name, doc) OPSM_DENOMINATOR_##C,
#define OPSM_X_GUARD(C, name, doc)       OPSM_GUARD_##C,
#define OPSM_X_BAND(C, name, doc)        OPSM_BAND_##C,
#define OPSM_X_POINT(C, name, doc)       OPSM_POINT_##C,
#define OPSM_X_WEIGHT(C, name, doc)      OPSM_WEIGHT_##C,
#define OPSM_X_REASON(C, name, doc)      OPSM_REASON_##C,
OPSM_ENUM(advantage, ADVANTAGE);
OPSM_ENUM(surrogate, SURROGATE);
OPSM_ENUM(rule, RULE);
OPSM_ENUM(policy, POLICY);
OPSM_ENUM(estimator, ESTIMATOR);
OPSM_ENUM(reduce, REDUCE);
OPSM_ENUM(source, SOURCE);
OPSM_ENUM(sign, SIGN);
OPSM_ENUM(penalty, PENALTY);
OPSM_ENUM(aggregation, AGGREGATION);
OPSM_ENUM(denominator, DENOMINATOR);
OPSM_ENUM(guard, GUARD);
OPSM_ENUM(band, BAND);
OPSM_ENUM(point, POINT);
OPSM_ENUM(weight, WEIGHT);
OPSM_ENUM(reason, REASON);

/* ---- Configuration ---- */

/* One objective. Fill with opsm_objective_defaults, then assign fields or use opsm_objective_set. Flat, so that fields
 * can be appended; `size` tells the library which of them the caller knows. Each field's key, range and meaning are in
 * the table behind opsm_objective_key. */
typedef struct opsm_objective {
    size_t size;
    opsm_advantage advantage;
    opsm_surrogate surrogate_name;
    opsm_source surrogate_ratio;
    opsm_rule mask_rule;
    opsm_policy mask_policy;
    opsm_estimator mask_estimator;
    opsm_reduce mask_reduce;
    opsm_source mask_behavior;
    opsm_sign mask_sign;
    int mask_kl; /* 1: a dropped sequence loses its KL penalty too */
    opsm_penalty penalty_estimator;
    opsm_aggregation aggregation;
    opsm_denominator denominator;
    opsm_guard guard;
    int64_t max_length; /* 0: the longest sequence */
    int64_t mask_seed;
    double advantage_epsilon;
    double surrogate_clip_low;
    double surrogate_clip_high;
    double surrogate_dual_clip; /* infinity: off */
    double surrogate_cap;
    double surrogate_tau_pos;
    double surrogate_tau_neg;
    double surrogate_beta; /* dpo only */
    double mask_delta;     /* infinity: never drops */
    double mask_low;       /* NaN: the rule's own default */
    double mask_high;      /* NaN: the rule's own default */
    double mask_quantile;
    double mask_floor;
    double mask_ceiling;
    double mask_target;
    double mask_kappa;
    double mask_z;
    double mask_rate;
    double mask_budget;
    double penalty_beta;
    double penalty_clamp; /* infinity: off */
    double guard_base;
    double guard_cap;
    opsm_band mask_also;
    opsm_point mask_current;
    int mask_skip_nan; /* 1: a NaN in logp_behavior counts as no drift, and weight 1 */
    opsm_weight weight_level;
    int weight_zero;        /* 1: weights outside the band become 0, not the bound */
    int weight_kl;          /* 1: the weight multiplies the penalty too */
    int penalty_clamp_both; /* 1: the clamp holds tokens above the reference too */
    double weight_low;
    double weight_high;
    double ratio_clamp; /* infinity: off */
} opsm_objective;

OPSM_API void opsm_objective_init(opsm_objective *config, size_t size);

/* Every field to its documented default. */
static inline void opsm_objective_defaults(opsm_objective *config) {
    opsm_objective_init(config, sizeof *config);
}

/* Sets one key from text, e.g. ("mask.delta", "0.3"). Keys are those of the configuration below `objective:`, without
 * that prefix. Unknown key (the sentence names the nearest one), unparsable or out-of-range value: OPSM_INVALID, the
 * configuration unchanged. "inf" and "off" switch a cap off, "auto" asks for the rule's own default. */
OPSM_API opsm_status opsm_objective_set(opsm_objective *config, const char *key, const char *value, opsm_error *err);

/* The current value of a key as text that opsm_objective_set takes back unchanged; NUL-terminated into `text`. */
OPSM_API opsm_status opsm_objective_get(const opsm_objective *config, const char *key, char *text, size_t size,
                                        opsm_error *err);

/* One row of the key table. All strings are static. */
typedef struct opsm_key {
    const char *key;           /* "mask.delta" */
    const char *default_value; /* "0.05" */
    const char *range;         /* "0 <= x, inf: off" or "ppo | is | ..." */
    const char *doc;           /* one line */
} opsm_key;

OPSM_API int opsm_objective_key_count(void);

/* Row `index` (0 <= index < count); all fields NULL when out of range. Rows of one section are adjacent. */
OPSM_API opsm_key opsm_objective_key(int index);

/* Checks every field and their combination; opsm_objective_evaluate does so too. */
OPSM_API opsm_status opsm_objective_check(const opsm_objective *config, opsm_error *err);

/* 1 when the objective reads logp_trainer (logp_reference): the caller must then have computed it. */
OPSM_API int opsm_objective_needs_trainer(const opsm_objective *config);
OPSM_API int opsm_objective_needs_reference(const opsm_objective *config);

/* ---- Data ---- */

/* Ragged arrays, all borrowed. Sequence i owns tokens offsets[i] .. offsets[i+1]-1 of every token array. Pointers that
 * the objective in force does not need may be NULL; what it needs and lacks is an OPSM_MISSING naming the array.
 * Values where mask is 0 are never looked at. Zero-initialise (opsm_batch_init does) and set what you have. */
typedef struct opsm_batch {
    size_t size;
    int64_t n_sequences;
    int64_t n_tokens;              /* must equal offsets[n_sequences] */
    const int64_t *offsets;        /* [n_sequences + 1], starts at 0, never decreases */
    const float *logp_current;     /* [n_tokens] c */
    const float *logp_behavior;    /* [n_tokens] b, from the sampler */
    const float *logp_trainer;     /* [n_tokens] p */
    const float *logp_reference;   /* [n_tokens] f */
    const uint8_t *mask;           /* [n_tokens] m, 0 or 1; NULL: all ones */
    const float *advantages;       /* [n_sequences] */
    const float *token_advantages; /* [n_tokens]; when given it is used in place of `advantages` */
    const int64_t *groups;         /* [n_sequences] group ids: any numbers, members need not be adjacent */
    const float *rewards;          /* [n_sequences] read by opsm_advantages only */
    const int64_t *ids;            /* [n_sequences] stable names for mask.rule random and for ties; NULL: 0, 1, ... */
    const float *entropy;          /* [n_tokens] of the current policy, for the metrics; may be NULL */
    const int64_t *lag;            /* [n_sequences] weight versions behind, for the metrics; may be NULL */
    int64_t n_groups;              /* 0: not checked; else ids must be 0..n_groups-1, each with a member: OPSM_GROUPS */
    int64_t step;                  /* optimiser step, so that mask.rule random draws anew at every step */
} opsm_batch;

OPSM_API void opsm_batch_init_sized(opsm_batch *batch, size_t size);

static inline void opsm_batch_init(opsm_batch *batch) {
    opsm_batch_init_sized(batch, sizeof *batch);
}

/* Strict check for data that claims to be log-probs of a policy: offsets (OPSM_LENGTHS), mask values 0/1
 * (OPSM_INVALID), and at tokens in the loss every given log-prob finite (OPSM_NONFINITE) and at most 1e-3
 * (OPSM_POSITIVE). opsm_objective_evaluate does not insist on the last two (it counts). The sentence names sequence and
 * token. */
OPSM_API opsm_status opsm_batch_check(const opsm_batch *batch, opsm_error *err);

/* Scratch memory for the calls that say so: at least this many bytes, any alignment of malloc. */
OPSM_API size_t opsm_objective_workspace(int64_t n_sequences);

/* ---- Advantages ---- */

typedef struct opsm_group_stats {
    int64_t groups;      /* distinct group ids */
    int64_t zero_groups; /* groups whose rewards are all equal: no signal, all advantages zero */
    double reward_mean;
    double reward_std; /* over the batch, unbiased; 0 for one sequence */
} opsm_group_stats;

/* Reads n_sequences, groups, rewards and n_groups of `batch`; writes advantages[n_sequences] by config->advantage (not
 * `given`: OPSM_INVALID). groups NULL: one group. `stats` may be NULL. Workspace as opsm_objective_workspace. A reward
 * that is not finite: OPSM_NONFINITE. A sequence that could not be judged is set aside: leave it out, here and in the
 * batches of the step. Then it is no member of its group, in no mean, not dropped and not in N. */
OPSM_API opsm_status opsm_advantages(const opsm_objective *config, const opsm_batch *batch, float *advantages,
                                     opsm_group_stats *stats, void *workspace, size_t workspace_size, opsm_error *err);

/* Generalised advantage estimation (1506.02438) for a critic. Reads offsets and mask of `batch`; values[n_tokens] is
 * the critic before each token; token_rewards[n_tokens] and final_rewards[n_sequences] (added at the last loss token)
 * may each be NULL. Tokens outside the mask are stepped over: they neither discount nor bootstrap, and get 0. Writes
 * advantages[n_tokens] and, unless NULL, returns[n_tokens] = advantage + value. gamma, lambda in [0, 1]. */
OPSM_API opsm_status opsm_gae(const opsm_batch *batch, const float *values, const float *token_rewards,
                              const float *final_rewards, double gamma, double lambda, float *advantages,
                              float *returns, opsm_error *err);

/* ---- Thresholds ---- */

/* What a threshold policy remembers between steps. The caller owns it; plain bytes without pointers: save with fwrite,
 * restore with fread and opsm_threshold_check. */
typedef struct opsm_threshold {
    uint32_t magic;
    uint32_t abi;
    double delta;       /* in force for the next step (policies fixed, quantile, controller) */
    double noise_mean;  /* drift of the last calibration: mean ... */
    double noise_sd;    /* ... and spread */
    double noise_floor; /* max(mean, 0) + 3 spread: what engine noise alone exceeds about once in a thousand */
    int64_t updates;
    int64_t calibrations;
    double trust;   /* 0.01..1: how far stale data may still move the policy, see opsm_threshold_update */
    double decline; /* moving estimate of how much of the old accuracy has been lost; negative: gained */
    double reserved[6];
} opsm_threshold;

OPSM_API opsm_status opsm_threshold_start(const opsm_objective *config, opsm_threshold *state, opsm_error *err);
OPSM_API opsm_status opsm_threshold_check(const opsm_threshold *state, opsm_error *err);

/* The threshold for a sequence of n loss tokens. `state` may be NULL: as if just started. */
OPSM_API double opsm_threshold_delta(const opsm_objective *config, const opsm_threshold *state, int64_t n);

/* ---- One call ---- */

/* What the step knows about one sequence. Records of several micro-batches or ranks are put one after the other for
 * opsm_metrics_compute and opsm_threshold_update: they are plain numbers. */
typedef struct opsm_sequence {
    int64_t group;
    int64_t tokens;         /* n_i: tokens in the loss */
    int64_t length;         /* T_i */
    int64_t dropped_tokens; /* loss tokens that the mask took out of the surrogate */
    int64_t clipped_low;    /* loss tokens at the lower and upper clip (before the mask) */
    int64_t clipped_high;
    int64_t lag;            /* -1: unknown */
    double advantage;       /* A_i, masked mean for token advantages */
    double drift;           /* X_i by the estimator and reduction in force; NaN: no behaviour log-probs */
    double drift_k1;        /* mean of b - c, NaN as above */
    double drift_k3;        /* mean of exp(c - b) - 1 - (c - b) */
    double delta;           /* threshold in force for this sequence */
    double loss;            /* contribution to the loss: surrogate + penalty */
    double surrogate;       /* contribution of the masked surrogate */
    double penalty;         /* contribution of beta K */
    double kl_sum;          /* sum over loss tokens of K, unclamped and without beta */
    double entropy_sum;     /* sum over loss tokens; NaN: unknown */
    double ratio_max;       /* largest exp(c - b) of a loss token (drift's two ends) */
    uint8_t keep;           /* 0: no token of it is left in the surrogate because of the mask */
    uint8_t nonfinite;      /* a value at a loss token is not finite */
    uint8_t needs_backward; /* some d loss / d logp is not zero */
    uint8_t positive_logp;  /* some c, b, p or f at a loss token is above 0: not a log-prob */
    uint8_t reason;         /* opsm_reason: what dropped it, or its first dropped token */
    uint8_t reserved[3];
} opsm_sequence;

/* The denominators of one optimiser step, over all micro-batches and ranks: additive, except max_length (the maximum).
 * random_cut belongs to mask.rule random. */
typedef struct opsm_totals {
    size_t size;
    double sequences;  /* N */
    double tokens;     /* sum n_i */
    double pairs;      /* dpo */
    double max_length; /* L_max */
    double negatives;  /* sequences with A < 0 and finite values, and those of them beyond delta */
    double drifted;
    double random_cut; /* exact when one call saw the whole step; opsm_totals_add falls back to the expectation */
} opsm_totals;

/* The totals of `batch`. With denominator `all` and a rule other than `random` only offsets, mask and (dpo) groups and
 * advantages are read: they are known before any forward pass. Otherwise logp_current is needed, except where every
 * advantage is zero. Writes records[n_sequences] (drift, keep; no loss yet): may not be NULL. */
OPSM_API opsm_status opsm_objective_totals(const opsm_objective *config, const opsm_threshold *state,
                                           const opsm_batch *batch, opsm_sequence *records, opsm_totals *totals,
                                           void *workspace, size_t workspace_size, opsm_error *err);
OPSM_API void opsm_totals_add(opsm_totals *sum, const opsm_totals *part);

/* Where the results go. records is required, dlogp may be NULL (loss only). */
typedef struct opsm_result {
    size_t size;
    opsm_sequence *records; /* [n_sequences] */
    float *dlogp;           /* [n_tokens] d loss / d logp_current; exactly 0 outside the mask. Overlaps no input. */
    double loss;            /* surrogate + penalty */
    double surrogate;
    double penalty;
    int64_t needs_backward; /* sequences with a non-zero gradient */
} opsm_result;

OPSM_API void opsm_result_init_sized(opsm_result *result, size_t size);

static inline void opsm_result_init(opsm_result *result) {
    opsm_result_init_sized(result, sizeof *result);
}

/* Loss and gradient of one batch or micro-batch:
 *     L = sum_i w_i sum_t m_it (M_i S_it + beta K_it)
 * `state` NULL: threshold as if just started. `totals` NULL: this batch is the whole step. Workspace as
 * opsm_objective_workspace(n_sequences); only mask.rule random, dpo and totals == NULL touch it.
 *
 * Values that are not finite, at a token in the loss: with A_i < 0 the sequence is dropped (and counted in
 * `nonfinite`); with A_i = 0 it contributes nothing; otherwise the call fails with OPSM_NONFINITE naming sequence and
 * token, if they would reach the loss. Outside the mask nothing is ever looked at. On failure the contents of
 * `result` are unspecified. */
OPSM_API opsm_status opsm_objective_evaluate(const opsm_objective *config, const opsm_threshold *state,
                                             const opsm_batch *batch, const opsm_totals *totals, opsm_result *result,
                                             void *workspace, size_t workspace_size, opsm_error *err);

/* 1 when the totals depend on log-probs: opsm_objective_totals must then come after the forward pass. */
OPSM_API int opsm_objective_totals_need_forward(const opsm_objective *config);

/* 0 when the sequence can contribute neither loss nor gradient whatever the log-probs are (A = 0 and no penalty), so
 * that not even a forward pass is needed. It still counts in the totals. */
OPSM_API int opsm_objective_needs_forward(const opsm_objective *config, double advantage);

/* ---- Metrics ---- */

/* X(field, "one line"). Every field is a double; NaN means "nothing to measure". Shares are 0..1. */
#define OPSM_METRICS_LIST(X)                                                                                           \
    X(loss, "surrogate + penalty")                                                                                     \
    X(surrogate, "masked surrogate part of the loss")                                                                  \
    X(penalty, "KL penalty part of the loss, with beta")                                                               \
    X(kl_ref, "mean KL estimate against the reference, nats per token")                                                \
    X(entropy, "mean entropy, nats per token, of the sequences where it is known")                                     \
    X(drift_negative_mean, "drift of sequences with A < 0: mean")                                                      \
    X(drift_negative_p10, "10% quantile")                                                                              \
    X(drift_negative_p50, "median")                                                                                    \
    X(drift_negative_p90, "90% quantile")                                                                              \
    X(drift_negative_p99, "99% quantile")                                                                              \
    X(drift_positive_mean, "drift of sequences with A > 0: mean")                                                      \
    X(drift_positive_p10, "10% quantile")                                                                              \
    X(drift_positive_p50, "median")                                                                                    \
    X(drift_positive_p90, "90% quantile")                                                                              \
    X(drift_positive_p99, "99% quantile")                                                                              \
    X(drift_mean, "drift of all sequences: mean of k1")                                                                \
    X(drift_k3, "mean over sequences of the k3 drift")                                                                 \
    X(drift_kept_negative, "mean drift of the negatives that were kept")                                               \
    X(dropped, "share of sequences dropped")                                                                           \
    X(dropped_negatives, "share of sequences with A < 0 dropped")                                                      \
    X(dropped_tokens, "share of loss tokens dropped")                                                                  \
    X(dropped_mass, "share of sum |A| dropped")                                                                        \
    X(delta, "threshold in force, mean over the negatives")                                                            \
    X(clip_low, "share of loss tokens at the lower clip")                                                              \
    X(clip_high, "share of loss tokens at the upper clip")                                                             \
    X(ratio_max, "largest exp(c - b)")                                                                                 \
    X(ess, "effective sample size over N, weights exp(-X n) capped at guard_cap")                                      \
    X(nonfinite, "sequences with a value that is not finite")                                                          \
    X(positive_logp, "sequences with a log-prob above 0")                                                              \
    X(sequences, "sequences")                                                                                          \
    X(negatives, "sequences with A < 0")                                                                               \
    X(positives, "sequences with A > 0")                                                                               \
    X(tokens, "tokens in the loss")                                                                                    \
    X(groups, "groups")                                                                                                \
    X(skipped_groups, "groups whose advantages are all zero")                                                          \
    X(backward_sequences, "sequences with a non-zero gradient; 0: skip the optimiser step")                            \
    X(length_mean, "mean loss tokens per sequence")                                                                    \
    X(lag_mean, "weight versions behind, mean")                                                                        \
    X(lag_max, "weight versions behind, largest")

typedef struct opsm_metrics {
    size_t size;
#define OPSM_METRIC_FIELD(field, doc) double field;
    OPSM_METRICS_LIST(OPSM_METRIC_FIELD)
#undef OPSM_METRIC_FIELD
} opsm_metrics;

/* Metrics of a step from the records of all its micro-batches, in any split: the same records in the same order give
 * the same bits. Workspace as opsm_objective_workspace(n). */
OPSM_API opsm_status opsm_metrics_compute(const opsm_objective *config, const opsm_sequence *records, int64_t n,
                                          opsm_metrics *metrics, void *workspace, size_t workspace_size,
                                          opsm_error *err);

OPSM_API int opsm_metrics_count(void);
OPSM_API const char *opsm_metrics_name(int index); /* "drift_negative_p90"; NULL when out of range */
OPSM_API double opsm_metrics_value(const opsm_metrics *metrics, int index);

/* ---- Sums behind the metrics, for records that are never in one place: on several ranks, in a large file ---- */

/* X(field, "one line"). Counts of sequences, or of tokens where the line says so. */
#define OPSM_METRICS_COUNT_LIST(X)                                                                                     \
    X(sequences, "all")                                                                                                \
    X(negatives, "A < 0")                                                                                              \
    X(positives, "A > 0")                                                                                              \
    X(tokens, "tokens in the loss")                                                                                    \
    X(dropped, "not kept")                                                                                             \
    X(dropped_negatives, "A < 0 and not kept")                                                                         \
    X(dropped_tokens, "tokens that the mask took out")                                                                 \
    X(clipped_low, "tokens at the lower clip")                                                                         \
    X(clipped_high, "tokens at the upper clip")                                                                        \
    X(nonfinite, "with a value that is not finite")                                                                    \
    X(positive_logp, "with a log-prob above 0")                                                                        \
    X(backward_sequences, "with a gradient")                                                                           \
    X(entropy_tokens, "tokens of the sequences whose entropy is known")                                                \
    X(lagged, "whose lag is known")                                                                                    \
    X(drifts, "whose drift is known, and the three counts of these by sign")                                           \
    X(negative_drifts, "A < 0")                                                                                        \
    X(positive_drifts, "A > 0")                                                                                        \
    X(kept_negatives, "A < 0 and kept")                                                                                \
    X(weights, "with an importance weight, for the ESS")                                                               \
    X(positive_weights, "A > 0, with an importance weight, for the decline")

#define OPSM_METRICS_SUM_LIST(X)                                                                                       \
    X(surrogate_sum, "contributions to the loss")                                                                      \
    X(penalty_sum, "likewise")                                                                                         \
    X(kl_sum, "KL estimates, over tokens")                                                                             \
    X(entropy_sum, "over entropy_tokens")                                                                              \
    X(mass, "|A|")                                                                                                     \
    X(dropped_mass, "|A|, of each sequence the share of its tokens that the mask took out")                            \
    X(delta_sum, "thresholds of the negatives")                                                                        \
    X(lag_sum, "over lagged")                                                                                          \
    X(drift_k1_sum, "over drifts")                                                                                     \
    X(drift_k3_sum, "over drifts")                                                                                     \
    X(drift_negative_sum, "over negative_drifts")                                                                      \
    X(drift_positive_sum, "over positive_drifts")                                                                      \
    X(drift_kept_negative_sum, "over kept_negatives")                                                                  \
    X(weight_sum, "exp(-X n), X: k1, mean; at most ess_cap")                                                           \
    X(weight_square_sum, "their squares")                                                                              \
    X(positive_weight_sum, "exp(-X n) of the positives, at most 8: see opsm_threshold_update")

/* Plain numbers without pointers: ranks may send them as bytes. */
typedef struct opsm_metrics_sums {
    size_t size;
#define OPSM_METRICS_COUNT_FIELD(field, doc) int64_t field;
    OPSM_METRICS_COUNT_LIST(OPSM_METRICS_COUNT_FIELD)
#undef OPSM_METRICS_COUNT_FIELD
#define OPSM_METRICS_SUM_FIELD(field, doc) double field;
    OPSM_METRICS_SUM_LIST(OPSM_METRICS_SUM_FIELD)
#undef OPSM_METRICS_SUM_FIELD
    double delta_low; /* extremes: of the negatives' thresholds, ... */
    double delta_high;
    double ratio_max; /* ... exp(c - b) and lag */
    double lag_max;
    double ess_cap;    /* of the configuration */
    int64_t penalised; /* of the configuration: 1 when penalty.beta > 0 */
} opsm_metrics_sums;

/* Set `size` to sizeof(opsm_metrics_sums) before. */
OPSM_API opsm_status opsm_metrics_start(const opsm_objective *config, opsm_metrics_sums *sums, opsm_error *err);
OPSM_API void opsm_metrics_add(opsm_metrics_sums *sums, const opsm_sequence *record);

/* Adds what `part`, started with the same configuration, has summed up. Counts and extremes do not depend on how the
 * records were parted; sums do by rounding: the same parts merged in the same order give the same bits, and one part
 * merged into fresh sums its own. */
OPSM_API void opsm_metrics_merge(opsm_metrics_sums *sums, const opsm_metrics_sums *part);

/* The metrics; the same bits as opsm_metrics_compute over the same records in the same order. Quantiles and counts of
 * groups are NaN: no sums know them. For quantiles keep the drifts by sign, or a sample of them, and call
 * opsm_metrics_quantiles. */
OPSM_API opsm_status opsm_metrics_finish(const opsm_metrics_sums *sums, opsm_metrics *metrics, opsm_error *err);

/* Sorts both arrays and sets the quantiles of drift by sign; those of an empty array stay as they are. */
OPSM_API void opsm_metrics_quantiles(double *negatives, int64_t n_negatives, double *positives, int64_t n_positives,
                                     opsm_metrics *metrics);

/* Linear interpolation between order statistics, as numpy's default; x ascending, n >= 1, 0 <= q <= 1. */
OPSM_API double opsm_quantile(const double *x, int64_t n, double q);

#define OPSM_DECLINE_ALARM 0.02 /* more decline than this is too much */

/* Moves the threshold after an optimiser step, from the records of the whole step (all ranks). No negatives with a
 * finite drift: delta of quantile and controller stays. Policies fixed and length only count.
 *
 * `trust` is kept under every policy; auto and guard trust read it. It watches whether updates make *good* answers less
 * likely. Of answers sampled by the old policy the importance-weighted mean reward estimates the current policy's; so
 * the mean weight of the positives is the share of the old accuracy that is left. Per step, over the positives (nothing
 * moves without any; noise_mean is 0 until calibrated):
 *     decline <- decline + 0.2 (1 - mean_i min(8, exp(-(X_i - noise_mean) n_i)) - decline)        X_i: k1, mean
 *     trust   <- trust x 0.7 where decline > OPSM_DECLINE_ALARM, else x 1.03; between 0.01 and 1
 * The constants were chosen in the laboratory (docs/results.md), on a part of its scenarios. */
OPSM_API opsm_status opsm_threshold_update(const opsm_objective *config, opsm_threshold *state,
                                           const opsm_sequence *records, int64_t n, void *workspace,
                                           size_t workspace_size, opsm_error *err);

/* Noise floor: call with the records of a batch evaluated before its first optimiser step with the weights that
 * generated it, where drift can only be noise. Fewer than two finite drifts: nothing changes. */
OPSM_API opsm_status opsm_threshold_calibrate(opsm_threshold *state, const opsm_sequence *records, int64_t n,
                                              opsm_error *err);

/* Effective sample size over n, weights exp(-drift_k1 * tokens) capped: (sum w)^2 / (n sum w^2), in (0, 1]; NaN when no
 * record has a finite drift. */
OPSM_API double opsm_ess(const opsm_sequence *records, int64_t n, double cap);

/* The factor of guard ess on the learning rate: 1 with another guard or unknown ESS. */
OPSM_API double opsm_guard_scale(const opsm_objective *config, double ess);

/* The share of sequences with A != 0 that rule opsm would keep at the thresholds in their records, whatever rule is in
 * force; NaN when there are none. Sequences with A = 0 do not count: the mask changes nothing about them, and counting
 * them would let go of the brake as problems get solved. */
OPSM_API double opsm_kept_share(const opsm_sequence *records, int64_t n);

/* The factor on the learning rate by the guard in force, from the state before the step (NULL: as if just started) and
 * the records of the whole step; 1 where there is nothing to measure. Guard kept with mask.rule none is the control
 * that tells the mask from a smaller step; guard trust with mask.rule none tells it from the brake alone. */
OPSM_API double opsm_guard_factor(const opsm_objective *config, const opsm_threshold *state,
                                  const opsm_sequence *records, int64_t n);

#ifdef __cplusplus
}
#endif
#endif
