/* SPDX-License-Identifier: Apache-2.0
 *
 * Chat templates. A model file carries its template as a Jinja program; we do not run Jinja, we recognise the known
 * ones and render them in C. An unknown one is an error that says so and how to pass a prefix and a suffix instead.
 */
#ifndef OPSM_TEXT_CHAT_H
#define OPSM_TEXT_CHAT_H
#include "io/gguf.h"
#include <opsm/status.h>

enum chat_kind { CHAT_PLAIN, CHAT_CHATML, CHAT_LLAMA3, CHAT_GEMMA, CHAT_CUSTOM };

struct chat_template {
    enum chat_kind kind;
    char *system; /* the system message that the template inserts by itself when there is none; NULL: none. Owned */
    char *prefix, *suffix; /* CHAT_CUSTOM: text before and after the user's message. Owned */
};

struct chat_message {
    const char *role; /* "system", "user", "assistant" */
    const char *content;
};

/* Recognises tokenizer.chat_template; a file without one is CHAT_PLAIN. */
opsm_status chat_template_load(struct chat_template *chat, const struct gguf *file, opsm_error *err);
/* "chat" and "plain" are for the configuration; this builds CHAT_CUSTOM. */
opsm_status chat_template_custom(struct chat_template *chat, const char *prefix, const char *suffix, opsm_error *err);
void chat_template_free(struct chat_template *chat);

const char *chat_kind_name(enum chat_kind kind);

/* The prompt text for these messages, ending where the assistant's answer begins. Tokenise it with TOKENIZER_SPECIAL.
 * Release with mem_free. CHAT_PLAIN: the contents joined with newlines. */
opsm_status chat_render(const struct chat_template *chat, const struct chat_message *messages, int n_messages,
                        char **text, opsm_error *err);

#endif
