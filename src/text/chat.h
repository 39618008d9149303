/* SPDX-License-Identifier: Apache-2.0
 *
 * Chat templates. A model file carries its template as a Jinja program; we do not run Jinja, we recognise the known
 * ones by the expressions that they are made of and render them in C. An unknown one is an error that says so and how
 * to pass a prefix and a suffix instead.
 *
 *   ChatML   <|im_start|>user\n...<|im_end|>\n      SmolLM2, Qwen2, Qwen2.5, QwQ, Qwen3
 *   Llama 3  <|start_header_id|>user<|end_header_id|>\n\n...<|eot_id|>      3, 3.1, 3.2, 3.3
 *   Gemma    <start_of_turn>user\n...<end_of_turn>\n      2, 3
 *
 * Tools are not rendered, and thinking is on. Llama 3.2 puts the date of the day into its prompt; ours stays at
 * the template's own fallback ("26 Jul 2024"), so that a run can be repeated.
 */
#ifndef OPSM_TEXT_CHAT_H
#define OPSM_TEXT_CHAT_H
#include "text/tokenizer.h"
#include <opsm/status.h>
#include <stdbool.h>

enum chat_kind { CHAT_PLAIN, CHAT_CHATML, CHAT_LLAMA3, CHAT_GEMMA, CHAT_CUSTOM };

/* What a ChatML template does with <think>...</think> in earlier answers. */
enum chat_thinking {
    CHAT_THINKING_KEEP,
    CHAT_THINKING_DROP,        /* leaves it out of all messages but the last (QwQ) */
    CHAT_THINKING_DROP_EARLIER /* leaves it out before the last question, requires it after (Qwen3) */
};

/* Zero-initialised it is CHAT_PLAIN. */
struct chat_template {
    enum chat_kind kind;
    char *system; /* the system message that the template inserts by itself when there is none; NULL: none. Owned */
    char *prefix, *suffix; /* CHAT_CUSTOM: text before and after the user's message. Owned */
    char *preamble;        /* CHAT_LLAMA3: what the template writes above every system message, or NULL. Owned */
    char *opening;         /* how the assistant's answer begins. Owned; NULL for CHAT_PLAIN and CHAT_CUSTOM */
    enum chat_thinking thinking;
    bool writes_bos;   /* the template begins with bos_token */
    bool takes_system; /* CHAT_GEMMA: a system message goes in front of the first user's (Gemma 3) */
};

/* Recognises tokenizer.chat_template; a file without one is CHAT_PLAIN. OPSM_UNSUPPORTED for one that we do not know.
 */
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

/* The prompt text for these messages, ending where the assistant's answer begins, without bos, also where the template
 * writes one. Release with mem_free. CHAT_PLAIN: the contents joined with newlines. CHAT_CUSTOM: user messages between
 * prefix and suffix, others as they are. OPSM_INVALID for what the template refuses: a system message (Gemma 2), turns that do not alternate (Gemma), no
 * messages; and for roles other than the three. */
opsm_status chat_render(const struct chat_template *chat, const struct chat_message *messages, int n_messages,
                        char **text, opsm_error *err);

/* Appends the tokens of that prompt: the one way from a conversation to what a model reads. Control tokens are
 * recognised, but in CHAT_PLAIN, which is text as it stands. bos stands in front, once, where the template writes it (as
 * in Hugging Face, whatever the tokenizer adds by itself), where a prefix begins with it, or where the model's metadata
 * ask for it (as in llama.cpp). */
opsm_status chat_encode(const struct chat_template *chat, const struct tokenizer *tokenizer,
                        const struct chat_message *messages, int n_messages, struct token_list *tokens,
                        opsm_error *err);

#endif
