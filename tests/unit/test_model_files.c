/* SPDX-License-Identifier: Apache-2.0
 *
 * Model files: what is written comes back bit for bit; what is damaged or foreign is refused with a sentence.
 */
#include "base/file.h"
#include "base/mem.h"
#include "check.h"
#include "io/gguf.h"
#include "io/hf_names.h"
#include "io/safetensors.h"
#include "model/layout.h"
#include "model/load.h"
#include "tiny_batch.h"

static char scratch[64];

static int make_scratch(void **state) {
    (void)state;
    strcpy(scratch, "/tmp/opsm-model-XXXXXX");
    return mkdtemp(scratch) ? 0 : -1;
}

static int remove_scratch(void **state) {
    (void)state;
    return file_remove_tree(scratch, NULL) == OPSM_OK ? 0 : -1;
}

static const char *in_scratch(const char *name) {
    static char path[2][128];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", scratch, name);
    return path[turn];
}

static struct model *random_model(struct model_config config) {
    opsm_error err = {0};
    struct model *m;
    assert_ok(tiny_model(&m, &config, DTYPE_F32, false, 1, &err));
    assert_ok(tiny_randomise(m, 9, 0.5f, &err));
    return m;
}

/* ---- round trips ------------------------------------------------------------------------------------------------- */

static void check_round_trip(struct model_config config) {
    opsm_error err = {0};
    struct model *m = random_model(config), *back;
    assert_ok(model_save(m, in_scratch("a.gguf"), QUANT_F32, &err));
    assert_ok(model_load(&back, in_scratch("a.gguf"), DTYPE_F32, false, &err));
    const struct model_config *found = &back->config, *wanted = &m->config;
    assert_memory_equal(found, wanted, offsetof(struct model_config, tied)); /* no padding up to there */
    assert_true(found->tied == wanted->tied && found->qkv_bias == wanted->qkv_bias);
    assert_true(found->qk_norm == wanted->qk_norm);
    assert_int_equal(back->params.size, m->params.size);
    assert_memory_equal(back->params.values, m->params.values, (size_t)m->params.size * sizeof(float));
    assert_memory_equal(back->inv_freq, m->inv_freq, (size_t)config.head_dim / 2 * sizeof(float));
    assert_int_equal(tokenizer_size(back->tokenizer), TINY_VOCAB);
    /* And once more: the second file is the first, byte for byte. */
    assert_ok(model_save(back, in_scratch("b.gguf"), QUANT_F32, &err));
    char *a, *b;
    size_t size_a, size_b;
    assert_ok(file_read(in_scratch("a.gguf"), 1 << 26, &a, &size_a, &err));
    assert_ok(file_read(in_scratch("b.gguf"), 1 << 26, &b, &size_b, &err));
    assert_int_equal(size_a, size_b);
    assert_memory_equal(a, b, size_a);
    mem_free(a);
    mem_free(b);
    model_free(back);
    model_free(m);
}

static void f32_files_come_back_bit_for_bit(void **state) {
    (void)state;
    static const char *const kinds[] = {"llama", "qwen2", "qwen3"};
    for (int k = 0; k < 3; k++) {
        struct model_config c = tiny_config(kinds[k]);
        check_round_trip(c);
        c.tied = false;
        c.head_dim = 24; /* not dim / heads: needs attention.key_length */
        check_round_trip(c);
    }
    struct model_config biased = tiny_config("llama");
    biased.qkv_bias = true;
    check_round_trip(biased);
}

/* All weights under Hugging Face's names: its rows of queries and keys lie as ours do. */
static void write_safetensors(const struct model *m, const char *path) {
    opsm_error err = {0};
    struct safetensors_writer *w;
    assert_ok(safetensors_writer_create(&w, path, 20000, &err));
    for (int i = 0; i < m->params.n_tensors; i++) {
        const struct parameter *t = &m->params.tensors[i];
        char name[HF_NAME_ROOM];
        assert_true(hf_name_from_gguf(name, t->name, false));
        const int64_t shape[2] = {t->decay ? t->rows : t->cols, t->cols};
        assert_ok(safetensors_writer_add(w, name, t->decay ? 2 : 1, shape, QUANT_F32, &err));
    }
    for (int64_t i; (i = safetensors_writer_next(w)) >= 0;) {
        const struct parameter *t = &m->params.tensors[i];
        assert_ok(safetensors_writer_put(w, m->params.values + t->offset, (t->decay ? t->rows : 1) * t->cols, &err));
    }
    assert_ok(safetensors_writer_commit(w, &err));
}

/* The tensors of a Hugging Face directory, with the metadata of a GGUF file. */
static void safetensors_are_loaded_bit_for_bit(void **state) {
    (void)state;
    static const char *const kinds[] = {"llama", "qwen2", "qwen3"};
    opsm_error err = {0};
    for (int k = 0; k < 3; k++) {
        struct model_config c = tiny_config(kinds[k]);
        c.tied = k != 0;
        c.qkv_bias = c.qkv_bias || k == 0;
        struct model *m = random_model(c), *back, *read;
        struct tensor_source *source;
        write_safetensors(m, in_scratch("model.safetensors"));
        assert_ok(model_save(m, in_scratch("a.gguf"), QUANT_F32, &err));
        assert_ok(model_load(&back, in_scratch("a.gguf"), DTYPE_F32, false, &err));
        assert_ok(tensor_source_open(&source, scratch, &err));
        assert_true(source->safetensors && source->safetensors->n_maps > 1);
        for (int64_t i = 0; i < back->source->metadata.n; i++)
            assert_ok(metadata_carry(&source->metadata, &back->source->metadata.values[i], &err));
        assert_ok(model_load_source(&read, source, DTYPE_F32, false, &err));
        assert_int_equal(read->params.size, m->params.size);
        assert_memory_equal(read->params.values, m->params.values, (size_t)m->params.size * sizeof(float));
        assert_ok(model_save(read, in_scratch("b.gguf"), QUANT_F32, &err));
        model_free(read);
        assert_ok(model_load(&read, in_scratch("b.gguf"), DTYPE_F32, false, &err));
        assert_memory_equal(read->params.values, m->params.values, (size_t)m->params.size * sizeof(float));
        model_free(read);
        model_free(back);
        model_free(m);
    }
}

/* What a file of 16 or 8 bits holds is the master rounded; saving that again changes nothing. */
static void narrow_files_round_once(void **state) {
    (void)state;
    static const struct {
        enum quant_type type;
        uint32_t file_type;
        double tolerance; /* relative to the largest weight of the tensor */
    } cases[] = {{QUANT_F16, 1, 1e-3}, {QUANT_BF16, 32, 4e-3}, {QUANT_Q8_0, 7, 4e-3}};
    struct model *m = random_model(tiny_config("llama"));
    for (int i = 0; i < 3; i++) {
        opsm_error err = {0};
        struct model *once, *twice;
        uint32_t file_type;
        assert_ok(model_save(m, in_scratch("n.gguf"), cases[i].type, &err));
        assert_ok(model_load(&once, in_scratch("n.gguf"), DTYPE_F32, false, &err));
        assert_ok(metadata_get_u32(&once->source->metadata, "general.file_type", &file_type, &err));
        assert_int_equal(file_type, cases[i].file_type);
        assert_int_equal(tensor_source_find(once->source, "blk.1.ffn_up.weight")->type, cases[i].type);
        assert_int_equal(tensor_source_find(once->source, "blk.1.ffn_norm.weight")->type, QUANT_F32);
        for (int32_t t = 0; t < m->params.n_tensors; t++) {
            const float *a = m->params.values + m->params.tensors[t].offset,
                        *b = once->params.values + m->params.tensors[t].offset;
            double top = 0;
            for (int64_t j = 0; j < m->params.tensors[t].rows * m->params.tensors[t].cols; j++)
                top = fmax(top, fabs((double)a[j]));
            for (int64_t j = 0; j < m->params.tensors[t].rows * m->params.tensors[t].cols; j++)
                assert_near(b[j], a[j], m->params.tensors[t].decay ? cases[i].tolerance * top : 0);
        }
        struct model *rounded;
        assert_ok(model_clone(&rounded, m, DTYPE_F32, false, &err));
        m->version = 7;
        assert_ok(model_round(rounded, m, cases[i].type, &err));
        assert_memory_equal(rounded->params.values, once->params.values, (size_t)m->params.size * sizeof(float));
        assert_int_equal(rounded->version, 7);
        model_free(rounded);
        assert_ok(model_save(once, in_scratch("m.gguf"), cases[i].type, &err));
        assert_ok(model_load(&twice, in_scratch("m.gguf"), DTYPE_F32, false, &err));
        assert_memory_equal(once->params.values, twice->params.values, (size_t)m->params.size * sizeof(float));
        model_free(once);
        model_free(twice);
    }
    opsm_error err = {0};
    assert_int_equal(model_save(m, in_scratch("x.gguf"), QUANT_Q4_1, &err), OPSM_INVALID);
    assert_int_equal(model_round(m, m, QUANT_Q4_1, &err), OPSM_UNSUPPORTED);
    assert_false(file_exists(in_scratch("x.gguf")));
    model_free(m);
}

static void clones_are_independent(void **state) {
    (void)state;
    opsm_error err = {0};
    struct model *m = random_model(tiny_config("qwen3")), *copy;
    assert_ok(model_clone(&copy, m, DTYPE_BF16, true, &err));
    float first = m->params.values[0];
    copy->params.values[0] += 1;
    assert_true(m->params.values[0] == first);
    model_free(m); /* the clone keeps what they shared */
    assert_int_equal(tokenizer_size(copy->tokenizer), TINY_VOCAB);
    assert_ok(model_save(copy, in_scratch("clone.gguf"), QUANT_F32, &err));
    model_free(copy);
}

/* ---- hostile files ----------------------------------------------------------------------------------------------- */

/* A copy of a good file with one thing changed. */
struct change {
    const char *drop;   /* key or tensor to leave out */
    const char *key;    /* key to set */
    int64_t number;     /* to this, or */
    const char *string; /* to this */
    double real;        /* or, when neither, to this */
    const char *tensor; /* tensor to change: */
    int64_t rows, cols; /* its shape (0: as it is) */
    float poison;       /* NaN or infinity somewhere in it (0: none) */
    const char *extra;  /* tensor to add, [16] */
};

static void write_changed(const struct tensor_source *from, const char *path, const struct change *c) {
    opsm_error err = {0};
    struct gguf_writer *w;
    struct metadata m;
    assert_ok(metadata_init(&m, path, &err));
    for (int64_t i = 0; i < from->metadata.n; i++) {
        const struct metadata_value *kv = &from->metadata.values[i];
        if (c->drop && kv->key.length == strlen(c->drop) && memcmp(kv->key.data, c->drop, kv->key.length) == 0)
            continue;
        assert_ok(metadata_carry(&m, kv, &err));
    }
    if (c->key && c->string) assert_ok(metadata_set_string(&m, c->key, c->string, &err));
    if (c->key && !c->string && c->real == 0) assert_ok(metadata_set_u32(&m, c->key, (uint32_t)c->number, &err));
    if (c->key && !c->string && c->real != 0) assert_ok(metadata_set_f32(&m, c->key, (float)c->real, &err));
    assert_ok(gguf_writer_create(&w, path, &m, &err));
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t i = 0; i < from->n_tensors; i++) {
            const struct tensor_info *t = &from->tensors[i];
            if (c->drop && strcmp(t->name, c->drop) == 0) continue;
            bool changed = c->tensor && strcmp(t->name, c->tensor) == 0;
            int64_t shape[2] = {changed && c->cols ? c->cols : t->shape[0], changed && c->rows ? c->rows : t->shape[1]};
            if (pass == 0) {
                assert_ok(gguf_writer_add_tensor(w, t->name, t->n_dims, shape, QUANT_F32, &err));
                continue;
            }
            int64_t n = shape[0] * shape[1];
            float *values = mem_zalloc((size_t)(n > t->n_elements ? n : t->n_elements), sizeof *values);
            assert_ok(tensor_source_read(from, t, 0, t->n_elements, values, &err));
            if (changed && c->poison != 0) values[n / 2] = c->poison;
            assert_ok(gguf_writer_put(w, values, n, &err));
            mem_free(values);
        }
        const float zeros[16] = {0};
        if (c->extra && pass == 0)
            assert_ok(gguf_writer_add_tensor(w, c->extra, 1, (const int64_t[]){16}, QUANT_F32, &err));
        if (c->extra && pass == 1) assert_ok(gguf_writer_put(w, zeros, 16, &err));
    }
    assert_ok(gguf_writer_commit(w, &err));
    metadata_free(&m);
}

/* Loading fails with this status, and the sentence names the file and `word`. */
static void expect_refusal(const struct tensor_source *from, struct change change, opsm_status status,
                           const char *word) {
    opsm_error err = {0};
    struct model *m = NULL;
    const char *path = in_scratch("bad.gguf");
    write_changed(from, path, &change);
    opsm_status found = model_load(&m, path, DTYPE_F32, false, &err);
    if (found != status || !strstr(err.text, word))
        print_error("expected %s and '%s', found %s: %s\n", opsm_status_text(status), word, opsm_status_text(found),
                    err.text);
    assert_int_equal(found, status);
    assert_non_null(strstr(err.text, word));
    assert_null(m);
}

static struct tensor_source *good_file(const char *architecture) {
    opsm_error err = {0};
    struct tensor_source *file;
    struct model *m = random_model(tiny_config(architecture));
    assert_ok(model_save(m, in_scratch("good.gguf"), QUANT_F32, &err));
    assert_ok(tensor_source_open(&file, in_scratch("good.gguf"), &err));
    model_free(m);
    return file;
}

static void every_missing_or_misshapen_tensor_is_named(void **state) {
    (void)state;
    static const char *const kinds[] = {"llama", "qwen2", "qwen3"};
    for (int k = 0; k < 3; k++) {
        struct tensor_source *file = good_file(kinds[k]);
        for (int64_t i = 0; i < file->n_tensors; i++) {
            const struct tensor_info *t = &file->tensors[i];
            expect_refusal(file, (struct change){.drop = t->name}, OPSM_MISSING, t->name);
            expect_refusal(file, (struct change){.tensor = t->name, .cols = t->shape[0] + 16}, OPSM_FORMAT, t->name);
            if (t->n_dims == 2)
                expect_refusal(file, (struct change){.tensor = t->name, .rows = t->shape[1] - 1}, OPSM_FORMAT, t->name);
            expect_refusal(file, (struct change){.tensor = t->name, .poison = NAN}, OPSM_NONFINITE, t->name);
            expect_refusal(file, (struct change){.tensor = t->name, .poison = -INFINITY}, OPSM_NONFINITE, t->name);
        }
        tensor_source_close(file);
    }
}

static void every_missing_key_is_named(void **state) {
    (void)state;
    static const char *const needed[] = {"general.architecture",
                                         "llama.block_count",
                                         "llama.embedding_length",
                                         "llama.feed_forward_length",
                                         "llama.context_length",
                                         "llama.attention.head_count",
                                         "llama.attention.layer_norm_rms_epsilon",
                                         "tokenizer.ggml.tokens",
                                         "tokenizer.ggml.model",
                                         "tokenizer.ggml.merges"};
    struct tensor_source *file = good_file("llama");
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        expect_refusal(file, (struct change){.drop = needed[i]}, OPSM_MISSING, needed[i]);
    tensor_source_close(file);
}

static void contradictions_are_refused(void **state) {
    (void)state;
    struct tensor_source *file = good_file("llama");
    static const struct {
        const char *key;
        int64_t number;
        opsm_status status;
    } cases[] = {
        {"llama.attention.head_count", 0, OPSM_FORMAT},
        {"llama.attention.head_count_kv", 3, OPSM_FORMAT},
        {"llama.attention.head_count", 5, OPSM_FORMAT},
        {"llama.attention.head_count_kv", 0, OPSM_FORMAT},
        {"llama.attention.key_length", 15, OPSM_FORMAT},
        {"llama.attention.key_length", 32, OPSM_UNSUPPORTED},
        {"llama.attention.value_length", 8, OPSM_UNSUPPORTED},
        {"llama.block_count", 0, OPSM_FORMAT},
        {"llama.block_count", 3, OPSM_MISSING},
        {"llama.block_count", 1, OPSM_UNSUPPORTED},
        {"llama.block_count", 4294967295, OPSM_FORMAT},
        {"llama.embedding_length", 4294967295, OPSM_FORMAT},
        {"llama.embedding_length", 128, OPSM_UNSUPPORTED},
        {"llama.feed_forward_length", 0, OPSM_FORMAT},
        {"llama.feed_forward_length", 1 << 20, OPSM_FORMAT},
        {"llama.context_length", 0, OPSM_FORMAT},
        {"llama.vocab_size", TINY_VOCAB + 1, OPSM_FORMAT},
        {"llama.rope.dimension_count", 8, OPSM_UNSUPPORTED},
        {"llama.expert_count", 8, OPSM_UNSUPPORTED},
        {"llama.attention.sliding_window", 100, OPSM_UNSUPPORTED},
        {"llama.attention.causal", 0, OPSM_UNSUPPORTED},
        {"split.count", 2, OPSM_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_refusal(file, (struct change){.key = cases[i].key, .number = cases[i].number}, cases[i].status,
                       "bad.gguf");
    static const struct {
        const char *key;
        double real;
        opsm_status status;
    } reals[] = {
        {"llama.attention.layer_norm_rms_epsilon", -1e-5, OPSM_FORMAT},
        {"llama.attention.layer_norm_rms_epsilon", NAN, OPSM_FORMAT},
        {"llama.rope.freq_base", -1, OPSM_FORMAT},
        {"llama.rope.freq_base", INFINITY, OPSM_FORMAT},
        {"llama.rope.scaling.factor", -2, OPSM_FORMAT},
        {"llama.final_logit_softcapping", 30, OPSM_UNSUPPORTED},
        {"llama.logit_scale", NAN, OPSM_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++)
        expect_refusal(file, (struct change){.key = reals[i].key, .real = reals[i].real}, reals[i].status,
                       strrchr(reals[i].key, '.') + 1);
    tensor_source_close(file);
}

static void foreign_models_are_refused_by_name(void **state) {
    (void)state;
    struct tensor_source *file = good_file("llama");
    static const struct {
        const char *key, *value, *word;
    } cases[] = {
        {"general.architecture", "gemma3", "gemma3"},
        {"general.architecture", "mamba", "mamba"},
        {"general.architecture", "", "qwen3"},
        {"general.type", "adapter", "adapter"},
        {"llama.rope.scaling.type", "yarn", "yarn"},
        {"llama.rope.scaling.type", "longrope", "longrope"},
        {"tokenizer.ggml.model", "llama", "llama"},
        {"tokenizer.ggml.pre", "deepseek-coder", "deepseek-coder"},
        {"general.architecture", "\x1b[2Jevil", "?[2Jevil"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_refusal(file, (struct change){.key = cases[i].key, .string = cases[i].value}, OPSM_UNSUPPORTED,
                       cases[i].word);
    expect_refusal(file, (struct change){.extra = "blk.0.attn_output.bias"}, OPSM_UNSUPPORTED, "attn_output.bias");
    expect_refusal(file, (struct change){.extra = "blk.0.ffn_gate_exps.weight"}, OPSM_UNSUPPORTED, "ffn_gate_exps");
    tensor_source_close(file);
}

/* A window as long as the context, neutral values of settings that we lack, scaling switched off: harmless. */
static void harmless_settings_are_accepted(void **state) {
    (void)state;
    struct tensor_source *file = good_file("llama");
    static const struct change cases[] = {
        {.key = "llama.attention.sliding_window", .number = 512},
        {.key = "llama.expert_count", .number = 0},
        {.key = "llama.rope.scaling.type", .string = "none"},
        {.key = "general.type", .string = "model"},
        {.drop = "llama.rope.freq_base"},
        {.drop = "llama.vocab_size"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        opsm_error err = {0};
        struct model *m;
        write_changed(file, in_scratch("fine.gguf"), &cases[i]);
        assert_ok(model_load(&m, in_scratch("fine.gguf"), DTYPE_F32, false, &err));
        model_free(m);
    }
    tensor_source_close(file);
}

static void rope_scaling_divides_the_frequencies(void **state) {
    (void)state;
    opsm_error err = {0};
    struct tensor_source *file = good_file("llama");
    struct model *m;
    write_changed(file, in_scratch("linear.gguf"), &(struct change){.key = "llama.rope.scaling.factor", .real = 4});
    assert_ok(model_load(&m, in_scratch("linear.gguf"), DTYPE_F32, false, &err));
    for (int i = 0; i < 8; i++) assert_near(m->inv_freq[i], pow(10000.0, -i / 8.0) / 4, 1e-7);
    model_free(m);
    /* Llama 3.1: one factor per frequency. Zero factors divide by nothing. */
    expect_refusal(file, (struct change){.extra = "rope_freqs.weight"}, OPSM_FORMAT, "rope_freqs.weight");
    tensor_source_close(file);
}

/* Every allocation on the way fails once; nothing leaks (the sanitizer build looks), nothing crashes. */
static void running_out_of_memory_is_a_sentence(void **state) {
    (void)state;
    struct tensor_source *file = good_file("qwen3");
    tensor_source_close(file);
    for (int64_t nth = 1;; nth++) {
        opsm_error err = {0};
        struct model *m = NULL;
        mem_fail_at(nth);
        opsm_status status = model_load(&m, in_scratch("good.gguf"), DTYPE_F32, true, &err);
        mem_fail_at(0);
        if (status == OPSM_OK) {
            model_free(m);
            assert_true(nth > 10);
            break;
        }
        assert_int_equal(status, OPSM_NOMEM);
        assert_null(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(safetensors_are_loaded_bit_for_bit),
        cmocka_unit_test(f32_files_come_back_bit_for_bit),
        cmocka_unit_test(narrow_files_round_once),
        cmocka_unit_test(clones_are_independent),
        cmocka_unit_test(every_missing_or_misshapen_tensor_is_named),
        cmocka_unit_test(every_missing_key_is_named),
        cmocka_unit_test(contradictions_are_refused),
        cmocka_unit_test(foreign_models_are_refused_by_name),
        cmocka_unit_test(harmless_settings_are_accepted),
        cmocka_unit_test(rope_scaling_divides_the_frequencies),
        cmocka_unit_test(running_out_of_memory_is_a_sentence),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
