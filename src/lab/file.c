/* SPDX-License-Identifier: Apache-2.0
 *
 * The file of a laboratory: an ordinary configuration (the base) and a section `lab` with the arms.
 */
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "config/document.h"
#include "config/keys.h"
#include "lab/lab.h"
#include "reward/verifier.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS_MAX = 10000000 };

/* Keys of the section that hold a single value. */
struct lab_settings {
    char *base, *reference; /* owned */
    int32_t jobs;
    double final_share;
    struct lab_collapse collapse;
};

static const struct lab_settings default_settings = {.final_share = 1.0 / 3, .collapse = {0.5, 1.0 / 3}};

#define AT(field) offsetof(struct lab_settings, field)
static const struct config_key keys[] = {
    {"lab.base", KEY_TEXT, AT(base), 0, 0, NULL, NULL},
    {"lab.reference", KEY_TEXT, AT(reference), 0, 0, NULL, NULL},
    {"lab.jobs", KEY_INT, AT(jobs), 0, 1024, NULL, NULL},
    {"lab.final", KEY_REAL, AT(final_share), 1e-6, 1, NULL, NULL},
    {"lab.collapse.below", KEY_REAL, AT(collapse.below), 0, 1, NULL, NULL},
    {"lab.collapse.window", KEY_REAL, AT(collapse.window), 1e-6, 1, NULL, NULL},
};
enum { N_KEYS = sizeof keys / sizeof *keys };

/* A section `lab` on its way in. Nodes belong to the file's document. */
struct reader {
    struct lab *lab;
    struct config_document *document; /* of the file, or of a word of the command line */
    struct lab_settings settings;
    uint64_t *seeds; /* [lab->n_seeds] */
    yaml_node_t *arms, *start, *expect;
    bool words; /* past the file: words of the command line */
    opsm_error *err;
};

static opsm_status refuse_at(struct reader *r, const yaml_node_t *node, const char *sentence) {
    return config_at(r->document, node, opsm_fail(r->err, OPSM_INVALID, "%s", sentence), r->err);
}

static opsm_status unknown_key(struct reader *r, const char *path, const yaml_node_t *node) {
    const char *known[N_KEYS + 5];
    int n = 0;
    for (; n < N_KEYS; n++) known[n] = keys[n].path;
    known[n++] = "lab.seeds";
    known[n++] = "lab.arms";
    known[n++] = "lab.start";
    known[n++] = "lab.expect";
    known[n++] = "lab.collapse";
    const char *nearest = text_nearest(path, known, (size_t)n);
    opsm_status status =
        nearest ? opsm_fail(r->err, OPSM_INVALID, "unknown key '%.100s'; did you mean '%s'?", path, nearest)
                : opsm_fail(r->err, OPSM_INVALID, "unknown key '%.100s'; `opsm help lab` lists the keys", path);
    return config_at(r->document, node, status, r->err);
}

/* ---- seeds ------------------------------------------------------------------------------------------------------- */

static bool whole_number(const yaml_node_t *node, uint64_t high, uint64_t *value) {
    const char *text = node->type == YAML_SCALAR_NODE && !config_has_nul(node) ? config_scalar(node) : NULL;
    if (!text || *text < '0' || *text > '9') return false;
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    *value = n;
    return !*end && errno == 0 && n <= high;
}

/* A list, or a number n for 1 to n. */
static opsm_status read_seeds(struct reader *r, yaml_node_t *node) {
    static const char expected[] = "lab.seeds: expected a list of 1 to 256 different whole numbers, or a number from 1 "
                                   "to 256";
    bool is_list = node->type == YAML_SEQUENCE_NODE;
    uint64_t n = is_list ? (uint64_t)config_list_length(node) : 0;
    if (!is_list && !whole_number(node, LAB_SEEDS_MAX, &n)) return refuse_at(r, node, expected);
    if (n < 1 || n > LAB_SEEDS_MAX) return refuse_at(r, node, expected);
    mem_free(r->seeds);
    r->seeds = mem_alloc(n, sizeof *r->seeds);
    if (!r->seeds) return mem_exhausted(r->err, "seeds", n * sizeof *r->seeds);
    r->lab->n_seeds = (int32_t)n;
    for (int i = 0; i < (int)n; i++) {
        r->seeds[i] = (uint64_t)i + 1;
        if (is_list && !whole_number(config_list_item(r->document, node, i), UINT64_MAX, &r->seeds[i]))
            return refuse_at(r, node, expected);
        for (int k = 0; k < i; k++)
            if (r->seeds[k] == r->seeds[i]) return refuse_at(r, node, expected);
    }
    return OPSM_OK;
}

/* ---- the section ------------------------------------------------------------------------------------------------- */

static opsm_status read_section(struct reader *r, const char *path, yaml_node_t *node);

static opsm_status read_map(struct reader *r, const char *path, yaml_node_t *node) {
    if (node->type != YAML_MAPPING_NODE)
        return config_at(
            r->document, node,
            opsm_fail(r->err, OPSM_INVALID, "%s: expected a map of keys, found %s", path, config_kind(node)), r->err);
    for (int i = 0; i < config_map_length(node); i++) {
        struct config_entry entry;
        opsm_status status = config_map_entry(r->document, node, i, &entry, r->err);
        if (status != OPSM_OK) return status;
        char child[128];
        snprintf(child, sizeof child, "%s.%.64s", path, entry.name);
        status = read_section(r, child, entry.value);
        if (status != OPSM_OK) return status;
    }
    return OPSM_OK;
}

/* A part that is read later, when the base is known. */
static opsm_status keep_node(struct reader *r, yaml_node_t **slot, yaml_node_t *node) {
    if (r->words) return refuse_at(r, node, "arms, lab.start and lab.expect are given in the file only");
    if (config_is_null(node)) return OPSM_OK;
    if (node->type != YAML_MAPPING_NODE) return refuse_at(r, node, "expected a map here");
    *slot = node;
    return OPSM_OK;
}

static opsm_status read_section(struct reader *r, const char *path, yaml_node_t *node) {
    if (!strcmp(path, "lab") || !strcmp(path, "lab.collapse")) return read_map(r, path, node);
    if (!strcmp(path, "lab.seeds")) return read_seeds(r, node);
    if (!strcmp(path, "lab.arms")) return keep_node(r, &r->arms, node);
    if (!strcmp(path, "lab.start")) return keep_node(r, &r->start, node);
    if (!strcmp(path, "lab.expect")) return keep_node(r, &r->expect, node);
    const struct config_key *key = config_key_find(keys, N_KEYS, path);
    if (!key) return unknown_key(r, path, node);
    if (r->words && key->offset == AT(base)) return refuse_at(r, node, "lab.base is given in the file only");
    if (config_is_null(node)) return config_key_reset(&r->settings, &default_settings, key, r->err);
    if (node->type != YAML_SCALAR_NODE || config_has_nul(node))
        return config_at(
            r->document, node,
            opsm_fail(r->err, OPSM_INVALID, "%s: expected a single value, found %s", path, config_kind(node)), r->err);
    return config_at(r->document, node, config_key_set(&r->settings, key, config_scalar(node), r->err), r->err);
}

/* The section of the file, then the base that it names, then the file's own keys. */
static opsm_status read_file(struct reader *r) {
    yaml_node_t *root = config_document_root(r->document), *section = NULL;
    opsm_status status = OPSM_OK;
    for (int i = 0; status == OPSM_OK && i < config_map_length(root); i++) {
        struct config_entry entry;
        status = config_map_entry(r->document, root, i, &entry, r->err);
        if (status == OPSM_OK && !strcmp(entry.name, "lab")) section = entry.value;
    }
    if (status == OPSM_OK && !section)
        return opsm_fail(r->err, OPSM_INVALID, "%s: expected a section `lab` with the arms, found none",
                         r->document->origin);
    if (status == OPSM_OK) status = read_section(r, "lab", section);
    if (status == OPSM_OK && !r->arms)
        status = refuse_at(r, section, "lab.arms: expected a map of arms, found nothing");
    if (status == OPSM_OK && r->settings.base) status = config_load(&r->lab->base, r->settings.base, r->err);
    if (status == OPSM_OK) status = config_apply(&r->lab->base, r->document, root, "lab", r->err);
    return status;
}

/* A word "lab.jobs=2"; others go to the base. */
static opsm_status read_word(struct reader *r, const char *word) {
    const char *equals = strchr(word, '=');
    size_t n = equals ? (size_t)(equals - word) : 0;
    char path[128];
    if (strncmp(word, "lab.", 4) != 0 || n >= sizeof path || n == 0)
        return config_override(&r->lab->base, word, r->err);
    memcpy(path, word, n);
    path[n] = '\0';
    struct config_document document, *file = r->document;
    opsm_status status = config_document_parse(&document, word, false, equals + 1, strlen(equals + 1), r->err);
    if (status != OPSM_OK) return status;
    yaml_node_t *root = config_document_root(&document);
    r->document = &document;
    status = root ? read_section(r, path, root)
                  : opsm_fail(r->err, OPSM_INVALID, "in '%s': expected a value, found nothing", word);
    r->document = file;
    config_document_close(&document);
    return status;
}

/* ---- arms -------------------------------------------------------------------------------------------------------- */

static bool good_name(const char *name) {
    static const char *const taken[] = {"start", "lock", "lab.json", "report.html"};
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        if (!strcmp(name, taken[i])) return false;
    for (const char *c = name; *c; c++) {
        bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9');
        if (!letter && (c == name || !strchr("._+-", *c))) return false;
    }
    return *name && strlen(name) <= LAB_NAME_MAX;
}

static int32_t steps_per_iteration(const struct run_config *c) {
    return c->schedule.minibatches * c->schedule.epochs;
}

/* The iterations that make as many optimiser steps as the base: what an arm that gives none of its own gets. */
static opsm_status equal_rounds(struct reader *r, struct lab_arm *arm, const yaml_node_t *node) {
    const struct lab *lab = r->lab;
    int64_t total = (int64_t)lab->rounds * lab->steps_per_round, each = steps_per_iteration(&arm->config);
    opsm_status status = OPSM_OK;
    if (lab->steps_per_round % each)
        status = opsm_fail(r->err, OPSM_INVALID,
                           "arm %s: an iteration has %" PRId64 " optimiser steps (schedule.minibatches x epochs), a "
                           "round of the base %d: expected a divisor of it; give the base the largest schedule",
                           arm->name, each, lab->steps_per_round);
    else if (arm->config.train.iterations == 0)
        arm->config.train.iterations = (int32_t)(total / each);
    else if (arm->config.train.iterations * each != total)
        status = opsm_fail(r->err, OPSM_INVALID,
                           "arm %s: %d iterations x %" PRId64 " optimiser steps are not the %" PRId64
                           " steps of the base: arms are compared at equal steps; set train.iterations to %" PRId64
                           ", or leave it out",
                           arm->name, arm->config.train.iterations, each, total, total / each);
    return config_at(r->document, node, status, r->err);
}

static opsm_status read_arm(struct reader *r, struct lab_arm *arm, const struct config_entry *entry) {
    opsm_status status = config_copy(&arm->config, &r->lab->base, r->err);
    if (status != OPSM_OK) return status;
    arm->config.train.iterations = 0; /* tells whether the arm gives its own */
    mem_free(arm->config.output);
    arm->config.output = NULL;
    uint64_t seed = arm->config.seed;
    /* An arm without keys of its own is the base. */
    if (entry->value->type != YAML_SCALAR_NODE || config_scalar(entry->value))
        status = config_apply(&arm->config, r->document, entry->value, NULL, r->err);
    if (status != OPSM_OK) return status;
    if (arm->config.output || arm->config.seed != seed)
        return refuse_at(r, entry->value, "output and seed of an arm are set by the laboratory: see lab.seeds");
    status = equal_rounds(r, arm, entry->key);
    if (status != OPSM_OK) return status;
    status = config_replace_text(&arm->config.output, r->lab->base.output, r->err);
    if (status == OPSM_OK) status = config_at(r->document, entry->key, config_check(&arm->config, r->err), r->err);
    return status == OPSM_OK ? reward_try(arm->config.rewards, arm->config.n_rewards, r->err) : status;
}

static opsm_status read_arms(struct reader *r) {
    struct lab *lab = r->lab;
    int n = config_map_length(r->arms);
    if (n < 1 || n > LAB_ARMS_MAX) return refuse_at(r, r->arms, "lab.arms: expected 1 to 256 arms");
    lab->arms = mem_zalloc((size_t)n, sizeof *lab->arms);
    if (!lab->arms) return mem_exhausted(r->err, "arms", (size_t)n * sizeof *lab->arms);
    for (int i = 0; i < n; i++) {
        struct lab_arm *arm = &lab->arms[i];
        struct config_entry entry;
        opsm_status status = config_map_entry(r->document, r->arms, i, &entry, r->err);
        if (status != OPSM_OK) return status;
        if (!good_name(entry.name))
            return refuse_at(
                r, entry.key,
                "name of an arm: expected 1 to 64 letters, digits, '.', '_', '+' or '-', the first a letter "
                "or digit, and not start, lock, lab.json or report.html");
        lab->n_arms++;
        snprintf(arm->name, sizeof arm->name, "%s", entry.name);
        arm->expect = (struct lab_expect){NAN, NAN};
        status = read_arm(r, arm, &entry);
        if (status != OPSM_OK) return status;
        arm->seeds = mem_zalloc((size_t)lab->n_seeds, sizeof *arm->seeds);
        if (!arm->seeds) return mem_exhausted(r->err, "runs", (size_t)lab->n_seeds * sizeof *arm->seeds);
        for (int32_t s = 0; s < lab->n_seeds; s++) arm->seeds[s].seed = r->seeds[s];
    }
    return OPSM_OK;
}

static int32_t find_arm(const struct lab *lab, const char *name) {
    for (int32_t i = 0; i < lab->n_arms; i++)
        if (!strcmp(lab->arms[i].name, name)) return i;
    return -1;
}

/* "is no arm" with the nearest name. */
static opsm_status no_such_arm(struct reader *r, const char *key, const char *name) {
    const char *names[LAB_ARMS_MAX];
    for (int32_t i = 0; i < r->lab->n_arms; i++) names[i] = r->lab->arms[i].name;
    const char *nearest = text_nearest(name, names, (size_t)r->lab->n_arms);
    return opsm_fail(r->err, OPSM_INVALID, "%s: '%.64s' is no arm of this laboratory%s%s%s", key, name,
                     nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
}

static opsm_status read_promise(struct reader *r, struct lab_expect *expect, yaml_node_t *node) {
    static const struct config_key promises[] = {
        {"held_below", KEY_REAL, offsetof(struct lab_expect, held_below), 0, 1, NULL, NULL},
        {"held_above", KEY_REAL, offsetof(struct lab_expect, held_above), 0, 1, NULL, NULL},
    };
    if (node->type != YAML_MAPPING_NODE) return refuse_at(r, node, "expected a map like {held_above: 0.9}");
    for (int i = 0; i < config_map_length(node); i++) {
        struct config_entry entry;
        opsm_status status = config_map_entry(r->document, node, i, &entry, r->err);
        if (status != OPSM_OK) return status;
        const struct config_key *key = config_key_find(promises, 2, entry.name);
        if (!key || entry.value->type != YAML_SCALAR_NODE)
            return refuse_at(r, entry.key, "lab.expect: expected held_below or held_above with a number from 0 to 1");
        status = config_key_set(expect, key, config_scalar(entry.value), r->err);
        if (status != OPSM_OK) return config_at(r->document, entry.value, status, r->err);
    }
    return OPSM_OK;
}

static opsm_status read_expectations(struct reader *r) {
    for (int i = 0; r->expect && i < config_map_length(r->expect); i++) {
        struct config_entry entry;
        opsm_status status = config_map_entry(r->document, r->expect, i, &entry, r->err);
        if (status != OPSM_OK) return status;
        int32_t arm = find_arm(r->lab, entry.name);
        if (arm < 0) return config_at(r->document, entry.key, no_such_arm(r, "lab.expect", entry.name), r->err);
        status = read_promise(r, &r->lab->arms[arm].expect, entry.value);
        if (status != OPSM_OK) return status;
    }
    return OPSM_OK;
}

/* ---- the warm start ---------------------------------------------------------------------------------------------- */

/* What a warm start does not use keeps its default: laboratories that differ only there can share one. */
static void forget_unused(struct run_config *c) {
    struct run_config defaults;
    config_defaults(&defaults);
    c->seed = defaults.seed;
    c->schedule = defaults.schedule;
    c->objective = defaults.objective;
    c->optim = defaults.optim;
    c->train = defaults.train;
    c->train.eval_every = 0;
    c->eval = defaults.eval;
    c->rollout.prompts = defaults.rollout.prompts;
    c->rollout.group = defaults.rollout.group;
    config_free(&defaults);
}

static opsm_status read_start(struct reader *r) {
    struct lab *lab = r->lab;
    if (!r->start) return OPSM_OK;
    opsm_status status = config_copy(&lab->start, &lab->base, r->err);
    if (status != OPSM_OK) return status;
    forget_unused(&lab->start);
    mem_free(lab->start.output);
    lab->start.output = file_join(lab->base.output, "start");
    if (!lab->start.output) return mem_exhausted(r->err, "a file name", 0);
    status = config_apply(&lab->start, r->document, r->start, NULL, r->err);
    if (status == OPSM_OK && lab->start.sft.init.dim > 0) /* a fresh model: the base's is not used */
        status = config_replace_text(&lab->start.model, NULL, r->err);
    if (status == OPSM_OK) status = config_at(r->document, r->start, config_check(&lab->start, r->err), r->err);
    if (status == OPSM_OK) status = reward_try(lab->start.rewards, lab->start.n_rewards, r->err);
    if (status != OPSM_OK) return status;
    mem_free(lab->base.model);
    lab->base.model = file_join(lab->start.output, "model.gguf");
    return lab->base.model ? OPSM_OK : mem_exhausted(r->err, "a file name", 0);
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

static opsm_status settle(struct reader *r) {
    struct lab *lab = r->lab;
    if (!r->seeds)
        return opsm_fail(r->err, OPSM_INVALID, "%s: lab.seeds: expected a list of seeds, found nothing",
                         r->document->origin);
    if (!lab->base.output || !*lab->base.output)
        return opsm_fail(r->err, OPSM_INVALID, "%s: output: expected a directory for the laboratory, found nothing",
                         r->document->origin);
    lab->jobs = r->settings.jobs;
    lab->final_share = r->settings.final_share;
    lab->collapse = r->settings.collapse;
    lab->reference = -1;
    lab->steps_per_round = steps_per_iteration(&lab->base);
    lab->rounds = lab->base.train.iterations;
    if ((int64_t)lab->rounds * lab->steps_per_round > STEPS_MAX)
        return opsm_fail(r->err, OPSM_INVALID,
                         "train.iterations x schedule.minibatches x schedule.epochs is %" PRId64
                         ": a run of a laboratory has at most %d optimiser steps",
                         (int64_t)lab->rounds * lab->steps_per_round, STEPS_MAX);
    opsm_status status = reward_try(lab->base.rewards, lab->base.n_rewards, r->err);
    if (status == OPSM_OK) status = read_start(r);
    if (status == OPSM_OK) status = config_check(&lab->base, r->err);
    if (status == OPSM_OK) status = read_arms(r);
    if (status == OPSM_OK) status = read_expectations(r);
    if (status != OPSM_OK || !r->settings.reference) return status;
    lab->reference = find_arm(lab, r->settings.reference);
    return lab->reference >= 0 ? OPSM_OK : no_such_arm(r, "lab.reference", r->settings.reference);
}

opsm_status lab_load(struct lab *lab, const char *path, const char *const *words, int n_words, opsm_error *err) {
    *lab = (struct lab){0};
    config_defaults(&lab->base);
    struct config_document document;
    opsm_status status = config_document_read(&document, path, err);
    if (status != OPSM_OK) {
        lab_free(lab);
        return status;
    }
    struct reader r = {.lab = lab, .document = &document, .err = err};
    r.settings = default_settings;
    status = read_file(&r);
    r.words = true;
    for (int i = 0; status == OPSM_OK && i < n_words; i++) status = read_word(&r, words[i]);
    if (status == OPSM_OK) status = settle(&r);
    config_document_close(&document);
    config_keys_release(&r.settings, keys, N_KEYS);
    mem_free(r.seeds);
    if (status != OPSM_OK) lab_free(lab);
    return status;
}

void lab_free(struct lab *lab) {
    for (int32_t a = 0; a < lab->n_arms; a++) {
        for (int32_t s = 0; lab->arms[a].seeds && s < lab->n_seeds; s++) {
            mem_free(lab->arms[a].seeds[s].curve);
            mem_free(lab->arms[a].seeds[s].error);
        }
        mem_free(lab->arms[a].seeds);
        config_free(&lab->arms[a].config);
    }
    mem_free(lab->arms);
    mem_free(lab->inputs);
    config_free(&lab->base);
    config_free(&lab->start);
    *lab = (struct lab){0};
}
