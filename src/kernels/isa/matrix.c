/* SPDX-License-Identifier: Apache-2.0
 *
 * The small matrix product under attention. Registers hold a tile of `rows` x `vectors` lanes of c; the loop over k
 * loads one row of b and broadcasts one column of a. Tiles are as large as the registers hold: 24 of 32 for sums at
 * AVX-512 and NEON, 12 of 16 at AVX2.
 */
#include "kernels/isa/isa.h"

#if defined(__AVX512F__)
enum { MOST_ROWS = 12, MOST_VECTORS = 4 };
#else
enum { MOST_ROWS = 6, MOST_VECTORS = 1 };
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
    lanes acc[MOST_ROWS][MOST_VECTORS];
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
        lanes row[MOST_VECTORS];
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

/* One function per tile shape: tiles inlined into one another take compilers minutes under the sanitizers. */
#define TILE(rows, vectors)                                                                                            \
    static NOINLINE void tile_##rows##x##vectors(const struct product *p, int i, int j) {                              \
        tile(p, i, j, rows, vectors, LANES);                                                                           \
    }
TILE(1, 1)
TILE(3, 1)
#if defined(__AVX2__) || defined(VEC_NEON)
TILE(6, 1)
#endif
#if defined(__AVX512F__)
TILE(12, 1)
TILE(1, 2)
TILE(3, 2)
TILE(6, 2)
TILE(12, 2)
TILE(1, 3)
TILE(3, 3)
TILE(6, 3)
TILE(1, 4)
TILE(3, 4)
TILE(6, 4)
#endif
#undef TILE

/* `last` columns, fewer than a vector. */
static NOINLINE void tile_3xpart(const struct product *p, int i, int j, int last) {
    tile(p, i, j, 3, 1, last);
}
static NOINLINE void tile_1xpart(const struct product *p, int i, int j, int last) {
    tile(p, i, j, 1, 1, last);
}

typedef void tile_function(const struct product *p, int i, int j);

/* All rows of one column panel, with tiles of 12 (NULL: not for this width), 6, 3 and 1 rows. */
static void panel(const struct product *p, int m, int j, tile_function *by12, tile_function *by6, tile_function *by3,
                  tile_function *by1) {
    int i = 0;
    if (by12)
        for (; i + 12 <= m; i += 12) by12(p, i, j);
    if (by6)
        for (; i + 6 <= m; i += 6) by6(p, i, j);
    for (; i + 3 <= m; i += 3) by3(p, i, j);
    for (; i < m; i++) by1(p, i, j);
}

void VEC(mat_mul)(float *c, int64_t ldc, const float *a, int64_t a_row, int64_t a_col, const float *b, int64_t ldb,
                  int m, int n, int k, bool add) {
    const struct product p = {c, ldc, a, a_row, a_col, b, ldb, k, add};
    int j = 0;
#if defined(__AVX512F__)
    for (; j + 4 * LANES <= n; j += 4 * LANES) panel(&p, m, j, NULL, tile_6x4, tile_3x4, tile_1x4);
    if (j + 3 * LANES <= n) {
        panel(&p, m, j, NULL, tile_6x3, tile_3x3, tile_1x3);
        j += 3 * LANES;
    } else if (j + 2 * LANES <= n) {
        panel(&p, m, j, tile_12x2, tile_6x2, tile_3x2, tile_1x2);
        j += 2 * LANES;
    }
    tile_function *by12 = tile_12x1, *by6 = tile_6x1;
#elif defined(__AVX2__) || defined(VEC_NEON)
    tile_function *by12 = NULL, *by6 = tile_6x1;
#else
    tile_function *by12 = NULL, *by6 = NULL;
#endif
    for (; j + LANES <= n; j += LANES) panel(&p, m, j, by12, by6, tile_3x1, tile_1x1);
    if (j == n) return;
    int i = 0;
    for (; i + 3 <= m; i += 3) tile_3xpart(&p, i, j, n - j);
    for (; i < m; i++) tile_1xpart(&p, i, j, n - j);
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
