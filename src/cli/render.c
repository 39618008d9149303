/* SPDX-License-Identifier: Apache-2.0
 *
 * opsm render: the prompt that a conversation becomes.
 */
#include "base/file.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/model_path.h"
#include "cli/options.h"
#include <errno.h>
#include <string.h>

enum { INPUT_LIMIT = 1 << 26, TEMPLATE_LIMIT = 1 << 20, READ_BYTES = 1 << 16 };

struct options {
    const char *model, *template, *bos, *eos;
    bool ids;
};

static int parse(int argc, char **argv, struct options *o) {
    static const char *const names[] = {NULL};
    *o = (struct options){0};
    const struct option table[] = {{"--template", OPTION_TEXT, &o->template, 0, 0},
                                   {"--bos", OPTION_TEXT, &o->bos, 0, 0},
                                   {"--eos", OPTION_TEXT, &o->eos, 0, 0},
                                   {"--ids", OPTION_FLAG, &o->ids, 0, 0},
                                   {NULL, OPTION_FLAG, NULL, 0, 0}};
    int code = options_read(argc, argv, table, &o->model, 1, names);
    if (code) return code;
    if (!o->model && !o->template) return cli_usage("render", "a model is needed, or a template: --template FILE");
    if (o->ids && !o->model) return cli_usage("render", "--ids needs a model: its tokenizer makes the tokens");
    if (o->ids && (o->bos || o->eos))
        return cli_usage("render", "--bos and --eos are for text, with --ids they are the model's");
    return 0;
}

/* ---- the input --------------------------------------------------------------------------------------------------- */

static opsm_status read_stdin(struct text *text, opsm_error *err) {
    static char block[READ_BYTES];
    size_t n;
    while (text->length <= INPUT_LIMIT && (n = fread(block, 1, sizeof block, stdin)) > 0) text_append(text, block, n);
    if (text->length > INPUT_LIMIT)
        return opsm_fail(err, OPSM_INVALID, "the conversation on stdin is longer than %d MiB", INPUT_LIMIT >> 20);
    if (ferror(stdin)) return opsm_fail(err, OPSM_IO, "cannot read the conversation from stdin: %s", strerror(errno));
    return text->failed ? mem_exhausted(err, "the conversation", text->length) : OPSM_OK;
}

static opsm_status check_messages(const json_t *messages, opsm_error *err) {
    size_t i;
    json_t *message;
    if (!json_is_array(messages))
        return opsm_fail(err, OPSM_INVALID, "stdin: expected \"messages\", a list of objects with role and content");
    json_array_foreach((json_t *)messages, i, message) if (!json_is_object(message)) return opsm_fail(
        err, OPSM_INVALID, "stdin: message %zu is no object", i + 1);
    return OPSM_OK;
}

static opsm_status read_conversation(const json_t *root, struct chat_conversation *c, opsm_error *err) {
    const char *key;
    json_t *value;
    *c = (struct chat_conversation){.add_generation_prompt = true};
    json_object_foreach((json_t *)root, key, value) {
        bool null = json_is_null(value), right = true;
        if (!strcmp(key, "messages"))
            c->messages = value;
        else if (!strcmp(key, "tools") && (right = null || json_is_array(value)))
            c->extra.tools = null ? NULL : value;
        else if (!strcmp(key, "args") && (right = null || json_is_object(value)))
            c->extra.args = null ? NULL : value;
        else if (!strcmp(key, "add_generation_prompt") && (right = json_is_boolean(value)))
            c->add_generation_prompt = json_is_true(value);
        else if (right)
            return opsm_fail(err, OPSM_INVALID,
                             "stdin: unknown field '%.60s'; known are messages, tools, add_generation_prompt and args "
                             "(further variables of the template)",
                             key);
        if (!right)
            return opsm_fail(err, OPSM_INVALID,
                             "stdin: '%s' is of the wrong type; tools is a list, args an object, add_generation_prompt "
                             "true or false",
                             key);
    }
    return check_messages(c->messages, err);
}

static opsm_status parse_input(const struct text *text, json_t **root, opsm_error *err) {
    json_error_t why;
    *root = json_loadb(text->data ? text->data : "", text->length, JSON_ALLOW_NUL, &why);
    if (!*root)
        return opsm_fail(err, OPSM_INVALID, "stdin, line %d, column %d: no JSON: %.160s", why.line, why.column,
                         why.text);
    if (json_is_object(*root)) return OPSM_OK;
    return opsm_fail(err, OPSM_INVALID, "stdin: expected one object, {\"messages\": [...]}");
}

/* ---- the output -------------------------------------------------------------------------------------------------- */

static struct text_view view(const char *text, struct text_view other) {
    return text ? (struct text_view){text, strlen(text)} : other;
}

static opsm_status print_text(const struct options *o, const struct model *model, const struct chat_template *chat,
                              struct chat_conversation *c, opsm_error *err) {
    struct jinja_rendered rendered;
    struct text_view none = {"", 0};
    c->bos = view(o->bos, model ? tokenizer_piece(model->tokenizer, tokenizer_bos(model->tokenizer)) : none);
    c->eos = view(o->eos, model ? tokenizer_piece(model->tokenizer, tokenizer_eos(model->tokenizer)) : none);
    opsm_status status = chat_run(chat, c, &rendered, err);
    if (status == OPSM_OK) fwrite(rendered.text, 1, rendered.length, stdout);
    jinja_rendered_free(&rendered);
    return status;
}

static opsm_status print_ids(const struct model *model, const struct chat_template *chat,
                             const struct chat_conversation *c, opsm_error *err) {
    struct token_list tokens = {0};
    opsm_status status = chat_run_encoded(chat, model->tokenizer, *c, &tokens, err);
    if (status == OPSM_OK) {
        putchar('[');
        for (int64_t i = 0; i < tokens.count; i++) printf("%s%d", i ? ", " : "", tokens.ids[i]);
        putchar(']');
    }
    token_list_free(&tokens);
    return status;
}

/* The template of the file, or the model's own. */
static opsm_status open_template(const struct options *o, const struct model *model, struct chat_template *own,
                                 const struct chat_template **chat, opsm_error *err) {
    char *source;
    size_t length;
    *chat = own;
    if (!o->template) {
        opsm_status status = model_chat(model, chat, err);
        if (status == OPSM_OK && (*chat)->kind != CHAT_TEMPLATE)
            status = opsm_fail(err, OPSM_INVALID, "'%s' has no chat template; give one with --template FILE", o->model);
        return status;
    }
    opsm_status status = file_read(o->template, TEMPLATE_LIMIT, &source, &length, err);
    if (status != OPSM_OK) return status;
    opsm_error why = {0};
    status = chat_template_parse(own, source, length, &why);
    mem_free(source);
    return status == OPSM_OK ? status : opsm_fail(err, status, "'%s': %.400s", o->template, why.text);
}

static opsm_status render(const struct options *o, const struct model *model, opsm_error *err) {
    struct chat_template own = {0};
    const struct chat_template *chat;
    struct chat_conversation conversation;
    struct text text = {0};
    json_t *root = NULL;
    opsm_status status = open_template(o, model, &own, &chat, err);
    if (status == OPSM_OK) status = read_stdin(&text, err);
    if (status == OPSM_OK) status = parse_input(&text, &root, err);
    if (status == OPSM_OK) status = read_conversation(root, &conversation, err);
    if (status == OPSM_OK)
        status = o->ids ? print_ids(model, chat, &conversation, err) : print_text(o, model, chat, &conversation, err);
    json_decref(root);
    text_free(&text);
    chat_template_free(&own);
    return status;
}

int cmd_render(int argc, char **argv) {
    struct options o;
    int usage = parse(argc, argv, &o);
    if (usage) return usage;
    opsm_error err = {0};
    struct model *model = NULL;
    opsm_status status = o.model ? cli_load_model(&model, o.model, DTYPE_BF16, false, &err) : OPSM_OK;
    if (status == OPSM_OK) status = render(&o, model, &err);
    model_free(model);
    return status == OPSM_OK ? 0 : cli_fail(status, &err);
}
