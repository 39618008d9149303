/* SPDX-License-Identifier: Apache-2.0
 *
 * Values: exact, in one form. Reading them is number_read.c.
 */
#include "reward/number_value.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

void number_push(struct number *number, char digit) {
    if (number->n_digits == 0 && digit == '0') return;
    if (number->n_digits <= NUMBER_DIGITS_MAX) number->digits[number->n_digits++] = digit;
}

bool number_small(const struct number *number, uint64_t *value) {
    if (number->n_digits > NUMBER_SMALL_DIGITS) return false;
    *value = 0;
    for (int i = 0; i < number->n_digits; i++) *value = *value * 10 + (uint64_t)(number->digits[i] - '0');
    return true;
}

void number_multiply(struct number *number, uint64_t factor, uint64_t plus) {
    int grown = NUMBER_ROOM;
    char digits[NUMBER_ROOM];
    uint64_t carry = plus; /* below 10^18, so that 9 * factor + carry fits */
    for (int i = number->n_digits - 1; i >= 0 || carry; i--) {
        carry += i >= 0 ? factor * (uint64_t)(number->digits[i] - '0') : 0;
        digits[--grown] = (char)('0' + carry % 10);
        carry /= 10;
    }
    number->n_digits = NUMBER_ROOM - grown;
    memcpy(number->digits, digits + grown, (size_t)number->n_digits);
}

/* Divides the digits, which keep their count and may begin with zeros; returns the rest. */
static uint64_t divide(const struct number *number, uint64_t divisor, char *quotient) {
    uint64_t rest = 0;
    for (int i = 0; i < number->n_digits; i++) {
        rest = rest * 10 + (uint64_t)(number->digits[i] - '0');
        if (quotient) quotient[i] = (char)('0' + rest / divisor);
        rest %= divisor;
    }
    return rest;
}

uint64_t number_gcd(uint64_t a, uint64_t b) {
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static void trim_zeros(struct number *number) {
    int zeros = 0;
    while (number->n_digits && number->digits[number->n_digits - 1] == '0') number->n_digits--, number->exponent++;
    while (zeros < number->n_digits && number->digits[zeros] == '0') zeros++;
    number->n_digits -= zeros;
    if (zeros) memmove(number->digits, number->digits + zeros, (size_t)number->n_digits);
}

/* Takes what a power of ten can take out of the denominator: 1 / 2 is 5 * 10^-1. */
static void cast_out(struct number *number, uint64_t factor, uint64_t other) {
    for (; number->under % factor == 0; number->under /= factor) {
        number_multiply(number, other, 0);
        number->exponent--;
    }
}

void number_settle(struct number *number) {
    if (number->under > 1) {
        uint64_t common = number_gcd(number->under, divide(number, number->under, NULL));
        divide(number, common, number->digits);
        number->under /= common;
        trim_zeros(number);
        if (number->n_digits) cast_out(number, 2, 5), cast_out(number, 5, 2);
    }
    trim_zeros(number);
    if (number->n_digits == 0) *number = (struct number){.under = 1};
}

static bool is_whole(const struct number *number) {
    return number->under == 1 && number->exponent >= 0;
}

/* The value times 10^-shift, as near as a double comes. */
static double approximate(const struct number *number, int shift) {
    char text[40]; /* more digits than a double holds */
    int n = number->n_digits < 20 ? number->n_digits : 20;
    snprintf(text, sizeof text, "%.*se%d", n, number->digits, number->exponent + number->n_digits - n - shift);
    double value = strtod(text, NULL) / (double)number->under;
    return number->negative ? -value : value;
}

bool number_same(const struct number *a, const struct number *b, double tolerance) {
    if (a->negative == b->negative && a->n_digits == b->n_digits && a->exponent == b->exponent &&
        a->under == b->under && !memcmp(a->digits, b->digits, (size_t)a->n_digits))
        return true;
    if (a->n_digits == 0 || b->n_digits == 0) return false; /* nothing is near zero */
    if (!(tolerance > 0) && (is_whole(a) || is_whole(b))) return false;
    int size_a = a->n_digits + a->exponent, size_b = b->n_digits + b->exponent,
        size = size_a > size_b ? size_a : size_b;
    int shift = abs(size) > 200 ? size : 0; /* near the ends of what a double can hold */
    double x = approximate(a, shift), y = approximate(b, shift);
    return fabs(x - y) <= (tolerance > 0 ? tolerance : 1e-6) * fmax(fabs(x), fabs(y));
}
