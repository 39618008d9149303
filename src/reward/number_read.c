/* SPDX-License-Identifier: Apache-2.0
 *
 * The grammar of number.h: one function for each of its lines. Each moves `text` past what it read, or not at all.
 */
#include "reward/answer.h"
#include "reward/number_value.h"

#define EAT(text, list) eat_one(text, list, sizeof(list) / sizeof *(list))

static bool eat_one(struct span *text, const char *const *literals, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (span_eat(text, literals[i])) return true;
    return false;
}

static void skip(struct span *text, size_t n) {
    text->at += n;
    text->length -= n;
}

bool number_eat_blanks(struct span *text) {
    static const char *const spaces[] = {" ",
                                         "\t",
                                         "\\ ",
                                         "\\,",
                                         "\\;",
                                         "\\:",
                                         "\\!",
                                         "\\quad",
                                         "~",
                                         "\xc2\xa0" /* U+00A0 */,
                                         "\xe2\x80\x89" /* U+2009 */,
                                         "\xe2\x80\xaf" /* U+202F */};
    bool some = false;
    while (text->length && (text->at[0] == ' ' || !is_word(text->at[0])) && EAT(text, spaces)) some = true;
    return some;
}

bool number_eat_sign(struct span *text, bool *negative) {
    bool minus = span_eat(text, "-") || span_eat(text, "\xe2\x88\x92");
    if (minus) *negative = !*negative;
    return minus || span_eat(text, "+");
}

bool number_eat_currency(struct span *text) {
    static const char *const signs[] = {
        "$",           "\\$", "\xe2\x82\xac" /* euro */, "\xc2\xa3" /* pound */, "\xc2\xa5" /* yen */,
        "\xe2\x82\xb9" /* rupee */};
    return EAT(text, signs);
}

/* Up to three digits and a sign; false when there are more, or none. */
static bool eat_exponent(struct span *text, int *exponent) {
    struct span rest = *text;
    bool negative = false;
    number_eat_sign(&rest, &negative);
    int value = 0, n = 0;
    for (; n < 4 && is_digit(span_byte(rest, 0)); n++, skip(&rest, 1)) value = value * 10 + (rest.at[0] - '0');
    if (n == 0 || n > 3) return false;
    *exponent = negative ? -value : value;
    *text = rest;
    return true;
}

/* Behind the ^ of a power: 3, -3, {3}, {-3}. */
static bool eat_superscript(struct span *text, int *exponent) {
    struct span rest = *text;
    bool braced = span_eat(&rest, "{");
    if (!eat_exponent(&rest, exponent) || (braced && !span_eat(&rest, "}"))) return false;
    *text = rest;
    return true;
}

/* A separator that stands before exactly three digits. */
static bool eat_separator(struct span *text, const char *separator) {
    struct span rest = *text;
    if (!span_eat(&rest, separator)) return false;
    for (size_t i = 0; i < 3; i++)
        if (!is_digit(span_byte(rest, i))) return false;
    if (is_digit(span_byte(rest, 3))) return false;
    *text = rest;
    return true;
}

static size_t eat_digits(struct span *text, struct number *number) {
    size_t n = 0;
    for (; n < text->length && is_digit(text->at[n]); n++) number_push(number, text->at[n]);
    skip(text, n);
    return n;
}

/* The digits before the point. */
static bool eat_grouped(struct span *text, struct number *number) {
    static const char *const separators[] = {",\\!", ",", "{,}", "\\,", "\xe2\x80\x89", "\xe2\x80\xaf", "\xc2\xa0"};
    bool leads_zero = span_byte(*text, 0) == '0';
    size_t n = eat_digits(text, number);
    if (n == 0 || n > 3 || leads_zero || is_word(span_byte(*text, 0))) return n > 0;
    for (size_t i = 0; i < sizeof separators / sizeof *separators; i++) {
        if (!eat_separator(text, separators[i])) continue;
        do eat_digits(text, number);
        while (eat_separator(text, separators[i]));
        break;
    }
    return true;
}

/* decimal; `plain` says that it has no point. Too many digits leave n_digits above the bound. */
static bool eat_decimal(struct span *text, struct number *number, bool *plain) {
    *plain = true;
    number->n_digits = number->exponent = 0;
    number->under = 1;
    number->negative = false;
    bool digits = eat_grouped(text, number);
    if (span_byte(*text, 0) != '.' || !is_digit(span_byte(*text, 1))) return digits;
    skip(text, 1);
    size_t decimals = eat_digits(text, number);
    number->exponent = decimals <= NUMBER_DIGITS_MAX ? -(int)decimals : 0;
    if (decimals > NUMBER_DIGITS_MAX) number->n_digits = NUMBER_DIGITS_MAX + 1;
    *plain = false;
    return true;
}

static bool eat_power_of_ten(struct span *text, int *exponent) {
    struct span rest = *text;
    if (!span_eat(&rest, "10^") && !span_eat(&rest, "{10}^")) return false;
    if (!eat_superscript(&rest, exponent)) return false;
    *text = rest;
    return true;
}

/* The e3 of 2e3, the \times 10^3 of 2 \times 10^3. */
static bool eat_scale(struct span *text, struct number *number) {
    static const char *const times[] = {"\\times", "\\cdot", "*", "x", "\xc3\x97", "\xc2\xb7", "\xe2\x8b\x85"};
    struct span rest = *text;
    int exponent;
    bool scaled = false;
    if (lower_ascii(span_byte(rest, 0)) == 'e') {
        skip(&rest, 1);
        scaled = eat_exponent(&rest, &exponent) && !is_word(span_byte(rest, 0));
    } else {
        number_eat_blanks(&rest);
        if (!EAT(&rest, times)) return false;
        number_eat_blanks(&rest);
        scaled = eat_power_of_ten(&rest, &exponent);
    }
    if (!scaled) return false;
    number->exponent += exponent;
    *text = rest;
    return true;
}

/* number = number / divisor; false when that has no value. */
static bool divide_by(struct number *number, const struct number *divisor) {
    uint64_t under;
    if (!number_small(divisor, &under) || under == 0) return false;
    number->under = under;
    number->exponent -= divisor->exponent;
    number->negative ^= divisor->negative;
    return true;
}

/* {-3}, or a single digit. */
static bool eat_argument(struct span *text, struct number *number, bool *plain) {
    number_eat_blanks(text);
    if (is_digit(span_byte(*text, 0))) {
        struct span digit = {text->at, 1};
        skip(text, 1);
        return eat_decimal(&digit, number, plain);
    }
    if (!span_eat(text, "{")) return false;
    bool negative = false;
    number_eat_blanks(text);
    number_eat_sign(text, &negative);
    number_eat_blanks(text);
    if (!eat_decimal(text, number, plain)) return false;
    number->negative = negative;
    number_eat_blanks(text);
    return span_eat(text, "}");
}

/* `plain`: both sides are whole and have no sign. */
static bool eat_latex_fraction(struct span *text, struct number *number, bool *valued, bool *plain) {
    static const char *const names[] = {"\\frac", "\\dfrac", "\\tfrac", "\\cfrac"};
    struct span rest = *text;
    struct number under;
    bool plain_over, plain_under;
    if (span_byte(rest, 0) != '\\' || !EAT(&rest, names)) return false;
    if (!eat_argument(&rest, number, &plain_over) || !eat_argument(&rest, &under, &plain_under)) return false;
    *plain = plain_over && plain_under && !number->negative && !under.negative;
    *valued = divide_by(number, &under);
    *text = rest;
    return true;
}

/* The /4 of 3/4. */
static bool eat_slash(struct span *text, struct number *number, bool *valued, bool *plain) {
    struct span rest = *text;
    struct number under;
    number_eat_blanks(&rest);
    if (!span_eat(&rest, "/")) return false;
    number_eat_blanks(&rest);
    if (!eat_decimal(&rest, &under, plain)) return false;
    *valued = divide_by(number, &under);
    *text = rest;
    return true;
}

/* The 1/2 of 1 1/2: whole = whole + part, which is below 1. */
static bool eat_part(struct span *text, struct number *whole, bool *valued) {
    struct span rest = *text;
    struct number part;
    bool has_value = true, plain_over, plain = true;
    bool apart = number_eat_blanks(&rest);
    if (!eat_latex_fraction(&rest, &part, &has_value, &plain)) {
        if (!apart || !eat_decimal(&rest, &part, &plain_over) || !plain_over) return false;
        if (!eat_slash(&rest, &part, &has_value, &plain)) return false;
    }
    uint64_t over;
    if (!plain || !has_value || !number_small(&part, &over) || over == 0 || over >= part.under) return false;
    if (whole->n_digits <= NUMBER_DIGITS_MAX)
        number_multiply(whole, part.under, over);
    else
        *valued = false;
    whole->under = part.under;
    *text = rest;
    return true;
}

static bool eat_magnitude(struct span *text, struct number *number, bool *valued) {
    bool plain;
    int exponent;
    *valued = true;
    if (eat_latex_fraction(text, number, valued, &plain)) return true;
    struct span rest = *text;
    if (eat_power_of_ten(&rest, &exponent)) {
        *number = (struct number){.n_digits = 1, .under = 1, .exponent = exponent, .digits = "1"};
        *text = rest;
        return true;
    }
    if (!eat_decimal(text, number, &plain)) return false;
    bool too_long = number->n_digits > NUMBER_DIGITS_MAX;
    if (eat_scale(text, number))
        plain = false;
    else if (!(plain && eat_part(text, number, valued)))
        eat_slash(text, number, valued, &plain);
    *valued = *valued && !too_long;
    return true;
}

bool number_eat(struct span *text, struct number *number, bool *valued) {
    if (!eat_magnitude(text, number, valued)) return false;
    if (*valued) number_settle(number);
    return true;
}

static struct span word_of(struct span text) {
    struct span word = {text.at, 0};
    while (word.length < text.length && is_letter(text.at[word.length])) word.length++;
    return word;
}

static bool is_one_of(struct span word, const char *const *words, size_t n, bool any_case) {
    for (size_t i = 0; i < n; i++) {
        size_t j = 0;
        while (j < word.length && words[i][j] && words[i][j] == (any_case ? lower_ascii(word.at[j]) : word.at[j])) j++;
        if (j == word.length && !words[i][j]) return true;
    }
    return false;
}
#define IS_ONE_OF(word, list, any_case) is_one_of(word, list, sizeof(list) / sizeof *(list), any_case)

bool number_is_scale(struct span word) {
    static const char *const scales[] = {
        "hundred",   "hundreds",  "thousand",  "thousands",  "million",    "millions",    "billion",     "billions",
        "trillion",  "trillions", "lakh",      "crore",      "dozen",      "dozens",      "half",        "halves",
        "third",     "thirds",    "quarter",   "quarters",   "fourth",     "fourths",     "fifth",       "fifths",
        "sixth",     "sixths",    "seventh",   "sevenths",   "eighth",     "eighths",     "ninth",       "ninths",
        "tenth",     "tenths",    "hundredth", "hundredths", "thousandth", "thousandths", "squared",     "cubed",
        "factorial", "pi",        "root",      "roots",      "bn",         "mn",          "thousandfold"};
    return IS_ONE_OF(word, scales, true);
}

/* Words that go on with the statement, and so are no unit. */
static bool is_conjunction(struct span word) {
    static const char *const words[] = {"or",  "and",    "to",   "not",  "plus", "minus", "times",   "over",
                                        "mod", "modulo", "more", "less", "if",   "but",   "divided", "multiplied"};
    return IS_ONE_OF(word, words, true);
}

static bool is_unit(struct span word) {
    static const char *const units[] = {"mm",  "cm",  "dm",  "m",   "km",  "ft",  "yd",   "mi",  "kg",   "g",
                                        "mg",  "lb",  "lbs", "oz",  "s",   "sec", "secs", "min", "mins", "h",
                                        "hr",  "hrs", "ms",  "l",   "L",   "ml",  "mL",   "cl",  "kJ",   "kW",
                                        "kWh", "Hz",  "kHz", "MHz", "GHz", "Pa",  "kPa",  "mol", "mph",  "kph",
                                        "rpm", "kB",  "KB",  "MB",  "GB",  "TB",  "sq",   "cu",  "cents"};
    return IS_ONE_OF(word, units, false);
}

/* ^2, ^{2}, ^{-1}, or the superscripts two and three, of a unit. */
static void eat_unit_exponent(struct span *text) {
    struct span rest = *text;
    int exponent;
    if (span_eat(&rest, "^") && eat_superscript(&rest, &exponent))
        *text = rest;
    else if (!span_eat(text, "\xc2\xb2"))
        span_eat(text, "\xc2\xb3");
}

/* \text{ cm}, \mathrm{m/s}: letters, blanks and what joins units, without a digit but in an exponent. */
static bool eat_text_unit(struct span *text) {
    static const char *const names[] = {"\\text{",         "\\mathrm{", "\\textrm{", "\\mbox{",  "\\textnormal{",
                                        "\\operatorname{", "\\rm{",     "\\mathbf{", "\\textbf{"};
    struct span rest = *text;
    if (!EAT(&rest, names)) return false;
    while (rest.length && rest.at[0] != '}') {
        struct span word = word_of(rest);
        if (number_is_scale(word) || is_conjunction(word)) return false;
        if (word.length)
            skip(&rest, word.length);
        else if (rest.at[0] == '^' || (rest.at[0] & 0x80)) {
            size_t length = rest.length;
            eat_unit_exponent(&rest);
            if (rest.length == length && !span_eat(&rest, "\xc2\xb0")) return false;
        } else if (rest.at[0] && strchr(" ~./-'()\\$%", rest.at[0]))
            skip(&rest, 1);
        else
            return false;
    }
    if (!span_eat(&rest, "}")) return false;
    *text = rest;
    return true;
}

/* One word that may be a unit; with `words` any word of prose that has at least two letters. */
static bool eat_unit_word(struct span *text, bool words) {
    struct span word = word_of(*text);
    char next = span_byte(*text, word.length);
    if (word.length == 0 || is_digit(next) || next == '_') return false;
    if (number_is_scale(word) || is_conjunction(word)) return false;
    if (!is_unit(word) && !(words && word.length > 1)) return false;
    skip(text, word.length);
    return true;
}

static bool eat_factor(struct span *text, bool words) {
    if (!eat_text_unit(text) && !eat_unit_word(text, words)) return false;
    eat_unit_exponent(text);
    return true;
}

/* m/s^2, \text{kg}\cdot\text{m}, miles/hour. */
static bool eat_factors(struct span *text, bool words) {
    static const char *const joints[] = {"/", "\\cdot", "\xc2\xb7"};
    if (!eat_factor(text, words)) return false;
    for (struct span rest = *text; EAT(&rest, joints) && (number_eat_blanks(&rest), eat_factor(&rest, true));)
        *text = rest;
    return true;
}

static bool eat_degree(struct span *text) {
    static const char *const signs[] = {"\xc2\xb0",  "^\\circ",  "^{\\circ}", "^ \\circ",
                                        "{}^\\circ", "\\degree", "\\circ"};
    static const char *const scales[] = {"C", "F"};
    if (!EAT(text, signs)) return false;
    struct span rest = *text;
    number_eat_blanks(&rest);
    if (EAT(&rest, scales) && !is_word(span_byte(rest, 0))) *text = rest;
    return true;
}

/* Behind a number without a blank: 5th is an ordinal, which only stands for its number by itself. */
static bool eat_ordinal(struct span *text) {
    static const char *const endings[] = {"st", "nd", "rd", "th"};
    struct span rest = *text;
    if (!EAT(&rest, endings) || is_word(span_byte(rest, 0))) return false;
    *text = rest;
    return true;
}

bool number_eat_unit(struct span *text, bool words) {
    static const char *const signs[] = {"\\%", "%", "\\$", "\xe2\x82\xac", "\xc2\xa3", "\xc2\xa5", "\xe2\x82\xb9"};
    struct span rest = *text;
    bool apart = number_eat_blanks(&rest), some = EAT(&rest, signs) || eat_degree(&rest);
    if (!some && words && !apart) some = eat_ordinal(&rest);
    if (!some) some = eat_factors(&rest, words && apart);
    if (!some && words && span_eat(&rest, "/")) some = eat_factors(&rest, true);
    if (!some) return false;
    *text = rest;
    if (!words) return true;
    while ((number_eat_blanks(&rest) && eat_factors(&rest, true)) || (span_eat(&rest, "/") && eat_factors(&rest, true)))
        *text = rest;
    return true;
}

/* x =, \theta_1 =, AB_{max} =, and the blanks behind. */
void number_eat_name(struct span *text) {
    static const char *const values[] = {"frac", "sqrt", "sin", "cos", "tan", "ln", "log"};
    struct span rest = *text;
    bool command = span_eat(&rest, "\\");
    struct span name = word_of(rest);
    if (name.length == 0 || (command && IS_ONE_OF(name, values, false))) return;
    skip(&rest, name.length);
    if (span_eat(&rest, "_")) {
        bool braced = span_eat(&rest, "{");
        while (is_word(span_byte(rest, 0))) skip(&rest, 1);
        if (braced && !span_eat(&rest, "}")) return;
    }
    number_eat_blanks(&rest);
    if (!span_eat(&rest, "=")) return;
    number_eat_blanks(&rest);
    *text = rest;
}

bool number_whole(struct span text, struct number *number, struct span *core) {
    /* Wrappers deeper than this are nobody's. */
    for (int depth = 0; depth < 8 && answer_unwrap(&text); depth++) {
    }
    if (text.length && text.at[text.length - 1] == '.') {
        text.length--;
        for (int depth = 0; depth < 8 && answer_unwrap(&text); depth++) {
        }
    }
    number_eat_name(&text);
    answer_unwrap(&text);
    const char *start = text.at;
    bool negative = false, valued = false;
    bool sign = number_eat_sign(&text, &negative);
    number_eat_blanks(&text);
    if (number_eat_currency(&text) && !sign) number_eat_sign(&text, &negative);
    number_eat_blanks(&text);
    if (!number_eat(&text, number, &valued) || !valued) return false;
    const char *end = text.at;
    number_eat_unit(&text, true);
    number_eat_blanks(&text);
    if (text.length > 0) return false;
    if (number->n_digits) number->negative ^= negative;
    if (core) *core = (struct span){start, (size_t)(end - start)};
    return true;
}

bool number_of_reference(struct span text, struct number *number) {
    struct span content, line;
    size_t end = text.length;
    switch (answer_boxed(text, &content)) {
    case ANSWER_BOX:
        return number_whole(content, number, NULL);
    case ANSWER_OPEN_BOX:
        return false;
    default:
        break;
    }
    if (answer_hashed(text, &end, &line)) text = (struct span){line.at, (size_t)(text.at + text.length - line.at)};
    return number_whole(text, number, NULL);
}

opsm_status number_refused(const char *verifier, const char *answer, opsm_error *err) {
    return opsm_fail(
        err, OPSM_FORMAT,
        "verifier '%s' cannot read the answer '%.80s' as one number (such as 18, -3/4, 1,234.5 or 50%%; alone, "
        "in \\boxed{} or behind ####): see `opsm help verifiers`, or judge it by exact or contains",
        verifier, answer);
}
