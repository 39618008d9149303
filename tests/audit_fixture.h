/* SPDX-License-Identifier: Apache-2.0
 *
 * Recorded rollouts for the tests of the audit: rows in arrays, written to a file as JSON lines, audited, and what was
 * written parsed again.
 */
#ifndef OPSM_TESTS_AUDIT_FIXTURE_H
#define OPSM_TESTS_AUDIT_FIXTURE_H
#include "audit/audit.h"
#include "base/mem.h" /* before `err`, which its parameters would shadow */
#include "check.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static opsm_error err;
static char audit_path[] = "/tmp/opsm-audit-XXXXXX";

static inline int audit_setup(void **state) {
    (void)state;
    int fd = mkstemp(audit_path);
    if (fd >= 0) close(fd);
    return fd < 0;
}

static inline int audit_teardown(void **state) {
    (void)state;
    return unlink(audit_path);
}

static inline void audit_write(const char *text) {
    FILE *out = fopen(audit_path, "w");
    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
}

/* Options for the file, with the library's defaults. Release with free. */
static inline struct audit_options *audit_options_new(void) {
    struct audit_options *options = calloc(1, sizeof *options);
    assert_non_null(options);
    opsm_objective_defaults(&options->config);
    options->path = audit_path;
    options->name = "r";
    return options;
}

static inline void audit_set(struct audit_options *options, const char *key, const char *value) {
    assert_ok(opsm_objective_set(&options->config, key, value, &err));
}

/* What audit_run writes, in fresh memory. */
static inline char *audit_output(const struct audit_options *options, opsm_status expected) {
    static char *text; /* static: gcc takes the stream's text for the address of this pointer */
    static size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    opsm_status status = audit_run(options, out, &err);
    assert_int_equal(fclose(out), 0);
    if (status != expected) fail_msg("%s: %s", opsm_status_text(status), err.text);
    return text;
}

/* The same as JSON. Release with json_decref. */
static inline json_t *audit_json(struct audit_options *options, opsm_status expected) {
    options->json = true;
    char *text = audit_output(options, expected);
    json_error_t error;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (!root) fail_msg("line %d: %s\n%s", error.line, error.text, text);
    free(text);
    return root;
}

/* The number at a path of keys, "policies.controller"; NaN for null. Fails where there is none. */
static inline double audit_number(const json_t *root, const char *path) {
    char copy[100];
    snprintf(copy, sizeof copy, "%s", path);
    const json_t *at = root;
    for (char *key = copy, *next; key; key = next) {
        next = strchr(key, '.');
        if (next) *next++ = '\0';
        at = json_object_get(at, key);
    }
    if (!json_is_number(at) && !json_is_null(at)) fail_msg("%s: no number", path);
    return json_is_null(at) ? NAN : json_number_value(at);
}

/* Equal up to the rounding of a sum; NaN equals NaN. */
#define assert_same(a, b)                                                                                              \
    do {                                                                                                               \
        double same_a = (double)(a), same_b = (double)(b);                                                             \
        bool same_both = isnan(same_a) && isnan(same_b);                                                               \
        if (!same_both && !(fabs(same_a - same_b) <= 1e-11 * (1 + fabs(same_b))))                                      \
            fail_msg("%s = %.17g, expected %s = %.17g", #a, same_a, #b, same_b);                                       \
    } while (0)

#endif
