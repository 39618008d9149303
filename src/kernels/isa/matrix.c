/* SPDX-License-Identifier: Apache-2.0
 *
 * The small matrix product under attention. Registers hold a tile of `rows` x `vectors` lanes of c; the loop over k
 * loads one row of b and broadcasts one column of a.
 */
#include "kernels/isa/isa.h"

/* Tile sizes that the registers hold: 32 of one lane-vector each, 16 of half a one, or what the compiler makes of it.
 */
#if defined(__AVX512F__)
enum { WIDE = 4, WIDE_ROWS = 6, NARROW_ROWS = 12 };
#elif defined(__AVX2__)
enum { WIDE = 1, WIDE_ROWS = 6, NARROW_ROWS = 6 };
#else
enum { WIDE = 1, WIDE_ROWS = 3, NARROW_ROWS = 3 };
#endif

struct product {
    float *c;
    int64_t ldc;
    const float *a;
    int64_t a_row, a_col;
    const float *b;
    int64_t ldb;
    int k;
    bool add;
};

/* rows and vectors are constants at every call; last: elements in the last vector. */
ALWAYS_INLINE void tile(const struct product *p, int i, int j, int rows, int vectors, int last) {
    lanes acc[NARROW_ROWS][WIDE];
    float *c = p->c + i * p->ldc + j;
    const float *a = p->a + i * p->a_row, *b = p->b + j;
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            int n = v == vectors - 1 ? last : LANES;
            acc[r][v] = p->add ? lanes_load_n(c + r * p->ldc + v * LANES, n, 0.0f) : lanes_set1(0.0f);
        }
    for (int l = 0; l < p->k; l++, a += p->a_col, b += p->ldb) {
        lanes row[WIDE];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) row[v] = lanes_load_n(b + v * LANES, v == vectors - 1 ? last : LANES, 0.0f);
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++) {
            lanes x = lanes_set1(a[r * p->a_row]);
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) acc[r][v] = lanes_fma(x, row[v], acc[r][v]);
        }
    }
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            lanes_store_n(c + r * p->ldc + v * LANES, acc[r][v], v == vectors - 1 ? last : LANES);
}

/* All rows of one column panel, the largest tile first. */
ALWAYS_INLINE void panel(const struct product *p, int m, int j, int vectors, int last) {
    int i = 0;
    if (vectors <= 2)
        for (; i + NARROW_ROWS <= m; i += NARROW_ROWS) tile(p, i, j, NARROW_ROWS, vectors, last);
    for (; i + WIDE_ROWS <= m; i += WIDE_ROWS) tile(p, i, j, WIDE_ROWS, vectors, last);
    for (; i + 3 <= m; i += 3) tile(p, i, j, 3, vectors, last);
    for (; i < m; i++) tile(p, i, j, 1, vectors, last);
}

void VEC(mat_mul)(float *c, int64_t ldc, const float *a, int64_t a_row, int64_t a_col, const float *b, int64_t ldb,
                  int m, int n, int k, bool add) {
    const struct product p = {c, ldc, a, a_row, a_col, b, ldb, k, add};
    int j = 0;
#if defined(__AVX512F__)
    for (; j + 4 * LANES <= n; j += 4 * LANES) panel(&p, m, j, 4, LANES);
    if (j + 3 * LANES <= n) {
        panel(&p, m, j, 3, LANES);
        j += 3 * LANES;
    } else if (j + 2 * LANES <= n) {
        panel(&p, m, j, 2, LANES);
        j += 2 * LANES;
    }
#endif
    for (; j + LANES <= n; j += LANES) panel(&p, m, j, 1, LANES);
    if (j < n) panel(&p, m, j, 1, n - j);
}

void VEC(pack_keys)(float *out, const float *x, int64_t ldx, int rows, int cols) {
    for (int i = 0; i < rows; i += LANES)
        for (int j = 0; j < cols; j += LANES) {
            if (i + LANES <= rows && j + LANES <= cols) {
                lanes_transpose(out + j * VEC_KEYS + i, VEC_KEYS, x + i * ldx + j, ldx);
                continue;
            }
            for (int c = j; c < cols && c < j + LANES; c++)
                for (int r = i; r < i + LANES; r++) out[c * VEC_KEYS + r] = r < rows ? x[r * ldx + c] : 0.0f;
        }
}
