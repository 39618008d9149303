/* SPDX-License-Identifier: Apache-2.0
 *
 * The tokenizer against tests/golden/tokenizer.json, which holds the ids that Hugging Face tokenizers gives
 * (make_tokenizer.py), and against damaged vocabularies.
 */
#include "base/mem.h"
#include "base/rng.h"
#include "check.h"
#include "io/gguf.h"
#include "io/tensor_source.h"
#include "text/tokenizer.h"
#include "text/unicode.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const char *const kinds[] = {"gpt-2", "smollm", "llama-bpe", "qwen2"};

/* ---- the golden vocabulary --------------------------------------------------------------------------------------- */

static json_t *golden;
static struct text_view *tokens, *merges;
static int32_t *types;
static struct tokenizer_source source; /* pre is to be filled in */

static struct text_view *strings_of(const char *key, uint64_t *count) {
    const json_t *array = json_object_get(golden, key);
    *count = json_array_size(array);
    struct text_view *strings = mem_alloc(*count, sizeof *strings);
    assert_non_null(strings);
    for (size_t i = 0; i < *count; i++) {
        const json_t *item = json_array_get(array, i);
        strings[i] = (struct text_view){.data = json_string_value(item), .length = json_string_length(item)};
    }
    return strings;
}

static int load_golden(void **state) {
    (void)state;
    golden = json_load_file("tests/golden/tokenizer.json", 0, NULL);
    assert_non_null(golden);
    tokens = strings_of("tokens", &source.n_tokens);
    merges = strings_of("merges", &source.n_merges);
    types = mem_alloc(source.n_tokens, sizeof *types);
    assert_non_null(types);
    for (size_t i = 0; i < source.n_tokens; i++)
        types[i] = (int32_t)json_integer_value(json_array_get(json_object_get(golden, "types"), i));
    source.tokens = tokens;
    source.merges = merges;
    source.types = types;
    source.bos = source.eos = source.eot = -1;
    return 0;
}

static int free_golden(void **state) {
    (void)state;
    mem_free(tokens);
    mem_free(merges);
    mem_free(types);
    json_decref(golden);
    return 0;
}

static struct tokenizer *create(const char *pre) {
    opsm_error err = {0};
    struct tokenizer_source with_pre = source;
    with_pre.pre = pre;
    struct tokenizer *tokenizer;
    assert_ok(tokenizer_create(&tokenizer, &with_pre, &err));
    return tokenizer;
}

static size_t read_hex(const char *hex, char *out, size_t room) {
    size_t n = strlen(hex) / 2;
    assert_true(n < room);
    for (size_t i = 0; i < n; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        out[i] = (char)byte;
    }
    return n;
}

static void check_ids(const char *kind, const char *hex, const struct token_list *list, const char *expected) {
    char *rest = (char *)(uintptr_t)expected;
    int64_t n = 0;
    for (; *rest; n++) {
        long id = strtol(rest, &rest, 10);
        if (n < list->count && list->ids[n] == id) continue;
        print_error("%s, text %s: token %lld differs, expected %ld\n", kind, hex, (long long)n, id);
        fail();
    }
    assert_int_equal(list->count, n);
}

static void ids_equal_those_of_hugging_face(void **state) {
    (void)state;
    const json_t *cases = json_object_get(golden, "cases");
    assert_true(json_array_size(cases) >= 300);
    for (size_t k = 0; k < 4; k++) {
        struct tokenizer *tokenizer = create(kinds[k]);
        struct token_list list = {0};
        for (size_t i = 0; i < json_array_size(cases); i++) {
            const json_t *item = json_array_get(cases, i);
            const char *hex = json_string_value(json_object_get(item, "hex"));
            unsigned flags = json_is_true(json_object_get(item, "special")) ? TOKENIZER_SPECIAL : 0;
            char text[1024];
            opsm_error err = {0};
            size_t length = read_hex(hex, text, sizeof text);
            list.count = 0;
            assert_ok(tokenizer_encode(tokenizer, text, length, flags, &list, &err));
            check_ids(kinds[k], hex, &list, json_string_value(json_object_get(item, kinds[k])));
        }
        token_list_free(&list);
        tokenizer_free(tokenizer);
    }
}

/* decode(encode(x)) is x as utf8_repair leaves it: the golden vocabulary has all 256 bytes. */
static void text_comes_back(void **state) {
    (void)state;
    const json_t *cases = json_object_get(golden, "cases");
    for (size_t k = 0; k < 4; k++) {
        struct tokenizer *tokenizer = create(kinds[k]);
        struct token_list list = {0};
        for (size_t i = 0; i < json_array_size(cases); i++) {
            char text[1024];
            opsm_error err = {0};
            size_t length =
                read_hex(json_string_value(json_object_get(json_array_get(cases, i), "hex")), text, sizeof text);
            list.count = 0;
            assert_ok(tokenizer_encode(tokenizer, text, length, TOKENIZER_SPECIAL, &list, &err));
            uint8_t *expected;
            size_t expected_length, back_length;
            assert_ok(utf8_repair((const uint8_t *)text, length, &expected, &expected_length, &err));
            char *back = tokenizer_decode(tokenizer, list.ids, list.count, true, &back_length);
            assert_int_equal(back_length, expected_length);
            assert_memory_equal(back, expected, back_length);
            assert_int_equal(back[back_length], 0);
            mem_free(back);
            mem_free(expected);
        }
        token_list_free(&list);
        tokenizer_free(tokenizer);
    }
}

/* ---- long words -------------------------------------------------------------------------------------------------- */

static long rank_of(const struct text_view *left, const struct text_view *right) {
    for (uint64_t i = 0; i < source.n_merges; i++) {
        const struct text_view *rule = &merges[i];
        if (rule->length == left->length + 1 + right->length && memcmp(rule->data, left->data, left->length) == 0 &&
            rule->data[left->length] == ' ' && memcmp(rule->data + left->length + 1, right->data, right->length) == 0)
            return (long)i;
    }
    return -1;
}

/* Byte-pair encoding as its definition says, quadratic; the word is ASCII letters. Returns the number of pieces. */
static int merge_slowly(const char *word, struct text_view *pieces) {
    int n = (int)strlen(word);
    for (int i = 0; i < n; i++) pieces[i] = (struct text_view){.data = word + i, .length = 1};
    for (;;) {
        int best = -1;
        long best_rank = -1;
        for (int i = 0; i + 1 < n; i++) {
            long rank = rank_of(&pieces[i], &pieces[i + 1]);
            if (rank >= 0 && (best < 0 || rank < best_rank)) best = i, best_rank = rank;
        }
        if (best < 0) return n;
        pieces[best].length += pieces[best + 1].length;
        memmove(pieces + best + 1, pieces + best + 2, (size_t)(n - best - 2) * sizeof *pieces);
        n--;
    }
}

static void merges_follow_the_definition(void **state) {
    (void)state;
    struct tokenizer *tokenizer = create("qwen2");
    struct token_list list = {0};
    struct rng r = rng_make(2, RNG_TEST, 0, 0, 0);
    for (int round = 0; round < 60; round++) {
        enum { MOST = 120 };
        char word[MOST + 1];
        struct text_view expected[MOST];
        int length = 1 + (int)rng_below(&r, MOST);
        for (int i = 0; i < length; i++) word[i] = "etaoinshrdluem"[rng_below(&r, 14)];
        word[length] = '\0';
        int n = merge_slowly(word, expected);
        opsm_error err = {0};
        list.count = 0;
        assert_ok(tokenizer_encode(tokenizer, word, (size_t)length, 0, &list, &err));
        assert_int_equal(list.count, n);
        for (int i = 0; i < n; i++) {
            struct text_view piece = tokenizer_piece(tokenizer, list.ids[i]);
            assert_int_equal(piece.length, expected[i].length);
            assert_memory_equal(piece.data, expected[i].data, piece.length);
        }
    }
    token_list_free(&list);
    tokenizer_free(tokenizer);
}

/* One word of 1 MiB: a quadratic algorithm would need hours, and the suite has a time limit. */
static void a_huge_word_is_not_quadratic(void **state) {
    (void)state;
    struct tokenizer *tokenizer = create("gpt-2");
    size_t length = 1 << 20, back_length;
    char *word = mem_alloc(length, 1);
    assert_non_null(word);
    for (size_t i = 0; i < length; i++) word[i] = i < length / 2 ? 'a' : "etaoinshr"[i * i % 9];
    struct token_list list = {0};
    opsm_error err = {0};
    assert_ok(tokenizer_encode(tokenizer, word, length, 0, &list, &err));
    assert_true(list.count < (int64_t)length);
    char *back = tokenizer_decode(tokenizer, list.ids, list.count, false, &back_length);
    assert_int_equal(back_length, length);
    assert_memory_equal(back, word, length);
    mem_free(back);
    mem_free(word);
    token_list_free(&list);
    tokenizer_free(tokenizer);
}

/* ---- small vocabularies made by hand ----------------------------------------------------------------------------- */

enum { MOST_TOKENS = 16 };

/* Tokens a to e, then those given; types by the first character: '?' unknown, '#' control, '+' user-defined, '-' unused,
 * '=' a byte. */
static opsm_status create_small(struct tokenizer **tokenizer, const char *pre, const char *const *extra,
                                const char *const *rules, opsm_error *err) {
    struct text_view texts[MOST_TOKENS], lines[MOST_TOKENS];
    int32_t kinds_of[MOST_TOKENS];
    struct tokenizer_source small = {
        .pre = pre, .tokens = texts, .types = kinds_of, .merges = lines, .bos = 0, .eos = 1, .eot = -1};
    for (int i = 0; i < 5; i++) {
        texts[i] = (struct text_view){.data = &"abcde"[i], .length = 1};
        kinds_of[i] = 1;
    }
    uint64_t n = 5;
    for (; extra && *extra; extra++, n++) {
        const char *const marks = "?#+-="; /* of types 2 to 6 */
        const char *mark = **extra ? strchr(marks, **extra) : NULL;
        int special = mark ? (int)(mark - marks) + 2 : 0;
        const char *text = special ? *extra + 1 : *extra;
        texts[n] = (struct text_view){.data = text, .length = strlen(text)};
        kinds_of[n] = special ? special : 1;
    }
    small.n_tokens = n;
    for (; rules && *rules; rules++)
        lines[small.n_merges++] = (struct text_view){.data = *rules, .length = strlen(*rules)};
    return tokenizer_create(tokenizer, &small, err);
}

static void check_small(const struct tokenizer *tokenizer, const char *text, unsigned flags, const char *expected) {
    opsm_error err = {0};
    struct token_list list = {0};
    char ids[256] = "";
    assert_ok(tokenizer_encode(tokenizer, text, strlen(text), flags, &list, &err));
    for (int64_t i = 0; i < list.count; i++)
        snprintf(ids + strlen(ids), sizeof ids - strlen(ids), i ? " %d" : "%d", list.ids[i]);
    assert_string_equal(ids, expected);
    token_list_free(&list);
}

static void ignore_merges_takes_whole_tokens(void **state) {
    (void)state;
    const char *const extra[] = {"ab", "bc", "abc", NULL}, *const rules[] = {"b c", "a b", NULL};
    opsm_error err = {0};
    struct tokenizer *tokenizer;
    assert_ok(create_small(&tokenizer, "qwen2", extra, rules, &err));
    check_small(tokenizer, "abc", 0, "0 6");
    tokenizer_free(tokenizer);
    assert_ok(create_small(&tokenizer, "llama-bpe", extra, rules, &err));
    check_small(tokenizer, "abc", 0, "7");
    check_small(tokenizer, "abcd", 0, "0 6 3");
    tokenizer_free(tokenizer);
}

/* A byte without a token is dropped, but keeps its neighbours apart: as in llama.cpp. */
static void bytes_without_token_are_barriers(void **state) {
    (void)state;
    const char *const extra[] = {"ab", NULL}, *const rules[] = {"a b", NULL};
    opsm_error err = {0};
    struct tokenizer *tokenizer;
    assert_ok(create_small(&tokenizer, "qwen2", extra, rules, &err));
    check_small(tokenizer, "azbab", 0, "0 1 5");
    check_small(tokenizer, "zzz", 0, "");
    check_small(tokenizer, "", 0, "");
    char word[200];
    memset(word, 'z', sizeof word);
    memcpy(word, "ab", 2);
    memcpy(word + sizeof word - 3, "ab", 3);
    check_small(tokenizer, word, 0, "5 5");
    struct token_list list = {0};
    const char *const texts[] = {"azbab", "", "abe", "zzz", word};
    for (size_t i = 0; i < 5; i++)
        assert_ok(tokenizer_encode(tokenizer, texts[i], i < 4 ? strlen(texts[i]) : sizeof word - 1, 0, &list, &err));
    assert_int_equal(list.dropped, 1 + 3 + 195);
    assert_true(tokenizer_has_byte(tokenizer, 'a') && !tokenizer_has_byte(tokenizer, 'z'));
    token_list_free(&list);
    tokenizer_free(tokenizer);
}

static void special_tokens(void **state) {
    (void)state;
    const char *const extra[] = {"#<s>", "#<s><s>", "+<think>", "+ab", "#", NULL};
    opsm_error err = {0};
    struct tokenizer *tokenizer;
    assert_ok(create_small(&tokenizer, "qwen2", extra, NULL, &err));
    check_small(tokenizer, "c<s>d", TOKENIZER_SPECIAL, "2 5 3");
    check_small(tokenizer, "c<s>d", 0, "2 3"); /* < s > have no tokens here */
    check_small(tokenizer, "<s><s><s>", TOKENIZER_SPECIAL, "6 5");
    check_small(tokenizer, "<s<s>s>", TOKENIZER_SPECIAL, "5");
    check_small(tokenizer, "aab<think>e", 0, "0 8 7 4");
    assert_int_equal(tokenizer_find(tokenizer, "<s>"), 5);
    assert_int_equal(tokenizer_find(tokenizer, "c"), 2);
    assert_int_equal(tokenizer_find(tokenizer, "cc"), -1);
    assert_int_equal(tokenizer_find(tokenizer, ""), -1);
    const int32_t ids[] = {0, 5, 7, -1, 2, 1000};
    size_t length;
    char *text = tokenizer_decode(tokenizer, ids, 6, false, &length);
    assert_string_equal(text, "a<think>c");
    mem_free(text);
    text = tokenizer_decode(tokenizer, ids, 6, true, NULL);
    assert_string_equal(text, "a<s><think>c");
    mem_free(text);
    tokenizer_free(tokenizer);
}

/* Whatever type a token has: the text of several is what each adds, one after the other. */
static void every_type_of_token_has_one_text(void **state) {
    (void)state;
    const char *const extra[] = {"?<unk>", "#<s>", "+<think>",       "-<pad>",  "=<0x0A>", "=<0xC3>",
                                 "=<0x5A", "=c3",  "#<|endoftext|>", "+<0x41>", NULL};
    const char *const texts[] = {"a", "",   "c",    "d",     "e",  "", "",      "<think>",
                                 "",  "\n", "\xc3", "<0x5A", "c3", "", "<0x41>"};
    opsm_error err = {0};
    struct tokenizer *tokenizer;
    assert_ok(create_small(&tokenizer, "qwen2", extra, NULL, &err));
    char all[64] = "";
    int32_t ids[17] = {-1};
    for (int32_t id = 0; id < 15; id++) {
        struct text_view text = tokenizer_text(tokenizer, id); /* 1 is the end token, though of type normal */
        assert_int_equal(text.length, strlen(texts[id]));
        assert_memory_equal(text.data, texts[id], text.length);
        strcat(all, texts[id]);
        ids[id + 1] = id;
    }
    ids[16] = 15;
    assert_int_equal(tokenizer_text(tokenizer, -1).length + tokenizer_text(tokenizer, 15).length, 0);
    assert_int_equal(tokenizer_longest(tokenizer), strlen("<think>"));
    char *decoded = tokenizer_decode(tokenizer, ids, 17, false, NULL);
    assert_string_equal(decoded, all);
    mem_free(decoded);
    check_small(tokenizer, "a\n\xc3\x89", 0, "0 9 10"); /* 0x89 has no token */
    tokenizer_free(tokenizer);
}

static void ends_and_begins(void **state) {
    (void)state;
    const char *const extra[] = {"<|im_end|>", "#<|eot_id|>", "#<end_of_turn>", "#<|endoftext|>", NULL};
    opsm_error err = {0};
    struct tokenizer *tokenizer;
    assert_ok(create_small(&tokenizer, "smollm", extra, NULL, &err));
    assert_int_equal(tokenizer_bos(tokenizer), 0);
    assert_int_equal(tokenizer_eos(tokenizer), 1);
    assert_int_equal(tokenizer_size(tokenizer), 9);
    assert_string_equal(tokenizer_name(tokenizer), "smollm");
    for (int32_t id = -1; id < 10; id++)
        assert_int_equal(tokenizer_is_end(tokenizer, id), id == 1 || (id >= 5 && id <= 8));
    assert_int_equal(tokenizer_text(tokenizer, 5).length, 0); /* whatever type the file gave it */
    check_small(tokenizer, "a<|im_end|>", TOKENIZER_SPECIAL | TOKENIZER_BOS, "0 5");
    tokenizer_free(tokenizer);
}

static void damaged_vocabularies_get_a_sentence(void **state) {
    (void)state;
    static const struct {
        const char *pre, *extra[4], *rules[3];
        opsm_status status;
        const char *word;
    } cases[] = {
        {"gpt-4o", {NULL}, {NULL}, OPSM_UNSUPPORTED, "gpt-4o"},
        {"", {NULL}, {NULL}, OPSM_UNSUPPORTED, "gpt-2, smollm"},
        {"qwen2", {"ab", "ab", NULL}, {NULL}, OPSM_FORMAT, "tokens 5 and 6"},
        {"qwen2", {"a", NULL}, {NULL}, OPSM_FORMAT, "tokens 0 and 5"},
        {"qwen2", {"#é", "#é", NULL}, {NULL}, OPSM_FORMAT, "tokens 5 and 6"},
        {"qwen2", {"ab", NULL}, {"ab", NULL}, OPSM_FORMAT, "no space"},
        {"qwen2", {"ab", NULL}, {"", NULL}, OPSM_FORMAT, "no space"},
        {"qwen2", {"ab", NULL}, {" ", NULL}, OPSM_FORMAT, "no space"},
        {"qwen2", {"ab", NULL}, {"a ", NULL}, OPSM_FORMAT, "not in the vocabulary"},
        {"qwen2", {"ab", NULL}, {" b", NULL}, OPSM_FORMAT, "no space"},
        {"qwen2", {"ab", NULL}, {"a b", "a x", NULL}, OPSM_FORMAT, "rule 1"},
        {"qwen2", {"ab", NULL}, {"a c", NULL}, OPSM_FORMAT, "makes a piece"},
        {"qwen2", {"ab", NULL}, {"a \xff", NULL}, OPSM_FORMAT, "not in the vocabulary"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        opsm_error err = {0};
        struct tokenizer *tokenizer;
        assert_int_equal(create_small(&tokenizer, cases[i].pre, cases[i].extra, cases[i].rules, &err), cases[i].status);
        assert_null(tokenizer);
        if (!strstr(err.text, cases[i].word)) fail_msg("case %zu: '%s' does not name '%s'", i, err.text, cases[i].word);
    }
    struct tokenizer_source none = {.pre = "qwen2", .bos = -1, .eos = -1, .eot = -1};
    opsm_error err = {0};
    struct tokenizer *tokenizer;
    assert_int_equal(tokenizer_create(&tokenizer, &none, &err), OPSM_FORMAT);
    struct tokenizer_source far = source;
    far.pre = "qwen2";
    far.eos = (int32_t)source.n_tokens;
    assert_int_equal(tokenizer_create(&tokenizer, &far, &err), OPSM_FORMAT);
    assert_non_null(strstr(err.text, "eos_token_id"));
}

/* Empty tokens, malformed ones, the same rule twice: tolerated. */
static void harmless_oddities_are_tolerated(void **state) {
    (void)state;
    const char *const extra[] = {"ab", "bc", "", "\xff\xfe", "+\xff", NULL}, *const rules[] = {"a b", "b c", "a b",
                                                                                               NULL};
    opsm_error err = {0};
    struct tokenizer *tokenizer;
    assert_ok(create_small(&tokenizer, "qwen2", extra, rules, &err));
    check_small(tokenizer, "abc", 0, "5 2");
    check_small(tokenizer, "a\xff", 0, "0 9"); /* a user-defined token is found in the text as it is */
    assert_int_equal(tokenizer_piece(tokenizer, 7).length, 0);
    tokenizer_free(tokenizer);
    char far_too_long[2000] = "#";
    memset(far_too_long + 1, 'x', sizeof far_too_long - 2);
    far_too_long[sizeof far_too_long - 1] = '\0';
    const char *const one[] = {far_too_long, NULL};
    assert_int_equal(create_small(&tokenizer, "qwen2", one, NULL, &err), OPSM_FORMAT);
    assert_non_null(strstr(err.text, "1998 bytes"));
}

/* ---- from a file ------------------------------------------------------------------------------------------------- */

struct file_case {
    const char *model, *pre;
    int bos, eos; /* -1: absent */
    int add_bos;  /* -1: absent, 2: of the wrong type */
    int n_types;  /* 0: absent */
    bool tokens, rules;
    opsm_status status;
    const char *word; /* in the sentence, or the ids of "ab" */
};

static void write_file(const char *path, const struct file_case *c) {
    opsm_error err = {0};
    struct gguf_writer *writer;
    struct metadata m;
    const struct text_view texts[] = {{"a", 1}, {"b", 1}, {"ab", 2}, {"<s>", 3}}, rule = {"a b", 3};
    const int32_t type_list[] = {1, 1, 1, 3, 1};
    assert_ok(metadata_init(&m, path, &err));
    assert_ok(metadata_set_string(&m, "general.architecture", "llama", &err));
    if (c->model) assert_ok(metadata_set_string(&m, "tokenizer.ggml.model", c->model, &err));
    if (c->pre) assert_ok(metadata_set_string(&m, "tokenizer.ggml.pre", c->pre, &err));
    if (c->tokens) assert_ok(metadata_set_strings(&m, "tokenizer.ggml.tokens", texts, 4, &err));
    if (c->rules) assert_ok(metadata_set_strings(&m, "tokenizer.ggml.merges", &rule, 1, &err));
    if (c->n_types)
        assert_ok(metadata_set_i32s(&m, "tokenizer.ggml.token_type", type_list, (uint64_t)c->n_types, &err));
    if (c->bos >= 0) assert_ok(metadata_set_u32(&m, "tokenizer.ggml.bos_token_id", (uint32_t)c->bos, &err));
    if (c->eos >= 0) assert_ok(metadata_set_u32(&m, "tokenizer.ggml.eos_token_id", (uint32_t)c->eos, &err));
    if (c->add_bos == 2)
        assert_ok(metadata_set_string(&m, "tokenizer.ggml.add_bos_token", "yes", &err));
    else if (c->add_bos >= 0)
        assert_ok(metadata_set_bool(&m, "tokenizer.ggml.add_bos_token", c->add_bos, &err));
    assert_ok(gguf_writer_create(&writer, path, &m, &err));
    assert_ok(gguf_writer_commit(writer, &err));
    metadata_free(&m);
}

static void loads_from_gguf(void **state) {
    (void)state;
    static const struct file_case cases[] = {
        {"gpt2", "qwen2", 3, 3, -1, 4, true, true, OPSM_OK, "2"},
        {"gpt2", "deepseek-r1-qwen", 3, 3, 1, 4, true, true, OPSM_OK, "3 2"},
        {"gpt2", "llama-bpe", 3, 3, -1, 4, true, true, OPSM_OK, "3 2"},
        {"gpt2", "llama3", 3, 3, 0, 4, true, true, OPSM_OK, "2"},
        {"gpt2", "llama-v3", -1, -1, -1, 0, true, true, OPSM_OK, "2"},
        {NULL, "qwen2", 3, 3, -1, 4, true, true, OPSM_MISSING, "tokenizer.ggml.model"},
        {"llama", "qwen2", 3, 3, -1, 4, true, true, OPSM_UNSUPPORTED, "'llama'"},
        {"gpt2", NULL, 3, 3, -1, 4, true, true, OPSM_UNSUPPORTED, "tokenizer.ggml.pre is missing"},
        {"gpt2", "tekken", 3, 3, -1, 4, true, true, OPSM_UNSUPPORTED, "'tekken'"},
        {"gpt2", "qwen2", 4, 3, -1, 4, true, true, OPSM_FORMAT, "bos_token_id"},
        {"gpt2", "qwen2", 3, 1 << 30, -1, 4, true, true, OPSM_FORMAT, "eos_token_id"},
        {"gpt2", "qwen2", 3, 3, 2, 4, true, true, OPSM_FORMAT, "add_bos_token"},
        {"gpt2", "qwen2", 3, 3, -1, 3, true, true, OPSM_FORMAT, "3 entries"},
        {"gpt2", "qwen2", 3, 3, -1, 5, true, true, OPSM_FORMAT, "5 entries"},
        {"gpt2", "qwen2", 3, 3, -1, 4, false, true, OPSM_MISSING, "tokenizer.ggml.tokens"},
        {"gpt2", "qwen2", 3, 3, -1, 4, true, false, OPSM_MISSING, "tokenizer.ggml.merges"},
    };
    char directory[] = "/tmp/opsm_tokenizer_XXXXXX", path[64];
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/model.gguf", directory);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_file(path, &cases[i]);
        opsm_error err = {0};
        struct tensor_source *file;
        struct tokenizer *tokenizer;
        assert_ok(tensor_source_open(&file, path, &err));
        opsm_status status = tokenizer_load(&tokenizer, &file->metadata, &err);
        tensor_source_close(file);
        assert_int_equal(status, cases[i].status);
        if (status == OPSM_OK)
            check_small(tokenizer, "ab", TOKENIZER_BOS, cases[i].word);
        else if (!strstr(err.text, cases[i].word))
            fail_msg("case %zu: '%s' does not name '%s'", i, err.text, cases[i].word);
        tokenizer_free(tokenizer);
    }
    remove(path);
    remove(directory);
}

/* ---- streaming --------------------------------------------------------------------------------------------------- */

/* Feeds `text` in pieces that end at the set bits of `cuts`. */
static void stream_in_pieces(const char *text, size_t length, uint32_t cuts, char *out, size_t room) {
    struct token_stream stream = {0};
    size_t used = 0, begin = 0;
    for (size_t i = 1; i <= length; i++) {
        if (i < length && !(cuts >> (i % 32) & 1)) continue;
        used += token_stream_feed(&stream, (const uint8_t *)text + begin, i - begin, out + used, room - used);
        begin = i;
    }
    used += token_stream_end(&stream, out + used, room - used);
    out[used] = '\0';
}

/* The expectations are what Python's decoder gives with errors='replace': one U+FFFD for each maximal part that can not
 * be continued (Unicode 15, table 3-8). */
static void streams_hold_back_half_characters(void **state) {
    (void)state;
#define R "\xef\xbf\xbd"
    static const char *const cases[][2] = {
        {"plain", "plain"},
        {"\xf0\x9f\x98\x80\xe4\xbd\xa0\xc3\xa9", "\xf0\x9f\x98\x80\xe4\xbd\xa0\xc3\xa9"},
        {"a\xf1\x80\x80\xe1\x80\xc2"
         "b\x80"
         "c\x80\xbf"
         "d",
         "a" R R R "b" R "c" R R "d"},
        {"\xc0\xaf\xe0\x80\xbf\xf0\x81\x82"
         "A",
         R R R R R R R R "A"},
        {"\xed\xa0\x80\xed\xbf\xbf\xed\xaf"
         "A",
         R R R R R R R R "A"},
        {"\xf4\x91\x92\x93\xff"
         "A\x80\xbf"
         "B",
         R R R R R "A" R R "B"},
        {"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf"
         "A",
         R R R R "A"},
        {"cut \xf0\x9f\x98", "cut " R},
    };
#undef R
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t length = strlen(cases[i][0]);
        for (uint32_t cuts = 0; cuts < 1u << 12; cuts++) {
            char out[256];
            stream_in_pieces(cases[i][0], length, cuts << 1, out, sizeof out);
            assert_string_equal(out, cases[i][1]);
        }
    }
    struct token_stream stream = {0};
    char out[16];
    assert_int_equal(token_stream_feed(&stream, (const uint8_t *)"\xf0\x9f\x98", 3, out, sizeof out), 0);
    assert_int_equal(token_stream_feed(&stream, (const uint8_t *)"\x80", 1, out, 2), 0); /* no room: lost, never half */
    assert_int_equal(token_stream_end(&stream, out, sizeof out), 0);
}

/* ---- memory and threads ------------------------------------------------------------------------------------------ */

/* Every allocation fails once: OPSM_NOMEM, the list as it was, nothing leaks (the sanitizers look). */
static void out_of_memory_is_an_error(void **state) {
    (void)state;
    const char *const extra[] = {"ab", "#<s>", NULL}, *const rules[] = {"a b", NULL};
    char text[300];
    memset(text, 'b', sizeof text);
    memcpy(text, "ab\xff<s>", 6);
    int failures = 0;
    for (int nth = 1;; nth++) {
        opsm_error err = {0};
        struct tokenizer *tokenizer;
        struct token_list list = {0};
        mem_fail_at(nth);
        opsm_status status = create_small(&tokenizer, "qwen2", extra, rules, &err);
        if (status == OPSM_OK) {
            status = token_list_push(&list, 7, &err);
            if (status == OPSM_OK) {
                status = tokenizer_encode(tokenizer, text, sizeof text, TOKENIZER_SPECIAL, &list, &err);
                assert_true(status == OPSM_OK || list.count == 1);
            }
        }
        mem_fail_at(0);
        token_list_free(&list);
        tokenizer_free(tokenizer);
        if (status == OPSM_OK) break;
        assert_int_equal(status, OPSM_NOMEM);
        failures++;
    }
    assert_true(failures >= 12);
}

static void many_threads_share_one_tokenizer(void **state) {
    (void)state;
    struct tokenizer *tokenizer = create("gpt-2");
    const char *text =
        "The quick brown fox isn't 12345 years old;  \n\xf0\x9f\x98\x80 \xe4\xbd\xa0\xe5\xa5\xbd <think>";
    struct token_list expected = {0};
    opsm_error err = {0};
    assert_ok(tokenizer_encode(tokenizer, text, strlen(text), 0, &expected, &err));
    int wrong = 0;
#pragma omp parallel for num_threads(4) reduction(+ : wrong)
    for (int i = 0; i < 400; i++) {
        struct token_list list = {0};
        opsm_error own = {0};
        if (tokenizer_encode(tokenizer, text, strlen(text), 0, &list, &own) != OPSM_OK ||
            list.count != expected.count || memcmp(list.ids, expected.ids, (size_t)list.count * sizeof *list.ids) != 0)
            wrong++;
        token_list_free(&list);
    }
    assert_int_equal(wrong, 0);
    token_list_free(&expected);
    tokenizer_free(tokenizer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_equal_those_of_hugging_face),
        cmocka_unit_test(text_comes_back),
        cmocka_unit_test(merges_follow_the_definition),
        cmocka_unit_test(a_huge_word_is_not_quadratic),
        cmocka_unit_test(ignore_merges_takes_whole_tokens),
        cmocka_unit_test(bytes_without_token_are_barriers),
        cmocka_unit_test(special_tokens),
        cmocka_unit_test(every_type_of_token_has_one_text),
        cmocka_unit_test(ends_and_begins),
        cmocka_unit_test(damaged_vocabularies_get_a_sentence),
        cmocka_unit_test(harmless_oddities_are_tolerated),
        cmocka_unit_test(loads_from_gguf),
        cmocka_unit_test(streams_hold_back_half_characters),
        cmocka_unit_test(out_of_memory_is_an_error),
        cmocka_unit_test(many_threads_share_one_tokenizer),
    };
    return cmocka_run_group_tests(tests, load_golden, free_golden);
}
