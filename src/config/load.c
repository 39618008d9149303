/* SPDX-License-Identifier: Apache-2.0
 *
 * YAML (libyaml's document tree) into the table of keys.
 */
#include "base/mem.h"
#include "base/text.h"
#include "config/document.h"
#include "config/keys.h"
#include <math.h>
#include <string.h>

enum { PATH_ROOM = 128, WORDS_MAX = 256 };

/* What a walk over one document needs. */
struct yaml_walk {
    struct run_config *config;
    struct config_document *document;
    const char *own;   /* a name at the top that is the caller's; NULL: none */
    bool policy_named; /* mask.policy stands in this document, or in an earlier word of the command line */
    opsm_error *err;
};

static opsm_status at(const struct yaml_walk *walk, const yaml_node_t *node, opsm_status status) {
    return config_at(walk->document, node, status, walk->err);
}

static bool is_section(const char *path) {
    size_t n = strlen(path);
    if (!strcmp(path, "objective")) return true;
    for (int i = 0; i < config_n_keys; i++)
        if (!strncmp(config_keys[i].path, path, n) && config_keys[i].path[n] == '.') return true;
    if (strncmp(path, "objective.", 10)) return false;
    for (int i = 0; i < opsm_objective_key_count(); i++) {
        const char *name = opsm_objective_key(i).key;
        if (!strncmp(name, path + 10, n - 10) && name[n - 10] == '.') return true;
    }
    return false;
}

/* Every key and section a person could have meant. */
struct words {
    char text[WORDS_MAX][PATH_ROOM];
    const char *list[WORDS_MAX];
    size_t count;
};

static void add_word(struct words *words, const char *prefix, const char *name, size_t length) {
    if (words->count == WORDS_MAX) return;
    char *text = words->text[words->count];
    snprintf(text, PATH_ROOM, "%s%.*s", prefix, (int)length, name);
    words->list[words->count++] = text;
}

/* The key and, where it is the first of its section, the section. */
static void add_key(struct words *words, const char *prefix, const char *name, const char *previous) {
    const char *dot = strchr(name, '.');
    size_t section = dot ? (size_t)(dot - name) : 0;
    if (dot && strncmp(previous, name, section + 1) != 0) add_word(words, prefix, name, section);
    add_word(words, prefix, name, strlen(name));
}

/* The key that ends in what was written: `lr` is optim.lr, `mask.delta` objective.mask.delta. */
static const char *without_section(const char *path, const struct words *words) {
    size_t length = strlen(path);
    for (size_t i = 0; i < words->count; i++) {
        size_t whole = strlen(words->list[i]);
        const char *end = words->list[i] + whole - length;
        if (whole > length + 1 && end[-1] == '.' && strcmp(end, path) == 0) return words->list[i];
    }
    return NULL;
}

static opsm_status unknown_key(const char *path, opsm_error *err) {
    static const char objective[] = "objective.";
    struct words words = {.count = 0};
    add_word(&words, "", "reward", 6);
    add_word(&words, "", objective, sizeof objective - 2);
    for (int i = 0; i < config_n_keys; i++) add_key(&words, "", config_keys[i].path, i ? config_keys[i - 1].path : "");
    for (int i = 0; i < opsm_objective_key_count(); i++)
        add_key(&words, objective, opsm_objective_key(i).key, i ? opsm_objective_key(i - 1).key : "");
    const char *nearest = without_section(path, &words);
    if (!nearest) nearest = text_nearest(path, words.list, words.count);
    if (!nearest) return opsm_fail(err, OPSM_INVALID, "unknown key '%.100s'; `opsm help config` lists the keys", path);
    return opsm_fail(err, OPSM_INVALID, "unknown key '%.100s'; did you mean '%s'?", path, nearest);
}

/* A node into the field of `key`. */
static opsm_status set_value(struct yaml_walk *walk, const struct config_key *key, yaml_node_t *node) {
    if (key->kind == KEY_VALUE) return config_set_value(walk->config, key, NULL, walk->document, node, walk->err);
    if (node->type == YAML_SEQUENCE_NODE) {
        const char *items[CONFIG_LIST_MAX];
        int n = config_list_texts(walk->document, node, items, CONFIG_LIST_MAX);
        return config_key_set_list(walk->config, key, items, n, walk->err);
    }
    if (node->type != YAML_SCALAR_NODE)
        return opsm_fail(walk->err, OPSM_INVALID, "%s: expected a single value, found %s", key->path,
                         config_kind(node));
    if (config_has_nul(node)) return opsm_fail(walk->err, OPSM_INVALID, "%s: the value holds a NUL byte", key->path);
    return config_key_set(walk->config, key, config_scalar(node), walk->err);
}

/* ---- the walk ---------------------------------------------------------------------------------------------------- */

static opsm_status set_objective(struct yaml_walk *walk, const char *name, const yaml_node_t *node) {
    const char *text = node->type == YAML_SCALAR_NODE ? config_scalar(node) : NULL;
    if (!text)
        return opsm_fail(walk->err, OPSM_INVALID, "objective.%s: expected a single value, found %s", name,
                         node->type == YAML_SCALAR_NODE ? "nothing" : config_kind(node));
    opsm_objective *objective = &walk->config->objective;
    opsm_status status = opsm_objective_set(objective, name, text, walk->err);
    if (status != OPSM_OK) return status;
    /* Who gives a delta means it to be used, unless the same document names a policy. */
    bool unread = objective->mask_policy == OPSM_POLICY_AUTO || objective->mask_policy == OPSM_POLICY_LENGTH;
    bool policy = !strcmp(name, "mask.policy"), delta = !strcmp(name, "mask.delta");
    walk->policy_named |= policy;
    walk->config->policy_given |= policy;
    walk->config->delta_given |= delta;
    if (!delta || !unread || walk->policy_named) return OPSM_OK;
    objective->mask_policy = OPSM_POLICY_FIXED;
    walk->config->policy_given = false;
    return OPSM_OK;
}

static bool is_objective_key(const char *path) {
    if (strncmp(path, "objective.", 10)) return false;
    for (int i = 0; i < opsm_objective_key_count(); i++)
        if (!strcmp(opsm_objective_key(i).key, path + 10)) return true;
    return false;
}

/* Whether `key` is `path` or lies in the section of that name. */
static bool belongs(const char *key, const char *path) {
    size_t n = strlen(path);
    return !strncmp(key, path, n) && (!key[n] || key[n] == '.');
}

/* The policy is auto, or fixed where a threshold is given, unless somebody names it. */
static opsm_status unset_objective(struct yaml_walk *walk, const opsm_objective *defaults, const char *name) {
    struct run_config *config = walk->config;
    char value[128];
    opsm_status status = opsm_objective_get(defaults, name, value, sizeof value, walk->err);
    if (status == OPSM_OK) status = opsm_objective_set(&config->objective, name, value, walk->err);
    bool policy = !strcmp(name, "mask.policy"), delta = !strcmp(name, "mask.delta");
    if (policy) config->policy_given = walk->policy_named = false;
    if (delta) config->delta_given = false;
    if ((policy || delta) && !config->policy_given)
        config->objective.mask_policy = config->delta_given ? OPSM_POLICY_FIXED : OPSM_POLICY_AUTO;
    return status;
}

/* `path: null`, a key or a section: its defaults again. *known: there is such a path. */
static opsm_status unset(struct yaml_walk *walk, const char *path, bool *known) {
    struct run_config defaults;
    config_defaults(&defaults);
    opsm_status status = OPSM_OK;
    *known = !strcmp(path, "reward");
    if (*known) config_forget_rewards(walk->config);
    for (int i = 0; i < config_n_keys && status == OPSM_OK; i++) {
        if (!belongs(config_keys[i].path, path)) continue;
        *known = true;
        status = config_key_reset(walk->config, &defaults, &config_keys[i], walk->err);
    }
    for (int i = 0; i < opsm_objective_key_count() && status == OPSM_OK; i++) {
        char key[PATH_ROOM];
        snprintf(key, sizeof key, "objective.%s", opsm_objective_key(i).key);
        if (!belongs(key, path)) continue;
        *known = true;
        status = unset_objective(walk, &defaults.objective, opsm_objective_key(i).key);
    }
    config_free(&defaults);
    return status;
}

static opsm_status apply_map(struct yaml_walk *walk, const char *path, yaml_node_t *node);

/* The map of which `path` is an entry, as a word of the command line may name it; NULL: none. */
static const struct config_key *map_of(const char *path) {
    for (int i = 0; i < config_n_keys; i++) {
        const struct config_key *key = &config_keys[i];
        size_t n = strlen(key->path);
        if (key->kind == KEY_VALUE && !strcmp(key->choices, "map") && !strncmp(path, key->path, n) && path[n] == '.')
            return key;
    }
    return NULL;
}

static opsm_status apply(struct yaml_walk *walk, const char *path, yaml_node_t *node) {
    const struct config_key *key = config_key_find(config_keys, config_n_keys, path), *map = map_of(path);
    if (map)
        return at(walk, node,
                  config_set_value(walk->config, map, path + strlen(map->path) + 1, walk->document, node, walk->err));
    if (!strcmp(path, "reward") && !config_is_null(node))
        return at(walk, node, config_read_rewards(walk->config, walk->document, node, walk->err));
    if (!strcmp(path, "lab"))
        return at(walk, node,
                  opsm_fail(walk->err, OPSM_INVALID,
                            "a section `lab` makes this a file of the laboratory: `opsm lab` runs it"));
    if (config_is_null(node)) {
        bool known;
        opsm_status status = unset(walk, path, &known);
        return at(walk, node, known ? status : unknown_key(path, walk->err));
    }
    if (key) return at(walk, node, set_value(walk, key, node));
    if (is_objective_key(path)) return at(walk, node, set_objective(walk, path + 10, node));
    if (!is_section(path)) return at(walk, node, unknown_key(path, walk->err));
    if (node->type != YAML_MAPPING_NODE)
        return at(walk, node,
                  opsm_fail(walk->err, OPSM_INVALID, "%s: expected a map of keys, found %s", path, config_kind(node)));
    return apply_map(walk, path, node);
}

/* Recursion ends at the table's own depth: a path that is not one of its sections is an error. */
static opsm_status apply_map(struct yaml_walk *walk, const char *path, yaml_node_t *node) {
    for (int i = 0; i < config_map_length(node); i++) {
        struct config_entry entry;
        opsm_status status = config_map_entry(walk->document, node, i, &entry, walk->err);
        if (status != OPSM_OK) return status;
        if (!*path && walk->own && !strcmp(entry.name, walk->own)) continue;
        char child[PATH_ROOM];
        int n = snprintf(child, sizeof child, "%s%s%s", path, *path ? "." : "", entry.name);
        if (n >= PATH_ROOM)
            return at(walk, entry.key, opsm_fail(walk->err, OPSM_INVALID, "unknown key '%.60s...'", entry.name));
        status = apply(walk, child, entry.value);
        if (status != OPSM_OK) return status;
    }
    return OPSM_OK;
}

opsm_status config_apply(struct run_config *config, struct config_document *document, yaml_node_t *map, const char *own,
                         opsm_error *err) {
    struct yaml_walk walk = {.config = config, .document = document, .own = own, .err = err};
    if (map->type != YAML_MAPPING_NODE)
        return at(&walk, map, opsm_fail(err, OPSM_INVALID, "expected a map of keys, found %s", config_kind(map)));
    return apply_map(&walk, "", map);
}

opsm_status config_load(struct run_config *config, const char *path, opsm_error *err) {
    struct config_document document;
    opsm_status status = config_document_read(&document, path, err);
    if (status != OPSM_OK) return status;
    status = config_apply(config, &document, config_document_root(&document), NULL, err);
    config_document_close(&document);
    return status;
}

opsm_status config_override(struct run_config *config, const char *assignment, opsm_error *err) {
    const char *equals = strchr(assignment, '=');
    char path[PATH_ROOM];
    size_t n = equals ? (size_t)(equals - assignment) : 0;
    if (n == 0 || n >= sizeof path)
        return opsm_fail(err, OPSM_INVALID, "'%.100s': expected key.path=value", assignment);
    memcpy(path, assignment, n);
    path[n] = '\0';
    struct config_document document;
    opsm_status status = config_document_parse(&document, assignment, false, equals + 1, strlen(equals + 1), err);
    if (status != OPSM_OK) return status;
    yaml_node_t nothing = {.type = YAML_SCALAR_NODE,
                           .data.scalar = {.value = (unsigned char *)"", .style = YAML_PLAIN_SCALAR_STYLE}};
    yaml_node_t *root = config_document_root(&document);
    /* The words of a command line are one document. */
    struct yaml_walk walk = {
        .config = config, .document = &document, .policy_named = config->policy_in_words, .err = err};
    status = apply(&walk, path, root ? root : &nothing);
    config->policy_in_words = walk.policy_named;
    config_document_close(&document);
    return status;
}

opsm_status config_copy(struct run_config *copy, const struct run_config *config, opsm_error *err) {
    config_defaults(copy);
    char *text = config_text(config);
    if (!text) return mem_exhausted(err, "a configuration", 0);
    struct config_document d;
    opsm_status status = config_document_parse(&d, "a copy of the configuration", false, text, strlen(text), err);
    mem_free(text);
    if (status != OPSM_OK) return status;
    status = config_apply(copy, &d, config_document_root(&d), NULL, err);
    copy->policy_given = config->policy_given; /* the text names every key */
    copy->delta_given = config->delta_given;
    config_document_close(&d);
    return status;
}
