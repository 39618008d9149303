/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer target of the chat templates: a template (in fuzz_jinja the language alone), and after a zero byte messages, one to a line, the first
 * character of a line choosing its role. Any template is refused with a sentence or renders any conversation that it
 * takes.
 */
#include "base/mem.h"
#include "text/chat.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST_MESSAGES = 16 };

static void require(int condition, const char *what) {
    if (condition) return;
    fprintf(stderr, "broken promise: %s\n", what);
    abort();
}

static int read_messages(char *text, struct chat_message *messages) {
    static const char *const roles[] = {"system", "user", "assistant", "tool"};
    int n = 0;
    for (char *line = strtok(text, "\n"); line && n < MOST_MESSAGES; line = strtok(NULL, "\n"))
        messages[n++] = (struct chat_message){.role = roles[line[0] & 3], .content = line + 1};
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *copy = malloc(size + 1);
    memcpy(copy, data, size);
    copy[size] = '\0';
    size_t length = strlen(copy);
    struct chat_template chat;
    opsm_error err = {0};
    opsm_status status = chat_template_parse(&chat, copy, length, &err);
    if (status != OPSM_OK) {
        require(status == OPSM_UNSUPPORTED && strstr(err.text, "data.template_prefix"),
                "a template that cannot be run gets a sentence");
        memset(&chat, 0, sizeof chat); /* rendered as plain text below */
    }
    struct chat_message messages[MOST_MESSAGES];
    int n = length < size ? read_messages(copy + length + 1, messages) : 0;
    char *text;
    status = chat_render(&chat, messages, n, NULL, &text, &err);
    require((status == OPSM_OK) == (text != NULL), "a prompt, or none");
    require(status == OPSM_OK || status == OPSM_INVALID, "messages are taken or refused");
    mem_free(text);
    chat_template_free(&chat);
    free(copy);
    return 0;
}
