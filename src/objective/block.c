/* SPDX-License-Identifier: Apache-2.0 */
#include "objective/block.h"

struct walk walk_sequence(const opsm_batch *batch, int64_t i) {
    return (struct walk){.mask = batch->mask, .at = batch->offsets[i], .end = batch->offsets[i + 1]};
}

/* The number of equal mask values (zero, or not zero) from `from` on. */
static int64_t run_length(const uint8_t *mask, int64_t from, int64_t end, bool inside) {
    int64_t at = from;
    const uint64_t pattern = inside ? 0x0101010101010101u : 0;
    for (uint64_t word; at + 8 <= end; at += 8) {
        memcpy(&word, mask + at, 8);
        if (word != pattern) break;
    }
    while (at < end && (mask[at] != 0) == inside) at++;
    return at - from;
}

static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

bool walk_next(struct walk *walk, struct block *block) {
    if (!walk->mask) {
        if (walk->at >= walk->end) return false;
        block->n = (int)min64(walk->end - walk->at, BLOCK);
        block->contiguous = true;
        block->start = walk->at;
        walk->at += block->n;
        return true;
    }
    int n = 0;
    while (n < BLOCK) {
        walk->at += run_length(walk->mask, walk->at, walk->end, false);
        int64_t run = run_length(walk->mask, walk->at, min64(walk->end, walk->at + BLOCK - n), true);
        if (run == 0) break;
        if (n == 0) {
            block->contiguous = true;
            block->start = walk->at;
        } else if (block->contiguous) {
            block->contiguous = false;
            for (int k = 0; k < n; k++) block->index[k] = block->start + k;
        }
        if (!block->contiguous)
            for (int k = 0; k < run; k++) block->index[n + k] = walk->at + k;
        n += (int)run;
        walk->at += run;
    }
    if (n > 0) block->n = n;
    return n > 0;
}

BLOCK_LOOP static void widen(int n, const float *from, double *to) {
    for (int k = 0; k < n; k++) to[k] = (double)from[k];
}

void block_gather(const struct block *block, const float *from, double *to) {
    if (block->contiguous) {
        widen(block->n, from + block->start, to);
        return;
    }
    for (int k = 0; k < block->n; k++) to[k] = (double)from[block->index[k]];
}

const float *block_floats(const struct block *block, const float *from, float *spare) {
    if (block->contiguous) return from + block->start;
    for (int k = 0; k < block->n; k++) spare[k] = from[block->index[k]];
    return spare;
}

void block_scatter(const struct block *block, const float *from, float *to) {
    if (block->contiguous) {
        memcpy(to + block->start, from, (size_t)block->n * sizeof *to);
        return;
    }
    for (int k = 0; k < block->n; k++) to[block->index[k]] = from[k];
}

/* The compiler exports the variants of a cloned function that is not static: hence the wrappers below. */
BLOCK_LOOP static void subtract_loop(int n, const double *a, const double *b, double *out) {
    for (int k = 0; k < n; k++) out[k] = a[k] - b[k];
}

BLOCK_LOOP static double sum_loop(int n, const double *x) {
    double lane[LANES] = {0};
    int k = 0;
    for (; k + LANES <= n; k += LANES)
        for (int j = 0; j < LANES; j++) lane[j] += x[k + j];
    for (int j = 0; k < n; k++, j++) lane[j] += x[k];
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

BLOCK_LOOP static double max_loop(int n, const double *x) {
    double lane[LANES];
    for (int j = 0; j < LANES; j++) lane[j] = -(double)INFINITY;
    int k = 0;
    for (; k + LANES <= n; k += LANES)
        for (int j = 0; j < LANES; j++) lane[j] = x[k + j] > lane[j] ? x[k + j] : lane[j];
    for (int j = 0; k < n; k++, j++) lane[j] = x[k] > lane[j] ? x[k] : lane[j];
    for (int j = 1; j < LANES; j++) lane[0] = lane[j] > lane[0] ? lane[j] : lane[0];
    return lane[0];
}

void block_exp(int n, const double *x, double *y) {
    sweeps_best()->exp(n, x, y);
}

void block_subtract(int n, const double *a, const double *b, double *out) {
    subtract_loop(n, a, b, out);
}

double block_sum(int n, const double *x) {
    return sum_loop(n, x);
}

double block_max(int n, const double *x) {
    return max_loop(n, x);
}
