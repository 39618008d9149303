/* SPDX-License-Identifier: Apache-2.0
 *
 * Recognising a template. Its source is brought into a normal form first, in which the same expression always reads the
 * same: no comments, no text between the tags, no blanks between tokens, single quotes, line breaks in strings as \n,
 * message['role'] for message.role, and adjacent strings joined.
 */
#include "text/chat.h"
#include "base/mem.h"
#include <string.h>

enum { TEMPLATE_MAX = 1 << 20 }; /* bytes; published ones have some thousand */

/* ---- normal form ------------------------------------------------------------------------------------------------- */

struct template_text {
    const char *at, *end;
    char *out; /* room for 3 bytes per byte of source */
    size_t used;
};

static bool starts_with(const struct template_text *source, const char *word) {
    size_t n = strlen(word);
    return (size_t)(source->end - source->at) >= n && memcmp(source->at, word, n) == 0;
}

static void put(struct template_text *source, const char *text) {
    size_t n = strlen(text);
    memcpy(source->out + source->used, text, n);
    source->used += n;
}

static void put_char(struct template_text *source, char c) {
    source->out[source->used++] = c;
}

static bool ends_with(const struct template_text *source, const char *word) {
    size_t n = strlen(word);
    return source->used >= n && memcmp(source->out + source->used - n, word, n) == 0;
}

/* A quoted string; `at` stands on the quote. Escapes stay, except for quotes that need none in single quotes. */
static void normalize_string(struct template_text *source) {
    char quote = *source->at++;
    if (ends_with(source, "'+"))
        source->used -= 2; /* continues the string before */
    else
        put_char(source, '\'');
    while (source->at < source->end && *source->at != quote) {
        char c = *source->at++;
        if (c == '\\' && source->at < source->end) {
            char next = *source->at++;
            if (next != '"') put_char(source, '\\');
            put_char(source, next);
        } else if (c == '\n') {
            put(source, "\\n");
        } else if (c == '\'') {
            put(source, "\\'");
        } else {
            put_char(source, c);
        }
    }
    if (source->at < source->end) source->at++;
    put_char(source, '\'');
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The inside of {{ }} or {% %}. */
static void normalize_code(struct template_text *source, const char *close) {
    put_char(source, close[0] == '%' ? '%' : '{'); /* keeps the expressions of two tags apart */
    if (starts_with(source, "-")) source->at++;
    while (source->at < source->end && !starts_with(source, close)) {
        char c = *source->at;
        if (c == '\'' || c == '"') {
            normalize_string(source);
            continue;
        }
        source->at++;
        if (is_blank(c) || (c == '-' && starts_with(source, close))) continue;
        put_char(source, c);
        if (ends_with(source, "message.role")) source->used -= strlen(".role"), put(source, "['role']");
        if (ends_with(source, "message.content")) source->used -= strlen(".content"), put(source, "['content']");
    }
}

static void skip_comment(struct template_text *source) {
    while (source->at < source->end && !starts_with(source, "#}")) source->at++;
}

/* NUL-terminated; NULL when out of memory. */
static char *normalize(const char *text, size_t length) {
    struct template_text source = {.at = text, .end = text + length, .out = mem_alloc(length + 1, 3)};
    if (!source.out) return NULL;
    while (source.at < source.end) {
        const char *tag = source.at++;
        if (*tag != '{' || source.at == source.end) continue;
        char kind = *source.at;
        if (kind != '{' && kind != '%' && kind != '#') continue;
        source.at++;
        if (kind == '#')
            skip_comment(&source);
        else
            normalize_code(&source, kind == '{' ? "}}" : "%}");
    }
    put_char(&source, '\0');
    return source.out;
}

/* ---- reading it -------------------------------------------------------------------------------------------------- */

/* The end of the string inside which `text` stands: its closing quote. */
static const char *string_end(const char *text) {
    for (; *text && *text != '\''; text++)
        if (*text == '\\' && text[1]) text++;
    return text;
}

/* A copy without escapes; NULL when out of memory. */
static char *unescape(const char *text, size_t length) {
    char *out = mem_alloc(length + 1, 1);
    if (!out) return NULL;
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (c == '\\' && i + 1 < length) {
            c = text[++i];
            c = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
        }
        out[used++] = c;
    }
    out[used] = '\0';
    return out;
}

/* Copies what stands between `before` and `after` within one string, at the first place where it is not empty; NULL in
 * *copy if there is none. */
static opsm_status find_between(const char *normal, const char *before, const char *after, char **copy,
                                opsm_error *err) {
    *copy = NULL;
    for (const char *at = normal; (at = strstr(at, before));) {
        at += strlen(before);
        const char *end = string_end(at), *stop = strstr(at, after);
        if (!stop || stop == at || stop > end) continue;
        *copy = unescape(at, (size_t)(stop - at));
        return *copy ? OPSM_OK : mem_exhausted(err, "a chat template", (size_t)(stop - at));
    }
    return OPSM_OK;
}

static opsm_status copy_text(char **copy, const char *text, opsm_error *err) {
    *copy = mem_strdup(text);
    return *copy ? OPSM_OK : mem_exhausted(err, "a chat template", strlen(text));
}

static opsm_status unsupported(const char *source, size_t length, opsm_error *err) {
    return opsm_fail(
        err, OPSM_UNSUPPORTED,
        "the model's chat template is not one of ChatML (SmolLM2, Qwen), Llama 3 and Gemma; pass the text around "
        "the user's message with data.template_prefix and data.template_suffix, or use data.template: plain. It "
        "begins: %.*s",
        (int)(length < 120 ? length : 120), source);
}

/* The string with which the assistant's turn is opened: the first one behind `add_generation_prompt` that begins with
 * `marker`, or `marker` and a line break. */
static opsm_status find_opening(struct chat_template *chat, const char *normal, const char *marker,
                                const char *fallback, opsm_error *err) {
    const char *at = strstr(normal, "add_generation_prompt");
    const char *begin = at ? strstr(at, marker) : NULL;
    if (!begin || begin == normal || begin[-1] != '\'') return copy_text(&chat->opening, fallback, err);
    chat->opening = unescape(begin, (size_t)(string_end(begin) - begin));
    return chat->opening ? OPSM_OK : mem_exhausted(err, "a chat template", strlen(begin));
}

/* ---- the known ones ---------------------------------------------------------------------------------------------- */

static bool has(const char *normal, const char *expression) {
    return strstr(normal, expression) != NULL;
}

/* Does it begin a system message whatever the conversation holds, or only where there are tools? */
static bool always_has_system(const char *normal) {
    const char *begin = "'<|im_start|>system\\n'", *tools = "%iftools{";
    for (const char *at = normal; (at = strstr(at, begin)); at++) {
        bool for_tools =
            (size_t)(at - normal) >= strlen(tools) && memcmp(at - strlen(tools), tools, strlen(tools)) == 0;
        if (at[strlen(begin)] != '+' && !for_tools) return true;
    }
    return false;
}

static enum chat_thinking find_thinking(const char *normal) {
    if (has(normal, "loop.lastor(notloop.lastandreasoning_content)")) return CHAT_THINKING_DROP_EARLIER;
    return has(normal, "split('</think>')[-1]") ? CHAT_THINKING_DROP : CHAT_THINKING_KEEP;
}

static bool is_chatml(const char *normal) {
    if (has(normal, "</think>'") && find_thinking(normal) == CHAT_THINKING_KEEP) return false;
    return has(normal, "'<|im_start|>'+message['role']+'\\n'+message['content']+'<|im_end|>\\n'") &&
           !has(normal, "system_message") && !always_has_system(normal);
}

static bool is_llama3(const char *normal) {
    return has(normal,
               "'<|start_header_id|>'+message['role']+'<|end_header_id|>\\n\\n'+message['content']|trim+'<|eot_id|>'");
}

static bool is_gemma(const char *normal) {
    return has(normal, "'<start_of_turn>'+role+'\\n'") && has(normal, "message['content']|trim") &&
           has(normal, "<end_of_turn>\\n'");
}

static opsm_status read_chatml(struct chat_template *chat, const char *normal, opsm_error *err) {
    chat->kind = CHAT_CHATML;
    chat->thinking = find_thinking(normal);
    opsm_status status = find_between(normal, "'<|im_start|>system\\n", "<|im_end|>\\n'", &chat->system, err);
    if (status != OPSM_OK) return status;
    return find_opening(chat, normal, "<|im_start|>assistant", "<|im_start|>assistant\n", err);
}

static opsm_status read_llama3(struct chat_template *chat, const char *normal, opsm_error *err) {
    chat->kind = CHAT_LLAMA3;
    opsm_status status = OPSM_OK;
    if (has(normal, "Cutting Knowledge Date: December 2023\\n'"))
        status = copy_text(&chat->preamble, "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n", err);
    if (status != OPSM_OK) return status;
    return copy_text(&chat->opening, "<|start_header_id|>assistant<|end_header_id|>\n\n", err);
}

static opsm_status read_gemma(struct chat_template *chat, const char *normal, opsm_error *err) {
    chat->kind = CHAT_GEMMA;
    chat->takes_system = has(normal, "first_user_prefix");
    return copy_text(&chat->opening, "<start_of_turn>model\n", err);
}

opsm_status chat_template_parse(struct chat_template *chat, const char *source, size_t length, opsm_error *err) {
    *chat = (struct chat_template){0};
    if (length > TEMPLATE_MAX) return unsupported(source, length, err);
    char *normal = normalize(source, length);
    if (!normal) return mem_exhausted(err, "a chat template", 3 * length);
    opsm_status status;
    if (is_chatml(normal))
        status = read_chatml(chat, normal, err);
    else if (is_llama3(normal))
        status = read_llama3(chat, normal, err);
    else if (is_gemma(normal))
        status = read_gemma(chat, normal, err);
    else
        status = unsupported(source, length, err);
    chat->writes_bos = has(normal, "bos_token");
    mem_free(normal);
    if (status != OPSM_OK) chat_template_free(chat);
    return status;
}

opsm_status chat_template_load(struct chat_template *chat, const struct metadata *metadata, opsm_error *err) {
    *chat = (struct chat_template){0};
    if (!metadata_find(metadata, "tokenizer.chat_template")) return OPSM_OK;
    struct text_view source;
    opsm_status status = metadata_get_string(metadata, "tokenizer.chat_template", &source, err);
    return status == OPSM_OK ? chat_template_parse(chat, source.data, source.length, err) : status;
}

opsm_status chat_template_custom(struct chat_template *chat, const char *prefix, const char *suffix, opsm_error *err) {
    *chat = (struct chat_template){.kind = CHAT_CUSTOM};
    opsm_status status = copy_text(&chat->prefix, prefix ? prefix : "", err);
    if (status == OPSM_OK) status = copy_text(&chat->suffix, suffix ? suffix : "", err);
    if (status != OPSM_OK) chat_template_free(chat);
    return status;
}

void chat_template_free(struct chat_template *chat) {
    mem_free(chat->system);
    mem_free(chat->prefix);
    mem_free(chat->suffix);
    mem_free(chat->preamble);
    mem_free(chat->opening);
    *chat = (struct chat_template){0};
}

const char *chat_kind_name(enum chat_kind kind) {
    switch (kind) {
    case CHAT_PLAIN:
        return "plain";
    case CHAT_CHATML:
        return "chatml";
    case CHAT_LLAMA3:
        return "llama3";
    case CHAT_GEMMA:
        return "gemma";
    case CHAT_CUSTOM:
        return "custom";
    }
    return "unknown";
}
