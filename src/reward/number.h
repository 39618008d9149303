/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers as people and models write them. What is not understood is no number: nothing is ever read by half.
 *
 * A number by itself (a reference, the content of a box) must be consumed whole, in ASCII digits:
 *
 *   whole     = { wrapper } [ name "=" ] [ sign ] [ currency ] [ sign ] magnitude [ unit ] [ "." ]
 *   wrapper   = $..$  $$..$$  \(..\)  \[..\]  **..**  *..*  `..`  {..}  \text{..}  \mathbf{..}  \boxed{..} and their like
 *   name      = letters, LaTeX commands, subscripts: x, n_1, \theta, AB
 *   sign      = "-" | U+2212 (minus) | "+"; an en dash is none, nor is the plus-minus sign
 *   currency  = $  \$  and the signs of euro, pound, yen, rupee
 *   magnitude = decimal | scientific | fraction | mixed
 *   decimal   = digits [ "." digits ] | "." digits; groups of exactly three digits may be separated by a comma, {,}
 *               \, ,\! a thin, narrow or other no-break space, the same one throughout, and the first group does not
 *               begin with 0: 1,23 and 0,5 and 1.234,56 (decimal commas) are refused, as is 1_000
 *   scientific= decimal "e" exponent | decimal times "10^" exponent | "10^" exponent; times is \times, \cdot, *, x and
 *               their signs; the exponent has at most three digits
 *   fraction  = decimal "/" decimal, with or without blanks | \frac{a}{b}, \frac ab, \dfrac, \tfrac, \cfrac
 *   mixed     = whole number, fraction between 0 and 1: 1 1/2, 3\frac{1}{2}
 *   unit      = % | \% | a degree | \text{..} and its like | known units (km, kg, ...) | words, one of which may follow
 *               "/"; with exponents: cm^2. The sign % is a unit: 50% is 50, never 0.5. Words that change the value
 *               (million, dozen, half, squared, or, and, ...) are no units, nor are letters that may be variables (5x)
 *
 * At most 400 digits, and 18 below a fraction line. Division by zero has no value. Number words, other digits than
 * ASCII (full-width, Arabic, superscripts, the single signs for fractions), powers, factorials, roots and any other
 * arithmetic are refused.
 *
 * In running text a number must stand alone: see number_alone.
 */
#ifndef OPSM_REWARD_NUMBER_H
#define OPSM_REWARD_NUMBER_H
#include "reward/verifier_type.h"

enum { NUMBER_DIGITS_MAX = 400, NUMBER_ROOM = NUMBER_DIGITS_MAX + 80 };

/* digits * 10^exponent / under, in the only form there is for a value: no zeros at either end of the digits, a fraction
 * in lowest terms whose denominator has no factor 2 or 5. Zero has no digits. */
struct number {
    bool negative;
    int n_digits, exponent;
    uint64_t under;
    char digits[NUMBER_ROOM]; /* '0' to '9' */
};

/* The number that is the whole of `text`. `core`, unless NULL, receives the number from sign to last
 * digit; it stays as it is where there is none. */
bool number_whole(struct span text, struct number *number, struct span *core);

/* What the data gives as an answer: one number alone, in a box, or behind the last ####. */
bool number_of_reference(struct span text, struct number *number);

/* The sentence for an answer that is none; returns OPSM_FORMAT. */
opsm_status number_refused(const char *verifier, const char *answer, opsm_error *err);

/* A magnitude at the beginning of `text`, which moves behind it; false, and no move, when there is none. One that has no
 * value (too long, divided by zero) is passed and sets `valued` to false. */
bool number_eat(struct span *text, struct number *number, bool *valued);

/* A minus, a minus sign or a plus. */
bool number_eat_sign(struct span *text, bool *negative);
bool number_eat_currency(struct span *text);

/* x =, \theta =, n_1 =, with the blanks behind. */
void number_eat_name(struct span *text);

/* A unit, with the blanks before it: %, degrees, \text{..}, known units. With `words`, words of prose too. */
bool number_eat_unit(struct span *text, bool words);

/* Blanks and the spaces of LaTeX, but no line's end; true when there were some. */
bool number_eat_blanks(struct span *text);

/* Whether the word changes the value of the number before it: million, half, squared, ... */
bool number_is_scale(struct span word);

/* The last (or with `first`, only the first) number of text[from, to) that stands alone; `found` is it with its sign.
 * What comes before and behind the range is looked at to decide. Alone is a number that no neighbour belongs to:
 *
 *   - no letter, digit, "_", "^", "/", ":" or dash joins it (x2, 5x, 5th, x^2, 3:4, 10:30, 2024-05-06, 1.2.3, 5!);
 *     a sign belongs to it where no operand comes before: the 3 of 5-3 is none, -3 in "is -3" is
 *   - no operator is beside it: sums, products, roots, comparisons; but what is stated behind "=" stands alone
 *   - no other number is beside it with nothing but blanks, commas, operators or "and", "or", "to", "of", "by", ...
 *     between them: 5 5; 2, 3 and 5; 3 out of 5
 *   - it does not count a list: "2. Then" or "2) Then" at the beginning of a line
 *
 * Known units and words may follow. Linear in the length of the range. */
bool number_alone(struct span text, size_t from, size_t to, bool first, struct number *number, struct span *found);

/* The greatest common divisor; gcd(a, 0) = a. */
uint64_t number_gcd(uint64_t a, uint64_t b);

/* Equal values are equal however they are written. A whole number equals nothing but itself; two that are not whole may
 * differ by a millionth of the larger. `tolerance` > 0 holds for all instead: |a - b| <= tolerance * max(|a|, |b|). */
bool number_same(const struct number *a, const struct number *b, double tolerance);

#endif
