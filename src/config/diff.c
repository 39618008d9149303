/* SPDX-License-Identifier: Apache-2.0 */
#include "config/diff.h"
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* One key of a text: its line, and the lines of a list behind it. */
struct entry {
    const char *line;
    size_t indent, key, length; /* length of everything, without the last newline */
};

static bool is_list_line(const char *line) {
    line += strspn(line, " ");
    return *line == '-';
}

/* Takes the next key off *at; false at the end. */
static bool take(const char **at, struct entry *entry) {
    if (!**at) return false;
    const char *line = *at, *end = line + strcspn(line, "\n");
    while (*end && is_list_line(end + 1)) end += 1 + strcspn(end + 1, "\n");
    *at = *end ? end + 1 : end;
    size_t indent = strspn(line, " ");
    *entry = (struct entry){line, indent, strcspn(line + indent, ":\n"), (size_t)(end - line)};
    return true;
}

static void step_into(struct config_diff *diff, const struct entry *entry) {
    size_t level = entry->indent / 2 < CONFIG_DIFF_DEPTH - 1 ? entry->indent / 2 : CONFIG_DIFF_DEPTH - 1;
    size_t above = (size_t)diff->levels[level], room = CONFIG_DIFF_ROOM - above;
    int n =
        snprintf(diff->path + above, room, "%s%.*s", above ? "." : "", (int)entry->key, entry->line + entry->indent);
    if (level + 1 < CONFIG_DIFF_DEPTH && (size_t)n < room) diff->levels[level + 1] = (int)above + n;
}

/* What stands behind the key, lines joined by spaces. */
static void copy_value(char *value, const struct entry *entry) {
    size_t begin = entry->indent + entry->key + 1, n = 0;
    for (size_t i = begin; i < entry->length && n + 1 < CONFIG_DIFF_ROOM; i++) {
        char c = entry->line[i] == '\n' ? ' ' : entry->line[i];
        if (c == ' ' && (n == 0 || value[n - 1] == ' ')) continue;
        value[n++] = c;
    }
    value[n] = '\0';
}

static bool same_key(const struct entry *a, const struct entry *b) {
    return a->indent == b->indent && a->key == b->key && !memcmp(a->line, b->line, a->indent + a->key);
}

/* Whether the section that goes on at `at` has the key of `entry`. */
static bool has_key(const char *at, const struct entry *entry) {
    struct entry other;
    while (take(&at, &other) && other.indent >= entry->indent)
        if (same_key(&other, entry)) return true;
    return false;
}

bool config_diff_next(struct config_diff *diff) {
    for (;;) {
        struct entry a = {0}, b = {0};
        bool more_a = take(&diff->a, &a), more_b = take(&diff->b, &b);
        if (!more_a && !more_b) return false;
        bool aligned = more_a && more_b && same_key(&a, &b);
        /* Not aligned: the key that the other text lacks is the one to name. */
        if (!aligned && more_a && more_b && has_key(diff->b, &a)) more_a = false;
        step_into(diff, more_a ? &a : &b);
        if (aligned && a.length == b.length && !memcmp(a.line, b.line, a.length)) continue;
        strcpy(diff->value_a, "not set");
        strcpy(diff->value_b, "not set");
        if (more_a) copy_value(diff->value_a, &a);
        if (aligned || !more_a) copy_value(diff->value_b, &b);
        if (!aligned) diff->a = diff->b = "";
        diff->aligned = aligned;
        return true;
    }
}
