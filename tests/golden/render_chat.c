/* SPDX-License-Identifier: Apache-2.0
 *
 * Our side of make_chat.py: render_chat TEMPLATE < conversations. Reads a JSON array of conversations (arrays of {role,
 * content}), writes a JSON array: for each the prompt, or null where we refuse it. Exit code 3: unknown template.
 */
#include "base/file.h"
#include "base/mem.h"
#include "text/chat.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_MESSAGES = 64 };

static json_t *render(const struct chat_template *chat, const json_t *conversation) {
    struct chat_message messages[MAX_MESSAGES];
    int n = (int)json_array_size(conversation);
    if (n > MAX_MESSAGES) return json_null();
    for (int i = 0; i < n; i++) {
        const json_t *message = json_array_get(conversation, (size_t)i);
        messages[i].role = json_string_value(json_object_get(message, "role"));
        messages[i].content = json_string_value(json_object_get(message, "content"));
    }
    char *text;
    opsm_error err = {0};
    if (chat_render(chat, messages, n, NULL, &text, &err) != OPSM_OK) return json_null();
    json_t *result = json_string(text);
    mem_free(text);
    return result;
}

int main(int argc, char **argv) {
    opsm_error err = {0};
    struct chat_template chat;
    char *source;
    size_t length;
    if (argc != 2 || file_read(argv[1], 1 << 20, &source, &length, &err) != OPSM_OK) {
        fprintf(stderr, "usage: render_chat TEMPLATE < conversations.json; %s\n", err.text);
        return 1;
    }
    if (chat_template_parse(&chat, source, length, &err) != OPSM_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 3;
    }
    json_t *conversations = json_loadf(stdin, 0, NULL), *results = json_array();
    size_t i;
    json_t *conversation;
    json_array_foreach(conversations, i, conversation) json_array_append_new(results, render(&chat, conversation));
    json_dumpf(results, stdout, JSON_COMPACT);
    json_decref(results);
    json_decref(conversations);
    chat_template_free(&chat);
    mem_free(source);
    return 0;
}
