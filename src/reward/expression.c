/* SPDX-License-Identifier: Apache-2.0 */
#include "reward/expression.h"
#include "reward/answer.h"
#include "reward/number.h"
#include <stdlib.h>

enum { PART_MAX = INT32_MAX };

struct parser {
    const char *at, *end;
    int depth;
    struct expression *result;
};

static void skip_blanks(struct parser *p) {
    while (p->at < p->end && is_space(*p->at)) p->at++;
}

/* Lowest terms; false when a part is out of range, so that the products of two fractions always fit in 64 bits. */
static bool reduced(int64_t over, int64_t under, struct fraction *value) {
    if (under == 0) return false;
    int64_t common = (int64_t)number_gcd((uint64_t)llabs(over), (uint64_t)llabs(under));
    if (under < 0) common = -common;
    over /= common;
    under /= common;
    if (llabs(over) > PART_MAX || under > PART_MAX) return false;
    *value = (struct fraction){over, under};
    return true;
}

static bool apply(char op, struct fraction *a, struct fraction b) {
    switch (op) {
    case '+':
        return reduced(a->over * b.under + b.over * a->under, a->under * b.under, a);
    case '-':
        return reduced(a->over * b.under - b.over * a->under, a->under * b.under, a);
    case '*':
        return reduced(a->over * b.over, a->under * b.under, a);
    default:
        return reduced(a->over * b.under, a->under * b.over, a);
    }
}

/* Takes an operator of the given pair; 0 when the next thing is none of them. */
static char take_operator(struct parser *p, const char pair[2]) {
    static const struct {
        char op;
        const char *spelling;
    } spellings[] = {{'+', "+"},        {'-', "-"}, {'-', "\xe2\x88\x92"}, {'*', "*"},
                     {'*', "\xc3\x97"}, {'/', "/"}, {'/', "\xc3\xb7"}};
    skip_blanks(p);
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
        size_t length = strlen(spellings[i].spelling);
        if (spellings[i].op != pair[0] && spellings[i].op != pair[1]) continue;
        if ((size_t)(p->end - p->at) < length || memcmp(p->at, spellings[i].spelling, length) != 0) continue;
        p->at += length;
        return spellings[i].op;
    }
    return 0;
}

/* A whole number up to PART_MAX. */
static bool read_whole(struct parser *p, int64_t *value) {
    skip_blanks(p);
    if (p->at == p->end || !is_digit(*p->at)) return false;
    for (*value = 0; p->at < p->end && is_digit(*p->at); p->at++) {
        *value = *value * 10 + (*p->at - '0');
        if (*value > PART_MAX) return false;
    }
    return true;
}

static bool read_sum(struct parser *p, struct fraction *value);

static bool read_brackets(struct parser *p, struct fraction *value) {
    if (++p->depth > EXPRESSION_DEPTH_MAX) return false;
    p->at++;
    if (!read_sum(p, value)) return false;
    skip_blanks(p);
    if (p->at == p->end || *p->at != ')') return false;
    p->at++;
    p->depth--;
    return true;
}

static bool read_factor(struct parser *p, struct fraction *value) {
    skip_blanks(p);
    if (p->at < p->end && *p->at == '(') return read_brackets(p, value);
    int64_t whole;
    if (!read_whole(p, &whole) || p->result->n_numbers == EXPRESSION_NUMBERS_MAX) return false;
    p->result->numbers[p->result->n_numbers++] = whole;
    *value = (struct fraction){whole, 1};
    return true;
}

static bool read_product(struct parser *p, struct fraction *value) {
    if (!read_factor(p, value)) return false;
    for (char op; (op = take_operator(p, "*/"));) {
        struct fraction right;
        if (!read_factor(p, &right) || !apply(op, value, right)) return false;
    }
    return true;
}

static bool read_sum(struct parser *p, struct fraction *value) {
    if (!read_product(p, value)) return false;
    for (char op; (op = take_operator(p, "+-"));) {
        struct fraction right;
        if (!read_product(p, &right) || !apply(op, value, right)) return false;
    }
    return true;
}

/* What may follow: "= value", which must be the right one, and a full stop. */
static bool read_ending(struct parser *p, struct fraction value) {
    skip_blanks(p);
    if (p->at < p->end && *p->at == '=') {
        int64_t stated;
        p->at++;
        if (!read_whole(p, &stated) || value.under != 1 || value.over != stated) return false;
        skip_blanks(p);
    }
    if (p->at < p->end && *p->at == '.') p->at++;
    skip_blanks(p);
    return p->at == p->end;
}

bool expression_evaluate(struct span text, struct expression *result) {
    struct parser p = {.at = text.at, .end = text.at + text.length, .result = result};
    result->n_numbers = 0;
    return read_sum(&p, &result->value) && read_ending(&p, result->value);
}

struct span expression_locate(struct span response) {
    struct span content;
    switch (answer_boxed(response, &content)) {
    case ANSWER_BOX:
        return content;
    case ANSWER_OPEN_BOX:
        return (struct span){response.at, 0};
    default:
        return answer_last_line(response);
    }
}
