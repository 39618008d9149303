/* SPDX-License-Identifier: Apache-2.0 */
#include "config/document.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include <string.h>

enum { CONFIG_FILE_LIMIT = 1 << 20, DEPTH_MAX = 32 };

static opsm_status parse_error(const struct config_document *d, const yaml_parser_t *parser, opsm_error *err) {
    const char *problem = parser->problem ? parser->problem : "out of memory";
    if (d->is_file)
        return opsm_fail(err, OPSM_INVALID, "%s:%zu: not valid YAML: %s", d->origin, parser->problem_mark.line + 1,
                         problem);
    return opsm_fail(err, OPSM_INVALID, "in '%s': not valid YAML: %s", d->origin, problem);
}

/* A fault of the YAML itself, at a line from 0. */
static opsm_status refuse(const struct config_document *d, size_t line, opsm_error *err, const char *sentence) {
    if (d->is_file) return opsm_fail(err, OPSM_INVALID, "%s:%zu: %s", d->origin, line + 1, sentence);
    return opsm_fail(err, OPSM_INVALID, "in '%s': %s", d->origin, sentence);
}

/* A walk over the events alone: libyaml takes time quadratic in the depth, so that 100 KB of brackets would keep the
 * loader busy for minutes, and it reads the first document only. */
static opsm_status check_events(const struct config_document *d, const char *text, size_t size, opsm_error *err) {
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) return mem_exhausted(err, "the YAML parser", sizeof parser);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
    opsm_status status = OPSM_OK;
    int depth = 0, documents = 0;
    for (bool more = true; more && status == OPSM_OK;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            status = parse_error(d, &parser, err);
            break;
        }
        bool opens = event.type == YAML_SEQUENCE_START_EVENT || event.type == YAML_MAPPING_START_EVENT;
        bool closes = event.type == YAML_SEQUENCE_END_EVENT || event.type == YAML_MAPPING_END_EVENT;
        depth += (int)opens - (int)closes;
        documents += event.type == YAML_DOCUMENT_START_EVENT;
        if (depth > DEPTH_MAX) status = refuse(d, event.start_mark.line, err, "more than 32 levels of lists and maps");
        if (documents > 1)
            status = refuse(d, event.start_mark.line, err,
                            "a second YAML document begins here ('---'), which nothing would read; expected one "
                            "document: put its keys into the first, or into a file of its own");
        more = event.type != YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return status;
}

opsm_status config_document_parse(struct config_document *d, const char *origin, bool is_file, const char *text,
                                  size_t size, opsm_error *err) {
    *d = (struct config_document){.origin = origin, .is_file = is_file};
    opsm_status status = check_events(d, text, size, err);
    if (status != OPSM_OK) return status;
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) return mem_exhausted(err, "the YAML parser", sizeof parser);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
    status = yaml_parser_load(&parser, &d->yaml) ? OPSM_OK : parse_error(d, &parser, err);
    yaml_parser_delete(&parser);
    return status;
}

static opsm_status check_root(struct config_document *d, opsm_error *err) {
    const yaml_node_t *root = config_document_root(d);
    if (!root) return opsm_fail(err, OPSM_INVALID, "%s: the file is empty", d->origin);
    if (root->type == YAML_MAPPING_NODE) return OPSM_OK;
    return config_at(d, root, opsm_fail(err, OPSM_INVALID, "expected a map of keys, found %s", config_kind(root)), err);
}

opsm_status config_document_read(struct config_document *d, const char *path, opsm_error *err) {
    char *text;
    size_t size;
    opsm_status status = file_read(path, CONFIG_FILE_LIMIT, &text, &size, err);
    if (status != OPSM_OK) return status;
    status = config_document_parse(d, path, true, text, size, err);
    mem_free(text);
    if (status != OPSM_OK) return status;
    status = check_root(d, err);
    if (status != OPSM_OK) config_document_close(d);
    return status;
}

void config_document_close(struct config_document *d) {
    yaml_document_delete(&d->yaml);
}

yaml_node_t *config_document_root(struct config_document *d) {
    return yaml_document_get_root_node(&d->yaml);
}

opsm_status config_at(const struct config_document *d, const yaml_node_t *node, opsm_status status, opsm_error *err) {
    if (status == OPSM_OK || !err) return status;
    size_t n = strlen(d->origin);
    const char *placed = err->text + (d->is_file ? 0 : strlen("in '"));
    if (!strncmp(placed, d->origin, n) && placed[n] == (d->is_file ? ':' : '\'')) return status;
    char sentence[sizeof err->text];
    memcpy(sentence, err->text, sizeof sentence);
    if (d->is_file) return opsm_fail(err, status, "%s:%zu: %s", d->origin, node->start_mark.line + 1, sentence);
    return opsm_fail(err, status, "in '%s': %s", d->origin, sentence);
}

char *config_place(const struct config_document *d, const yaml_node_t *node) {
    struct text place = {0};
    if (d->is_file)
        text_printf(&place, "%s:%zu: ", d->origin, node->start_mark.line + 1);
    else
        text_printf(&place, "in '%s': ", d->origin);
    if (!place.failed) return place.data;
    text_free(&place);
    return NULL;
}

int config_map_length(const yaml_node_t *map) {
    return (int)(map->data.mapping.pairs.top - map->data.mapping.pairs.start);
}

opsm_status config_map_entry(struct config_document *d, const yaml_node_t *map, int i, struct config_entry *entry,
                             opsm_error *err) {
    const yaml_node_pair_t *first = map->data.mapping.pairs.start;
    yaml_node_t *key = yaml_document_get_node(&d->yaml, first[i].key);
    if (key->type != YAML_SCALAR_NODE || config_has_nul(key))
        return config_at(d, key, opsm_fail(err, OPSM_INVALID, "expected the name of a key, found %s", config_kind(key)),
                         err);
    const char *name = (const char *)key->data.scalar.value;
    for (int k = 0; k < i; k++)
        if (!strcmp((const char *)yaml_document_get_node(&d->yaml, first[k].key)->data.scalar.value, name))
            return config_at(d, key, opsm_fail(err, OPSM_INVALID, "key '%.60s' is given twice", name), err);
    *entry = (struct config_entry){name, key, yaml_document_get_node(&d->yaml, first[i].value)};
    return OPSM_OK;
}

int config_list_length(const yaml_node_t *list) {
    return (int)(list->data.sequence.items.top - list->data.sequence.items.start);
}

yaml_node_t *config_list_item(struct config_document *d, const yaml_node_t *list, int i) {
    return yaml_document_get_node(&d->yaml, list->data.sequence.items.start[i]);
}

int config_list_texts(struct config_document *d, const yaml_node_t *list, const char **items, int room) {
    int n = config_list_length(list);
    for (int i = 0; i < n && i < room; i++) {
        const yaml_node_t *item = config_list_item(d, list, i);
        bool is_text = item->type == YAML_SCALAR_NODE && !config_has_nul(item);
        items[i] = is_text ? (const char *)item->data.scalar.value : NULL;
    }
    return n;
}

const char *config_kind(const yaml_node_t *node) {
    return node->type == YAML_MAPPING_NODE ? "a map" : node->type == YAML_SEQUENCE_NODE ? "a list" : "a single value";
}

bool config_is_null(const yaml_node_t *node) {
    static const char *const words[] = {"null", "~", "Null", "NULL"};
    if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) return false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcmp((const char *)node->data.scalar.value, words[i])) return true;
    return false;
}

const char *config_scalar(const yaml_node_t *node) {
    const char *text = (const char *)node->data.scalar.value;
    bool plain = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (plain && (!*text || config_is_null(node))) return NULL;
    if (plain && !strcmp(text, ".inf")) return "inf";
    return text;
}

bool config_has_nul(const yaml_node_t *node) {
    return node->type == YAML_SCALAR_NODE && strlen((const char *)node->data.scalar.value) != node->data.scalar.length;
}
