/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers in running text.
 *
 *   sign       + or - (or U+2212) directly before the number, unless a letter, digit or closing bracket comes before
 *              the sign: the 3 of "5-3" is positive
 *   digits     7, 0012, 1,234,567 (a comma only where groups of exactly three digits follow), .5, 2.50; a final point
 *              ("is 8.") ends the sentence
 *   exponent   2e3, 2.5E-4
 *   fraction   3/4, without blanks, when both sides are plain decimals and no further / follows; \frac{3}{4} too
 *   units      $, a percent sign or letters after the number are ignored: 50% is 50, $-12 and -$12 are -12
 *
 * Digits that continue a word (x2, H2O) or a dotted chain (the 3 of 1.2.3) are not numbers. Mixed numbers (1 1/2),
 * number words and other bases are not understood. Anything over 400 characters long is no number.
 */
#ifndef OPSM_REWARD_NUMBER_H
#define OPSM_REWARD_NUMBER_H
#include "reward/verifier_type.h"

enum { NUMBER_DIGITS_MAX = 400 };

struct number {
    double value;
    bool whole;                     /* written without point, exponent or fraction */
    bool negative;                  /* of a whole number; false for zero */
    char digits[NUMBER_DIGITS_MAX]; /* of a whole number: without separators and leading zeros */
    int n_digits;
};

/* The last number of the text; false when there is none. */
bool number_last(struct span text, struct number *number);

/* Whole numbers digit by digit when tolerance is 0; otherwise |a - b| <= tolerance * max(|a|, |b|), with 1e-6 for 0. */
bool number_same(const struct number *a, const struct number *b, double tolerance);

#endif
