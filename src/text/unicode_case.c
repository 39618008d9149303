/* SPDX-License-Identifier: Apache-2.0 */
#include "text/unicode.h"
#include <stdbool.h>

struct case_run {
    uint32_t first, last, step;
    int32_t difference;
};

struct case_special {
    uint32_t code;
    int title; /* for a title, or for upper case */
    uint32_t out[3];
};

#include "text/unicode_case_table.h"

#define COUNT(table) (sizeof(table) / sizeof *(table))

static bool find_run(const struct case_run *runs, size_t count, uint32_t code, uint32_t *out) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (runs[middle].last < code)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == count || code < runs[low].first || (code - runs[low].first) % runs[low].step) return false;
    *out = (uint32_t)((int32_t)code + runs[low].difference);
    return true;
}

uint32_t unicode_lower(uint32_t code) {
    if (code < 0x80) return code >= 'A' && code <= 'Z' ? code + 32 : code;
    uint32_t out;
    return find_run(lower_runs, COUNT(lower_runs), code, &out) ? out : code;
}

int unicode_upper(uint32_t code, int title, uint32_t out[3]) {
    out[0] = code >= 'a' && code <= 'z' ? code - 32 : code;
    if (code < 0x80) return 1;
    for (size_t i = 0; i < COUNT(specials); i++) {
        if (specials[i].code != code || specials[i].title != title) continue;
        int n = 0;
        for (; n < 3 && specials[i].out[n]; n++) out[n] = specials[i].out[n];
        return n;
    }
    if (title && find_run(title_runs, COUNT(title_runs), code, out)) return 1;
    if (!find_run(upper_runs, COUNT(upper_runs), code, out)) out[0] = code;
    return 1;
}

int unicode_is_cased(uint32_t code) {
    uint32_t out[3];
    return unicode_lower(code) != code || unicode_upper(code, 0, out) > 1 || out[0] != code;
}
