/* SPDX-License-Identifier: Apache-2.0
 *
 * Countdown: reach a target from `difficulty` numbers, each used at most once, with + - * / and brackets. Solvable by
 * construction: the target is the value of a random expression over all the numbers, whose intermediate results are
 * whole and from 1 to 999. Many responses are right, so the verifier evaluates what it is given. Noise: each operator
 * of the demonstration is, with that probability, another one.
 */
#include "data/task_family.h"
#include <inttypes.h>
#include <string.h>

enum { LARGEST_NUMBER = 20, LARGEST_VALUE = 999, JOIN_TRIES = 16 };

static const char OPERATORS[] = "+-*/";

/* The value of a op b, 0 where the result is not a whole number from 1 to LARGEST_VALUE. Multiplying or dividing by one
 * is ruled out: it makes a number useless. */
static int64_t combine(char op, int64_t a, int64_t b) {
    int64_t value = 0;
    switch (op) {
    case '+':
        value = a + b;
        break;
    case '-':
        value = a - b;
        break;
    case '*':
        value = a == 1 || b == 1 ? 0 : a * b;
        break;
    default:
        value = b == 1 || a % b != 0 ? 0 : a / b;
    }
    return value >= 1 && value <= LARGEST_VALUE ? value : 0;
}

/* Picks two of the pool's nodes and an operator; false when they do not go together. */
static bool join_two(struct rng *rng, struct task_draw *draw, int8_t *pool, int pooled, int64_t *values) {
    int i = (int)rng_below(rng, (uint32_t)pooled);
    int j = (int)rng_below(rng, (uint32_t)pooled - 1);
    j += j >= i;
    char op = OPERATORS[rng_below(rng, 4)];
    int64_t value = combine(op, values[pool[i]], values[pool[j]]);
    if (value == 0) return false;
    int node = draw->n_nodes++;
    draw->nodes[node] = (struct task_node){.op = op, .left = pool[i], .right = pool[j]};
    values[node] = value;
    pool[i] = (int8_t)node;
    pool[j] = pool[pooled - 1];
    return true;
}

static bool draw_countdown(struct rng *rng, int difficulty, struct task_draw *draw) {
    int8_t pool[TASK_NODES_MAX] = {0};
    int64_t values[TASK_NODES_MAX] = {0};
    draw->n = draw->n_nodes = difficulty;
    for (int i = 0; i < difficulty; i++) {
        draw->numbers[i] = values[i] = 1 + rng_below(rng, LARGEST_NUMBER);
        draw->nodes[i] = (struct task_node){.left = (int8_t)i};
        pool[i] = (int8_t)i;
    }
    for (int pooled = difficulty; pooled > 1; pooled--) {
        int tries = 0;
        while (!join_two(rng, draw, pool, pooled, values))
            if (++tries == JOIN_TRIES) return false;
    }
    draw->target = values[pool[0]];
    for (int i = 0; i < difficulty; i++)
        if (draw->numbers[i] == draw->target) return false; /* no calculation needed */
    return true;
}

static int precedence(char op) {
    return op == 0 ? 3 : op == '*' || op == '/' ? 2 : 1;
}

static void write_node(const struct task_draw *draw, const struct task_node *nodes, int node, struct text *text);

static void write_child(const struct task_draw *draw, const struct task_node *nodes, int child, bool brackets,
                        struct text *text) {
    if (brackets) text_puts(text, "(");
    write_node(draw, nodes, child, text);
    if (brackets) text_puts(text, ")");
}

/* With the fewest brackets that keep the meaning. The depth is at most the number of numbers. */
static void write_node(const struct task_draw *draw, const struct task_node *nodes, int node, struct text *text) {
    struct task_node self = nodes[node];
    if (self.op == 0) {
        text_printf(text, "%" PRId64, draw->numbers[self.left]);
        return;
    }
    int own = precedence(self.op), left = precedence(nodes[self.left].op), right = precedence(nodes[self.right].op);
    write_child(draw, nodes, self.left, left < own, text);
    text_append(text, &self.op, 1);
    write_child(draw, nodes, self.right, right < own || (right == own && (self.op == '-' || self.op == '/')), text);
}

static void write_countdown(const struct task_draw *draw, const struct task_spec *spec, struct rng *noise,
                            struct task_texts *texts) {
    if (spec->style == TASK_BARE) {
        task_write_list(&texts->prompt, draw->numbers, draw->n, " ", " ");
        text_printf(&texts->prompt, ":%" PRId64 "=", draw->target);
    } else {
        text_puts(&texts->prompt, "Use the numbers ");
        task_write_list(&texts->prompt, draw->numbers, draw->n, ", ", " and ");
        text_printf(&texts->prompt,
                    ", each at most once, and the operations + - * / to write an expression that equals %" PRId64
                    ". Answer with the expression only.",
                    draw->target);
    }
    struct task_node nodes[TASK_NODES_MAX];
    for (int i = 0; i < draw->n_nodes; i++) nodes[i] = draw->nodes[i];
    int root = draw->n_nodes - 1;
    write_node(draw, nodes, root, &texts->answer);
    for (int i = draw->n; i < draw->n_nodes; i++) {
        if (rng_unit(noise) >= spec->noise) continue;
        int right = (int)(strchr(OPERATORS, nodes[i].op) - OPERATORS), wrong = (int)rng_below(noise, 3);
        nodes[i].op = OPERATORS[wrong + (wrong >= right)];
    }
    write_node(draw, nodes, root, &texts->solution);
}

const struct task_family task_countdown = {
    .name = "countdown",
    .doc = "reach a target with given numbers; difficulty: how many; noise: chance of a wrong operator",
    .verifier = "expression",
    .lowest = 2,
    .highest = 8,
    .usual = 3,
    .by_numbers = true,
    .draw = draw_countdown,
    .write = write_countdown,
};
