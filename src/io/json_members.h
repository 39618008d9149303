/* SPDX-License-Identifier: Apache-2.0
 *
 * The members of a large JSON object, or list, one at a time: while one is looked at, the rest costs no memory, however hostile.
 *
 *   struct json_members m = {.text = text, .length = length, .file = path, .err = err};
 *   while ((status = json_members_next(&m, &member)) == OPSM_OK && !member.end)
 *       status = json_members_parse(&m, &value, member.value); ...
 *
 * Sentences name the file and the byte in it.
 */
#ifndef OPSM_IO_JSON_MEMBERS_H
#define OPSM_IO_JSON_MEMBERS_H
#include "base/text.h"
#include <jansson.h>

struct json_members {
    const char *text; /* the object and nothing else, but for white space around it */
    size_t length;
    size_t offset; /* of text in the file */
    const char *file;
    opsm_error *err;
    size_t at; /* of what comes next */
    bool started;
    bool list; /* it is a list: members without keys */
};

struct json_member {
    struct text_view key, value; /* as written, the key with its quotes; not checked yet */
    bool end;                    /* there is none: the object is closed */
};

opsm_status json_members_next(struct json_members *m, struct json_member *member);

/* A key, or a value of any type, as a new reference; names must not repeat in its objects. */
opsm_status json_members_parse(const struct json_members *m, json_t **value, struct text_view part);

#endif
