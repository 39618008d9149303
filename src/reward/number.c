/* SPDX-License-Identifier: Apache-2.0 */
#include "reward/number.h"
#include <math.h>
#include <stdlib.h>

/* Where a number stands in the text: found first, converted only if it turns out to be the last. */
struct place {
    struct span over, under; /* digits with separators, point, exponent; `under` is empty unless it is a fraction */
    bool negative, whole;
};

static char at(struct span text, size_t i) {
    return i < text.length ? text.at[i] : '\0';
}

static size_t digits_from(struct span text, size_t i) {
    size_t start = i;
    while (is_digit(at(text, i))) i++;
    return i - start;
}

/* The end of a run of digits at `i`, thousands separators included. */
static size_t end_of_digits(struct span text, size_t i) {
    size_t leading = digits_from(text, i);
    i += leading;
    if (leading == 0 || leading > 3) return i;
    while (at(text, i) == ',') {
        /* Four digits are enough to see that the group is not one of three. */
        int n = 0;
        while (n < 4 && is_digit(at(text, i + 1 + (size_t)n))) n++;
        if (n != 3) break;
        i += 4;
    }
    return i;
}

/* The end of digits with an optional decimal part; `i` itself when there is no digit. */
static size_t end_of_decimal(struct span text, size_t i) {
    size_t end = end_of_digits(text, i);
    if (at(text, end) == '.' && is_digit(at(text, end + 1))) end += 1 + digits_from(text, end + 1);
    return end;
}

static size_t end_of_exponent(struct span text, size_t i) {
    if (lower_ascii(at(text, i)) != 'e') return i;
    size_t start = i + 1 + (at(text, i + 1) == '+' || at(text, i + 1) == '-');
    size_t digits = digits_from(text, start);
    return digits > 0 && !is_word(at(text, start + digits)) ? start + digits : i;
}

/* Whether a minus stands directly before `i` (a currency sign may come between) and is a sign, not a subtraction. */
static bool negative_before(struct span text, size_t i) {
    if (i > 0 && text.at[i - 1] == '$') i--;
    size_t sign = 0;
    if (i >= 1 && text.at[i - 1] == '-') sign = 1;
    if (i >= 3 && !memcmp(text.at + i - 3, "\xe2\x88\x92", 3)) sign = 3;
    if (sign == 0) return false;
    if (i == sign) return true;
    char before = text.at[i - sign - 1];
    return !is_word(before) && before != ')' && before != ']' && before != '}';
}

static bool starts_number(struct span text, size_t i) {
    char c = text.at[i], before = i ? text.at[i - 1] : '\0';
    if (!is_digit(c) && !(c == '.' && is_digit(at(text, i + 1)))) return false;
    if (is_word(before)) return false;
    return !(before == '.' && i >= 2 && is_digit(text.at[i - 2])); /* inside a dotted chain */
}

static struct span piece(struct span text, size_t start, size_t end) {
    return (struct span){text.at + start, end - start};
}

/* Reads the number that starts at `i`; returns the place behind it. */
static size_t read_number(struct span text, size_t i, struct place *place) {
    size_t digits = end_of_digits(text, i), end = end_of_decimal(text, i);
    bool chained = i >= 2 && text.at[i - 1] == '/' && is_digit(text.at[i - 2]);
    *place = (struct place){.negative = negative_before(text, i)};
    if (!chained && at(text, end) == '/' && is_digit(at(text, end + 1))) {
        size_t under = end_of_decimal(text, end + 1);
        if (!(at(text, under) == '/' && is_digit(at(text, under + 1)))) {
            place->over = piece(text, i, end);
            place->under = piece(text, end + 1, under);
            return under;
        }
    }
    size_t exponent = end_of_exponent(text, end);
    place->whole = digits == exponent;
    place->over = piece(text, i, exponent);
    return exponent;
}

/* {decimal} at `i`, blanks not allowed; 0 when it is not one, else the place behind the brace. */
static size_t read_braced(struct span text, size_t i, struct span *decimal, bool *negative) {
    if (at(text, i) != '{') return 0;
    *negative = at(text, ++i) == '-';
    i += *negative;
    size_t end = end_of_decimal(text, i);
    *decimal = piece(text, i, end);
    return end > i && at(text, end) == '}' ? end + 1 : 0;
}

/* \frac{a}{b} at `i`, also dfrac and tfrac; 0 when it is not one. */
static size_t read_latex_fraction(struct span text, size_t i, struct place *place) {
    size_t start = i++;
    if (at(text, i) == 'd' || at(text, i) == 't') i++;
    if (text.length - i < 4 || memcmp(text.at + i, "frac", 4) != 0) return 0;
    struct place found = {.negative = negative_before(text, start)};
    bool over_negative, under_negative;
    i = read_braced(text, i + 4, &found.over, &over_negative);
    if (i) i = read_braced(text, i, &found.under, &under_negative);
    if (!i) return 0;
    found.negative ^= over_negative ^ under_negative;
    *place = found;
    return i;
}

/* Copies without separators; false when it is too long to be a number. */
static bool copy_plain(char buffer[NUMBER_DIGITS_MAX], struct span digits) {
    size_t n = 0;
    if (digits.length >= NUMBER_DIGITS_MAX) return false;
    for (size_t i = 0; i < digits.length; i++)
        if (digits.at[i] != ',') buffer[n++] = digits.at[i];
    buffer[n] = '\0';
    return true;
}

static bool usable(const struct place *place) {
    return place->over.length < NUMBER_DIGITS_MAX && place->under.length < NUMBER_DIGITS_MAX;
}

static void convert(const struct place *place, struct number *number) {
    char under[NUMBER_DIGITS_MAX];
    *number = (struct number){.whole = place->whole, .value = NAN};
    if (!copy_plain(number->digits, place->over)) return;
    number->value = strtod(number->digits, NULL);
    if (place->under.length && copy_plain(under, place->under)) {
        double divisor = strtod(under, NULL);
        number->value = divisor > 0 ? number->value / divisor : NAN;
    }
    if (place->negative) number->value = -number->value;
    if (!number->whole) return;
    size_t zeros = strspn(number->digits, "0"), n = strlen(number->digits);
    if (zeros == n) zeros = n - 1;
    memmove(number->digits, number->digits + zeros, n - zeros + 1);
    number->n_digits = (int)(n - zeros);
    number->negative = place->negative && number->digits[0] != '0';
}

bool number_last(struct span text, struct number *number) {
    struct place last, place;
    bool found = false;
    for (size_t i = 0; i < text.length;) {
        size_t end = 0;
        if (text.at[i] == '\\')
            end = read_latex_fraction(text, i, &place);
        else if (starts_number(text, i))
            end = read_number(text, i, &place);
        if (end && usable(&place)) {
            last = place;
            found = true;
        }
        i = end ? end : i + 1;
    }
    if (found) convert(&last, number);
    return found;
}

bool number_same(const struct number *a, const struct number *b, double tolerance) {
    if (a->whole && b->whole && tolerance == 0)
        return a->negative == b->negative && a->n_digits == b->n_digits &&
               !memcmp(a->digits, b->digits, (size_t)a->n_digits);
    double bound = (tolerance > 0 ? tolerance : 1e-6) * fmax(fabs(a->value), fabs(b->value));
    return isfinite(bound) && fabs(a->value - b->value) <= bound;
}
