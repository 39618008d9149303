/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/adamw.h"
#include "base/threads.h"
#include "kernels/vec.h"

enum { CHUNK = 1 << 14, PARTIALS = 1 << 10 }; /* elements per task; task sums held at a time */

double sum_squares(const float *x, int64_t n) {
    const struct vec_table *v = vec();
    double sum = 0.0;
    for (int64_t from = 0; from < n; from += (int64_t)CHUNK * PARTIALS) {
        double partial[PARTIALS];
        int64_t left = n - from, chunks = (left + CHUNK - 1) / CHUNK;
        if (chunks > PARTIALS) chunks = PARTIALS;
#pragma omp parallel for num_threads(threads_for(left))
        for (int64_t c = 0; c < chunks; c++) {
            int64_t at = c * CHUNK;
            partial[c] = v->sum_squares(x + from + at, left - at < CHUNK ? left - at : CHUNK);
        }
        for (int64_t c = 0; c < chunks; c++) sum += partial[c];
    }
    return sum;
}

void adamw_update(float *w, float *m, float *v, const float *g, int64_t n, const struct adamw_step *step, bool decay) {
    const struct vec_table *table = vec();
#pragma omp parallel for num_threads(threads_for(n * 4))
    for (int64_t i = 0; i < n; i += CHUNK)
        table->adamw(w + i, m + i, v + i, g + i, n - i < CHUNK ? n - i : CHUNK, step, decay);
}
