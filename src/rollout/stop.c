/* SPDX-License-Identifier: Apache-2.0 */
#include "rollout/stop.h"
#include "base/mem.h"
#include <string.h>

struct stop_string {
    char *text;
    int32_t length;
    int32_t *fallback; /* [length + 1]: where to go on after a mismatch with this many bytes matched */
};

struct stop_set {
    int count;
    struct stop_string *strings;
};

static opsm_status string_prepare(struct stop_string *s, const char *text, opsm_error *err) {
    size_t length = strlen(text);
    if (length == 0 || length > INT32_MAX / 2)
        return opsm_fail(err, OPSM_INVALID, "a stop string is empty: it would stop every response at once");
    s->length = (int32_t)length;
    s->text = mem_strdup(text);
    s->fallback = mem_zalloc(length + 1, sizeof *s->fallback);
    if (!s->text || !s->fallback) return mem_exhausted(err, "a stop string", length * 5);
    for (int32_t i = 1, k = 0; i < s->length; i++) {
        while (k > 0 && text[k] != text[i]) k = s->fallback[k];
        if (text[k] == text[i]) k++;
        s->fallback[i + 1] = k;
    }
    return OPSM_OK;
}

opsm_status stop_create(struct stop_set **result, const char *const *strings, int n, opsm_error *err) {
    *result = NULL;
    struct stop_set *set = mem_zalloc(1, sizeof *set);
    if (!set) return mem_exhausted(err, "stop strings", sizeof *set);
    set->strings = mem_zalloc((size_t)n, sizeof *set->strings);
    if (!set->strings) {
        mem_free(set);
        return mem_exhausted(err, "stop strings", (size_t)n * sizeof(struct stop_string));
    }
    opsm_status status = OPSM_OK;
    for (int i = 0; status == OPSM_OK && i < n; i++) {
        set->count = i + 1;
        status = string_prepare(&set->strings[i], strings[i], err);
    }
    if (status != OPSM_OK) {
        stop_free(set);
        return status;
    }
    *result = set;
    return OPSM_OK;
}

void stop_free(struct stop_set *set) {
    if (!set) return;
    for (int i = 0; i < set->count; i++) {
        mem_free(set->strings[i].text);
        mem_free(set->strings[i].fallback);
    }
    mem_free(set->strings);
    mem_free(set);
}

size_t stop_feed(const struct stop_set *set, int32_t *state, const void *bytes, size_t n, size_t *matched) {
    const char *text = bytes;
    *matched = 0;
    for (size_t j = 0; j < n; j++) {
        for (int i = 0; i < set->count; i++) {
            const struct stop_string *s = &set->strings[i];
            int32_t k = state[i];
            while (k > 0 && s->text[k] != text[j]) k = s->fallback[k];
            if (s->text[k] == text[j]) k++;
            state[i] = k;
            if (k == s->length && (size_t)k > *matched) *matched = (size_t)k;
        }
        if (*matched) return j + 1;
    }
    return 0;
}
