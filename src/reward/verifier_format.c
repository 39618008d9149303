/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "reward/verifier_type.h"

static opsm_status create_format(void **state, const struct verifier_spec *spec, opsm_error *err) {
    (void)state;
    for (int i = 0; i < spec->n_tags; i++)
        if (spec->tags[i][0] == '\0') return opsm_fail(err, OPSM_INVALID, "verifier 'format': tag %d is empty", i + 1);
    return OPSM_OK;
}

static bool is_clean(struct span text) {
    for (size_t i = 0; i < text.length;) {
        unsigned char c = (unsigned char)text.at[i];
        size_t n = text_utf8_length(text.at + i, text.length - i);
        if (n == 0 || c == 0x7f || (c < 0x20 && c != '\n' && c != '\t' && c != '\r')) return false;
        i += n;
    }
    return true;
}

static bool starts_with(struct span text, const char *prefix) {
    size_t n = prefix ? strlen(prefix) : 0;
    return n <= text.length && (n == 0 || !memcmp(text.at, prefix, n));
}

static bool ends_with(struct span text, const char *suffix) {
    size_t n = suffix ? strlen(suffix) : 0;
    return n <= text.length && (n == 0 || !memcmp(text.at + text.length - n, suffix, n));
}

/* Each exactly once and one after the other. */
static bool has_tags(struct span text, const char *const *tags, int n_tags) {
    const char *behind = text.at;
    for (int i = 0; i < n_tags; i++) {
        const char *first = span_find(text, tags[i]);
        if (!first || first != span_find_last(text, tags[i]) || first < behind) return false;
        behind = first + strlen(tags[i]);
    }
    return true;
}

static double score_format(const void *state, const struct verifier_spec *spec, const struct problem *problem,
                           const char *answer, struct response response, struct span *found) {
    (void)state;
    (void)problem;
    (void)answer;
    (void)found;
    if (!response.finished && !spec->unfinished_ok) return 0;
    struct span whole = {response.text, response.length}, text = span_trim(whole);
    bool fits = spec->max_length == 0 || response.length <= (size_t)spec->max_length;
    if (!fits || text.length == 0 || !is_clean(whole)) return 0;
    return starts_with(text, spec->prefix) && ends_with(text, spec->suffix) && has_tags(text, spec->tags, spec->n_tags);
}

const struct verifier_type verifier_format = {
    .name = "format",
    .help = "All of: finished (unless unfinished_ok); not blank; valid UTF-8 without\n"
            "control characters other than tab and newline; at most max_length bytes;\n"
            "begins with prefix and ends with suffix, white space around the response\n"
            "ignored; each of tags occurs exactly once, in this order. It looks at no\n"
            "answer: give it a small weight beside a verifier that does.\n",
    .settings = SETTING_SHAPE | SETTING_UNFINISHED,
    .create = create_format,
    .score = score_format,
};
