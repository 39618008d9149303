/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "reward/answer.h"
#include "reward/verifier_type.h"

struct settings {
    int32_t max_length; /* bytes; 0: any */
    char *prefix, *suffix;
    struct config_strings tags;
    bool unfinished_ok;
};

static const struct config_key settings[] = {
    SETTING(settings, max_length, KEY_INT, 0, INT32_MAX, "longest response in bytes; 0: any"),
    SETTING(settings, prefix, KEY_TEXT, 0, 0, "how the response begins"),
    SETTING(settings, suffix, KEY_TEXT, 0, 0, "how the response ends"),
    SETTING(settings, tags, KEY_TEXTS, 0, 0, "texts that occur once each, in this order"),
    SETTING_UNFINISHED_OK(settings),
};

static bool is_clean(struct span text) {
    for (size_t i = 0; i < text.length;) {
        unsigned char c = (unsigned char)text.at[i];
        size_t n = text_utf8_length(text.at + i, text.length - i);
        if (n == 0 || c == 0x7f || (c < 0x20 && c != '\n' && c != '\t' && c != '\r')) return false;
        i += n;
    }
    return true;
}

/* Each exactly once and one after the other. */
static bool has_tags(struct span text, const struct config_strings *tags) {
    const char *behind = text.at;
    for (int32_t i = 0; i < tags->count; i++) {
        const char *tag = tags->items[i], *first = span_find(text, tag);
        if (!first || first != span_find_last(text, tag) || first < behind) return false;
        behind = first + strlen(tag);
    }
    return true;
}

static double score_format(const void *self, const struct problem *problem, const char *answer,
                           struct response response, struct span *found) {
    const struct settings *set = self;
    (void)problem;
    (void)answer;
    (void)found;
    if (!response.finished && !set->unfinished_ok) return 0;
    struct span whole = {response.text, response.length}, text = span_trim(whole);
    bool fits = set->max_length == 0 || response.length <= (size_t)set->max_length;
    if (!fits || text.length == 0 || !is_clean(whole)) return 0;
    struct span rest = text;
    bool begins = !set->prefix || !*set->prefix || span_eat(&rest, set->prefix);
    bool ends = !set->suffix || span_ends_with(text, set->suffix);
    return begins && ends && has_tags(text, &set->tags);
}

const struct verifier_type verifier_format = {
    .help = "All of: finished (unless unfinished_ok); not blank; valid UTF-8 without\n"
            "control characters other than tab and newline; at most max_length bytes;\n"
            "begins with prefix and ends with suffix, white space around the response\n"
            "ignored; each of tags occurs exactly once, in this order. It looks at no\n"
            "answer: give it a small weight beside a verifier that does.\n",
    .settings = settings,
    .n_settings = sizeof settings / sizeof *settings,
    .size = sizeof(struct settings),
    .score = score_format,
};
