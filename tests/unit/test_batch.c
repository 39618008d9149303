/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "base/rng.h"
#include "check.h"
#include "io/jsonl.h"
#include "train/minibatch.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROMPTS = 5, GROUP = 3, N = PROMPTS * GROUP };

static opsm_error err;
static char path[] = "opsm-test-batch-XXXXXX";

static int32_t below(struct rng *r, int32_t n) {
    return (int32_t)rng_below(r, (uint32_t)n);
}

/* A batch with numbers in every column. */
static struct batch make_batch(bool kept, bool extra) {
    struct rng r = rng_make(4, RNG_TEST, 8, kept, extra);
    struct batch b = {.index = 77};
    int64_t prompt[PROMPTS + 1] = {0}, offset[N + 1] = {0}, total_kept = 0;
    for (int i = 0; i < PROMPTS; i++) prompt[i + 1] = prompt[i] + 1 + below(&r, 6);
    for (int i = 0; i < N; i++) offset[i + 1] = offset[i] + 1 + below(&r, 9);
    int64_t tokens = offset[N], kept_offset[N * 10 + 1];
    for (int64_t t = 0; t < tokens; t++) {
        kept_offset[t] = total_kept;
        total_kept += below(&r, 4);
    }
    kept_offset[tokens] = total_kept;
    struct rollout_sizes sizes = {PROMPTS, N, prompt[PROMPTS], tokens, kept ? total_kept : -1};
    assert_ok(rollouts_allocate(&b.rollouts, &sizes, &err));
    b.rollouts.inv_temperature = 1.25f;
    memcpy(b.rollouts.prompt_offset, prompt, sizeof prompt);
    memcpy(b.rollouts.offset, offset, sizeof offset);
    for (int64_t t = 0; t < prompt[PROMPTS]; t++) b.rollouts.prompt_tokens[t] = below(&r, 1000);
    for (int64_t t = 0; t < tokens; t++) b.rollouts.tokens[t] = below(&r, 1000);
    for (int64_t t = 0; t < tokens; t++) b.rollouts.logp[t] = -(float)rng_unit(&r);
    if (kept) memcpy(b.rollouts.kept_offset, kept_offset, ((size_t)tokens + 1) * sizeof *kept_offset);
    for (int64_t t = 0; kept && t < total_kept; t++) b.rollouts.kept[t] = below(&r, 1000);
    assert_ok(batch_add_columns(&b, extra, &err));
    for (int i = 0; i < N; i++) {
        b.rollouts.group_of[i] = i / GROUP;
        b.rollouts.finish[i] = (uint8_t)below(&r, 3);
        b.rollouts.text_length[i] = below(&r, 50);
        b.rollouts.version[i] = (uint64_t)i + 3;
        b.rollouts.reward[i] = (float)rng_unit(&r);
        b.rollouts.advantage[i] = (float)rng_normal(&r);
    }
    b.mask_truncated = extra;
    if (extra) {
        assert_ok(rollouts_add(&b.rollouts, COLUMN_logp_trainer, &err));
        for (int64_t t = 0; t < tokens; t++) b.rollouts.logp_trainer[t] = -(float)rng_unit(&r);
        assert_ok(rollouts_add(&b.rollouts, COLUMN_verdict, &err));
        for (int i = 1; i < N; i++)
            b.rollouts.verdict[i] = (opsm_sequence){.tokens = i, .drift = rng_normal(&r), .keep = i % 2};
    }
    return b;
}

static size_t bytes_of(const struct rollouts *r) {
    uint64_t there = 0;
    for (int id = 0; id < COLUMN_COUNT; id++) there |= rollouts_column(r, id) ? column_bit(id) : 0;
    struct rollout_sizes sizes = rollouts_sizes(r);
    return rollouts_bytes(&sizes, there);
}

static void save(const struct batch *b) {
    struct record_out out;
    assert_ok(record_create(&out, path, "opsmTEST", 3, &err));
    batch_write(b, &out);
    assert_ok(record_commit(&out, &err));
}

/* Not durable, as the program's files are, and a new file: what is cut and written again goes to disk at once. Tests do
 * this thousands of times. */
static void put_file(const char *bytes, size_t size) {
    assert_int_equal(unlink(path), 0);
    FILE *out = fopen(path, "wb");
    assert_true(out && fwrite(bytes, 1, size, out) == size);
    assert_int_equal(fclose(out), 0);
}

static opsm_status load(struct batch *b) {
    struct record_in in;
    opsm_status status = record_open(&in, path, "opsmTEST", 3, &err);
    if (status != OPSM_OK) return status;
    status = batch_read(b, &in, &err);
    if (status == OPSM_OK) status = record_finish(&in, &err);
    record_close(&in);
    return status;
}

static void a_saved_batch_comes_back(void **state) {
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        struct batch a = make_batch(kind & 1, kind & 2), b;
        save(&a);
        assert_ok(load(&b));
        size_t tokens = (size_t)rollouts_tokens(&a.rollouts) * sizeof(float);
        assert_int_equal(b.index, 77);
        assert_memory_equal(a.rollouts.group_of, b.rollouts.group_of, sizeof(int64_t) * N);
        assert_true(b.rollouts.inv_temperature == 1.25f);
        assert_memory_equal(a.rollouts.offset, b.rollouts.offset, sizeof(int64_t) * (N + 1));
        assert_memory_equal(a.rollouts.tokens, b.rollouts.tokens, tokens);
        assert_memory_equal(a.rollouts.logp, b.rollouts.logp, tokens);
        assert_memory_equal(a.rollouts.version, b.rollouts.version, sizeof(uint64_t) * N);
        assert_memory_equal(a.rollouts.finish, b.rollouts.finish, N);
        assert_memory_equal(a.rollouts.text_length, b.rollouts.text_length, sizeof(int32_t) * N);
        assert_memory_equal(a.rollouts.reward, b.rollouts.reward, sizeof(float) * N);
        assert_memory_equal(a.rollouts.advantage, b.rollouts.advantage, sizeof(float) * N);
        assert_int_equal(!a.rollouts.kept, !b.rollouts.kept);
        for (int64_t t = 0; t < rollouts_tokens(&a.rollouts); t++) {
            struct softmax_kept x = rollouts_kept(&a.rollouts, t), y = rollouts_kept(&b.rollouts, t);
            assert_int_equal(x.n, y.n);
            if (x.n) assert_memory_equal(x.ids, y.ids, (size_t)x.n * sizeof *x.ids);
        }
        assert_int_equal(!a.rollouts.logp_trainer, !b.rollouts.logp_trainer);
        assert_null(b.rollouts.logp_reference);
        if (a.rollouts.logp_trainer) assert_memory_equal(a.rollouts.logp_trainer, b.rollouts.logp_trainer, tokens);
        assert_int_equal(a.mask_truncated, b.mask_truncated);
        assert_int_equal(!a.rollouts.verdict, !b.rollouts.verdict);
        if (a.rollouts.verdict)
            assert_memory_equal(a.rollouts.verdict, b.rollouts.verdict, sizeof *a.rollouts.verdict * N);
        assert_int_equal(bytes_of(&a.rollouts), bytes_of(&b.rollouts));
        batch_free(&a);
        batch_free(&b);
    }
}

/* ---- every line of the table, those of tomorrow too ---- */

static void fill_column(struct rollouts *r, enum column_id id, struct rng *rng) {
    struct rollout_sizes sizes = rollouts_sizes(r);
    uint8_t *bytes = rollouts_column(r, id);
    size_t n = (size_t)column_length(id, &sizes) * rollout_columns[id].size;
    for (size_t k = 0; k < n; k++) bytes[k] = (uint8_t)below(rng, 256);
}

static bool is_place(enum column_id id) {
    return rollout_columns[id].type == COLUMN_I64 && rollout_columns[id].shape != PER_TOKEN &&
           (rollout_columns[id].shape != PER_SEQUENCE || id == COLUMN_group_of);
}

/* Groups of 1, 4, 0, 7, 3: every column that may be there or not is there where its bit of `there` is set, and every
 * column is full of bytes that nobody else has. */
static struct batch make_ragged(uint64_t there) {
    struct batch b = make_batch(true, false);
    static const int64_t group_of[N] = {0, 1, 1, 1, 1, 3, 3, 3, 3, 3, 3, 3, 4, 4, 4};
    memcpy(b.rollouts.group_of, group_of, sizeof group_of);
    struct rng rng = rng_make(5, RNG_TEST, 9, (uint32_t)there, 0);
    struct rollout_sizes sizes = rollouts_sizes(&b.rollouts);
    for (int id = 0; id < COLUMN_COUNT; id++) {
        if (!column_required(id, &sizes) && !(there & column_bit(id)))
            rollouts_drop(&b.rollouts, id);
        else
            assert_ok(rollouts_add(&b.rollouts, id, &err));
        if (rollouts_column(&b.rollouts, id) && !is_place(id)) fill_column(&b.rollouts, id, &rng);
    }
    return b;
}

static void assert_same_columns(const struct rollouts *a, const struct rollouts *b) {
    struct rollout_sizes sizes = rollouts_sizes(a);
    for (int id = 0; id < COLUMN_COUNT; id++) {
        const void *x = rollouts_column(a, id), *y = rollouts_column(b, id);
        assert_int_equal(!x, !y);
        if (x) assert_memory_equal(x, y, (size_t)column_length(id, &sizes) * rollout_columns[id].size);
    }
}

static void every_column_comes_back_or_stays_absent(void **state) {
    (void)state;
    for (int id = 0; id <= COLUMN_COUNT; id++) {
        struct batch a = make_ragged(id == COLUMN_COUNT ? UINT64_MAX : column_bit(id)), b;
        save(&a);
        assert_ok(load(&b));
        assert_same_columns(&a.rollouts, &b.rollouts);
        batch_free(&a);
        batch_free(&b);
    }
}

static void columns_are_described(void **state) {
    (void)state;
    for (int id = 0; id < COLUMN_COUNT; id++) {
        const struct column *c = &rollout_columns[id];
        assert_true(c->size > 0 && strlen(c->name) > 2 && strlen(c->writer) > 2 && strlen(c->reader) > 2);
        if (c->gathered) assert_true(c->shape == PER_TOKEN || c->shape == PER_SEQUENCE || id == COLUMN_offset);
        for (int k = 0; k < id && c->dumped; k++)
            if (rollout_columns[k].dumped) assert_string_not_equal(c->dumped, rollout_columns[k].dumped);
    }
}

static void every_failed_allocation_is_reported(void **state) {
    (void)state;
    struct batch a = make_ragged(UINT64_MAX), b = {0};
    save(&a);
    opsm_status status = OPSM_NOMEM;
    int fails = 0;
    for (int nth = 1; status != OPSM_OK; nth++) {
        mem_fail_at(nth);
        status = load(&b);
        mem_fail_at(0);
        fails += status == OPSM_NOMEM;
        for (int id = 0; id < COLUMN_COUNT && status != OPSM_OK; id++) assert_null(rollouts_column(&b.rollouts, id));
    }
    assert_true(fails >= COLUMN_COUNT);
    batch_free(&a);
    batch_free(&b);
}

/* A file whose checksum is right may still be wrong. */
static void groups_and_offsets_out_of_order_are_refused(void **state) {
    (void)state;
    for (int kind = 0; kind < 6; kind++) {
        struct batch a = make_ragged(0), b;
        struct rollouts *r = &a.rollouts;
        if (kind == 0) r->group_of[0] = -1;
        if (kind == 1) r->group_of[N - 1] = PROMPTS;
        if (kind == 2) r->group_of[5] = 0;
        if (kind == 3) r->offset[3] = r->offset[4] + 1;
        if (kind == 4) r->prompt_offset[1] = -1;
        if (kind == 5) r->kept_offset[2] = INT64_MAX;
        save(&a);
        assert_int_equal(load(&b), OPSM_FORMAT);
        assert_null(b.rollouts.offset);
        batch_free(&a);
    }
}

/* Any word of the file another, under a checksum that is right: read or refused, never out of bounds, nothing leaked. */
static void a_lying_file_is_refused(void **state) {
    (void)state;
    static const int64_t lies[] = {-1, 0, 1, (int64_t)1 << 39, INT64_MAX};
    enum { BEGIN = 24, SUM = 8, MASKED = 3, KEPT = 8 }; /* bytes around the words; words of the header */
    for (int kind = 0; kind < 2; kind++) {
        struct batch a = make_ragged(kind ? UINT64_MAX : 0), b;
        save(&a);
        char *bytes;
        size_t size;
        assert_ok(file_read(path, 1 << 20, &bytes, &size, &err));
        for (size_t word = 0; word < (size - BEGIN - SUM) / 8; word++)
            for (int k = 0; k < 5; k++) {
                int64_t *at = (int64_t *)(void *)(bytes + BEGIN + 8 * word), truth = *at;
                if (truth == lies[k]) continue;
                *at = lies[k];
                uint64_t sum = record_sum(bytes, size - SUM);
                memcpy(bytes + size - SUM, &sum, SUM);
                put_file(bytes, size);
                *at = truth;
                opsm_status status = load(&b);
                if (word == 0) assert_int_equal(status, OPSM_UNSUPPORTED);
                if (word > MASKED && word <= KEPT) assert_int_equal(status, OPSM_FORMAT);
                assert_true(status == OPSM_OK || status == OPSM_FORMAT || status == OPSM_UNSUPPORTED);
                batch_free(&b);
            }
        mem_free(bytes);
        batch_free(&a);
    }
}

static void columns_begin_with_zeros(void **state) {
    (void)state;
    struct batch b = make_ragged(0);
    for (int again = 0; again < 8; again++) { /* the allocator gives the same block back */
        assert_ok(rollouts_add(&b.rollouts, COLUMN_logp_reference, &err));
        for (int64_t t = 0; t < rollouts_tokens(&b.rollouts); t++) assert_true(b.rollouts.logp_reference[t] == 0);
        memset(b.rollouts.logp_reference, 0xff, (size_t)rollouts_tokens(&b.rollouts) * sizeof(float));
        rollouts_drop(&b.rollouts, COLUMN_logp_reference);
    }
    batch_free(&b);
}

/* Bytes changed all over, lengths cut: recognised, nothing leaked, no crash. */
static void a_damaged_file_is_recognised(void **state) {
    (void)state;
    struct batch a = make_batch(true, true), b;
    save(&a);
    char *bytes;
    size_t size;
    assert_ok(file_read(path, 1 << 20, &bytes, &size, &err));
    for (size_t at = 0; at < 2 * size; at += 31) {
        if (at < size) bytes[at] ^= (char)(1 << at % 8);
        put_file(bytes, at < size ? size : at - size);
        if (at < size) bytes[at] ^= (char)(1 << at % 8);
        opsm_status status = load(&b);
        assert_true(status == OPSM_FORMAT || (status == OPSM_UNSUPPORTED && at >= 8 && at < 16));
    }
    mem_free(bytes);
    batch_free(&a);
}

static void a_dump_has_one_line_a_sequence(void **state) {
    (void)state;
    struct batch a = make_batch(false, true);
    assert_ok(batch_dump(&a, path, &err));
    char *text;
    size_t size, lines = 0;
    assert_ok(file_read(path, 1 << 20, &text, &size, &err));
    for (size_t i = 0; i < size; i++) lines += text[i] == '\n';
    assert_int_equal(lines, N);
    json_t *row = json_loads(text, JSON_DISABLE_EOF_CHECK, NULL);
    assert_string_equal(json_object_iter_key(json_object_iter(row)), "group");
    assert_int_equal(json_integer_value(json_object_get(row, "group")), 385);
    assert_true(json_is_number(json_object_get(row, "reward")));
    assert_true(json_is_null(json_object_get(row, "logp_reference")));
    json_decref(row);
    mem_free(text);
    batch_free(&a);
}

static void assert_element(const json_t *value, const struct rollouts *r, enum column_id id, int64_t at) {
    const void *data = rollouts_column(r, id);
    switch (rollout_columns[id].type) {
    case COLUMN_F32: {
        float x = ((const float *)data)[at];
        if (isfinite(x))
            assert_true((float)json_number_value(value) == x);
        else
            assert_true(json_is_null(value));
        break;
    }
    case COLUMN_U8:
        assert_int_equal(json_integer_value(value), ((const uint8_t *)data)[at]);
        break;
    case COLUMN_I32:
        assert_int_equal(json_integer_value(value), ((const int32_t *)data)[at]);
        break;
    case COLUMN_RECORD:
        assert_true(json_is_null(value));
        break;
    default:
        assert_int_equal(json_integer_value(value), ((const int64_t *)data)[at]);
    }
}

/* One line of a dump against the columns: prompts first, and in the mask what reaches the loss. */
static void assert_line(const json_t *row, const struct batch *b, int32_t i) {
    const struct rollouts *r = &b->rollouts;
    int64_t first = r->offset[i], n = r->offset[i + 1] - first, prompt = r->prompt_offset[r->group_of[i]];
    int64_t lead = r->prompt_offset[r->group_of[i] + 1] - prompt;
    for (int id = 0; id < COLUMN_COUNT; id++) {
        const struct column *c = &rollout_columns[id];
        if (!c->dumped) continue;
        const json_t *value = json_object_get(row, c->dumped);
        assert_non_null(value);
        if (id == COLUMN_group_of)
            assert_int_equal(json_integer_value(value), b->index * PROMPTS + r->group_of[i]);
        else if (id == COLUMN_finish)
            assert_string_equal(json_string_value(value), finish_name(r->finish[i]));
        else if (id != COLUMN_mask && !rollouts_column(r, id))
            assert_true(json_is_null(value));
        else if (c->shape == PER_SEQUENCE)
            assert_element(value, r, id, i);
        else
            assert_int_equal(json_array_size(value), lead + n);
        for (int64_t t = 0; json_is_array(value) && t < lead + n; t++) {
            const json_t *element = json_array_get(value, (size_t)t);
            bool model_wrote = t >= lead && (!r->mask || r->mask[first + t - lead]);
            bool cut_off = b->mask_truncated && r->finish[i] == FINISH_LENGTH;
            if (id == COLUMN_mask)
                assert_int_equal(json_integer_value(element), model_wrote && !cut_off);
            else if (t < lead)
                assert_int_equal(json_integer_value(element), id == COLUMN_tokens ? r->prompt_tokens[prompt + t] : 0);
            else
                assert_element(element, r, id, first + t - lead);
        }
    }
}

static void a_dump_says_what_the_columns_say(void **state) {
    (void)state;
    for (int kind = 0; kind < 8; kind++) {
        struct batch b = make_ragged(column_bit(COLUMN_logp_current) | (kind & 1 ? UINT64_MAX : 0));
        rollouts_drop(&b.rollouts, COLUMN_unjudged); /* what is set aside is in no dump */
        if (!(kind & 2)) rollouts_drop(&b.rollouts, COLUMN_mask);
        b.mask_truncated = kind & 4;
        for (int64_t t = 0; b.rollouts.mask && t < b.rollouts.offset[N]; t++) b.rollouts.mask[t] = t % 3 != 0;
        for (int i = 0; i < N; i++) b.rollouts.finish[i] = (uint8_t)(i % 3);
        assert_ok(batch_dump(&b, path, &err));
        struct jsonl *lines;
        json_t *row;
        assert_ok(jsonl_open(&lines, path, 1 << 20, &err));
        for (int32_t i = 0; i < N; i++) {
            assert_ok(jsonl_next(lines, &row, &err));
            assert_non_null(row);
            assert_line(row, &b, i);
            json_decref(row);
        }
        jsonl_close(lines);
        batch_free(&b);
    }
}

/* ---- minibatches ---- */

static void cut(const struct batch *b, uint64_t seed, int epoch, int count, int32_t *ids, int32_t *begin) {
    int32_t scratch[N];
    minibatch_cut(b, seed, epoch, count, ids, begin, scratch);
}

static void minibatches_partition_the_batch(void **state) {
    (void)state;
    struct batch b = make_batch(false, false);
    for (int count = 1; count <= N; count++) {
        int32_t ids[N], begin[N + 1], seen[N] = {0}, smallest = N, largest = 0;
        cut(&b, 1, 0, count, ids, begin);
        assert_int_equal(begin[0], 0);
        assert_int_equal(begin[count], N);
        for (int m = 0; m < count; m++) {
            int32_t n = begin[m + 1] - begin[m];
            smallest = n < smallest ? n : smallest;
            largest = n > largest ? n : largest;
            for (int32_t i = begin[m]; i < begin[m + 1]; i++) {
                seen[ids[i]]++;
                if (i > begin[m]) assert_true(ids[i] > ids[i - 1]); /* members of a group side by side */
                bool whole = count <= PROMPTS;
                if (whole && ids[i] % GROUP) assert_int_equal(ids[i - 1], ids[i] - 1);
            }
        }
        for (int i = 0; i < N; i++) assert_int_equal(seen[i], 1);
        assert_true(smallest >= 1 && largest - smallest <= (count <= PROMPTS ? GROUP : 1));
    }
    batch_free(&b);
}

static void minibatches_follow_from_seed_batch_and_epoch(void **state) {
    (void)state;
    struct batch b = make_batch(false, false);
    int32_t first[N], again[N], other[N], begin[N + 1];
    cut(&b, 1, 0, N, first, begin);
    cut(&b, 1, 0, N, again, begin);
    assert_memory_equal(first, again, sizeof first);
    cut(&b, 2, 0, N, other, begin);
    assert_memory_not_equal(first, other, sizeof first);
    cut(&b, 1, 1, N, other, begin);
    assert_memory_not_equal(first, other, sizeof first);
    b.index++;
    cut(&b, 1, 0, N, other, begin);
    assert_memory_not_equal(first, other, sizeof first);
    batch_free(&b);
}

static void gathered_columns_are_the_batchs(void **state) {
    (void)state;
    struct batch b = make_batch(false, true);
    struct minibatch mb = {0};
    const int32_t ids[] = {2, 3, 11};
    assert_ok(minibatch_gather(&mb, &b, ids, 3, 20, &err));
    for (int i = 0; i < 3; i++) {
        int64_t first = b.rollouts.offset[ids[i]], n = b.rollouts.offset[ids[i] + 1] - first;
        assert_int_equal(mb.rollouts.offset[i + 1] - mb.rollouts.offset[i], n);
        assert_memory_equal(mb.rollouts.logp + mb.rollouts.offset[i], b.rollouts.logp + first,
                            (size_t)n * sizeof(float));
        assert_memory_equal(mb.rollouts.logp_trainer + mb.rollouts.offset[i], b.rollouts.logp_trainer + first,
                            (size_t)n * sizeof(float));
        assert_true(isnan(mb.entropy[mb.rollouts.offset[i]]));
        assert_int_equal(mb.lag[i], 20 - (ids[i] + 3));
        assert_int_equal(mb.rollouts.group_of[i], ids[i] / GROUP);
    }
    minibatch_free(&mb);
    batch_free(&b);
}

/* Whole groups of any size, each once, none cut, as long as there are as many as minibatches. */
static void groups_of_any_size_are_dealt_whole(void **state) {
    (void)state;
    struct batch b = make_ragged(UINT64_MAX ^ column_bit(COLUMN_unjudged));
    const int64_t *group_of = b.rollouts.group_of;
    for (int count = 1; count <= N; count++) {
        int32_t ids[N], begin[N + 1], seen[N] = {0};
        cut(&b, 3, 0, count, ids, begin);
        assert_int_equal(begin[0], 0);
        assert_int_equal(begin[count], N);
        for (int i = 0; i < N; i++) seen[ids[i]]++;
        for (int i = 0; i < N; i++) assert_int_equal(seen[i], 1);
        for (int m = 0; m < count; m++) {
            assert_true(begin[m] < begin[m + 1]);
            if (count > 4 || begin[m] == 0) continue; /* group 2 has no members */
            assert_true(group_of[ids[begin[m]]] != group_of[ids[begin[m] - 1]]);
        }
    }
    batch_free(&b);
}

static void every_gathered_column_is_the_batchs(void **state) {
    (void)state;
    const int32_t ids[] = {1, 4, 0, 13};
    struct minibatch mb = {0};
    for (int absent = 0; absent <= COLUMN_COUNT; absent++) {
        /* the same minibatch: columns come and go */
        struct batch b = make_ragged(UINT64_MAX ^ (absent < COLUMN_COUNT ? column_bit(absent) : 0));
        rollouts_drop(&b.rollouts, COLUMN_unjudged);
        if (!b.rollouts.advantage) assert_ok(rollouts_add(&b.rollouts, COLUMN_advantage, &err));
        assert_ok(minibatch_gather(&mb, &b, ids, 4, 20, &err));
        for (int id = 0; id < COLUMN_COUNT; id++) {
            const struct column *c = &rollout_columns[id];
            const uint8_t *from = rollouts_column(&b.rollouts, id), *to = rollouts_column(&mb.rollouts, id);
            assert_int_equal(to != NULL, c->gathered && from);
            for (int i = 0; to && i < 4 && id != COLUMN_offset; i++) {
                bool token = c->shape == PER_TOKEN;
                int64_t first = token ? b.rollouts.offset[ids[i]] : ids[i], at = token ? mb.rollouts.offset[i] : i;
                int64_t n = token ? b.rollouts.offset[ids[i] + 1] - first : 1;
                assert_memory_equal(to + at * (int64_t)c->size, from + first * (int64_t)c->size, (size_t)n * c->size);
            }
        }
        opsm_batch view = minibatch_view(&mb, 0);
        assert_int_equal(view.mask != NULL, b.rollouts.mask != NULL);
        for (int i = 0; b.rollouts.mask && i < 4; i++)
            for (int64_t t = mb.rollouts.offset[i]; t < mb.rollouts.offset[i + 1]; t++)
                assert_int_equal(view.mask[t],
                                 b.rollouts.mask[b.rollouts.offset[ids[i]] + t - mb.rollouts.offset[i]] != 0);
        batch_free(&b);
    }
    minibatch_free(&mb);
}

static int make_path(void **state) {
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? 1 : close(fd);
}

static int remove_path(void **state) {
    (void)state;
    return unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_saved_batch_comes_back),
        cmocka_unit_test(every_column_comes_back_or_stays_absent),
        cmocka_unit_test(columns_are_described),
        cmocka_unit_test(every_failed_allocation_is_reported),
        cmocka_unit_test(groups_and_offsets_out_of_order_are_refused),
        cmocka_unit_test(a_lying_file_is_refused),
        cmocka_unit_test(columns_begin_with_zeros),
        cmocka_unit_test(a_damaged_file_is_recognised),
        cmocka_unit_test(a_dump_has_one_line_a_sequence),
        cmocka_unit_test(a_dump_says_what_the_columns_say),
        cmocka_unit_test(minibatches_partition_the_batch),
        cmocka_unit_test(minibatches_follow_from_seed_batch_and_epoch),
        cmocka_unit_test(gathered_columns_are_the_batchs),
        cmocka_unit_test(groups_of_any_size_are_dealt_whole),
        cmocka_unit_test(every_gathered_column_is_the_batchs),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
