/* SPDX-License-Identifier: Apache-2.0
 *
 * Arithmetic expressions, evaluated exactly and safely.
 *
 *   expression = term   { ("+" | "-") term }
 *   term       = factor { ("*" | "/") factor }
 *   factor     = whole number | "(" expression ")"
 *
 * Also accepted: the signs U+2212, U+00D7 and U+00F7 for - * and /, and blanks anywhere but inside numbers. There is no
 * unary minus. Values are exact fractions; whenever a numerator or denominator exceeds 2^31 - 1 in size, or a divisor
 * is zero, or brackets nest deeper than 64, or more than 64 numbers occur, the expression has no value.
 *
 * Where in a response it is looked for: in the last \boxed{}, \fbox{} or <answer>...</answer> (one that is never closed
 * holds none), else in its last line that is not blank. There it must stand alone; what may follow is "=" with the right value, and a full stop.
 */
#ifndef OPSM_REWARD_EXPRESSION_H
#define OPSM_REWARD_EXPRESSION_H
#include "reward/verifier_type.h"

enum { EXPRESSION_NUMBERS_MAX = 64, EXPRESSION_DEPTH_MAX = 64 };

struct fraction {
    int64_t over, under; /* lowest terms, under > 0 */
};

struct expression {
    struct fraction value;
    int64_t numbers[EXPRESSION_NUMBERS_MAX]; /* in the order they occur */
    int n_numbers;
};

/* Evaluates the whole of `text`; false when it is not an expression with a value. */
bool expression_evaluate(struct span text, struct expression *result);

/* The part of a response that is to be evaluated. */
struct span expression_locate(struct span response);

#endif
