/* SPDX-License-Identifier: Apache-2.0
 *
 * opsm info: what a model file holds and what opsm can do with it; how far a run has got.
 */
#include "base/cpu.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/info_run.h"
#include "cli/options.h"
#include "io/hf.h"
#include "train/memory.h"

enum { TYPES_MAX = 64 };

static void print_string(const struct metadata *metadata, const char *key, const char *label) {
    struct text_view s;
    if (metadata_find(metadata, key) && metadata_get_string(metadata, key, &s, NULL) == OPSM_OK)
        printf("%-16s%.*s\n", label, (int)(s.length < 200 ? s.length : 200), s.data);
}

static void print_formats(const struct tensor_source *source) {
    int64_t count[TYPES_MAX] = {0}, elements = 0, bytes = 0;
    for (int64_t i = 0; i < source->n_tensors; i++) {
        const struct tensor_info *t = &source->tensors[i];
        if ((unsigned)t->type < TYPES_MAX) count[t->type]++;
        elements += t->n_elements;
        bytes += (int64_t)t->size;
    }
    printf("%-16s%lld tensors, %.1f M values, %.1f MB:", "file", (long long)source->n_tensors, (double)elements / 1e6,
           (double)bytes / 1e6);
    for (uint32_t type = 0; type < TYPES_MAX; type++)
        if (count[type]) printf(" %lld x %s", (long long)count[type], quant_traits(type)->name);
    putchar('\n');
}

static void print_tensors(const struct tensor_source *source) {
    for (int64_t i = 0; i < source->n_tensors; i++) {
        const struct tensor_info *t = &source->tensors[i];
        printf("  %-40s %-6s", t->name, quant_traits(t->type)->name);
        for (int d = 0; d < t->n_dims; d++) printf(d ? " x %lld" : " %lld", (long long)t->shape[d]);
        putchar('\n');
    }
}

static void print_config(const struct model_config *c, int64_t n_weights) {
    printf("%-16s%.1f M in %d layers of %d (feed-forward %d), vocabulary %d, context %d\n", "parameters",
           (double)n_weights / 1e6, c->n_layers, c->dim, c->ffn_dim, c->n_vocab, c->context);
    printf("%-16s%d heads of %d over %d key heads, RoPE base %g%s%s, %s head\n", "attention", c->n_heads, c->head_dim,
           c->n_kv_heads, (double)c->rope_base, c->qkv_bias ? ", QKV bias" : "", c->qk_norm ? ", QK-norm" : "",
           c->tied ? "tied" : "untied");
}

/* With the names that decide what else one can give it. */
static void print_chat(const struct chat_template *chat) {
    static const char *const names[] = {"tools", "enable_thinking", "bos_token"};
    const char *separator = " that reads ";
    printf("%-16s%s", "chat template", chat_kind_name(chat->kind));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!chat->program || !jinja_mentions(chat->program, names[i])) continue;
        printf("%s%s", separator, names[i]);
        separator = ", ";
    }
    putchar('\n');
}

static void print_text(const struct tensor_source *source) {
    struct tokenizer *tokenizer;
    struct chat_template chat = {0};
    opsm_error err = {0};
    if (tokenizer_load(&tokenizer, &source->metadata, &err) == OPSM_OK) {
        printf("%-16s%s, %d tokens\n", "tokenizer", tokenizer_name(tokenizer), tokenizer_size(tokenizer));
        tokenizer_free(tokenizer);
    } else {
        printf("%-16s%s\n", "tokenizer", err.text);
    }
    if (chat_template_load(&chat, &source->metadata, &err) == OPSM_OK)
        print_chat(&chat);
    else
        printf("%-16s%s\n", "chat template", err.text);
    chat_template_free(&chat);
}

/* What the defaults take, and prompts of a few lines. */
static opsm_status print_memory(const struct model_config *c, opsm_error *err) {
    enum { PROMPT = 64 };
    struct run_config defaults;
    config_defaults(&defaults);
    const struct generator_limits one = {
        .in_flight = 1, .max_prompt = PROMPT, .max_tokens = defaults.rollout.max_tokens, .sequences = 1};
    opsm_status status = OPSM_OK;
    for (int precision = DTYPE_F32; precision <= DTYPE_BF16 && status == OPSM_OK; precision++) {
        struct model sizes;
        struct memory_need all, less;
        char sizes_text[3][LIMITS_SIZE_ROOM];
        status = model_sizes(&sizes, c, (enum dtype)precision, err);
        if (status != OPSM_OK) break;
        struct memory_job job = {.config = &defaults, .sizes = &sizes, .prompt = PROMPT};
        memory_need(&all, &job, ACTIVATIONS_ALL);
        memory_need(&less, &job, ACTIVATIONS_RECOMPUTE);
        printf("%-16s%s: %s to generate, %s to train at the defaults (%s with train.recompute=true); products by %s\n",
               precision ? "" : "memory", precision ? "bf16" : "f32",
               limits_size(sizes_text[0], memory_generation(&sizes, &one, PROMPT)),
               limits_size(sizes_text[1], all.total), limits_size(sizes_text[2], less.total),
               gemm_implementation(sizes.precision));
    }
    config_free(&defaults);
    return status;
}

static opsm_status print_info(const struct tensor_source *source, bool tensors, opsm_error *err) {
    struct model_config config;
    int64_t n_weights;
    printf("%-16s%s\n", "model", tensor_source_path(source));
    print_string(&source->metadata, "general.name", "name");
    print_string(&source->metadata, "general.architecture", "architecture");
    print_string(&source->metadata, "general.license", "licence");
    print_formats(source);
    print_text(source);
    opsm_status status = model_inspect(source, &config, &n_weights, err);
    if (status == OPSM_OK) {
        print_config(&config, n_weights);
        status = print_memory(&config, err);
    }
    if (status == OPSM_OK) printf("%-16sgenerate, score, eval, train, sft\n", "opsm can");
    if (tensors) print_tensors(source);
    return status;
}

static opsm_status info_file(const char *path, bool tensors, opsm_error *err) {
    struct tensor_source *source;
    opsm_status status = tensor_source_open(&source, path, err);
    if (status != OPSM_OK) return status;
    status = print_info(source, tensors, err);
    tensor_source_close(source);
    return status;
}

/* A run, then its model; or a model that was put into a directory of its own. */
static opsm_status info_directory(const char *path, bool tensors, opsm_error *err) {
    char *config = file_join(path, "config.yaml"), *model = file_join(path, "model.gguf");
    opsm_status status = config && model ? OPSM_OK : mem_exhausted(err, "a file name", 0);
    bool alone = status == OPSM_OK && !file_exists(config) && file_exists(model);
    if (status == OPSM_OK && alone) status = info_file(model, tensors, err);
    mem_free(config);
    mem_free(model);
    if (status != OPSM_OK || alone) return status;
    if (hf_is_directory(path)) return info_file(path, tensors, err);
    status = info_run(path, &model, err);
    if (status == OPSM_OK && model) {
        putchar('\n');
        status = info_file(model, tensors, err);
    }
    mem_free(model);
    return status;
}

int cmd_info(int argc, char **argv) {
    const char *path = NULL;
    bool tensors = false;
    static const char *const names[] = {"the model (a GGUF file, a Hugging Face directory or that of a run)"};
    const struct option table[] = {{"--tensors", OPTION_FLAG, &tensors, 0, 0}, {NULL, OPTION_FLAG, NULL, 0, 0}};
    int code = options_read(argc, argv, table, &path, 1, names);
    if (code) return code;
    opsm_error err = {0};
    opsm_status status = file_is_dir(path) ? info_directory(path, tensors, &err) : info_file(path, tensors, &err);
    return status == OPSM_OK ? 0 : cli_fail(status, &err);
}
