/* SPDX-License-Identifier: Apache-2.0
 *
 * What is wrong with recorded rollouts: every check looks at the facts of a file and either says nothing or makes a
 * finding, one sentence of what it saw and one of what to do. Noise of engines, stale weights and long tails of length
 * are no findings.
 */
#ifndef OPSM_AUDIT_DOCTOR_H
#define OPSM_AUDIT_DOCTOR_H
#include "audit/facts.h"
#include "audit/groups.h"

/* Function check_NAME in doctor.c, id in the output. In the order in which a person should mend them: what makes
 * other symptoms stands before them. */
#define DOCTOR_LIST(X)                                                                                                 \
    X(no_behavior)                                                                                                     \
    X(copied_behavior)                                                                                                 \
    X(positive_logps)                                                                                                  \
    X(unknown_logps)                                                                                                   \
    X(fill_values)                                                                                                     \
    X(log_base)                                                                                                        \
    X(retokenised)                                                                                                     \
    X(shifted)                                                                                                         \
    X(drift_sign)                                                                                                      \
    X(absolute_mean)                                                                                                   \
    X(sequence_means)                                                                                                  \
    X(repetition_penalty)                                                                                              \
    X(temperature)                                                                                                     \
    X(top_p)                                                                                                           \
    X(truncated)                                                                                                       \
    X(empty_mask)                                                                                                      \
    X(prompt_in_loss)                                                                                                  \
    X(duplicates)                                                                                                      \
    X(no_signal)                                                                                                       \
    X(advantage_sign)                                                                                                  \
    X(singleton_groups)                                                                                                \
    X(mixed_ids)                                                                                                       \
    X(mixed_versions)                                                                                                  \
    X(mixed_prompts)

#define DOCTOR_ENUM(name) DOCTOR_##name,
enum doctor_check { DOCTOR_LIST(DOCTOR_ENUM) DOCTOR_CHECKS };
#undef DOCTOR_ENUM

struct doctor_case {
    const struct audit_facts *facts;
    struct audit_group_counts groups;
    const char *sign_free; /* the audit's own statistic, where it does not tell up from down; or NULL */
    int64_t judged_dropped, judged_likelier; /* negatives that it dropped; of these, likelier than when sampled */
};

struct finding {
    const char *id;
    int64_t count, of; /* rows, groups or tokens: as the sentence says */
    char sentence[400], advice[400];
};

/* All findings in the order of the list; returns how many. */
int doctor_examine(const struct doctor_case *sick, struct finding findings[DOCTOR_CHECKS]);

#endif
