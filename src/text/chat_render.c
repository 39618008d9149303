/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "base/text.h"
#include "text/chat.h"
#include "text/unicode.h"
#include <string.h>

/* ---- pieces of text ---------------------------------------------------------------------------------------------- */

/* What str.strip of Python takes away: the property White_Space and the four separators below it. */
static bool is_strippable(const uint8_t *text, size_t length, size_t *n) {
    uint32_t code;
    *n = utf8_decode(text, length, &code);
    return *n != 0 && (unicode_class(code) == CHAR_SPACE || (code >= 0x1c && code <= 0x1f));
}

static void append_trimmed(struct text *out, const char *content) {
    const uint8_t *text = (const uint8_t *)content;
    size_t begin = 0, length = strlen(content), end = 0, n;
    while (begin < length && is_strippable(text + begin, length - begin, &n)) begin += n;
    for (size_t i = end = begin; i < length; i += n ? n : 1)
        if (!is_strippable(text + i, length - i, &n)) end = i + (n ? n : 1);
    text_append(out, content + begin, end - begin);
}

static const char *skip_newlines(const char *text) {
    return text + strspn(text, "\n");
}

/* What stands behind the last `mark`, NULL if it does not occur. */
static const char *behind_last(const char *text, const char *mark) {
    const char *found = NULL;
    for (const char *at = text; (at = strstr(at, mark));) found = at += strlen(mark);
    return found;
}

static bool is_role(const struct chat_message *message, const char *role) {
    return strcmp(message->role, role) == 0;
}

/* ---- ChatML ------------------------------------------------------------------------------------------------------ */

/* The thoughts in front of the first </think>, as Qwen3's template cuts them out; their length. */
static size_t find_thoughts(const char *content, const char **thoughts) {
    *thoughts = content;
    const char *begin = content, *end = strstr(content, "</think>");
    if (!end) return 0;
    while (end > content && end[-1] == '\n') end--;
    for (const char *at = content; (at = strstr(at, "<think>")) && at + strlen("<think>") <= end;)
        begin = at += strlen("<think>");
    while (begin < end && *begin == '\n') begin++;
    *thoughts = begin;
    return (size_t)(end - begin);
}

static void append_answer(struct text *out, const struct chat_template *chat, const char *content, bool after_last,
                          bool is_last) {
    bool drops = chat->thinking == CHAT_THINKING_DROP_EARLIER || (chat->thinking == CHAT_THINKING_DROP && !is_last);
    const char *answer = drops ? behind_last(content, "</think>") : NULL;
    answer = answer ? skip_newlines(answer) : content;
    const char *thoughts;
    size_t thoughts_length = find_thoughts(content, &thoughts);
    if (chat->thinking == CHAT_THINKING_DROP_EARLIER && after_last && (is_last || thoughts_length > 0)) {
        text_puts(out, "<think>\n");
        text_append(out, thoughts, thoughts_length);
        text_puts(out, "\n</think>\n\n");
        answer = skip_newlines(answer);
    }
    text_puts(out, answer);
}

/* The last question; answers behind it belong to it. */
static int last_question(const struct chat_message *messages, int n) {
    for (int i = n - 1; i >= 0; i--)
        if (is_role(&messages[i], "user")) return i;
    return n - 1;
}

static void render_chatml(struct text *out, const struct chat_template *chat, const struct chat_message *messages,
                          int n) {
    if (chat->system && !is_role(&messages[0], "system")) {
        text_puts(out, "<|im_start|>system\n");
        text_puts(out, chat->system);
        text_puts(out, "<|im_end|>\n");
    }
    int question = last_question(messages, n);
    for (int i = 0; i < n; i++) {
        text_puts(out, "<|im_start|>");
        text_puts(out, messages[i].role);
        text_puts(out, "\n");
        if (is_role(&messages[i], "assistant"))
            append_answer(out, chat, messages[i].content, i > question, i == n - 1);
        else
            text_puts(out, messages[i].content);
        text_puts(out, "<|im_end|>\n");
    }
}

/* ---- Llama 3 ----------------------------------------------------------------------------------------------------- */

static void llama3_header(struct text *out, const char *role) {
    text_puts(out, "<|start_header_id|>");
    text_puts(out, role);
    text_puts(out, "<|end_header_id|>\n\n");
}

static void render_llama3(struct text *out, const struct chat_template *chat, const struct chat_message *messages,
                          int n) {
    int first = 0;
    if (chat->preamble) {
        llama3_header(out, "system");
        text_puts(out, chat->preamble);
        if (is_role(&messages[0], "system")) append_trimmed(out, messages[first++].content);
        text_puts(out, "<|eot_id|>");
    }
    for (int i = first; i < n; i++) {
        llama3_header(out, messages[i].role);
        append_trimmed(out, messages[i].content);
        text_puts(out, "<|eot_id|>");
    }
}

/* ---- Gemma ------------------------------------------------------------------------------------------------------- */

static opsm_status check_gemma(const struct chat_template *chat, const struct chat_message *messages, int n,
                               opsm_error *err) {
    int first = is_role(&messages[0], "system");
    if (first && !chat->takes_system)
        return opsm_fail(err, OPSM_INVALID,
                         "this model's chat template (Gemma) takes no system message; put it in front of the "
                         "user's message");
    for (int i = first; i < n; i++)
        if (is_role(&messages[i], "user") != ((i - first) % 2 == 0))
            return opsm_fail(
                err, OPSM_INVALID,
                "message %d has the role '%.40s', but the turns of this model's chat template (Gemma) must "
                "alternate, user first",
                i, messages[i].role);
    return OPSM_OK;
}

static void render_gemma(struct text *out, const struct chat_message *messages, int n) {
    int first = is_role(&messages[0], "system");
    for (int i = first; i < n; i++) {
        text_puts(out, "<start_of_turn>");
        text_puts(out, is_role(&messages[i], "assistant") ? "model" : messages[i].role);
        text_puts(out, "\n");
        if (first && i == first) {
            text_puts(out, messages[0].content);
            text_puts(out, "\n\n");
        }
        append_trimmed(out, messages[i].content);
        text_puts(out, "<end_of_turn>\n");
    }
}

/* ---- all --------------------------------------------------------------------------------------------------------- */

static void render_plain(struct text *out, const struct chat_message *messages, int n) {
    for (int i = 0; i < n; i++) {
        if (out->length > 0 && *messages[i].content) text_puts(out, "\n");
        text_puts(out, messages[i].content);
    }
}

static void render_custom(struct text *out, const struct chat_template *chat, const struct chat_message *messages,
                          int n) {
    for (int i = 0; i < n; i++) {
        bool is_user = is_role(&messages[i], "user");
        if (is_user) text_puts(out, chat->prefix);
        text_puts(out, messages[i].content);
        if (is_user) text_puts(out, chat->suffix);
    }
}

static opsm_status check_messages(const struct chat_template *chat, const struct chat_message *messages, int n,
                                  opsm_error *err) {
    if (n <= 0) return opsm_fail(err, OPSM_INVALID, "a conversation without messages; give at least the user's");
    for (int i = 0; i < n; i++) {
        const struct chat_message *message = &messages[i];
        if (!message->role || !message->content)
            return opsm_fail(err, OPSM_INVALID, "message %d has no %s; every message needs both role and content", i,
                             message->role ? "content" : "role");
        if (!is_role(message, "system") && !is_role(message, "user") && !is_role(message, "assistant"))
            return opsm_fail(err, OPSM_INVALID, "message %d has the role '%.40s', expected system, user or assistant",
                             i, message->role);
    }
    return chat->kind == CHAT_GEMMA ? check_gemma(chat, messages, n, err) : OPSM_OK;
}

opsm_status chat_render(const struct chat_template *chat, const struct chat_message *messages, int n_messages,
                        char **text, opsm_error *err) {
    *text = NULL;
    opsm_status status = check_messages(chat, messages, n_messages, err);
    if (status != OPSM_OK) return status;
    struct text out = {0};
    text_puts(&out, "");
    switch (chat->kind) {
    case CHAT_PLAIN:
        render_plain(&out, messages, n_messages);
        break;
    case CHAT_CHATML:
        render_chatml(&out, chat, messages, n_messages);
        break;
    case CHAT_LLAMA3:
        render_llama3(&out, chat, messages, n_messages);
        break;
    case CHAT_GEMMA:
        render_gemma(&out, messages, n_messages);
        break;
    case CHAT_CUSTOM:
        render_custom(&out, chat, messages, n_messages);
        break;
    }
    if (chat->opening) text_puts(&out, chat->opening);
    if (out.failed) {
        size_t bytes = 2 * out.room;
        text_free(&out);
        return mem_exhausted(err, "a prompt", bytes);
    }
    *text = out.data;
    return OPSM_OK;
}

/* ---- tokens ------------------------------------------------------------------------------------------------------ */

static bool begins_with_bos(const char *text, const struct tokenizer *tokenizer) {
    struct text_view bos = tokenizer_piece(tokenizer, tokenizer_bos(tokenizer));
    return bos.length > 0 && strncmp(text, bos.data, bos.length) == 0;
}

opsm_status chat_encode(const struct chat_template *chat, const struct tokenizer *tokenizer,
                        const struct chat_message *messages, int n_messages, struct token_list *tokens,
                        opsm_error *err) {
    char *text;
    opsm_status status = chat_render(chat, messages, n_messages, &text, err);
    if (status != OPSM_OK) return status;
    int64_t before = tokens->count;
    int32_t bos = tokenizer_bos(tokenizer);
    unsigned flags = chat->kind == CHAT_PLAIN ? 0 : TOKENIZER_SPECIAL;
    if (chat->kind == CHAT_PLAIN || !begins_with_bos(text, tokenizer)) {
        if (chat->writes_bos && bos >= 0)
            status = token_list_push(tokens, bos, err);
        else
            flags |= TOKENIZER_BOS;
    }
    if (status == OPSM_OK) status = tokenizer_encode(tokenizer, text, strlen(text), flags, tokens, err);
    if (status != OPSM_OK) tokens->count = before;
    mem_free(text);
    return status;
}
