/* SPDX-License-Identifier: Apache-2.0 */
#include "io/encode.h"
#include "base/threads.h"
#include "io/quote.h"
#include <math.h>
#include <string.h>

static opsm_status check_values(const struct quant_traits *traits, const float *values, int64_t count, const char *path,
                                const char *name, opsm_error *err) {
    char shown[QUOTE_ROOM];
    float limit = traits->largest;
    if (isinf(limit)) return OPSM_OK;
    for (int64_t i = 0; i < count; i++)
        if (!(fabsf(values[i]) <= limit))
            return opsm_fail(
                err, OPSM_NONFINITE,
                "'%.150s': element %lld of tensor %s is %g, which %s cannot hold (at most %g); write BF16 or F32", path,
                (long long)i, quote(shown, name, strlen(name)), (double)values[i], traits->name, (double)limit);
    return OPSM_OK;
}

/* Blocks are independent of each other: any cut gives the same bytes. */
static void encode_on_all_threads(const struct quant_traits *traits, const float *values, int64_t n_blocks,
                                  uint8_t *out) {
    enum { TASK = 4096 }; /* values */
    int64_t task = TASK / traits->block, n_tasks = (n_blocks + task - 1) / task;
#pragma omp parallel for schedule(dynamic) num_threads(threads_for(n_blocks * traits->block * 8))
    for (int64_t t = 0; t < n_tasks; t++) {
        int64_t first = t * task, n = n_blocks - first < task ? n_blocks - first : task;
        traits->encode(values + first * traits->block, n, out + first * traits->bytes);
    }
}

opsm_status encode_to_file(struct file_out *out, enum quant_type type, const float *values, int64_t count,
                           uint8_t room[ENCODE_ROOM], const char *path, const char *name, opsm_error *err) {
    const struct quant_traits *traits = quant_traits((uint32_t)type);
    opsm_status status = check_values(traits, values, count, path, name, err);
    if (status != OPSM_OK) return status;
    int64_t n_blocks = count / traits->block, most = ENCODE_ROOM / traits->bytes;
    for (int64_t b = 0; b < n_blocks; b += most) {
        int64_t n = n_blocks - b < most ? n_blocks - b : most;
        encode_on_all_threads(traits, values + b * traits->block, n, room);
        file_write(out, room, (size_t)(n * traits->bytes));
    }
    return OPSM_OK;
}
