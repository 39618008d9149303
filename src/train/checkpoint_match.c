/* SPDX-License-Identifier: Apache-2.0 */
#include "train/checkpoint.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH = 8, PATH_ROOM = 256 };

/* A walk over the lines of a configuration text that knows the path of the key it is at. */
struct walk {
    const char *at; /* the next line */
    char path[PATH_ROOM];
    int levels[DEPTH]; /* length of the path above each level of indentation */
    char value[PATH_ROOM];
};

/* Steps to the next line; false at the end. Sections, lists and scalars alike: what stands after the key is the value.
 */
static bool next_line(struct walk *w) {
    if (!*w->at) return false;
    size_t length = strcspn(w->at, "\n");
    const char *line = w->at;
    w->at += length + (line[length] == '\n');
    size_t indent = strspn(line, " ");
    if (indent > length) indent = length;
    size_t level = indent / 2 < DEPTH - 1 ? indent / 2 : DEPTH - 1;
    size_t key = strcspn(line + indent, ":\n"), above = (size_t)w->levels[level];
    bool is_key = indent + key < length && line[indent] != '-';
    if (is_key && above + key + 2 < PATH_ROOM) {
        int n = snprintf(w->path + above, PATH_ROOM - above, "%s%.*s", above ? "." : "", (int)key, line + indent);
        w->levels[level + 1 < DEPTH ? level + 1 : level] = (int)above + n;
    }
    const char *value = is_key ? line + indent + key + 1 : line + indent;
    value += strspn(value, " ");
    size_t rest = value < line + length ? (size_t)(line + length - value) : 0;
    snprintf(w->value, sizeof w->value, "%.*s", (int)(rest < PATH_ROOM - 1 ? rest : PATH_ROOM - 1), value);
    return true;
}

/* Both whole numbers, the first not below the second. */
static bool at_least(const char *wanted, const char *saved) {
    char *wanted_end, *saved_end;
    long long w = strtoll(wanted, &wanted_end, 10), s = strtoll(saved, &saved_end, 10);
    return wanted_end != wanted && !*wanted_end && saved_end != saved && !*saved_end && w >= s;
}

static bool may_differ(const char *path, const char *saved, const char *wanted) {
    static const char *const free_keys[] = {"output", "train.keep", "train.checkpoint_every"};
    static const char *const growing[] = {"train.iterations", "sft.steps"};
    for (size_t i = 0; i < sizeof free_keys / sizeof *free_keys; i++)
        if (!strcmp(path, free_keys[i])) return true;
    for (size_t i = 0; i < sizeof growing / sizeof *growing; i++)
        if (!strcmp(path, growing[i]) && at_least(wanted, saved)) return true;
    return false;
}

opsm_status checkpoint_match(const char *run, const char *saved, const char *wanted, opsm_error *err) {
    struct walk a = {.at = saved}, b = {.at = wanted};
    for (;;) {
        const char *line_a = a.at, *line_b = b.at;
        bool more_a = next_line(&a), more_b = next_line(&b);
        if (!more_a && !more_b) return OPSM_OK;
        size_t n_a = strcspn(line_a, "\n"), n_b = strcspn(line_b, "\n");
        bool same = more_a == more_b && n_a == n_b && !memcmp(line_a, line_b, n_a);
        if (same || (more_a && more_b && !strcmp(a.path, b.path) && may_differ(a.path, a.value, b.value))) continue;
        return opsm_fail(err, OPSM_INVALID,
                         "'%s' holds a run with another configuration: %s is %.60s there and %.60s now; take another "
                         "output, or remove that directory",
                         run, more_a ? a.path : b.path, more_a ? a.value : "not set", more_b ? b.value : "not set");
    }
}
