/* SPDX-License-Identifier: Apache-2.0
 *
 * A YAML document on its way into a configuration, for readers of sections of their own (the laboratory). Every
 * sentence about a node gets the place it stands at: file and line, or the word of the command line.
 */
#ifndef OPSM_CONFIG_DOCUMENT_H
#define OPSM_CONFIG_DOCUMENT_H
#include "config/config.h"
#include <yaml.h>

struct config_document {
    yaml_document_t yaml;
    const char *origin; /* the file's name or the command line's word; borrowed */
    bool is_file;       /* sentences get a line number */
};

/* A file whose root is a map of keys. Close it after success only. */
opsm_status config_document_read(struct config_document *document, const char *path, opsm_error *err);

/* Any YAML; `origin` and is_file say how sentences name it. */
opsm_status config_document_parse(struct config_document *document, const char *origin, bool is_file, const char *text,
                                  size_t size, opsm_error *err);
void config_document_close(struct config_document *document);

/* NULL: the document is empty. */
yaml_node_t *config_document_root(struct config_document *document);

/* Puts the place of `node` before the sentence in `err` when `status` is a failure, unless it has one already (that of
 * a node further in); returns `status`. */
opsm_status config_at(const struct config_document *document, const yaml_node_t *node, opsm_status status,
                      opsm_error *err);

/* The place of `node` as config_at writes it, mem_alloc'ed; NULL: out of memory. */
char *config_place(const struct config_document *document, const yaml_node_t *node);

/* Entry i of a map. OPSM_INVALID (with its place) when its key is not a name or was given before. */
struct config_entry {
    const char *name;
    yaml_node_t *key, *value;
};
int config_map_length(const yaml_node_t *map);
opsm_status config_map_entry(struct config_document *document, const yaml_node_t *map, int i,
                             struct config_entry *entry, opsm_error *err);

int config_list_length(const yaml_node_t *list);
yaml_node_t *config_list_item(struct config_document *document, const yaml_node_t *list, int i);

/* The first `room` items of a list, NULL for one that is no text or holds a NUL byte; returns the length of the list. */
int config_list_texts(struct config_document *document, const yaml_node_t *list, const char **items, int room);

/* "a map", "a list" or "a single value". */
const char *config_kind(const yaml_node_t *node);

/* Whether somebody wrote `null` or `~`: what a key holds goes back to its default. */
bool config_is_null(const yaml_node_t *node);

/* The text of a scalar; NULL for YAML's null (plain `null`, `~` or nothing). */
const char *config_scalar(const yaml_node_t *node);
bool config_has_nul(const yaml_node_t *node);

/* Applies a map of a run's keys. `own`, a name or NULL, is an entry of the map that the caller reads itself. */
opsm_status config_apply(struct run_config *config, struct config_document *document, yaml_node_t *map, const char *own,
                         opsm_error *err);

/* A KEY_VALUE: the whole of it or, with `name`, one entry of a map. */
struct config_key;
opsm_status config_set_value(void *base, const struct config_key *key, const char *name,
                             struct config_document *document, yaml_node_t *node, opsm_error *err);

/* The list under `reward:`. */
opsm_status config_read_rewards(struct run_config *config, struct config_document *document, yaml_node_t *list,
                                opsm_error *err);

/* A copy that owns its strings; OPSM_NOMEM. */
opsm_status config_copy(struct run_config *copy, const struct run_config *config, opsm_error *err);

#endif
