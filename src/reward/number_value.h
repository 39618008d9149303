/* SPDX-License-Identifier: Apache-2.0
 *
 * How number_read.c builds the values of number.h.
 */
#ifndef OPSM_REWARD_NUMBER_VALUE_H
#define OPSM_REWARD_NUMBER_VALUE_H
#include "reward/number.h"

/* What fits in 64 bits with room for nine times as much. */
enum { NUMBER_SMALL_DIGITS = 18 };

/* Appends a digit; no zeros at the beginning. One digit too many is kept, so that n_digits tells. */
void number_push(struct number *number, char digit);

/* The digits as a value below 10^18; false when there are more. */
bool number_small(const struct number *number, uint64_t *value);

/* digits = digits * factor + plus, both below 10^18. At most 80 digits more than NUMBER_DIGITS_MAX may come of it. */
void number_multiply(struct number *number, uint64_t factor, uint64_t plus);

/* Brings digits, exponent and denominator into the one form that a value has. */
void number_settle(struct number *number);

#endif
