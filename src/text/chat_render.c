/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "text/chat.h"
#include "text/unicode.h"
#include <string.h>

/* ---- a growing text; the first failure sticks -------------------------------------------------------------------- */

struct buffer {
    char *text;
    size_t used, room;
    bool failed;
};

static void append_bytes(struct buffer *buffer, const char *bytes, size_t n) {
    if (buffer->failed) return;
    if (!buffer->text || buffer->room - buffer->used < n + 1) {
        size_t room = 2 * (buffer->used + n + 1);
        char *grown = mem_resize(buffer->text, buffer->used, room, 1);
        if (!grown) {
            buffer->failed = true;
            return;
        }
        buffer->text = grown;
        buffer->room = room;
    }
    memcpy(buffer->text + buffer->used, bytes, n);
    buffer->used += n;
    buffer->text[buffer->used] = '\0';
}

static void append(struct buffer *buffer, const char *text) {
    append_bytes(buffer, text, strlen(text));
}

/* ---- pieces of text ---------------------------------------------------------------------------------------------- */

/* What str.strip of Python takes away: the property White_Space and the four separators below it. */
static bool is_strippable(const uint8_t *text, size_t length, size_t *n) {
    uint32_t code;
    *n = utf8_decode(text, length, &code);
    return *n != 0 && (unicode_class(code) == CHAR_SPACE || (code >= 0x1c && code <= 0x1f));
}

static void append_trimmed(struct buffer *buffer, const char *content) {
    const uint8_t *text = (const uint8_t *)content;
    size_t begin = 0, length = strlen(content), end = 0, n;
    while (begin < length && is_strippable(text + begin, length - begin, &n)) begin += n;
    for (size_t i = end = begin; i < length; i += n ? n : 1)
        if (!is_strippable(text + i, length - i, &n)) end = i + (n ? n : 1);
    append_bytes(buffer, content + begin, end - begin);
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

/* The thoughts in front of the first </think>, as Qwen3's template cuts them out. */
static void append_thoughts(struct buffer *buffer, const char *content) {
    const char *end = strstr(content, "</think>");
    if (!end) return;
    while (end > content && end[-1] == '\n') end--;
    const char *begin = content;
    for (const char *at = content; (at = strstr(at, "<think>")) && at + strlen("<think>") <= end;)
        begin = at += strlen("<think>");
    while (begin < end && *begin == '\n') begin++;
    append_bytes(buffer, begin, (size_t)(end - begin));
}

static bool has_thoughts(const char *content) {
    struct buffer thoughts = {0};
    append_thoughts(&thoughts, content);
    mem_free(thoughts.text);
    return thoughts.used > 0;
}

static void append_answer(struct buffer *buffer, const struct chat_template *chat, const char *content, bool after_last,
                          bool is_last) {
    bool drops = chat->thinking == CHAT_THINKING_DROP_EARLIER || (chat->thinking == CHAT_THINKING_DROP && !is_last);
    const char *answer = drops ? behind_last(content, "</think>") : NULL;
    answer = answer ? skip_newlines(answer) : content;
    if (chat->thinking == CHAT_THINKING_DROP_EARLIER && after_last && (is_last || has_thoughts(content))) {
        append(buffer, "<think>\n");
        append_thoughts(buffer, content);
        append(buffer, "\n</think>\n\n");
        answer = skip_newlines(answer);
    }
    append(buffer, answer);
}

/* The last question; answers behind it belong to it. */
static int last_question(const struct chat_message *messages, int n) {
    for (int i = n - 1; i >= 0; i--)
        if (is_role(&messages[i], "user")) return i;
    return n - 1;
}

static void render_chatml(struct buffer *out, const struct chat_template *chat, const struct chat_message *messages,
                          int n) {
    if (chat->system && !is_role(&messages[0], "system")) {
        append(out, "<|im_start|>system\n");
        append(out, chat->system);
        append(out, "<|im_end|>\n");
    }
    int question = last_question(messages, n);
    for (int i = 0; i < n; i++) {
        append(out, "<|im_start|>");
        append(out, messages[i].role);
        append(out, "\n");
        if (is_role(&messages[i], "assistant"))
            append_answer(out, chat, messages[i].content, i > question, i == n - 1);
        else
            append(out, messages[i].content);
        append(out, "<|im_end|>\n");
    }
}

/* ---- Llama 3 ----------------------------------------------------------------------------------------------------- */

static void llama3_header(struct buffer *out, const char *role) {
    append(out, "<|start_header_id|>");
    append(out, role);
    append(out, "<|end_header_id|>\n\n");
}

static void render_llama3(struct buffer *out, const struct chat_template *chat, const struct chat_message *messages,
                          int n) {
    int first = 0;
    if (chat->preamble) {
        llama3_header(out, "system");
        append(out, chat->preamble);
        if (is_role(&messages[0], "system")) append_trimmed(out, messages[first++].content);
        append(out, "<|eot_id|>");
    }
    for (int i = first; i < n; i++) {
        llama3_header(out, messages[i].role);
        append_trimmed(out, messages[i].content);
        append(out, "<|eot_id|>");
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

static void render_gemma(struct buffer *out, const struct chat_message *messages, int n) {
    int first = is_role(&messages[0], "system");
    for (int i = first; i < n; i++) {
        append(out, "<start_of_turn>");
        append(out, is_role(&messages[i], "assistant") ? "model" : messages[i].role);
        append(out, "\n");
        if (first && i == first) {
            append(out, messages[0].content);
            append(out, "\n\n");
        }
        append_trimmed(out, messages[i].content);
        append(out, "<end_of_turn>\n");
    }
}

/* ---- all --------------------------------------------------------------------------------------------------------- */

static void render_plain(struct buffer *out, const struct chat_message *messages, int n) {
    for (int i = 0; i < n; i++) {
        if (i > 0) append(out, "\n");
        append(out, messages[i].content);
    }
}

static void render_custom(struct buffer *out, const struct chat_template *chat, const struct chat_message *messages,
                          int n) {
    for (int i = 0; i < n; i++) {
        bool is_user = is_role(&messages[i], "user");
        if (is_user) append(out, chat->prefix);
        append(out, messages[i].content);
        if (is_user) append(out, chat->suffix);
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
    struct buffer out = {0};
    append(&out, "");
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
    if (chat->opening) append(&out, chat->opening);
    if (out.failed) {
        mem_free(out.text);
        return mem_exhausted(err, "a prompt", out.used);
    }
    *text = out.text;
    return OPSM_OK;
}
