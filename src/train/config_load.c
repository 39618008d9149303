/* SPDX-License-Identifier: Apache-2.0
 *
 * YAML (libyaml's document tree) into the table of keys.
 */
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "train/config_keys.h"
#include <math.h>
#include <string.h>
#include <yaml.h>

enum { CONFIG_FILE_LIMIT = 1 << 20, PATH_ROOM = 128, WORDS_MAX = 256 };

/* What a walk over one document needs; `origin` is the file's name or the command line's word. */
struct walk {
    struct run_config *config;
    yaml_document_t *document;
    const char *origin;
    bool is_file; /* sentences get a line number */
    opsm_error *err;
};

/* Puts file and line before the sentence that is in `err`. */
static opsm_status at(const struct walk *walk, const yaml_node_t *node, opsm_status status) {
    if (status == OPSM_OK || !walk->err) return status;
    char sentence[sizeof walk->err->text];
    memcpy(sentence, walk->err->text, sizeof sentence);
    if (walk->is_file)
        return opsm_fail(walk->err, status, "%s:%zu: %s", walk->origin, node->start_mark.line + 1, sentence);
    return opsm_fail(walk->err, status, "in '%s': %s", walk->origin, sentence);
}

/* The text of a scalar; NULL for YAML's null (plain `null`, `~` or nothing). */
static const char *scalar_text(const yaml_node_t *node) {
    const char *text = (const char *)node->data.scalar.value;
    bool plain = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (plain && (!*text || !strcmp(text, "~") || !strcmp(text, "null"))) return NULL;
    if (plain && !strcmp(text, ".inf")) return "inf";
    return text;
}

static bool has_nul(const yaml_node_t *node) {
    return node->type == YAML_SCALAR_NODE && strlen((const char *)node->data.scalar.value) != node->data.scalar.length;
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

static opsm_status unknown_key(const char *path, opsm_error *err) {
    static const char objective[] = "objective.";
    struct words words = {.count = 0};
    add_word(&words, "", "reward", 6);
    add_word(&words, "", objective, sizeof objective - 2);
    for (int i = 0; i < config_n_keys; i++) add_key(&words, "", config_keys[i].path, i ? config_keys[i - 1].path : "");
    for (int i = 0; i < opsm_objective_key_count(); i++)
        add_key(&words, objective, opsm_objective_key(i).key, i ? opsm_objective_key(i - 1).key : "");
    const char *nearest = text_nearest(path, words.list, words.count);
    if (!nearest) return opsm_fail(err, OPSM_INVALID, "unknown key '%.100s'; `opsm help config` lists the keys", path);
    return opsm_fail(err, OPSM_INVALID, "unknown key '%.100s'; did you mean '%s'?", path, nearest);
}

static const char *kind_of(const yaml_node_t *node) {
    return node->type == YAML_MAPPING_NODE ? "a map" : node->type == YAML_SEQUENCE_NODE ? "a list" : "a single value";
}

static int list_length(const yaml_node_t *node) {
    return (int)(node->data.sequence.items.top - node->data.sequence.items.start);
}

static yaml_node_t *list_item(const struct walk *walk, const yaml_node_t *node, int i) {
    return yaml_document_get_node(walk->document, node->data.sequence.items.start[i]);
}

static opsm_status set_pair(struct walk *walk, void *base, const struct config_key *key, yaml_node_t *node) {
    double *slot = (double *)(void *)((char *)base + key->offset);
    if (list_length(node) != 2)
        return opsm_fail(walk->err, OPSM_INVALID, "%s: expected a list of two numbers, found %d", key->path,
                         list_length(node));
    for (int i = 0; i < 2; i++) {
        const yaml_node_t *item = list_item(walk, node, i);
        const char *text = item->type == YAML_SCALAR_NODE ? (const char *)item->data.scalar.value : "";
        opsm_status status = config_parse_real(key->path, text, key->low, key->high, &slot[i], walk->err);
        if (status != OPSM_OK) return status;
    }
    return OPSM_OK;
}

static opsm_status set_texts(struct walk *walk, void *base, const struct config_key *key, yaml_node_t *node) {
    struct config_strings *list = (struct config_strings *)(void *)((char *)base + key->offset);
    int n = list_length(node);
    if (n > CONFIG_LIST_MAX)
        return opsm_fail(walk->err, OPSM_INVALID, "%s: at most %d entries, found %d", key->path, CONFIG_LIST_MAX, n);
    for (int32_t i = 0; i < list->count; i++) mem_free(list->items[i]);
    *list = (struct config_strings){0};
    for (int i = 0; i < n; i++) {
        const yaml_node_t *item = list_item(walk, node, i);
        if (item->type != YAML_SCALAR_NODE || has_nul(item) || item->data.scalar.length == 0)
            return opsm_fail(walk->err, OPSM_INVALID, "%s: entry %d: expected a string that is not empty", key->path,
                             i + 1);
        opsm_status status = config_replace_text(&list->items[i], (const char *)item->data.scalar.value, walk->err);
        if (status != OPSM_OK) return status;
        list->count = i + 1;
    }
    return OPSM_OK;
}

/* A node into the field of `key` in the struct at `base`. */
static opsm_status set_value(struct walk *walk, void *base, const struct config_key *key, yaml_node_t *node) {
    if (node->type == YAML_SEQUENCE_NODE && key->kind == KEY_PAIR) return set_pair(walk, base, key, node);
    if (node->type == YAML_SEQUENCE_NODE && key->kind == KEY_TEXTS) return set_texts(walk, base, key, node);
    if (node->type != YAML_SCALAR_NODE)
        return opsm_fail(walk->err, OPSM_INVALID, "%s: expected a single value, found %s", key->path, kind_of(node));
    if (has_nul(node)) return opsm_fail(walk->err, OPSM_INVALID, "%s: the value holds a NUL byte", key->path);
    return config_key_set(base, key, scalar_text(node), walk->err);
}

/* ---- reward: a list of maps -----------------------------------------------------------------------------------------
 */

static opsm_status set_reward(struct walk *walk, struct config_reward *reward, yaml_node_t *node) {
    if (node->type != YAML_MAPPING_NODE)
        return opsm_fail(walk->err, OPSM_INVALID, "reward: expected maps like {type: numeric, weight: 1.0}, found %s",
                         kind_of(node));
    reward->weight = 1.0;
    for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top; p++) {
        const yaml_node_t *name = yaml_document_get_node(walk->document, p->key);
        if (name->type != YAML_SCALAR_NODE)
            return opsm_fail(walk->err, OPSM_INVALID, "reward: expected the name of a key, found %s", kind_of(name));
        const char *word = (const char *)name->data.scalar.value;
        const struct config_key *key = config_key_find(config_reward_keys, config_n_reward_keys, word);
        if (!key)
            return opsm_fail(walk->err, OPSM_INVALID, "unknown key 'reward.%.60s'; `opsm help config` lists them",
                             word);
        opsm_status status = set_value(walk, reward, key, yaml_document_get_node(walk->document, p->value));
        if (status != OPSM_OK) return status;
    }
    if (!reward->type) return opsm_fail(walk->err, OPSM_INVALID, "reward: an entry has no type");
    return OPSM_OK;
}

static opsm_status set_rewards(struct walk *walk, yaml_node_t *node) {
    struct run_config *config = walk->config;
    if (node->type != YAML_SEQUENCE_NODE)
        return opsm_fail(walk->err, OPSM_INVALID, "reward: expected a list of {type, weight}, found %s", kind_of(node));
    int n = list_length(node);
    if (n > CONFIG_LIST_MAX)
        return opsm_fail(walk->err, OPSM_INVALID, "reward: at most %d entries, found %d", CONFIG_LIST_MAX, n);
    for (int32_t i = 0; i < config->n_rewards; i++)
        config_keys_release(&config->rewards[i], config_reward_keys, config_n_reward_keys);
    memset(config->rewards, 0, sizeof config->rewards);
    config->n_rewards = n; /* entries are zero until set, so that config_free() is right at any time */
    for (int i = 0; i < n; i++) {
        opsm_status status = set_reward(walk, &config->rewards[i], list_item(walk, node, i));
        if (status != OPSM_OK) return status;
    }
    return OPSM_OK;
}

/* ---- the walk ------------------------------------------------------------------------------------------------------
 */

static opsm_status set_objective(struct walk *walk, const char *name, const yaml_node_t *node) {
    const char *text = node->type == YAML_SCALAR_NODE ? scalar_text(node) : NULL;
    if (!text)
        return opsm_fail(walk->err, OPSM_INVALID, "objective.%s: expected a single value, found %s", name,
                         node->type == YAML_SCALAR_NODE ? "nothing" : kind_of(node));
    return opsm_objective_set(&walk->config->objective, name, text, walk->err);
}

static bool is_objective_key(const char *path) {
    if (strncmp(path, "objective.", 10)) return false;
    for (int i = 0; i < opsm_objective_key_count(); i++)
        if (!strcmp(opsm_objective_key(i).key, path + 10)) return true;
    return false;
}

static opsm_status apply_map(struct walk *walk, const char *path, yaml_node_t *node);

static opsm_status apply(struct walk *walk, const char *path, yaml_node_t *node) {
    const struct config_key *key = config_key_find(config_keys, config_n_keys, path);
    if (!strcmp(path, "reward")) return at(walk, node, set_rewards(walk, node));
    if (key) return at(walk, node, set_value(walk, walk->config, key, node));
    if (is_objective_key(path)) return at(walk, node, set_objective(walk, path + 10, node));
    if (!is_section(path)) return at(walk, node, unknown_key(path, walk->err));
    if (node->type != YAML_MAPPING_NODE)
        return at(walk, node,
                  opsm_fail(walk->err, OPSM_INVALID, "%s: expected a map of keys, found %s", path, kind_of(node)));
    return apply_map(walk, path, node);
}

/* Recursion ends at the table's own depth: a path that is not one of its sections is an error. */
static opsm_status apply_map(struct walk *walk, const char *path, yaml_node_t *node) {
    yaml_node_pair_t *first = node->data.mapping.pairs.start;
    for (yaml_node_pair_t *p = first; p < node->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = yaml_document_get_node(walk->document, p->key);
        if (key->type != YAML_SCALAR_NODE || has_nul(key))
            return at(walk, key,
                      opsm_fail(walk->err, OPSM_INVALID, "expected the name of a key, found %s", kind_of(key)));
        const char *name = (const char *)key->data.scalar.value;
        for (yaml_node_pair_t *q = first; q < p; q++)
            if (!strcmp((const char *)yaml_document_get_node(walk->document, q->key)->data.scalar.value, name))
                return at(walk, key, opsm_fail(walk->err, OPSM_INVALID, "key '%.60s' is given twice", name));
        char child[PATH_ROOM];
        int n = snprintf(child, sizeof child, "%s%s%s", path, *path ? "." : "", name);
        if (n >= PATH_ROOM) return at(walk, key, opsm_fail(walk->err, OPSM_INVALID, "unknown key '%.60s...'", name));
        opsm_status status = apply(walk, child, yaml_document_get_node(walk->document, p->value));
        if (status != OPSM_OK) return status;
    }
    return OPSM_OK;
}

static opsm_status parse_error(const struct walk *walk, const yaml_parser_t *parser) {
    const char *problem = parser->problem ? parser->problem : "out of memory";
    if (walk->is_file)
        return opsm_fail(walk->err, OPSM_INVALID, "%s:%zu: not valid YAML: %s", walk->origin,
                         parser->problem_mark.line + 1, problem);
    return opsm_fail(walk->err, OPSM_INVALID, "in '%s': not valid YAML: %s", walk->origin, problem);
}

/* Parses `text` and applies its root node under `path` ("" for a whole file). */
static opsm_status apply_yaml(struct walk *walk, const char *path, const char *text, size_t size) {
    yaml_parser_t parser;
    yaml_document_t document;
    if (!yaml_parser_initialize(&parser)) return mem_exhausted(walk->err, "the YAML parser", sizeof parser);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
    if (!yaml_parser_load(&parser, &document)) {
        opsm_status status = parse_error(walk, &parser);
        yaml_parser_delete(&parser);
        return status;
    }
    walk->document = &document;
    yaml_node_t *root = yaml_document_get_root_node(&document);
    yaml_node_t nothing = {.type = YAML_SCALAR_NODE,
                           .data.scalar = {.value = (unsigned char *)"", .style = YAML_PLAIN_SCALAR_STYLE}};
    opsm_status status;
    if (*path)
        status = apply(walk, path, root ? root : &nothing);
    else if (!root)
        status = opsm_fail(walk->err, OPSM_INVALID, "%s: the file is empty", walk->origin);
    else if (root->type != YAML_MAPPING_NODE)
        status = at(walk, root, opsm_fail(walk->err, OPSM_INVALID, "expected a map of keys, found %s", kind_of(root)));
    else
        status = apply_map(walk, "", root);
    walk->document = NULL;
    yaml_document_delete(&document);
    yaml_parser_delete(&parser);
    return status;
}

opsm_status config_load(struct run_config *config, const char *path, opsm_error *err) {
    char *text;
    size_t size;
    opsm_status status = file_read(path, CONFIG_FILE_LIMIT, &text, &size, err);
    if (status != OPSM_OK) return status;
    struct walk walk = {.config = config, .origin = path, .is_file = true, .err = err};
    status = apply_yaml(&walk, "", text, size);
    mem_free(text);
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
    struct walk walk = {.config = config, .origin = assignment, .err = err};
    return apply_yaml(&walk, path, equals + 1, strlen(equals + 1));
}
