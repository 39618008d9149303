/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "check.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char scratch[64];

static int make_scratch(void **state) {
    (void)state;
    strcpy(scratch, "/tmp/opsm-base-XXXXXX");
    return mkdtemp(scratch) ? 0 : -1;
}

static int remove_scratch(void **state) {
    (void)state;
    return file_remove_tree(scratch, NULL) == OPSM_OK ? 0 : -1;
}

/* The known answers of Random123's kat_vectors for philox4x32-10; our stream number is folded into the key, so the key
 * that gives the published one is chosen here. */
static void philox_known_answers(void **state) {
    (void)state;
    uint64_t fold = (uint64_t)RNG_TEST * 0x9E3779B97F4A7C15ull;
    uint32_t out[4];
    rng_block(fold, RNG_TEST, (const uint32_t[4]){0, 0, 0, 0}, out);
    const uint32_t zeros[4] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
    assert_memory_equal(out, zeros, sizeof zeros);
    rng_block(~fold, RNG_TEST, (const uint32_t[4]){~0u, ~0u, ~0u, ~0u}, out);
    const uint32_t ones[4] = {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
    assert_memory_equal(out, ones, sizeof ones);
}

static void rng_moments_and_ranges(void **state) {
    (void)state;
    struct rng r = rng_make(7, RNG_TEST, 1, 2, 3);
    double sum = 0, squares = 0;
    int counts[7] = {0};
    for (int i = 0; i < 70000; i++) {
        double x = rng_normal(&r);
        sum += x;
        squares += x * x;
        counts[rng_below(&r, 7)]++;
    }
    assert_near(sum / 70000, 0.0, 0.02);
    assert_near(squares / 70000, 1.0, 0.03);
    for (int i = 0; i < 7; i++) assert_near(counts[i], 10000, 500);
    int32_t items[100];
    for (int i = 0; i < 100; i++) items[i] = i;
    rng_shuffle(&r, items, 100);
    int seen[100] = {0}, moved = 0;
    for (int i = 0; i < 100; i++) {
        seen[items[i]]++;
        moved += items[i] != i;
    }
    for (int i = 0; i < 100; i++) assert_int_equal(seen[i], 1);
    assert_true(moved > 80);
}

static void memory_refuses_overflow_and_fails_on_demand(void **state) {
    (void)state;
    assert_null(mem_alloc(SIZE_MAX / 2, 3));
    mem_fail_at(2);
    void *a = mem_alloc(1, 1);
    assert_non_null(a);
    assert_null(mem_alloc(1, 1));
    void *b = mem_alloc(1, 1);
    assert_non_null(b);
    mem_fail_at(0);
    assert_int_equal((uintptr_t)a % 64, 0);
    mem_free(a);
    mem_free(b);
}

static opsm_status write_two(const char *path, const char *text, opsm_error *err) {
    struct file_out *out;
    opsm_status status = file_create(&out, path, err);
    if (status != OPSM_OK) return status;
    file_write(out, text, strlen(text));
    return file_commit(out, err);
}

/* Every write, fsync and rename fails once: the old content stays, nothing temporary is left behind. */
static void files_are_whole_or_old(void **state) {
    (void)state;
    opsm_error err = {0};
    char *path = file_join(scratch, "a file");
    assert_ok(write_two(path, "old", &err));
    int failures = 0;
    for (int nth = 1;; nth++) {
        file_fail_at(nth);
        opsm_status status = write_two(path, "new", &err);
        file_fail_at(0);
        char *data;
        size_t size;
        opsm_error read_err = {0};
        assert_int_equal(file_read(path, 100, &data, &size, &read_err), OPSM_OK);
        assert_string_equal(data, status == OPSM_OK ? "new" : "old");
        mem_free(data);
        if (status == OPSM_OK) break;
        assert_int_equal(status, OPSM_IO);
        assert_non_null(strstr(err.text, "No space left"));
        failures++;
    }
    assert_int_equal(failures, 3);
    char command[128];
    snprintf(command, sizeof command, "test $(ls -A '%s' | wc -l) -eq 1", scratch);
    assert_int_equal(system(command), 0);
    mem_free(path);
}

static void bad_paths_get_a_sentence(void **state) {
    (void)state;
    opsm_error err = {0};
    struct file_map map;
    assert_int_equal(file_map_open(&map, "/nonexistent/x", &err), OPSM_IO);
    assert_non_null(strstr(err.text, "/nonexistent/x"));
    assert_int_equal(file_map_open(&map, scratch, &err), OPSM_IO);
    char *path = file_join(scratch, "big");
    assert_ok(write_two(path, "0123456789", &err));
    char *data;
    size_t size;
    assert_int_equal(file_read(path, 5, &data, &size, &err), OPSM_FORMAT);
    mem_free(path);
}

/* The vectors of the paper: key 00 01 ... 0f, message 00 01 ... . */
static void siphash_known_answers(void **state) {
    (void)state;
    static const struct {
        size_t size;
        uint64_t hash;
    } known[] = {{0, 0x726fdb47dd0e0e31}, {1, 0x74f839c593dc67fd}, {8, 0x93f5f5799a932462}, {15, 0xa129ca6149be45e5}};
    uint8_t message[16];
    for (int i = 0; i < 16; i++) message[i] = (uint8_t)i;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        assert_int_equal(hash_bytes(0x0706050403020100, 0x0f0e0d0c0b0a0908, message, known[i].size), known[i].hash);
    uint64_t together = 0, apart = 0;
    hash_add_text(&together, "ab");
    hash_add_text(&apart, "a");
    hash_add_text(&apart, "b");
    assert_int_not_equal(together, apart);
}

/* What goes into a file that has been taken away is lost: it is said. */
static void growing_files_must_stay(void **state) {
    (void)state;
    opsm_error err = {0};
    char *path = file_join(scratch, "grows"), *other = file_join(scratch, "other");
    int fd;
    size_t written;
    assert_ok(file_append_open(&fd, path, &err));
    assert_ok(file_append(fd, path, "abc", 3, &written, &err));
    assert_int_equal(written, 3);
    assert_int_equal(rename(path, other), 0);
    assert_int_equal(file_append(fd, path, "d", 1, NULL, &err), OPSM_IO);
    assert_non_null(strstr(err.text, "removed or replaced"));
    assert_ok(write_two(path, "not the same", &err));
    assert_int_equal(file_append(fd, path, "e", 1, NULL, &err), OPSM_IO);
    close(fd);
    file_fail_at(1);
    assert_ok(file_append_open(&fd, path, &err));
    assert_int_equal(file_append(fd, path, "f", 1, &written, &err), OPSM_IO);
    file_fail_at(0);
    assert_int_equal(written, 0);
    close(fd);
    assert_int_equal(file_append_open(&fd, "/dev/null", &err), OPSM_IO);
    mem_free(path);
    mem_free(other);
}

/* A pipe is read when somebody writes to it, however late; nobody is not waited for for ever. */
static void pipes_need_a_writer(void **state) {
    (void)state;
    opsm_error err = {0};
    char *path = file_join(scratch, "pipe"), *data;
    size_t size;
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(file_read(path, 100, &data, &size, &err), OPSM_IO);
    assert_non_null(strstr(err.text, "nobody writes"));
    struct file_map map;
    assert_int_equal(file_map_open(&map, path, &err), OPSM_IO);
    char command[160];
    snprintf(command, sizeof command, "(sleep 0.2; exec >'%s'; sleep 0.2; echo late) &", path);
    assert_int_equal(system(command), 0);
    assert_ok(file_read(path, 100, &data, &size, &err));
    assert_string_equal(data, "late\n");
    mem_free(data);
    assert_int_equal(file_read("/dev/zero", 100, &data, &size, &err), OPSM_IO);
    assert_non_null(strstr(err.text, "is a device"));
    assert_int_equal(file_read(scratch, 100, &data, &size, &err), OPSM_IO);
    assert_non_null(strstr(err.text, "is a directory"));
    mem_free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_known_answers),
        cmocka_unit_test(rng_moments_and_ranges),
        cmocka_unit_test(siphash_known_answers),
        cmocka_unit_test(memory_refuses_overflow_and_fails_on_demand),
        cmocka_unit_test_setup_teardown(files_are_whole_or_old, make_scratch, remove_scratch),
        cmocka_unit_test_setup_teardown(bad_paths_get_a_sentence, make_scratch, remove_scratch),
        cmocka_unit_test_setup_teardown(growing_files_must_stay, make_scratch, remove_scratch),
        cmocka_unit_test_setup_teardown(pipes_need_a_writer, make_scratch, remove_scratch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
