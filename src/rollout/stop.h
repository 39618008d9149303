/* SPDX-License-Identifier: Apache-2.0
 *
 * Stop strings, found in the decoded bytes as they come, also across token boundaries: one Knuth-Morris-Pratt automaton
 * per string, whose state per sequence is a number. Nothing is searched twice and nothing is buffered.
 */
#ifndef OPSM_ROLLOUT_STOP_H
#define OPSM_ROLLOUT_STOP_H
#include <opsm/status.h>
#include <stddef.h>
#include <stdint.h>

struct stop_set; /* immutable after creation */

/* `strings` are copied. OPSM_INVALID for an empty string. n == 0 gives a set that never matches. */
opsm_status stop_create(struct stop_set **set, const char *const *strings, int n, opsm_error *err);
void stop_free(struct stop_set *set); /* NULL is allowed */

/* Feeds bytes to the automata of one sequence: state [n], zeros at the start. Returns the number of bytes fed
 * up to and including the end of the first match, 0 when there is none. *matched receives its length, the longest where
 * several strings end there: whatever their order, none of them is left in front of it. */
size_t stop_feed(const struct stop_set *set, int32_t *state, const void *bytes, size_t n, size_t *matched);

#endif
