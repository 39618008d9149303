/* SPDX-License-Identifier: Apache-2.0
 *
 * Hugging Face directories: one by hand is read as it is meant; GGUF files go there and back without losing a bit; a directory that asks for what nobody computes, or is not
 * what it says, gets a sentence that names it.
 */
#include "base/file.h"
#include "base/mem.h"
#include "check.h"
#include "io/safetensors.h"
#include "model/config.h"
#include "model/convert.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static char scratch[64];

static int make_scratch(void **state) {
    (void)state;
    strcpy(scratch, "/tmp/opsm-hf-XXXXXX");
    return mkdtemp(scratch) ? 0 : -1;
}

static int remove_scratch(void **state) {
    (void)state;
    return file_remove_tree(scratch, NULL) == OPSM_OK ? 0 : -1;
}

/* ---- a directory by hand ------------------------------------------------------------------------------------------ */

static const char config_json[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"hidden_size\": 8, \"intermediate_size\": 12, "
    "\"num_hidden_layers\": 1, \"num_attention_heads\": 2, \"num_key_value_heads\": 1, \"head_dim\": 4, "
    "\"max_position_embeddings\": 64, \"vocab_size\": 9, \"rms_norm_eps\": 1e-05, \"rope_theta\": 500000.0, "
    "\"tie_word_embeddings\": true, \"hidden_act\": \"silu\", \"rope_scaling\": null, \"bos_token_id\": 0, "
    "\"eos_token_id\": [7, 6]}";

#define LLAMA3_REGEX                                                                                                   \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| "                             \
    "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"

static const char tokenizer_json[] =
    "{\"added_tokens\": [{\"id\": 6, \"content\": \"<|eot_id|>\", \"special\": true}, {\"id\": 7, \"content\": "
    "\"<end>\", \"special\": true}, {\"id\": 5, \"content\": \"<think>\", \"special\": false}], "
    "\"normalizer\": null, \"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", "
    "\"pattern\": {\"Regex\": \"" LLAMA3_REGEX "\"}, \"behavior\": \"Isolated\", \"invert\": false}, {\"type\": "
    "\"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": false}]}, \"post_processor\": {\"type\": "
    "\"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"a\", \"type_id\": 0}}, {\"Sequence\": {\"id\": "
    "\"A\", \"type_id\": 0}}]}, \"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, "
    "\"byte_fallback\": false, \"ignore_merges\": true, \"vocab\": {\"a\": 0, \"b\": 1, \"c\": 2, \"ab\": 3, \"abc\": "
    "4}, \"merges\": [\"a b\", [\"ab\", \"c\"]]}}";

static const char tokenizer_config_json[] =
    "{\"bos_token\": \"a\", \"eos_token\": {\"content\": \"<end>\"}, \"model_max_length\": "
    "1000000000000000019884624838656, \"chat_template\": [{\"name\": \"default\", \"template\": \"{{ messages }}\"}, "
    "{\"name\": \"tool_use\", \"template\": \"{{ tools }}\"}]}";

static const char generation_json[] = "{\"eos_token_id\": [7, 6]}";

static char *in_scratch(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", scratch, name);
    return path;
}

static void write_text(const char *name, const char *text) {
    FILE *f = fopen(in_scratch(name), "wb");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void write_tensors(void) {
    static const struct {
        const char *name;
        int64_t rows, cols;
    } tensors[] = {{"model.embed_tokens.weight", 9, 8},
                   {"model.norm.weight", 8, 0},
                   {"lm_head.weight", 9, 8},
                   {"model.layers.0.input_layernorm.weight", 8, 0},
                   {"model.layers.0.post_attention_layernorm.weight", 8, 0},
                   {"model.layers.0.self_attn.q_proj.weight", 8, 8},
                   {"model.layers.0.self_attn.k_proj.weight", 4, 8},
                   {"model.layers.0.self_attn.v_proj.weight", 4, 8},
                   {"model.layers.0.self_attn.o_proj.weight", 8, 8},
                   {"model.layers.0.mlp.gate_proj.weight", 12, 8},
                   {"model.layers.0.mlp.up_proj.weight", 12, 8},
                   {"model.layers.0.mlp.down_proj.weight", 8, 12}};
    struct safetensors_writer *w;
    opsm_error err = {0};
    float values[12 * 12];
    int64_t next;
    for (int i = 0; i < 12 * 12; i++) values[i] = (float)i / 64;
    assert_ok(safetensors_writer_create(&w, in_scratch("model.safetensors"), 0, &err));
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        assert_ok(safetensors_writer_add(w, tensors[i].name, tensors[i].cols ? 2 : 1,
                                         (int64_t[]){tensors[i].rows, tensors[i].cols}, QUANT_F32, &err));
    while ((next = safetensors_writer_next(w)) >= 0)
        assert_ok(safetensors_writer_put(w, values, tensors[next].rows * (tensors[next].cols ? tensors[next].cols : 1),
                                         &err));
    assert_ok(safetensors_writer_commit(w, &err));
}

static void write_directory(void) {
    write_text("config.json", config_json);
    write_text("tokenizer.json", tokenizer_json);
    write_text("tokenizer_config.json", tokenizer_config_json);
    write_text("generation_config.json", generation_json);
    write_tensors();
}

/* ---- what is right ------------------------------------------------------------------------------------------------ */

static void check_text(const struct tensor_source *source, const char *key, const char *expected) {
    struct text_view value;
    opsm_error err = {0};
    assert_ok(metadata_get_string(&source->metadata, key, &value, &err));
    assert_int_equal(value.length, strlen(expected));
    assert_memory_equal(value.data, expected, value.length);
}

static void check_number(const struct tensor_source *source, const char *key, uint32_t expected) {
    uint32_t value;
    opsm_error err = {0};
    assert_ok(metadata_get_u32(&source->metadata, key, &value, &err));
    assert_int_equal(value, expected);
}

static void directory_is_read(void **state) {
    (void)state;
    static const char *const tokens[] = {"a", "b", "c", "ab", "abc", "<think>", "<|eot_id|>", "<end>", "[PAD8]"};
    static const int32_t types[] = {1, 1, 1, 1, 1, 4, 3, 3, 5};
    struct tensor_source *source;
    struct model *model;
    opsm_error err = {0};
    write_directory();
    assert_ok(tensor_source_open(&source, scratch, &err));
    check_text(source, "general.architecture", "llama");
    check_text(source, "tokenizer.ggml.pre", "llama-bpe");
    check_text(source, "tokenizer.chat_template", "{{ messages }}");
    check_text(source, "tokenizer.chat_template.tool_use", "{{ tools }}");
    check_number(source, "tokenizer.ggml.bos_token_id", 0);
    check_number(source, "tokenizer.ggml.eos_token_id", 7);
    check_number(source, "tokenizer.ggml.eot_token_id", 6);
    struct text_view *texts;
    uint64_t n;
    assert_ok(metadata_get_strings(&source->metadata, "tokenizer.ggml.tokens", &texts, &n, &err));
    assert_int_equal(n, 9);
    for (int i = 0; i < 9; i++) assert_memory_equal(texts[i].data, tokens[i], strlen(tokens[i]));
    mem_free(texts);
    assert_ok(metadata_get_strings(&source->metadata, "tokenizer.ggml.merges", &texts, &n, &err));
    assert_int_equal(n, 2);
    assert_memory_equal(texts[1].data, "ab c", 4);
    mem_free(texts);
    int32_t *found;
    assert_ok(metadata_get_i32s(&source->metadata, "tokenizer.ggml.token_type", &found, &n, &err));
    assert_memory_equal(found, types, sizeof types);
    mem_free(found);
    tensor_source_close(source);

    write_text("chat_template.jinja", "{{ 7 }}");
    assert_ok(model_load(&model, scratch, DTYPE_F32, false, &err));
    check_text(model->source, "tokenizer.chat_template", "{{ 7 }}");
    assert_true(model->config.tied); /* the head in the file does not count */
    assert_int_equal(model->config.head_dim, 4);
    assert_near(model->config.rope_base, 500000, 0);
    struct token_list list = {0};
    assert_ok(tokenizer_encode(model->tokenizer, "abcab<end>", 10, TOKENIZER_BOS | TOKENIZER_SPECIAL, &list, &err));
    const int32_t ids[] = {0, 4, 3, 7};
    assert_int_equal(list.count, 2 + 2);
    /* One word, taken apart: "abcab" is no token. */
    assert_memory_equal(list.ids, ids, sizeof ids);
    token_list_free(&list);
    model_free(model);
    remove(in_scratch("chat_template.jinja"));
}

/* `file` with the first `from` replaced. */
static void edit(const char *file, const char *text, const char *from, const char *to) {
    const char *at = strstr(text, from);
    assert_non_null(at);
    char *changed = mem_alloc(strlen(text) + strlen(to) + 1, 1);
    sprintf(changed, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    write_text(file, changed);
    mem_free(changed);
}

static void llama3_factors_become_a_tensor(void **state) {
    (void)state;
    opsm_error err = {0};
    struct tensor_source *source;
    float factors[2];
    write_directory();
    edit("config.json", config_json, "\"rope_scaling\": null",
         "\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0, "
         "\"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 32}");
    assert_ok(tensor_source_open(&source, scratch, &err));
    const struct tensor_info *t = tensor_source_find(source, "rope_freqs.weight");
    assert_non_null(t);
    assert_int_equal(t->n_elements, 2);
    assert_ok(tensor_source_read(source, t, 0, 2, factors, &err));
    /* Wavelength 2 pi: between 32 / 4 and 1. */
    assert_near(factors[0], 1, 0);
    assert_near(factors[1], 8, 0);
    tensor_source_close(source);
}

/* ---- what is wrong ------------------------------------------------------------------------------------------------ */

static void check_refused(const char *name, const char *text, const char *from, const char *to, const char *expected) {
    struct model *model = NULL;
    opsm_error err = {0};
    edit(name, text, from, to);
    opsm_status status = model_load(&model, scratch, DTYPE_F32, false, &err);
    if (status == OPSM_OK || !strstr(err.text, expected)) {
        print_error("'%s' => '%s': %d '%s', expected '%s'\n", from, to, (int)status, err.text, expected);
        fail();
    }
    assert_null(model);
    write_text(name, text);
}

static void configurations_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *from, *to, *sentence;
    } cases[] = {
        {"LlamaForCausalLM", "GemmaForCausalLM", "'GemmaForCausalLM' is not supported"},
        {"[\"LlamaForCausalLM\"]", "7", "architectures is missing"},
        {"\"hidden_size\": 8", "\"hidden_size\": -8", "hidden_size is no whole number"},
        {"\"hidden_size\": 8", "\"hidden_size\": 99999999999", "hidden_size is no whole number"},
        {"\"hidden_size\": 8", "\"hidden_size\": 99999999999999999999", "hidden_size is no whole number"},
        {"\"hidden_size\": 8", "\"hidden_size\": \"8\"", "hidden_size is no whole number"},
        {"\"hidden_size\": 8", "\"hidden_size\": 16", "is 8 x 9, expected 16 x 9"},
        {"\"hidden_size\": 8, ", "", "hidden_size is missing"},
        {"\"vocab_size\": 9", "\"vocab_size\": 10", "vocab_size is 10, but"},
        {"\"vocab_size\": 9", "\"vocab_size\": 0", "vocab_size is 0, but"},
        {"\"head_dim\": 4", "\"head_dim\": 0", "attention.key_length is 0"},
        {"\"silu\"", "\"gelu\"", "hidden_act '\"gelu\"' is not supported"},
        {"\"rope_scaling\": null", "\"rope_scaling\": {\"type\": \"yarn\"}", "yarn"},
        {"\"rope_scaling\": null", "\"rope_scaling\": {\"type\": \"linear\"}", "factor is missing"},
        {"\"rope_scaling\": null", "\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8}", "low_freq_factor"},
        {"\"rope_scaling\": null", "\"rope_scaling\": 7", "rope_scaling is no object"},
        {"\"rope_scaling\": null", "\"rope_parameters\": {\"full_attention\": {}}", "rope_parameters"},
        {"\"rope_scaling\": null", "\"quantization_config\": {\"bits\": 4}", "quantization_config"},
        {"\"rope_scaling\": null", "\"sliding_window\": 16", "sliding-window attention"},
        {"\"rope_scaling\": null", "\"layer_types\": [\"full_attention\", \"sliding_attention\"]", "layer_types"},
        {"\"rope_scaling\": null", "\"mlp_bias\": true", "mlp_bias 'true' is not supported"},
        {"\"rope_scaling\": null", "\"attention_bias\": true", "attention_bias is true, but the tensors"},
        {"\"rope_scaling\": null", "\"partial_rotary_factor\": 0.5", "partial_rotary_factor '0.5'"},
        {"\"rms_norm_eps\": 1e-05", "\"rms_norm_eps\": []", "rms_norm_eps is no number"},
        {"\"tie_word_embeddings\": true", "\"tie_word_embeddings\": 1", "tie_word_embeddings is neither"},
        {"{", "[", "no JSON"},
        {"{", "", "no JSON"},
    };
    write_directory();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_refused("config.json", config_json, cases[i].from, cases[i].to, cases[i].sentence);
}

static void tokenizers_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *from, *to, *sentence;
    } cases[] = {
        {"\"type\": \"BPE\"", "\"type\": \"Unigram\"", "model.type '\"Unigram\"' is not supported"},
        {"\"dropout\": null", "\"dropout\": 0.1", "model 'dropout' '0.1'"},
        {"\"byte_fallback\": false", "\"byte_fallback\": true", "model 'byte_fallback' 'true'"},
        {"\"ignore_merges\": true", "\"ignore_merges\": false", "pre_tokenizer"},
        {"{1,3}", "{1,2}", "pre_tokenizer"},
        {"\"Isolated\"", "\"Removed\"", "pre_tokenizer"},
        {"\"add_prefix_space\": false", "\"add_prefix_space\": true", "pre_tokenizer"},
        {"\"type\": \"ByteLevel\"", "\"type\": \"Metaspace\"", "Metaspace"},
        {"\"normalizer\": null", "\"normalizer\": {\"type\": \"Lowercase\"}", "normalizer"},
        {"{\"Sequence\"", "{\"SpecialToken\": {\"id\": \"b\"}}, {\"Sequence\"", "post_processor"},
        {"\"single\": [{\"SpecialToken\": {\"id\": \"a\"", "\"single\": [{\"SpecialToken\": {\"id\": \"b\"",
         "a first token that is not bos_token"},
        {"\"a\": 0", "\"a\": 9", "id of token 'a' is no whole number below"},
        {"\"a\": 0", "\"a\": -1", "id of token 'a'"},
        {"\"a\": 0", "\"a\": \"0\"", "id of token 'a'"},
        {"\"a\": 0", "\"a\": 1", "has the id 1, which another one has"},
        {"\"a\": 0", "\"\": 0", "a token without text"},
        {"\"a\": 0", "\"a\\u0000\": 0", "NUL"},
        {"\"b\": 1", "\"c\": 1", "are the same text 'c'"},
        {"\"id\": 7, \"content\": \"<end>\"", "\"id\": 3, \"content\": \"<end>\"", "is another token's"},
        {"\"id\": 7, \"content\": \"<end>\"", "\"id\": 99, \"content\": \"<end>\"", "id of token '<end>'"},
        {"\"id\": 7, \"content\": \"<end>\"", "\"id\": 7", "without content"},
        {"\"special\": true", "\"lstrip\": true", "an added token with 'lstrip'"},
        {"\"a b\"", "7", "entry 0 of model.merges is neither"},
        {"\"a b\"", "\"\"", "entry 0 of model.merges is neither"},
        {"[\"ab\", \"c\"]", "[\"ab\", \"c \"]", "entry 1 of model.merges is neither"},
        {"[\"ab\", \"c\"]", "[\"ab\"]", "entry 1 of model.merges is neither"},
        {"\"a b\"", "\"ax b\"", "merge"},
        {"{\"a\": 0, \"b\": 1, \"c\": 2, \"ab\": 3, \"abc\": 4}", "[[\"a\", 0.5]]", "a unigram model"},
        {"\"merges\": [", "\"other\": [", "model 'other'"},
        {"\"normalizer\": null", "\"model\": {}", "occurs twice"},
        {"\"model\": {", "\"model\": [", "byte "},
        {"\"pre_tokenizer\"", "\"nothing\"", "expected the members model and pre_tokenizer"},
        {"{", "", "expected a JSON object"},
    };
    write_directory();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_refused("tokenizer.json", tokenizer_json, cases[i].from, cases[i].to, cases[i].sentence);
    const char *t = tokenizer_config_json;
    check_refused("tokenizer_config.json", t, "\"<end>\"", "\"<gone>\"", "eos_token is '<gone>', which tokenizer.json");
    check_refused("tokenizer_config.json", t, "\"a\"", "7", "bos_token is no text");
    check_refused("tokenizer_config.json", t, "\"{{ messages }}\"", "7", "chat_template is no text");
    check_refused("tokenizer_config.json", t, "\"name\": \"default\", ", "", "an entry that has no name");
    check_refused("tokenizer_config.json", t, "{", "{\"add_bos_token\": 1, ", "add_bos_token is neither");
    check_refused("tokenizer_config.json", t, "{", "{\"add_eos_token\": true, ",
                  "add_eos_token 'true' is not supported");
    check_refused("generation_config.json", generation_json, "6", "9", "eos_token_id is no id");
    remove(in_scratch("tokenizer.json"));
    struct model *model;
    opsm_error err = {0};
    assert_int_equal(model_load(&model, scratch, DTYPE_F32, false, &err), OPSM_MISSING);
    assert_non_null(strstr(err.text, "has no tokenizer.json"));
}

/* ---- there and back ----------------------------------------------------------------------------------------------- */

static void check_same_model(const char *a, const char *b) {
    struct model *first, *second;
    opsm_error err = {0};
    assert_ok(model_load(&first, a, DTYPE_F32, false, &err));
    assert_ok(model_load(&second, b, DTYPE_F32, false, &err));
    assert_int_equal(first->params.size, second->params.size);
    assert_memory_equal(first->params.values, second->params.values, (size_t)first->params.size * sizeof(float));
    for (int i = 0; i < first->config.head_dim / 2; i++) /* factors are computed anew: an ulp */
        assert_near(first->inv_freq[i], second->inv_freq[i], 1e-6 * first->inv_freq[i]);
    model_free(first);
    model_free(second);
}

/* Every tensor's bits, and every key but those of the file itself. */
static void check_same_file(const char *a, const char *b) {
    struct tensor_source *first, *second;
    opsm_error err = {0};
    assert_ok(tensor_source_open(&first, a, &err));
    assert_ok(tensor_source_open(&second, b, &err));
    assert_int_equal(first->n_tensors, second->n_tensors);
    for (int64_t i = 0; i < first->n_tensors; i++) {
        const struct tensor_info *t = &first->tensors[i], *u = tensor_source_find(second, t->name);
        assert_non_null(u);
        assert_int_equal(t->type, u->type);
        assert_int_equal(t->size, u->size);
        if (strcmp(t->name, "rope_freqs.weight") != 0) assert_memory_equal(t->data, u->data, t->size);
    }
    for (int64_t i = 0; i < first->metadata.n; i++) {
        const struct metadata_value *value = &first->metadata.values[i], *other;
        char key[128];
        snprintf(key, sizeof key, "%.*s", (int)value->key.length, value->key.data);
        other = metadata_find(&second->metadata, key);
        if (!other) print_error("%s is missing\n", key);
        assert_non_null(other);
        assert_int_equal(value->size, other->size);
        assert_memory_equal(value->data, other->data, value->size);
    }
    tensor_source_close(first);
    tensor_source_close(second);
}

static void convert(const char *from, const char *to, struct conversion conversion, bool gguf) {
    struct model *model;
    opsm_error err = {0};
    assert_ok(model_open(&model, from, DTYPE_F32, &err));
    assert_ok((gguf ? model_convert_to_gguf : model_convert_to_hf)(model, to, &conversion, &err));
    model_free(model);
}

static void golden_models_go_there_and_back(void **state) {
    (void)state;
    static const char *const names[] = {"llama", "qwen2", "qwen3"};
    for (int i = 0; i < 3; i++) {
        char golden[256], dir[128], half[128], half_dir[128], back[128];
        snprintf(golden, sizeof golden, OPSM_SOURCE_DIR "/tests/golden/model-%s.gguf", names[i]);
        snprintf(dir, sizeof dir, "%s/%s", scratch, names[i]);
        snprintf(half, sizeof half, "%s/%s-f16.gguf", scratch, names[i]);
        snprintf(half_dir, sizeof half_dir, "%s/%s-f16", scratch, names[i]);
        snprintf(back, sizeof back, "%s/%s.gguf", scratch, names[i]);
        convert(golden, dir, (struct conversion){.keep = true}, false);
        check_same_model(golden, dir);
        convert(dir, back, (struct conversion){.keep = true}, true);
        check_same_file(golden, back);
        convert(golden, half, (struct conversion){.type = QUANT_F16}, true);
        convert(half, half_dir, (struct conversion){.keep = true}, false);
        check_same_model(half, half_dir);
        remove(back);
        convert(half_dir, back, (struct conversion){.keep = true}, true);
        check_same_file(half, back);
    }
}

/* A failing disk leaves neither the directory nor its beginning behind; what is there stays. */
static void failures_leave_nothing(void **state) {
    (void)state;
    struct model *model;
    opsm_error err = {0};
    struct conversion keep = {.keep = true}, blocks = {.type = QUANT_Q8_0};
    char dir[128], partial[160];
    snprintf(dir, sizeof dir, "%s/out", scratch);
    snprintf(partial, sizeof partial, "%s.partial", dir);
    assert_ok(model_open(&model, OPSM_SOURCE_DIR "/tests/golden/model-llama.gguf", DTYPE_F32, &err));
    assert_int_equal(model_convert_to_hf(model, dir, &blocks, &err), OPSM_INVALID);
    bool done = false;
    for (int64_t nth = 1; !done; nth++) {
        file_fail_at(nth);
        done = model_convert_to_hf(model, dir, &keep, &err) == OPSM_OK;
        file_fail_at(0);
        assert_true(done || !file_exists(dir));
        assert_false(file_exists(partial));
        assert_true(!done || nth > 5);
    }
    assert_int_equal(model_convert_to_hf(model, dir, &keep, &err), OPSM_IO);
    assert_non_null(strstr(err.text, "is there already"));
    model_free(model);
}

/* Every way of running out of memory. */
static void memory_runs_out(void **state) {
    (void)state;
    opsm_error err = {0};
    write_directory();
    for (int64_t nth = 1;; nth++) {
        struct tensor_source *source;
        mem_fail_at(nth);
        opsm_status status = tensor_source_open(&source, scratch, &err);
        mem_fail_at(0);
        if (status == OPSM_OK) {
            tensor_source_close(source);
            assert_true(nth > 20);
            return;
        }
        assert_int_equal(status, OPSM_NOMEM);
        assert_null(source);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(directory_is_read),
        cmocka_unit_test(llama3_factors_become_a_tensor),
        cmocka_unit_test(configurations_are_refused),
        cmocka_unit_test(tokenizers_are_refused),
        cmocka_unit_test(golden_models_go_there_and_back),
        cmocka_unit_test(failures_leave_nothing),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
