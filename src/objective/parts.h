/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the objective share. One evaluation, from bottom to top:
 *
 *     keys.c, check.c                 the fields of the configuration, and whether they go together
 *     needs.c                         what such a configuration reads
 *     batch.c, plan.c                 the arrays that are there, and those that are needed
 *     drift.c (sweep.c)               each sequence: X_i, k3, sums, values that are not finite
 *     mask.c                          the rule: which tokens leave the surrogate
 *     aggregate.c                     denominators of the step -> w_i
 *     surrogate.c, penalty.c, dpo.c   S, K and their derivatives, token by token, in blocks
 *     evaluate.c                      loss and gradient of the batch, a record for each sequence
 *     metrics.c, threshold.c          what follows from the records
 *
 * Tokens in the loss are gathered into blocks of doubles (block.h), so that arithmetic and rounding depend on the order
 * of the loss tokens alone, never on how much padding lies between them.
 */
#ifndef OPSM_OBJECTIVE_PARTS_H
#define OPSM_OBJECTIVE_PARTS_H
#include "objective/sweep.h"
#include <opsm/objective.h>

#if defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__
#error "The objective's treatment of NaN and infinity does not survive -ffinite-math-only or -ffast-math"
#endif

/* Everything that one evaluation looks at, checked and resolved. */
struct plan {
    opsm_objective config;
    opsm_batch batch;
    const struct sweeps *sweeps;
    const opsm_threshold *state; /* may be NULL */
    const float *behavior;       /* log-probs the drift is measured from; NULL: none recorded and none needed */
    const float *base;           /* log-probs below the ratio; NULL: no ratio needed */
    const float *now;            /* log-probs the drift leads to: c, or p; NULL without a forward pass */
    bool skip_nan;               /* a NaN in `behavior` counts as the value of `now` */
    bool held;                   /* ratio_clamp is in force */
    bool penalised;              /* beta > 0 */
    bool uses_current;           /* the loss looks at c itself, not only at ratios */
    double log_low, log_high;    /* band of mask.rule or else mask.also, in nats */
    double also_low, also_high;  /* band of mask.also */
};

/* Every field within the range of its key. */
opsm_status keys_check(const opsm_objective *config, opsm_error *err);

/* The caller's structs, brought to this library's size: unknown trailing fields are refused, missing ones zero. */
opsm_status objective_load_config(const opsm_objective *config, opsm_objective *full, opsm_error *err);
opsm_status batch_load(const opsm_batch *batch, opsm_batch *full, opsm_error *err);

opsm_status batch_check_offsets(const opsm_batch *batch, opsm_error *err);

/* The name under which sequence i draws random numbers and breaks ties. */
int64_t batch_id(const opsm_batch *batch, int64_t i);

/* The mask's loss tokens of sequence i. */
int64_t batch_tokens(const opsm_batch *batch, int64_t i);

/* A_i: the sequence's advantage, or the masked mean of its tokens'. */
double batch_advantage(const opsm_batch *batch, int64_t i);

/* The log-probs of a batch by name; values NULL: not given. */
struct named_array {
    const char *name;
    const float *values;
};
enum { LOG_PROBS = 4 };
void batch_log_probs(const opsm_batch *batch, struct named_array arrays[LOG_PROBS]);

/* Resolves which arrays the objective needs; OPSM_MISSING for one that is not there. `forward`: log-probs too. */
opsm_status plan_make(struct plan *plan, const opsm_objective *config, const opsm_threshold *state,
                      const opsm_batch *batch, bool forward, opsm_error *err);

/* A NaN `x` stays NaN. */
static inline double clamp_to(double x, double low, double high) {
    return x < low ? low : x > high ? high : x;
}

/* A NaN `b` is passed over. */
static inline double larger(double a, double b) {
    return b > a ? b : a;
}

/* ---- needs.c ---- */
bool surrogate_uses_ratio(opsm_surrogate name);
bool objective_needs_ratio(const opsm_objective *config);
bool rule_drifts(opsm_rule rule); /* the rule measures drift */
bool rule_by_token(opsm_rule rule);
bool objective_needs_drift(const opsm_objective *config); /* a rule or a guard measures it */
bool trust_brakes(const opsm_objective *config);          /* the learning rate follows trust */

/* ---- mask.c ---- */

/* The decision about one sequence: tokens on the given side of A = 0 leave the surrogate if `hit`; token rules look at
 * each token besides. */
enum side { SIDE_ANY, SIDE_NEGATIVE, SIDE_POSITIVE };
struct decision {
    bool hit;
    bool by_token; /* the decision differs between tokens: ask mask_drops_token for each */
    bool outlier;  /* still open: one token that mask_is_outlier names takes the whole sequence */
    enum side side;
    uint8_t reason; /* opsm_reason of a hit */
};

/* What a rule by token looks at. */
struct token_facts {
    double advantage; /* of the token with mask.sign = token, else of the sequence */
    double log_ratio; /* c - b, held within ratio_clamp */
    double behavior;  /* b */
};
struct decision mask_whole(opsm_reason reason); /* the whole sequence goes */
struct decision mask_decide(const struct plan *plan, const opsm_sequence *record, int64_t id, double random_cut);
/* The opsm_reason for which the token leaves the surrogate; 0: it stays. */
uint8_t mask_drops_token(const struct plan *plan, const struct decision *decision, const struct token_facts *token);
bool mask_is_outlier(const struct plan *plan, double log_ratio);
double mask_random_unit(int64_t seed, int64_t step, int64_t id); /* [0, 1), a function of its arguments */

/* ---- aggregate.c ---- */
double aggregate_weight(const opsm_objective *config, const opsm_totals *totals, const opsm_sequence *record);

/* ---- threshold.c: the weight of one record in the ESS (NaN: left out), and the ESS from its sums ---- */
double ess_weight(const opsm_sequence *record, double cap);
double ess_of(double count, double sum, double squares);

/* ---- sort.c: no allocation, unlike qsort ---- */
struct member {
    int64_t group;
    double value;
    int64_t index;
};
void sort_doubles(double *x, int64_t n);
void sort_members(struct member *x, int64_t n); /* by group, then value, then index */

/* ---- workspace ---- */

/* Hands out pieces of the caller's workspace, 64-byte aligned; NULL when it is too small. */
struct arena {
    char *at, *end;
};
opsm_status arena_open(struct arena *arena, void *workspace, size_t size, int64_t n_sequences, opsm_error *err);
void *arena_take(struct arena *arena, int64_t count, size_t size);

#endif
