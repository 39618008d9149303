/* SPDX-License-Identifier: Apache-2.0
 *
 * The configurations of the runs, flat: what differs between arms.
 */
#include "base/file.h"
#include "base/mem.h"
#include "report/html_report.h"
#include <string.h>
#include <yaml.h>

enum { FILE_LIMIT = 1 << 20, DEPTH_MAX = 16, PATH_ROOM = 256, VALUE_ROOM = 1024 };

/* The document being flattened. Anchors make one node stand in several places: depth and number of keys are bounded. */
struct flatten {
    yaml_document_t *document;
    struct report_run *run;
    opsm_error *err;
};

static opsm_status add_key(struct flatten *f, const char *path, const char *value) {
    struct report_run *run = f->run;
    if (run->n_keys == REPORT_KEYS_MAX) return OPSM_OK;
    if (!run->keys) run->keys = mem_alloc(REPORT_KEYS_MAX, sizeof *run->keys);
    if (!run->keys) return mem_exhausted(f->err, "a configuration", REPORT_KEYS_MAX * sizeof *run->keys);
    struct report_key key = {mem_strdup(path), mem_strdup(value)};
    if (!key.path || !key.value) {
        mem_free(key.path);
        mem_free(key.value);
        return mem_exhausted(f->err, "a configuration", strlen(path));
    }
    run->keys[run->n_keys++] = key;
    return OPSM_OK;
}

static const char *scalar_text(const yaml_node_t *node) {
    return (const char *)node->data.scalar.value;
}

/* [a, b] when it holds scalars only. */
static bool sequence_text(const struct flatten *f, const yaml_node_t *node, char value[VALUE_ROOM]) {
    size_t length = (size_t)snprintf(value, VALUE_ROOM, "[");
    for (const yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top; item++) {
        const yaml_node_t *child = yaml_document_get_node(f->document, *item);
        if (!child || child->type != YAML_SCALAR_NODE) return false;
        if (length < VALUE_ROOM)
            length += (size_t)snprintf(value + length, VALUE_ROOM - length, "%s%s", length > 1 ? ", " : "",
                                       scalar_text(child));
    }
    if (length < VALUE_ROOM) snprintf(value + length, VALUE_ROOM - length, "]");
    return true;
}

static opsm_status flatten(struct flatten *f, const char *path, const yaml_node_t *node, int depth) {
    char child[PATH_ROOM], value[VALUE_ROOM];
    if (!node || depth > DEPTH_MAX || f->run->n_keys == REPORT_KEYS_MAX) return OPSM_OK;
    opsm_status status = OPSM_OK;
    if (node->type == YAML_SCALAR_NODE) {
        snprintf(value, sizeof value, "%s", scalar_text(node));
        return add_key(f, path, value);
    }
    if (node->type == YAML_SEQUENCE_NODE) {
        if (sequence_text(f, node, value)) return add_key(f, path, value);
        int i = 0;
        for (const yaml_node_item_t *item = node->data.sequence.items.start;
             status == OPSM_OK && item < node->data.sequence.items.top; item++) {
            snprintf(child, sizeof child, "%s[%d]", path, i++);
            status = flatten(f, child, yaml_document_get_node(f->document, *item), depth + 1);
        }
        return status;
    }
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         status == OPSM_OK && pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(f->document, pair->key);
        if (!key || key->type != YAML_SCALAR_NODE) continue;
        int n = snprintf(child, sizeof child, "%s%s%s", path, *path ? "." : "", scalar_text(key));
        if (n >= PATH_ROOM) continue;
        status = flatten(f, child, yaml_document_get_node(f->document, pair->value), depth + 1);
    }
    return status;
}

static opsm_status parse(struct report *report, struct report_run *run, const char *path, const char *text, size_t size,
                         opsm_error *err) {
    yaml_parser_t parser;
    yaml_document_t document;
    if (!yaml_parser_initialize(&parser)) return mem_exhausted(err, "the YAML parser", sizeof parser);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
    opsm_status status = OPSM_OK;
    if (!yaml_parser_load(&parser, &document)) {
        report_note(report, "%s, line %zu: not valid YAML: %s", path, parser.problem_mark.line + 1,
                    parser.problem ? parser.problem : "out of memory");
    } else {
        struct flatten f = {&document, run, err};
        status = flatten(&f, "", yaml_document_get_root_node(&document), 0);
        yaml_document_delete(&document);
    }
    yaml_parser_delete(&parser);
    return status;
}

opsm_status report_read_keys(struct report *report, struct report_run *run, opsm_error *err) {
    char *path = file_join(run->path, "config.yaml"), *text;
    size_t size;
    if (!path) return mem_exhausted(err, "a file name", strlen(run->path));
    opsm_error problem = {0};
    bool there;
    opsm_status status = file_find(path, &there, &problem);
    if (status == OPSM_OK) status = file_read(path, FILE_LIMIT, &text, &size, &problem);
    if (status == OPSM_OK) {
        status = parse(report, run, path, text, size, err);
        mem_free(text);
    } else if (status == OPSM_NOMEM) {
        if (err) *err = problem;
    } else {
        report_note(report, "No configuration: %s", problem.text);
        status = OPSM_OK;
    }
    mem_free(path);
    return status;
}

/* ---- comparing --------------------------------------------------------------------------------------------------- */

static bool is_identity(const char *path) {
    return !strcmp(path, "seed") || !strcmp(path, "output");
}

const char *report_value(const struct report_run *run, const char *path) {
    for (int i = 0; i < run->n_keys; i++)
        if (!strcmp(run->keys[i].path, path)) return run->keys[i].value;
    return NULL;
}

bool report_same_arm(const struct report_run *a, const struct report_run *b) {
    if (a->n_keys == 0 || a->n_keys != b->n_keys) return false;
    for (int i = 0; i < a->n_keys; i++) {
        const char *other = report_value(b, a->keys[i].path);
        if (!other) return false;
        if (!is_identity(a->keys[i].path) && strcmp(a->keys[i].value, other) != 0) return false;
    }
    return true;
}

/* The run whose configuration stands for an arm. */
static const struct report_run *speaker(const struct report_arm *arm) {
    for (int i = 0; i < arm->n_runs; i++)
        if (arm->runs[i].n_keys) return &arm->runs[i];
    return NULL;
}

static bool differs(const struct report *report, const char *path) {
    const char *first = NULL;
    bool begun = false;
    for (int i = 0; i < report->n_arms; i++) {
        const struct report_run *run = speaker(&report->arms[i]);
        if (!run) continue;
        const char *value = report_value(run, path);
        if (begun && (!value != !first || (value && strcmp(value, first) != 0))) return true;
        first = value;
        begun = true;
    }
    return false;
}

/* Whether an arm before `arm` has the key, whose row then exists already. */
static bool seen_before(const struct report *report, int arm, const char *path) {
    for (int i = 0; i < arm; i++) {
        const struct report_run *run = speaker(&report->arms[i]);
        if (run && report_value(run, path)) return true;
    }
    return false;
}

/* The seed differs between single runs, and then it matters; between groups of seeds it says nothing. */
static bool is_of_interest(const struct report *report, const char *path) {
    if (!strcmp(path, "output")) return false;
    if (report->n_arms == 1) return true;
    if (!strcmp(path, "seed"))
        for (int i = 0; i < report->n_arms; i++)
            if (report->arms[i].n_runs > 1) return false;
    return differs(report, path);
}

static void put_row(const struct report *report, const char *path, struct json_writer *json) {
    json_put_open(json, NULL, '{');
    json_put_string(json, "key", path);
    json_put_open(json, "values", '[');
    for (int i = 0; i < report->n_arms; i++) {
        const struct report_run *run = speaker(&report->arms[i]);
        json_put_string(json, NULL, run ? report_value(run, path) : NULL);
    }
    json_put_close(json, ']');
    json_put_close(json, '}');
}

void report_put_config(const struct report *report, struct json_writer *json) {
    json_put_open(json, "config", '[');
    for (int a = 0; a < report->n_arms; a++) {
        const struct report_run *run = speaker(&report->arms[a]);
        for (int k = 0; run && k < run->n_keys; k++) {
            const char *path = run->keys[k].path;
            if (!seen_before(report, a, path) && is_of_interest(report, path)) put_row(report, path, json);
        }
    }
    json_put_close(json, ']');
}
