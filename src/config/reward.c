/* SPDX-License-Identifier: Apache-2.0
 *
 * Entries of `reward:`. Their settings are kept as they were written: only the type of an entry knows what they mean.
 */
#include "base/mem.h"
#include "base/text.h"
#include "config/document.h"
#include "config/keys.h"
#include <string.h>

static const struct config_key setting_list = {
    .path = "", .kind = KEY_TEXTS, .offset = offsetof(struct config_setting, list)};

static void free_setting(struct config_setting *setting) {
    mem_free(setting->name);
    mem_free(setting->text);
    mem_free(setting->place);
    config_keys_release(setting, &setting_list, 1);
}

void config_reward_free(struct config_reward *reward) {
    config_keys_release(reward, config_reward_keys, config_n_reward_keys);
    mem_free(reward->place);
    for (int32_t i = 0; i < reward->n_settings; i++) free_setting(&reward->settings[i]);
    mem_free(reward->settings);
    *reward = (struct config_reward){0};
}

void config_forget_rewards(struct run_config *config) {
    for (int32_t i = 0; i < config->n_rewards; i++) config_reward_free(&config->rewards[i]);
    config->n_rewards = 0;
}

opsm_status config_set_reward(struct run_config *config, const char *type, opsm_error *err) {
    config_forget_rewards(config);
    config->n_rewards = 1;
    config->rewards[0].weight = 1;
    return config_replace_text(&config->rewards[0].type, type, err);
}

/* One more setting, without a value yet; NULL when out of memory. */
static struct config_setting *add_setting(struct config_reward *reward, const char *name) {
    size_t n = (size_t)reward->n_settings;
    struct config_setting *grown = mem_resize(reward->settings, n, n + 1, sizeof *grown);
    if (!grown) return NULL;
    reward->settings = grown;
    grown[n] = (struct config_setting){.name = mem_strdup(name)};
    reward->n_settings++;
    return grown[n].name ? &grown[n] : NULL;
}

static opsm_status set_list(struct config_setting *setting, struct config_document *document, yaml_node_t *node,
                            opsm_error *err) {
    struct config_key key = setting_list;
    key.path = setting->name;
    const char *items[CONFIG_LIST_MAX];
    int n = config_list_texts(document, node, items, CONFIG_LIST_MAX);
    opsm_status status = config_key_set_list(setting, &key, items, n, err);
    setting->is_list = status == OPSM_OK;
    return status;
}

/* The node of a key into the field of an entry. */
static opsm_status set_field(struct config_reward *reward, const struct config_key *key, const yaml_node_t *node,
                             opsm_error *err) {
    static const struct config_reward defaults = {.weight = 1.0};
    return config_is_null(node) ? config_key_reset(reward, &defaults, key, err)
                                : config_key_set(reward, key, config_scalar(node), err);
}

static opsm_status set_setting(struct config_reward *reward, struct config_document *document,
                               const struct config_entry *entry, opsm_error *err) {
    struct config_setting *setting = add_setting(reward, entry->name);
    if (!setting) return mem_exhausted(err, "the configuration", strlen(entry->name));
    setting->place = config_place(document, entry->value);
    if (!setting->place) return mem_exhausted(err, "the configuration", 0);
    if (entry->value->type == YAML_SEQUENCE_NODE) return set_list(setting, document, entry->value, err);
    if (config_is_null(entry->value)) return OPSM_OK;
    const char *text = config_scalar(entry->value);
    if (text) return config_replace_text(&setting->text, text, err);
    return opsm_fail(err, OPSM_INVALID, "%s: expected a value, found nothing (null gives the default)", entry->name);
}

static opsm_status set_entry(struct config_reward *reward, struct config_document *document,
                             const struct config_entry *entry, opsm_error *err) {
    const struct config_key *key = config_key_find(config_reward_keys, config_n_reward_keys, entry->name);
    if (entry->value->type == YAML_MAPPING_NODE || (key && entry->value->type != YAML_SCALAR_NODE))
        return opsm_fail(err, OPSM_INVALID, "%s: expected a single value, found %s", entry->name,
                         config_kind(entry->value));
    if (config_has_nul(entry->value))
        return opsm_fail(err, OPSM_INVALID, "%s: the value holds a NUL byte", entry->name);
    return key ? set_field(reward, key, entry->value, err) : set_setting(reward, document, entry, err);
}

static opsm_status read_reward(struct config_reward *reward, struct config_document *document, yaml_node_t *node,
                               opsm_error *err) {
    if (node->type != YAML_MAPPING_NODE)
        return opsm_fail(err, OPSM_INVALID, "reward: expected maps like {type: numeric, weight: 1.0}, found %s",
                         config_kind(node));
    reward->weight = 1;
    reward->place = config_place(document, node);
    if (!reward->place) return mem_exhausted(err, "the configuration", 0);
    for (int i = 0; i < config_map_length(node); i++) {
        struct config_entry entry;
        opsm_status status = config_map_entry(document, node, i, &entry, err);
        if (status == OPSM_OK) status = config_at(document, entry.value, set_entry(reward, document, &entry, err), err);
        if (status != OPSM_OK) return status;
    }
    return reward->type ? OPSM_OK : opsm_fail(err, OPSM_INVALID, "reward: an entry has no type");
}

opsm_status config_read_rewards(struct run_config *config, struct config_document *document, yaml_node_t *node,
                                opsm_error *err) {
    if (node->type != YAML_SEQUENCE_NODE)
        return opsm_fail(err, OPSM_INVALID, "reward: expected a list of {type, weight}, found %s", config_kind(node));
    int n = config_list_length(node);
    if (n > CONFIG_LIST_MAX)
        return opsm_fail(err, OPSM_INVALID, "reward: at most %d entries, found %d", CONFIG_LIST_MAX, n);
    config_forget_rewards(config);
    config->n_rewards = n; /* entries are zero until read, so that config_free() is right at any time */
    for (int i = 0; i < n; i++) {
        yaml_node_t *item = config_list_item(document, node, i);
        opsm_status status = config_at(document, item, read_reward(&config->rewards[i], document, item, err), err);
        if (status != OPSM_OK) return status;
    }
    return OPSM_OK;
}

/* The list that a word of the command line may be as well: [a, b]. What is none is left a text. */
static opsm_status set_word_list(struct config_setting *setting, const char *assignment, opsm_error *err) {
    struct config_document document;
    opsm_status status = config_document_parse(&document, assignment, false, setting->text, strlen(setting->text), err);
    if (status != OPSM_OK) return status == OPSM_NOMEM ? status : OPSM_OK;
    yaml_node_t *root = config_document_root(&document);
    if (root && root->type == YAML_SEQUENCE_NODE) status = set_list(setting, &document, root, err);
    config_document_close(&document);
    return status == OPSM_NOMEM ? status : OPSM_OK;
}

opsm_status config_reward_override(struct config_reward *reward, const char *assignment, opsm_error *err) {
    const char *equals = strchr(assignment, '=');
    if (!equals || equals == assignment)
        return opsm_fail(err, OPSM_INVALID, "'%.100s': expected setting=value", assignment);
    char *name = mem_strndup(assignment, (size_t)(equals - assignment));
    if (!name) return mem_exhausted(err, "the configuration", 0);
    const struct config_key *key = config_key_find(config_reward_keys, config_n_reward_keys, name);
    struct config_setting *setting = key ? NULL : add_setting(reward, name);
    mem_free(name);
    if (key) return config_key_set(reward, key, equals + 1, err);
    if (!setting) return mem_exhausted(err, "the configuration", 0);
    opsm_status status = config_replace_text(&setting->text, equals + 1, err);
    return status == OPSM_OK ? set_word_list(setting, assignment, err) : status;
}

/* Numbers and truth values need no quotes to read back as the same text. */
static bool is_bare(const char *text) {
    if (!strcmp(text, "true") || !strcmp(text, "false")) return true;
    const char *digits = text + (*text == '-');
    return *digits >= '0' && *digits <= '9' && text[strspn(text, "0123456789.eE+-")] == '\0';
}

static void print_setting(const struct config_setting *setting, FILE *out) {
    bool is_word = setting->name[strspn(setting->name, "abcdefghijklmnopqrstuvwxyz_")] == '\0';
    fputs(", ", out);
    if (is_word)
        fputs(setting->name, out);
    else
        config_print_text(setting->name, out);
    fputs(": ", out);
    if (setting->text && is_bare(setting->text))
        fputs(setting->text, out);
    else if (setting->text || !setting->is_list)
        config_print_text(setting->text, out);
    else
        config_key_print(setting, &setting_list, out);
}

void config_print_rewards(const struct run_config *config, FILE *out) {
    fputs(config->n_rewards ? "reward:\n" : "reward: []\n", out);
    for (int32_t i = 0; i < config->n_rewards; i++) {
        const struct config_reward *reward = &config->rewards[i];
        for (int k = 0; k < config_n_reward_keys; k++) {
            fprintf(out, "%s%s: ", k == 0 ? "  - {" : ", ", config_reward_keys[k].path);
            config_key_print(reward, &config_reward_keys[k], out);
        }
        for (int32_t k = 0; k < reward->n_settings; k++) print_setting(&reward->settings[k], out);
        fputs("}\n", out);
    }
}
