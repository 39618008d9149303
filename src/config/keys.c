/* SPDX-License-Identifier: Apache-2.0 */
#include "config/keys.h"
#include "base/mem.h"
#include "base/text.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define AT(field) offsetof(struct run_config, field)
#define INT(path, field, low, high, doc)                                                                               \
    { path, KEY_INT, AT(field), low, high, NULL, doc }
#define REAL(path, field, low, high, doc)                                                                              \
    { path, KEY_REAL, AT(field), low, high, NULL, doc }
#define PAIR(path, field, low, high, doc)                                                                              \
    { path, KEY_PAIR, AT(field), low, high, NULL, doc }
#define TEXT(path, field, doc)                                                                                         \
    { path, KEY_TEXT, AT(field), 0, 0, NULL, doc }
#define CHOICE(path, field, words, doc)                                                                                \
    { path, KEY_CHOICE, AT(field), 0, 0, words, doc }

/* In the order of the written configuration; keys of one section stand together. */
const struct config_key config_keys[] = {
    TEXT("model", model, "GGUF file or Hugging Face directory to start from"),
    TEXT("output", output, "directory of the run: metrics, checkpoints, the resulting model"),
    {"seed", KEY_SEED, AT(seed), 0, 0, NULL, "seed of every random choice"},
    CHOICE("precision", precision, "f32|bf16", "format of GEMM inputs; everything else is f32"),

    TEXT("task.name", task.name, "built-in task (see `opsm help tasks`)"),
    INT("task.difficulty", task.difficulty, 0, 1000, "what the task makes of it, e.g. digits; 0: the task's default"),
    REAL("task.noise", task.noise, 0, 1, "sft: probability that a step of a demonstration is wrong"),
    CHOICE("task.style", task.style, "auto|bare|words",
           "how the problem is put: symbols, an instruction, or by whether the model has a chat template"),

    TEXT("data.file", data.file, "JSON-lines file of problems, instead of a task"),
    TEXT("data.eval_file", data.eval_file,
         "JSON-lines file for evaluation; without one, 5% of the rows of data.file are held out for it, unless "
         "train.eval_every is 0: then all are trained on"),
    TEXT("data.prompt", data.prompt, "field with the prompt"),
    TEXT("data.answer", data.answer, "field with the answer"),
    CHOICE(
        "data.on_bad_row", data.on_bad_row, "stop|skip",
        "a row that cannot be used (not JSON, no prompt, no answer that can be judged, too long) ends the run before "
        "it starts, or is left out and counted"),
    CHOICE("data.template", data.template, "chat|plain|auto",
           "put messages into the model's chat template, or join them by line breaks; auto: chat when it has one"),
    TEXT("data.template_prefix", data.template_prefix, "text before every prompt, instead of the chat template"),
    TEXT("data.template_suffix", data.template_suffix, "text after every prompt, instead of the chat template"),
    TEXT("data.system", data.system, "system message, instead of the template's own and those of the data"),
    {"data.tools", KEY_VALUE, AT(data.tools), 0, 0, "list",
     "tools for the chat template, as in the OpenAI format, where a row has no field `tools` of its own"},
    {"data.template_args", KEY_VALUE, AT(data.template_args), 0, 0, "map",
     "further variables of the chat template, such as enable_thinking: false"},

    INT("rollout.prompts", rollout.prompts, 1, 1 << 20, "prompts (groups) per iteration"),
    INT("rollout.group", rollout.group, 1, 4096, "sampled responses per prompt"),
    INT("rollout.max_tokens", rollout.max_tokens, 1, 1 << 20, "longest response, in tokens"),
    INT("rollout.max_prompt", rollout.max_prompt, 1, 1 << 20, "longest prompt, in tokens; longer ones are an error"),
    INT("rollout.in_flight", rollout.in_flight, 1, 65536, "sequences decoded side by side"),
    REAL("rollout.temperature", rollout.temperature, 1e-3, 100, "sampling temperature; the trainer applies it too"),
    REAL("rollout.top_p", rollout.top_p, 1e-6, 1, "keep the smallest set of tokens with this probability; 1: off"),
    INT("rollout.top_k", rollout.top_k, 0, 1 << 30, "keep the k likeliest tokens; 0: off"),
    REAL("rollout.min_p", rollout.min_p, 0, 1, "keep tokens at least this fraction as likely as the likeliest; 0: off"),
    {"rollout.stop", KEY_TEXTS, AT(rollout.stop), 0, 0, NULL, "strings that end a response"},
    CHOICE(
        "rollout.truncated", rollout.truncated, "score|zero|mask",
        "responses cut off at max_tokens: judged by each verifier's own rule, reward 0, or judged but left out of the "
        "loss"),
    CHOICE("rollout.weights", rollout.weights, "same|bf16|int8",
           "weights of the sampler: the trainer's, or its matrices rounded as a BF16 or Q8_0 file would hold them"),
    {"rollout.save", KEY_BOOL, AT(rollout.save), 0, 0, NULL, "write every batch to OUTPUT/rollouts/ for opsm audit"},
    INT("rollout.samples", rollout.samples, 0, 1024,
        "groups whose transcripts go to OUTPUT/samples.jsonl at a few iterations, beside those of evaluations; 0: "
        "none"),

    INT("schedule.minibatches", schedule.minibatches, 1, 1 << 20, "optimiser steps per pass over a rollout batch"),
    INT("schedule.epochs", schedule.epochs, 1, 1000, "passes over a rollout batch"),
    INT("schedule.staleness", schedule.staleness, 0, 1000, "train on rollouts from weights this many iterations old"),

    REAL("optim.lr", optim.lr, 0, 10, "learning rate"),
    PAIR("optim.betas", optim.beta1, 0, 0.9999999, "AdamW's moment decay rates"),
    REAL("optim.eps", optim.eps, 1e-30, 1, "AdamW's epsilon"),
    REAL("optim.weight_decay", optim.weight_decay, 0, 10, "decoupled weight decay of matrices"),
    REAL("optim.clip_norm", optim.clip_norm, 0, 1e9, "largest global gradient norm; 0: no clipping"),
    INT("optim.warmup", optim.warmup, 0, 1 << 30, "optimiser steps of linear warm-up"),

    INT("train.iterations", train.iterations, 1, 1 << 30, "rollout batches to train on"),
    INT("train.eval_every", train.eval_every, 0, 1 << 30,
        "evaluate on held-out problems every so many iterations; 0: never"),
    INT("train.checkpoint_every", train.checkpoint_every, 0, 1 << 30,
        "checkpoint every so many iterations; 0: only at the end"),
    INT("train.keep", train.keep, 1, 1000, "checkpoints to keep"),
    INT("train.micro_batch", train.micro_batch, 16, 1 << 24,
        "tokens whose activations are held at once: bounds memory"),
    CHOICE(
        "train.recompute", train.recompute, "auto|true|false",
        "run each layer again before its backward pass instead of keeping what it computed: a fraction of the memory "
        "for an eighth to a sixth more time of training, the same bits; auto: where memory is too small otherwise"),
    CHOICE("train.save_type", train.save_type, "f32|f16|bf16|q8_0",
           "number format of the matrices in OUTPUT/model.gguf, whatever the format of `model` was: 4, 2, 2 or 1.06 "
           "bytes a weight; only f32 keeps all that was learnt"),

    CHOICE("train.save", train.save, "both|merged|adapter",
           "what a run with train.lora leaves: OUTPUT/model.gguf with the adapters merged, OUTPUT/adapter.gguf and "
           "OUTPUT/adapter/, or both"),
    INT("train.lora.rank", train.lora.rank, 0, 4096,
        "train adapters of this rank beside the frozen matrices (LoRA), instead of all weights; 0: off"),
    REAL("train.lora.alpha", train.lora.alpha, 1e-6, 1e6, "what an adapter adds is scaled by alpha / rank"),
    {"train.lora.targets", KEY_SET, AT(train.lora.targets), 0, 0, "all-linear|" LORA_TARGETS,
     "the matrices that are adapted"},
    {"train.lora.rslora", KEY_BOOL, AT(train.lora.rslora), 0, 0, NULL, "scale by alpha / sqrt(rank) (rsLoRA)"},
    CHOICE("train.lora.base", train.lora.base, "packed|file",
           "frozen matrices are laid out for the products, forward and backward, or kept in the file's own format and "
           "decoded in every product: the same bits, less memory, slower"),
    TEXT("train.lora.init", train.lora_init,
         "adapter to start from: a GGUF file, or a directory of PEFT; rank, scale and targets must be its own"),

    INT("eval.problems", eval.problems, 1, 1 << 20, "held-out problems per evaluation"),
    INT("eval.samples", eval.samples, 1, 4096, "responses per problem; more than one: pass@k too, k being this"),
    TEXT("eval.verifier", eval.verifier,
         "name of the verifier that decides what is right; default: the first of reward"),
    REAL("eval.temperature", eval.temperature, 0, 100, "sampling temperature of evaluation; 0: greedy"),

    INT("sft.steps", sft.steps, 1, 1 << 30, "optimiser steps of `opsm sft`"),
    INT("sft.batch", sft.batch, 1, 1 << 20, "examples per step of `opsm sft`"),
    INT("sft.init.dim", sft.init.dim, 0, 65536,
        "width of a fresh Llama over the problems' characters to start from, instead of `model`; 0: off"),
    INT("sft.init.layers", sft.init.layers, 1, 1024, "its layers"),
    INT("sft.init.heads", sft.init.heads, 1, 1024, "its query heads"),
    INT("sft.init.kv_heads", sft.init.kv_heads, 1, 1024, "its key and value heads"),
    INT("sft.init.ffn", sft.init.ffn, 1, 1 << 20, "width of its feed-forward layers"),
    INT("sft.init.context", sft.init.context, 16, 1 << 20, "its longest sequence, in tokens"),
};
const int config_n_keys = sizeof config_keys / sizeof *config_keys;

#undef AT
#define AT(field) offsetof(struct config_reward, field)

const struct config_key config_reward_keys[] = {
    TEXT("type", type, "verifier, see `opsm help verifiers`"),
    TEXT("name", name, "its name in metrics; default: the type, or the first free of type-2, type-3, ..."),
    REAL("weight", weight, -1e6, 1e6, "factor in the sum"),
};
const int config_n_reward_keys = sizeof config_reward_keys / sizeof *config_reward_keys;

const struct config_key *config_key_find(const struct config_key *keys, int n_keys, const char *path) {
    for (int i = 0; i < n_keys; i++)
        if (!strcmp(keys[i].path, path)) return &keys[i];
    return NULL;
}

static void release_texts(struct config_strings *list) {
    for (int32_t i = 0; i < list->count; i++) mem_free(list->items[i]);
    *list = (struct config_strings){0};
}

void config_keys_release(void *base, const struct config_key *keys, int n_keys) {
    for (int i = 0; i < n_keys; i++) {
        void *slot = (char *)base + keys[i].offset;
        if (keys[i].kind == KEY_TEXT || keys[i].kind == KEY_VALUE) {
            mem_free(*(char **)slot);
            *(char **)slot = NULL;
        } else if (keys[i].kind == KEY_TEXTS) {
            release_texts(slot);
        }
    }
}

opsm_status config_replace_text(char **slot, const char *text, opsm_error *err) {
    char *copy = text ? mem_strdup(text) : NULL;
    if (text && !copy) return mem_exhausted(err, "the configuration", strlen(text));
    mem_free(*slot);
    *slot = copy;
    return OPSM_OK;
}

static opsm_status parse_real(const char *path, const char *text, double low, double high, double *value,
                              opsm_error *err) {
    char *end;
    double x = strtod(text, &end);
    if (end == text || *end) return opsm_fail(err, OPSM_INVALID, "%s: expected a number, found '%s'", path, text);
    if (!(x >= low && x <= high))
        return opsm_fail(err, OPSM_INVALID, "%s: expected a number from %s to %s, found %s", path,
                         text_readable((char[TEXT_NUMBER_ROOM]){0}, low),
                         text_readable((char[TEXT_NUMBER_ROOM]){0}, high), text);
    *value = x;
    return OPSM_OK;
}

static opsm_status set_int(int32_t *slot, const struct config_key *key, const char *text, opsm_error *err) {
    char *end;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    if (end == text || *end)
        return opsm_fail(err, OPSM_INVALID, "%s: expected a whole number, found '%s'", key->path, text);
    if (errno || n < (long long)key->low || n > (long long)key->high)
        return opsm_fail(err, OPSM_INVALID, "%s: expected a whole number from %.0f to %.0f, found %s", key->path,
                         key->low, key->high, text);
    *slot = (int32_t)n;
    return OPSM_OK;
}

static opsm_status set_seed(uint64_t *slot, const struct config_key *key, const char *text, opsm_error *err) {
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (end == text || *end || errno || *text == '-')
        return opsm_fail(err, OPSM_INVALID, "%s: expected a whole number from 0 to 2^64-1, found '%s'", key->path,
                         text);
    *slot = n;
    return OPSM_OK;
}

static opsm_status set_bool(bool *slot, const struct config_key *key, const char *text, opsm_error *err) {
    bool on = !strcmp(text, "true"), off = !strcmp(text, "false");
    if (!on && !off) return opsm_fail(err, OPSM_INVALID, "%s: expected true or false, found '%s'", key->path, text);
    *slot = on;
    return OPSM_OK;
}

/* The number of `word` among words parted by '|', -1 if it is none of them. */
static int choice_index(const char *choices, const char *word) {
    size_t length = strlen(word);
    for (int i = 0; *choices; i++) {
        size_t n = strcspn(choices, "|");
        if (n == length && !strncmp(choices, word, n)) return i;
        choices += n + (choices[n] == '|');
    }
    return -1;
}

/* The bits of all words of a KEY_SET. */
static uint32_t all_words(const struct config_key *key) {
    uint32_t bits = 0;
    for (const char *c = key->choices; *c; c++) bits = *c == '|' ? bits << 1 | 1 : bits;
    return bits;
}

const char *config_key_words(char out[CONFIG_WORDS_ROOM], const struct config_key *key) {
    const char *word = key->choices, *between = "";
    size_t n = 0;
    while (*word && n < CONFIG_WORDS_ROOM) {
        size_t length = strcspn(word, "|");
        n += (size_t)snprintf(out + n, CONFIG_WORDS_ROOM - n, "%s%.*s", between, (int)length, word);
        between = word == key->choices ? ", or a list of " : ", ";
        word += length + (word[length] == '|');
    }
    return out;
}

static opsm_status set_choice(void *slot, const struct config_key *key, const char *text, opsm_error *err) {
    int i = choice_index(key->choices, text);
    if (i < 0) return opsm_fail(err, OPSM_INVALID, "%s: expected one of %s, found '%s'", key->path, key->choices, text);
    unsigned value = (unsigned)i; /* every enum of the struct is an unsigned int in memory */
    memcpy(slot, &value, sizeof value);
    return OPSM_OK;
}

static opsm_status set_words(uint32_t *slot, const struct config_key *key, const char *const *items, int n,
                             opsm_error *err) {
    uint32_t bits = 0;
    for (int i = 0; i < n && i < CONFIG_LIST_MAX; i++) {
        int word = choice_index(key->choices, items[i] ? items[i] : "");
        if (word < 0)
            return opsm_fail(err, OPSM_INVALID, "%s: expected %s, found '%s'", key->path,
                             config_key_words((char[CONFIG_WORDS_ROOM]){0}, key), items[i] ? items[i] : "");
        bits |= word == 0 ? all_words(key) : 1u << (word - 1);
    }
    if (!bits) return opsm_fail(err, OPSM_INVALID, "%s: expected at least one word, found none", key->path);
    *slot = bits;
    return OPSM_OK;
}

opsm_status config_key_set(void *base, const struct config_key *key, const char *text, opsm_error *err) {
    void *slot = (char *)base + key->offset;
    if (!text && key->kind != KEY_TEXT)
        return opsm_fail(err, OPSM_INVALID, "%s: expected a value, found nothing (null gives the default)", key->path);
    switch (key->kind) {
    case KEY_INT:
        return set_int(slot, key, text, err);
    case KEY_SEED:
        return set_seed(slot, key, text, err);
    case KEY_REAL:
        return parse_real(key->path, text, key->low, key->high, slot, err);
    case KEY_BOOL:
        return set_bool(slot, key, text, err);
    case KEY_CHOICE:
        return set_choice(slot, key, text, err);
    case KEY_SET:
        return set_words(slot, key, &text, 1, err);
    case KEY_TEXT:
        return config_replace_text(slot, text, err);
    case KEY_PAIR:
        return opsm_fail(err, OPSM_INVALID, "%s: expected a list of two numbers, found '%s'", key->path, text);
    case KEY_TEXTS:
        return opsm_fail(err, OPSM_INVALID, "%s: expected a list of strings, found '%s'", key->path, text);
    case KEY_VALUE:
        return opsm_fail(err, OPSM_INVALID, "%s: expected a %s, found '%s'", key->path, key->choices, text);
    }
    return OPSM_INTERNAL;
}

static opsm_status set_pair(double *slot, const struct config_key *key, const char *const *items, int n,
                            opsm_error *err) {
    if (n != 2) return opsm_fail(err, OPSM_INVALID, "%s: expected a list of two numbers, found %d", key->path, n);
    opsm_status status = OPSM_OK;
    for (int i = 0; i < 2 && status == OPSM_OK; i++)
        status = parse_real(key->path, items[i] ? items[i] : "", key->low, key->high, &slot[i], err);
    return status;
}

static opsm_status set_texts(struct config_strings *list, const struct config_key *key, const char *const *items, int n,
                             opsm_error *err) {
    if (n > CONFIG_LIST_MAX)
        return opsm_fail(err, OPSM_INVALID, "%s: at most %d entries, found %d", key->path, CONFIG_LIST_MAX, n);
    release_texts(list);
    for (int i = 0; i < n; i++) {
        if (!items[i] || !*items[i])
            return opsm_fail(err, OPSM_INVALID, "%s: entry %d: expected a string that is not empty", key->path, i + 1);
        opsm_status status = config_replace_text(&list->items[i], items[i], err);
        if (status != OPSM_OK) return status;
        list->count = i + 1;
    }
    return OPSM_OK;
}

opsm_status config_key_set_list(void *base, const struct config_key *key, const char *const *items, int n,
                                opsm_error *err) {
    void *slot = (char *)base + key->offset;
    if (key->kind == KEY_PAIR) return set_pair(slot, key, items, n, err);
    if (key->kind == KEY_TEXTS) return set_texts(slot, key, items, n, err);
    if (key->kind == KEY_SET) return set_words(slot, key, items, n, err);
    return opsm_fail(err, OPSM_INVALID, "%s: expected a single value, found a list", key->path);
}

opsm_status config_key_reset(void *base, const void *defaults, const struct config_key *key, opsm_error *err) {
    static const size_t sizes[] = {
        [KEY_INT] = sizeof(int32_t),     [KEY_SEED] = sizeof(uint64_t), [KEY_REAL] = sizeof(double),
        [KEY_PAIR] = 2 * sizeof(double), [KEY_BOOL] = sizeof(bool),     [KEY_CHOICE] = sizeof(unsigned),
        [KEY_SET] = sizeof(uint32_t),    [KEY_TEXT] = sizeof(char *),   [KEY_TEXTS] = sizeof(struct config_strings),
        [KEY_VALUE] = sizeof(char *)};
    void *slot = (char *)base + key->offset;
    const void *value = (const char *)defaults + key->offset;
    if (key->kind == KEY_TEXT || key->kind == KEY_VALUE) return config_replace_text(slot, *(char *const *)value, err);
    config_keys_release(base, key, 1); /* a list: its default is empty */
    memcpy(slot, value, sizes[key->kind]);
    return OPSM_OK;
}

void config_print_text(const char *text, FILE *out) {
    if (!text) {
        fputs("null", out);
        return;
    }
    putc('"', out);
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c == '"' || *c == '\\')
            fprintf(out, "\\%c", *c);
        else if (*c < 0x20 || *c == 0x7f)
            fprintf(out, "\\x%02x", *c);
        else
            putc(*c, out);
    }
    putc('"', out);
}

static void print_real(double x, FILE *out) {
    fputs(text_readable((char[TEXT_NUMBER_ROOM]){0}, x), out);
}

static void print_choice(const char *choices, const void *slot, FILE *out) {
    unsigned value;
    memcpy(&value, slot, sizeof value);
    for (; value > 0; value--) choices += strcspn(choices, "|") + 1;
    fprintf(out, "%.*s", (int)strcspn(choices, "|"), choices);
}

static void print_words(const struct config_key *key, uint32_t bits, FILE *out) {
    const char *word = key->choices + strcspn(key->choices, "|") + 1, *before = "[";
    if (bits == all_words(key)) {
        fprintf(out, "%.*s", (int)strcspn(key->choices, "|"), key->choices);
        return;
    }
    for (; bits; bits >>= 1, word += strcspn(word, "|") + 1) {
        if (!(bits & 1)) continue;
        fprintf(out, "%s%.*s", before, (int)strcspn(word, "|"), word);
        before = ", ";
    }
    putc(']', out);
}

static void print_texts(const struct config_strings *list, FILE *out) {
    putc('[', out);
    for (int32_t i = 0; i < list->count; i++) {
        if (i) fputs(", ", out);
        config_print_text(list->items[i], out);
    }
    putc(']', out);
}

void config_key_print(const void *base, const struct config_key *key, FILE *out) {
    const void *slot = (const char *)base + key->offset;
    const double *reals = slot;
    switch (key->kind) {
    case KEY_INT:
        fprintf(out, "%d", *(const int32_t *)slot);
        break;
    case KEY_SEED:
        fprintf(out, "%llu", (unsigned long long)*(const uint64_t *)slot);
        break;
    case KEY_REAL:
        print_real(*reals, out);
        break;
    case KEY_PAIR:
        putc('[', out);
        print_real(reals[0], out);
        fputs(", ", out);
        print_real(reals[1], out);
        putc(']', out);
        break;
    case KEY_BOOL:
        fputs(*(const bool *)slot ? "true" : "false", out);
        break;
    case KEY_CHOICE:
        print_choice(key->choices, slot, out);
        break;
    case KEY_SET:
        print_words(key, *(const uint32_t *)slot, out);
        break;
    case KEY_TEXT:
        config_print_text(*(char *const *)slot, out);
        break;
    case KEY_TEXTS:
        print_texts(slot, out);
        break;
    case KEY_VALUE: /* JSON is YAML */
        fputs(*(char *const *)slot ? *(char *const *)slot : "null", out);
        break;
    }
}
