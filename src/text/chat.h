/* SPDX-License-Identifier: Apache-2.0
 *
 * From a conversation to what a model reads. A model's file carries its chat template as a program (Jinja, jinja.h),
 * which is run; instead there may be a text around every user's message, or none.
 *
 * Text of messages and tools never becomes a control token in a template: a run knows of every byte whether the template wrote it or a
 * message (jinja_rendered.stranger), and a control token is recognised only where the template wrote all of it. A role
 * that is one word counts as the template's, for templates build tokens from it (<|user|>).
 *
 * Templates that ask for the date get one that stays, so that a run can be repeated: the 26th of July 2024, the day that
 * Llama 3's own template falls back to.
 */
#ifndef OPSM_TEXT_CHAT_H
#define OPSM_TEXT_CHAT_H
#include "base/text.h"
#include "text/jinja.h"
#include "text/tokenizer.h"
#include <opsm/status.h>
#include <stdbool.h>

enum chat_kind { CHAT_PLAIN, CHAT_TEMPLATE, CHAT_CUSTOM };

/* Zero-initialised it is CHAT_PLAIN. */
struct chat_template {
    enum chat_kind kind;
    struct jinja_template *program; /* CHAT_TEMPLATE. Owned */
    bool writes_bos;                /* the program mentions bos_token */
    char *prefix, *suffix;          /* CHAT_CUSTOM: text before and after the user's message. Owned */
};

/* Reads tokenizer.chat_template; a file without one is CHAT_PLAIN. OPSM_UNSUPPORTED for one that cannot be run. */
opsm_status chat_template_load(struct chat_template *chat, const struct metadata *metadata, opsm_error *err);

/* The same for the source text of a template. */
opsm_status chat_template_parse(struct chat_template *chat, const char *source, size_t length, opsm_error *err);

/* "chat" and "plain" are for the configuration; this builds CHAT_CUSTOM. NULL counts as "". */
opsm_status chat_template_custom(struct chat_template *chat, const char *prefix, const char *suffix, opsm_error *err);
void chat_template_free(struct chat_template *chat);

const char *chat_kind_name(enum chat_kind kind);

struct chat_message {
    const char *role; /* "system", "user", "assistant" */
    const char *content;
};

/* What a template is given besides the messages; zeros: nothing. */
struct chat_extra {
    const json_t *tools; /* an array, or NULL */
    const json_t *args;  /* an object of further variables (enable_thinking), as trusted as the template; or NULL */
};

/* The prompt text for these messages, ending where the assistant's answer begins, without bos, also where the template
 * writes one. Release with mem_free. CHAT_PLAIN: the contents joined with newlines. CHAT_CUSTOM: user messages between
 * prefix and suffix, others as they are. OPSM_INVALID for what the template refuses (a system message in Gemma 2, turns
 * that do not alternate), no messages, and for roles other than the three. */
opsm_status chat_render(const struct chat_template *chat, const struct chat_message *messages, int n_messages,
                        const struct chat_extra *extra, char **text, opsm_error *err);

/* Appends the tokens of that prompt: the one way from a conversation to what a model reads. Control tokens are recognised
 * where a template wrote them; with a prefix and a suffix, everywhere; in CHAT_PLAIN, which is text as it stands, nowhere. bos stands in
 * front, once, where the template writes it (as in Hugging Face, whatever the tokenizer adds by itself), where a prefix
 * begins with it, or where the model's metadata ask for it (as in llama.cpp). `extra` may be NULL. */
opsm_status chat_encode(const struct chat_template *chat, const struct tokenizer *tokenizer,
                        const struct chat_message *messages, int n_messages, const struct chat_extra *extra,
                        struct token_list *tokens, opsm_error *err);

/* A conversation as JSON, for CHAT_TEMPLATE. */
struct chat_conversation {
    const json_t *messages; /* an array of objects with whatever fields the template reads */
    struct chat_extra extra;
    bool add_generation_prompt;
    struct text_view bos, eos; /* what bos_token and eos_token stand for */
};

opsm_status chat_run(const struct chat_template *chat, const struct chat_conversation *conversation,
                     struct jinja_rendered *rendered, opsm_error *err);

/* Appends its tokens; the conversation's bos and eos are the tokenizer's. */
opsm_status chat_run_encoded(const struct chat_template *chat, const struct tokenizer *tokenizer,
                             struct chat_conversation conversation, struct token_list *tokens, opsm_error *err);

#endif
