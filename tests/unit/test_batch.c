/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "base/rng.h"
#include "check.h"
#include "train/minibatch.h"
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
    assert_ok(rollouts_allocate(&b.rollouts, PROMPTS, GROUP, prompt[PROMPTS], tokens, kept ? total_kept : -1, &err));
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
        b.rollouts.finish[i] = (uint8_t)below(&r, 3);
        b.rollouts.text_length[i] = below(&r, 50);
        b.rollouts.version[i] = (uint64_t)i + 3;
        b.reward[i] = (float)rng_unit(&r);
        b.advantage[i] = (float)rng_normal(&r);
    }
    b.mask_truncated = extra;
    if (extra) {
        b.logp_trainer = mem_alloc((size_t)tokens, sizeof(float));
        for (int64_t t = 0; t < tokens; t++) b.logp_trainer[t] = -(float)rng_unit(&r);
        assert_ok(batch_add_verdicts(&b, &err));
        for (int i = 1; i < N; i++) b.verdict[i] = (opsm_sequence){.tokens = i, .drift = rng_normal(&r), .keep = i % 2};
    }
    return b;
}

static void save(const struct batch *b) {
    struct record_out out;
    assert_ok(record_create(&out, path, "opsmTEST", 3, &err));
    batch_write(b, &out);
    assert_ok(record_commit(&out, &err));
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
        assert_int_equal(b.rollouts.group, GROUP);
        assert_true(b.rollouts.inv_temperature == 1.25f);
        assert_memory_equal(a.rollouts.offset, b.rollouts.offset, sizeof(int64_t) * (N + 1));
        assert_memory_equal(a.rollouts.tokens, b.rollouts.tokens, tokens);
        assert_memory_equal(a.rollouts.logp, b.rollouts.logp, tokens);
        assert_memory_equal(a.rollouts.version, b.rollouts.version, sizeof(uint64_t) * N);
        assert_memory_equal(a.rollouts.finish, b.rollouts.finish, N);
        assert_memory_equal(a.rollouts.text_length, b.rollouts.text_length, sizeof(int32_t) * N);
        assert_memory_equal(a.reward, b.reward, sizeof(float) * N);
        assert_memory_equal(a.advantage, b.advantage, sizeof(float) * N);
        assert_int_equal(!a.rollouts.kept, !b.rollouts.kept);
        for (int64_t t = 0; t < rollouts_tokens(&a.rollouts); t++) {
            struct softmax_kept x = rollouts_kept(&a.rollouts, t), y = rollouts_kept(&b.rollouts, t);
            assert_int_equal(x.n, y.n);
            if (x.n) assert_memory_equal(x.ids, y.ids, (size_t)x.n * sizeof *x.ids);
        }
        assert_int_equal(!a.logp_trainer, !b.logp_trainer);
        assert_null(b.logp_reference);
        if (a.logp_trainer) assert_memory_equal(a.logp_trainer, b.logp_trainer, tokens);
        assert_int_equal(a.mask_truncated, b.mask_truncated);
        assert_int_equal(!a.verdict, !b.verdict);
        if (a.verdict) assert_memory_equal(a.verdict, b.verdict, sizeof *a.verdict * N);
        assert_int_equal(batch_bytes(&a), batch_bytes(&b));
        batch_free(&a);
        batch_free(&b);
    }
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
        struct file_out *out;
        assert_ok(file_create(&out, path, &err));
        if (at < size) bytes[at] ^= (char)(1 << at % 8);
        file_write(out, bytes, at < size ? size : at - size);
        if (at < size) bytes[at] ^= (char)(1 << at % 8);
        assert_ok(file_commit(out, &err));
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
    assert_non_null(strstr(text, "{\"group\":385,\"reward\":"));
    assert_non_null(strstr(text, "\"logp_reference\":null"));
    mem_free(text);
    batch_free(&a);
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
        assert_int_equal(mb.offset[i + 1] - mb.offset[i], n);
        assert_memory_equal(mb.behavior + mb.offset[i], b.rollouts.logp + first, (size_t)n * sizeof(float));
        assert_memory_equal(mb.trainer + mb.offset[i], b.logp_trainer + first, (size_t)n * sizeof(float));
        assert_true(isnan(mb.entropy[mb.offset[i]]));
        assert_int_equal(mb.lag[i], 20 - (ids[i] + 3));
        assert_int_equal(mb.groups[i], ids[i] / GROUP);
    }
    minibatch_free(&mb);
    batch_free(&b);
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
        cmocka_unit_test(a_damaged_file_is_recognised),
        cmocka_unit_test(a_dump_has_one_line_a_sequence),
        cmocka_unit_test(minibatches_partition_the_batch),
        cmocka_unit_test(minibatches_follow_from_seed_batch_and_epoch),
        cmocka_unit_test(gathered_columns_are_the_batchs),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
