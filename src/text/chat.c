/* SPDX-License-Identifier: Apache-2.0 */
#include "text/chat.h"
#include "base/mem.h"
#include "text/unicode.h"
#include <string.h>

/* ---- templates --------------------------------------------------------------------------------------------------- */

static opsm_status unusable(const char *why, opsm_error *err) {
    return opsm_fail(err, OPSM_UNSUPPORTED,
                     "the chat template cannot be used: %.300s; pass the text around the user's message with "
                     "data.template_prefix and data.template_suffix, or use data.template: plain",
                     why);
}

opsm_status chat_template_parse(struct chat_template *chat, const char *source, size_t length, opsm_error *err) {
    *chat = (struct chat_template){0};
    opsm_error why = {0};
    struct jinja_template *program;
    opsm_status status = jinja_parse(&program, source, length, &why);
    if (status == OPSM_NOMEM) return opsm_fail(err, status, "%s", why.text);
    if (status != OPSM_OK) return unusable(why.text, err);
    if (!jinja_mentions(program, "messages")) {
        jinja_free(program);
        return unusable("it does not read the messages", err);
    }
    chat->kind = CHAT_TEMPLATE;
    chat->program = program;
    chat->writes_bos = jinja_mentions(program, "bos_token");
    return OPSM_OK;
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
    chat->prefix = mem_strdup(prefix ? prefix : "");
    chat->suffix = mem_strdup(suffix ? suffix : "");
    if (chat->prefix && chat->suffix) return OPSM_OK;
    chat_template_free(chat);
    return mem_exhausted(err, "a chat template", (prefix ? strlen(prefix) : 0) + (suffix ? strlen(suffix) : 0));
}

void chat_template_free(struct chat_template *chat) {
    jinja_free(chat->program);
    mem_free(chat->prefix);
    mem_free(chat->suffix);
    *chat = (struct chat_template){0};
}

const char *chat_kind_name(enum chat_kind kind) {
    return kind == CHAT_PLAIN ? "plain" : kind == CHAT_TEMPLATE ? "template" : "custom";
}

/* ---- running a program ------------------------------------------------------------------------------------------- */

static const int64_t TODAY = 1721952000; /* 2024-07-26 */

/* Takes over `value`; false when out of memory. */
static bool put(json_t *object, const char *name, json_t *value) {
    return json_object_set_new(object, name, value) == 0;
}

static json_t *null_or(const json_t *value) {
    return value ? json_incref((json_t *)value) : json_null();
}

/* What a stranger may have written, and what is as trusted as the template. */
static bool make_variables(const struct chat_conversation *c, json_t *data, json_t *settings) {
    bool made = put(data, "messages", null_or(c->messages)) && put(data, "tools", null_or(c->extra.tools)) &&
                put(data, "documents", json_null());
    made = made && put(settings, "add_generation_prompt", json_boolean(c->add_generation_prompt)) &&
           put(settings, "bos_token", json_stringn(c->bos.length ? c->bos.data : "", c->bos.length)) &&
           put(settings, "eos_token", json_stringn(c->eos.length ? c->eos.data : "", c->eos.length));
    return made && (!c->extra.args || json_object_update(settings, (json_t *)c->extra.args) == 0);
}

static opsm_status check_args(const json_t *args, opsm_error *err) {
    static const char *const taken[] = {"messages", "tools", "documents", "add_generation_prompt"};
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        if (json_object_get(args, taken[i]))
            return opsm_fail(err, OPSM_INVALID,
                             "the arguments of the chat template have one named '%s', which has a place of its own",
                             taken[i]);
    return OPSM_OK;
}

opsm_status chat_run(const struct chat_template *chat, const struct chat_conversation *conversation,
                     struct jinja_rendered *rendered, opsm_error *err) {
    *rendered = (struct jinja_rendered){0};
    opsm_status status = check_args(conversation->extra.args, err);
    if (status != OPSM_OK) return status;
    json_t *data = json_object(), *settings = json_object();
    const struct jinja_input input = {.data = data, .settings = settings, .word = "role", .now = TODAY};
    if (make_variables(conversation, data, settings))
        status = jinja_render(chat->program, &input, rendered, err);
    else
        status = mem_exhausted(err, "a conversation", json_array_size(conversation->messages));
    json_decref(data);
    json_decref(settings);
    return status;
}

/* bos stands in front already: the template wrote it. */
static bool begins_with(const struct jinja_rendered *rendered, struct text_view bos) {
    if (bos.length == 0 || rendered->length < bos.length) return false;
    return memcmp(rendered->text, bos.data, bos.length) == 0 && !memchr(rendered->stranger, 1, bos.length);
}

opsm_status chat_run_encoded(const struct chat_template *chat, const struct tokenizer *tokenizer,
                             struct chat_conversation conversation, struct token_list *tokens, opsm_error *err) {
    struct jinja_rendered rendered;
    int32_t bos = tokenizer_bos(tokenizer);
    conversation.bos = tokenizer_piece(tokenizer, bos);
    conversation.eos = tokenizer_piece(tokenizer, tokenizer_eos(tokenizer));
    opsm_status status = chat_run(chat, &conversation, &rendered, err);
    if (status != OPSM_OK) return status;
    int64_t before = tokens->count;
    size_t from = begins_with(&rendered, conversation.bos) ? conversation.bos.length : 0;
    unsigned flags = TOKENIZER_SPECIAL | (from || chat->writes_bos ? 0 : TOKENIZER_BOS);
    if (from) status = token_list_push(tokens, bos, err);
    if (status == OPSM_OK)
        status = tokenizer_encode_marked(tokenizer, rendered.text + from, rendered.length - from,
                                         rendered.stranger + from, flags, tokens, err);
    if (status != OPSM_OK) tokens->count = before;
    jinja_rendered_free(&rendered);
    return status;
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static bool is_role(const struct chat_message *message, const char *role) {
    return strcmp(message->role, role) == 0;
}

static opsm_status check_messages(const struct chat_message *messages, int n, opsm_error *err) {
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
    return OPSM_OK;
}

/* A JSON string of any bytes; what is no UTF-8 becomes U+FFFD, as it does in the tokenizer. */
static json_t *json_text(const char *text) {
    json_t *string = json_string(text);
    uint8_t *fixed;
    size_t length;
    if (string || utf8_repair((const uint8_t *)text, strlen(text), &fixed, &length, NULL) != OPSM_OK) return string;
    string = json_stringn((const char *)fixed, length);
    mem_free(fixed);
    return string;
}

static json_t *json_messages(const struct chat_message *messages, int n) {
    json_t *list = json_array();
    for (int i = 0; i < n; i++) {
        json_t *item = json_object();
        bool made =
            put(item, "role", json_text(messages[i].role)) && put(item, "content", json_text(messages[i].content));
        if (json_array_append_new(list, item) == 0 && made) continue;
        json_decref(list);
        return NULL;
    }
    return list;
}

static opsm_status make_conversation(struct chat_conversation *conversation, const struct chat_message *messages, int n,
                                     const struct chat_extra *extra, json_t **list, opsm_error *err) {
    *list = json_messages(messages, n);
    if (!*list) return mem_exhausted(err, "a conversation", (size_t)n);
    *conversation = (struct chat_conversation){.messages = *list, .add_generation_prompt = true};
    if (extra) conversation->extra = *extra;
    return OPSM_OK;
}

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

static opsm_status render_text(const struct chat_template *chat, const struct chat_message *messages, int n,
                               char **text, opsm_error *err) {
    struct text out = {0};
    text_puts(&out, "");
    if (chat->kind == CHAT_PLAIN)
        render_plain(&out, messages, n);
    else
        render_custom(&out, chat, messages, n);
    *text = out.data;
    if (!out.failed) return OPSM_OK;
    text_free(&out);
    *text = NULL;
    return mem_exhausted(err, "a prompt", 2 * out.room);
}

static opsm_status render_program(const struct chat_template *chat, const struct chat_message *messages, int n,
                                  const struct chat_extra *extra, char **text, opsm_error *err) {
    struct chat_conversation conversation;
    struct jinja_rendered rendered = {0};
    json_t *list;
    opsm_status status = make_conversation(&conversation, messages, n, extra, &list, err);
    if (status == OPSM_OK) status = chat_run(chat, &conversation, &rendered, err);
    json_decref(list);
    *text = rendered.text;
    mem_free(rendered.stranger);
    return status;
}

opsm_status chat_render(const struct chat_template *chat, const struct chat_message *messages, int n_messages,
                        const struct chat_extra *extra, char **text, opsm_error *err) {
    *text = NULL;
    opsm_status status = check_messages(messages, n_messages, err);
    if (status != OPSM_OK) return status;
    if (chat->kind == CHAT_TEMPLATE) return render_program(chat, messages, n_messages, extra, text, err);
    return render_text(chat, messages, n_messages, text, err);
}

static opsm_status encode_text(const struct chat_template *chat, const struct tokenizer *tokenizer,
                               const struct chat_message *messages, int n, struct token_list *tokens, opsm_error *err) {
    char *text;
    opsm_status status = render_text(chat, messages, n, &text, err);
    if (status != OPSM_OK) return status;
    struct text_view bos = tokenizer_piece(tokenizer, tokenizer_bos(tokenizer));
    bool custom = chat->kind == CHAT_CUSTOM,
         begun = custom && bos.length > 0 && strncmp(text, bos.data, bos.length) == 0;
    unsigned flags = (custom ? TOKENIZER_SPECIAL : 0) | (begun ? 0 : TOKENIZER_BOS);
    status = tokenizer_encode(tokenizer, text, strlen(text), flags, tokens, err);
    mem_free(text);
    return status;
}

opsm_status chat_encode(const struct chat_template *chat, const struct tokenizer *tokenizer,
                        const struct chat_message *messages, int n_messages, const struct chat_extra *extra,
                        struct token_list *tokens, opsm_error *err) {
    opsm_status status = check_messages(messages, n_messages, err);
    if (status != OPSM_OK) return status;
    if (chat->kind != CHAT_TEMPLATE) return encode_text(chat, tokenizer, messages, n_messages, tokens, err);
    struct chat_conversation conversation;
    json_t *list;
    status = make_conversation(&conversation, messages, n_messages, extra, &list, err);
    if (status == OPSM_OK) status = chat_run_encoded(chat, tokenizer, conversation, tokens, err);
    json_decref(list);
    return status;
}
