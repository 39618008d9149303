/* SPDX-License-Identifier: Apache-2.0
 *
 * metrics.jsonl and the TensorBoard files beside it. The event files are decoded here by hand; that TensorBoard itself
 * reads them is checked by tests/golden/check_tensorboard.py, which keeps the files of
 * the_same_scalars_go_to_tensorboard by setting OPSM_TEST_KEEP to a directory.
 */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "check.h"
#include "report/metrics.h"
#include "report/tensorboard.h"
#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static opsm_error err;
static const struct tensorboard_end NONE = {.file = -1};
static char scratch[64], path[96], warning[500];

static int make_scratch(void **state) {
    (void)state;
    strcpy(scratch, "/tmp/opsm-metrics-XXXXXX");
    if (!mkdtemp(scratch)) return -1;
    snprintf(path, sizeof path, "%s/metrics.jsonl", scratch);
    return 0;
}

static int remove_scratch(void **state) {
    (void)state;
    return file_remove_tree(scratch, NULL) == OPSM_OK ? 0 : -1;
}

static char *content_of(const char *name) {
    static char *data; /* static: gcc 12 takes the pointer returned for one to this variable */
    size_t size;
    assert_ok(file_read(name, 1 << 24, &data, &size, &err));
    return data;
}

static void write_content(const char *content) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(content, file);
    assert_int_equal(fclose(file), 0);
}

static void lines_are_json_in_order(void **state) {
    (void)state;
    struct metrics *m;
    struct metrics_line line;
    assert_ok(metrics_open(&m, path, NULL, -1, NULL, &err));
    metrics_begin(&line, METRICS_STEP, 3, 41);
    metrics_number(&line, "loss", 0.25);
    metrics_number(&line, "third", 1.0 / 3);
    metrics_integer(&line, "tokens", 9007199254740993);
    metrics_string(&line, "note", "a \"b\"\n\xff");
    metrics_group(&line, "seconds");
    metrics_number(&line, "forward", 1.5);
    metrics_number(&line, "backward", NAN);
    metrics_group_end(&line);
    metrics_number(&line, "grad_norm", -INFINITY);
    assert_ok(metrics_write(m, &line, &err));
    metrics_begin(&line, METRICS_EVAL, 3, 41);
    metrics_group(&line, "empty");
    metrics_group(&line, "seconds"); /* groups without values leave nothing */
    assert_ok(metrics_write(m, &line, &err));
    metrics_close(m);

    char *text = content_of(path);
    char *second = strchr(text, '\n') + 1;
    assert_int_equal(second[strlen(second) - 1], '\n');
    assert_ptr_equal(strchr(second, '\n'), second + strlen(second) - 1);
    const char *rest = strstr(text, ",\"loss\"");
    assert_non_null(rest);
    assert_memory_equal(text, "{\"kind\":\"step\",\"iteration\":3,\"step\":41,\"time\":", 46);
    const char expected[] =
        ",\"loss\":0.25,\"third\":0.3333333333333333,\"tokens\":9007199254740993,"
        "\"note\":\"a \\\"b\\\"\\u000a\xef\xbf\xbd\",\"seconds\":{\"forward\":1.5,\"backward\":null},"
        "\"grad_norm\":null,\"nonfinite_keys\":[\"seconds.backward\",\"grad_norm\"]}\n";
    assert_memory_equal(rest, expected, sizeof expected - 1);
    json_t *row = json_loadb(text, (size_t)(second - text), 0, NULL);
    assert_true(json_is_object(row));
    assert_true(json_real_value(json_object_get(row, "time")) > 1.6e9);
    json_decref(row);
    row = json_loads(second, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(row, "kind")), "eval");
    assert_int_equal(json_object_size(json_object_get(row, "seconds")), 0);
    assert_null(json_object_get(row, "nonfinite_keys"));
    json_decref(row);
    mem_free(text);
}

static struct sink_mark mark_after[16]; /* each iteration of write_run */

static void write_run(const char *tensorboard, int64_t keep, int from, int to) {
    struct metrics *m;
    struct metrics_line line;
    assert_ok(metrics_open(&m, path, tensorboard, keep, keep < 0 ? NULL : &mark_after[keep], &err));
    for (int i = from; i <= to; i++) {
        for (int s = 0; s < 2; s++) {
            metrics_begin(&line, METRICS_STEP, i, 2 * i + s);
            metrics_number(&line, "loss", i + 0.1 * s);
            assert_ok(metrics_write(m, &line, &err));
        }
        metrics_begin(&line, METRICS_ITERATION, i, 2 * i + 1);
        metrics_number(&line, "reward_mean", from);
        metrics_group(&line, "seconds");
        metrics_number(&line, "rollout", 0.5);
        assert_ok(metrics_write(m, &line, &err));
        metrics_mark(m, &mark_after[i]);
    }
    metrics_close(m);
}

static int count_lines(const char *text) {
    int n = 0;
    for (; *text; text++) n += *text == '\n';
    return n;
}

/* A run that is resumed from iteration 4 leaves the lines that an undisturbed one would. */
static void resuming_forgets_later_iterations(void **state) {
    (void)state;
    write_run(NULL, -1, 0, 9);
    char *before = content_of(path);
    assert_int_equal(count_lines(before), 30);
    FILE *file = fopen(path, "ab");
    fputs("{\"kind\":\"step\",\"iteration\":2,\"lo", file); /* torn by a kill */
    fclose(file);
    int64_t last_step;
    assert_ok(metrics_truncate(path, 4, &last_step, &err));
    assert_int_equal(last_step, 9);
    char *after = content_of(path);
    assert_int_equal(count_lines(after), 15);
    assert_memory_equal(after, before, strlen(after));
    mem_free(after);
    write_run(NULL, 4, 5, 9);
    after = content_of(path);
    assert_int_equal(count_lines(after), 30);
    mem_free(after);
    write_run(NULL, -1, 0, 0); /* afresh */
    after = content_of(path);
    assert_int_equal(count_lines(after), 3);
    mem_free(after);
    mem_free(before);
}

static void keep_warning(enum log_level level, const char *line, void *user) {
    (void)user;
    if (level == LOG_WARN) snprintf(warning, sizeof warning, "%s", line);
}

static void truncating_tolerates_damage(void **state) {
    (void)state;
    const struct {
        const char *before, *after;
        int64_t last_step;
    } rows[] = {
        {"", "", -1},
        {"{\"iteration\":1,\"step\":7}\n", "{\"iteration\":1,\"step\":7}\n", 7},
        {"{\"iteration\":1}\n{\"iteration\":2}\n{\"iteration\":1}\n", "{\"iteration\":1}\n{\"iteration\":1}\n", -1},
        {"{\"iteration\":1}", "", -1}, /* no newline: torn */
        {"{\"iter\n{\"iteration\":0}\n[]\n\n", "{\"iteration\":0}\n", -1},
        {"{\"iteration\":\"1\"}\n{\"iteration\":1.0}\n", "", -1},
    };
    log_install(keep_warning, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        write_content(rows[i].before);
        int64_t last_step = 99;
        assert_ok(metrics_truncate(path, 1, &last_step, &err));
        assert_int_equal(last_step, rows[i].last_step);
        char *after = content_of(path);
        assert_string_equal(after, rows[i].after);
        mem_free(after);
    }
    log_install(NULL, NULL);
    assert_non_null(strstr(warning, "dropped 2 lines that are not metrics"));
    unlink(path);
    assert_ok(metrics_truncate(path, 1, NULL, &err));
    assert_false(file_exists(path));
}

/* Writes that fail while truncating leave the old file as it was. */
static void a_full_disk_while_truncating_changes_nothing(void **state) {
    (void)state;
    const char before[] = "{\"iteration\":1}\n{\"iteration\":2}\n";
    int failures = 0;
    for (int nth = 1;; nth++) {
        write_content(before);
        file_fail_at(nth);
        opsm_status status = metrics_truncate(path, 1, NULL, &err);
        file_fail_at(0);
        char *after = content_of(path);
        assert_string_equal(after, status == OPSM_OK ? "{\"iteration\":1}\n" : before);
        mem_free(after);
        if (status == OPSM_OK) break;
        assert_int_equal(status, OPSM_IO);
        failures++;
    }
    assert_int_equal(failures, 3);
}

/* A file size limit stands in for a full disk: it tears a line; when there is room again, all later lines are whole. */
static void a_failing_write_is_reported_and_survived(void **state) {
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    struct metrics *m;
    struct metrics_line line;
    assert_ok(metrics_open(&m, path, NULL, -1, NULL, &err));
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 400;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int failed = 0;
    for (int i = 0; i < 10; i++) {
        metrics_begin(&line, METRICS_STEP, i, i);
        metrics_number(&line, "loss", 1);
        opsm_status status = metrics_write(m, &line, &err);
        failed += status != OPSM_OK;
        if (status != OPSM_OK) assert_non_null(strstr(err.text, "metrics.jsonl': File too large"));
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_in_range(failed, 4, 7);
    for (int i = 10; i < 15; i++) {
        metrics_begin(&line, METRICS_STEP, i, i);
        assert_ok(metrics_write(m, &line, &err));
    }
    metrics_close(m);
    assert_ok(metrics_truncate(path, 100, NULL, &err));
    char *text = content_of(path);
    assert_int_equal(count_lines(text), 10 - failed + 5);
    mem_free(text);
}

/* kill -9 at any moment: what is in the file is whole lines, but for the last. */
static void a_killed_writer_tears_at_most_the_last_line(void **state) {
    (void)state;
    for (int round = 0; round < 10; round++) {
        unlink(path);
        pid_t child = fork();
        if (child == 0) {
            struct metrics *m;
            struct metrics_line line;
            if (metrics_open(&m, path, NULL, -1, NULL, NULL) != OPSM_OK) _exit(1);
            for (int i = 0;; i++) {
                metrics_begin(&line, METRICS_STEP, i, i);
                metrics_number(&line, "loss", i);
                metrics_write(m, &line, NULL);
            }
        }
        nanosleep(&(struct timespec){.tv_nsec = 3000000 + round * 700000}, NULL);
        kill(child, SIGKILL);
        int how;
        waitpid(child, &how, 0);
        assert_true(WIFSIGNALED(how));
        if (!file_exists(path)) continue;
        int64_t last_step;
        assert_ok(metrics_truncate(path, INT64_MAX, &last_step, &err));
        char *text = content_of(path);
        assert_int_equal(count_lines(text), last_step + 1); /* none is missing */
        mem_free(text);
    }
}

static void unusable_places_get_a_sentence(void **state) {
    (void)state;
    struct metrics *m;
    char missing[128];
    snprintf(missing, sizeof missing, "%s/no/such/dir.jsonl", scratch);
    assert_int_equal(metrics_open(&m, missing, NULL, -1, NULL, &err), OPSM_IO);
    assert_null(m);
    assert_non_null(strstr(err.text, "no/such/dir.jsonl"));
    assert_int_equal(metrics_open(&m, scratch, NULL, -1, NULL, &err), OPSM_IO);
    write_content("");
    assert_int_equal(metrics_open(&m, path, path, -1, NULL, &err), OPSM_IO); /* a file where the directory should be */
    assert_null(m);
}

/* ---- TensorBoard ------------------------------------------------------------------------------------------------- */

static void checksums(void **state) {
    (void)state;
    /* RFC 3720, appendix B.4, and the usual check value. */
    uint8_t bytes[32] = {0};
    assert_int_equal(crc32c("123456789", 9), 0xe3069283);
    assert_int_equal(crc32c(bytes, 32), 0x8a9136aa);
    memset(bytes, 0xff, 32);
    assert_int_equal(crc32c(bytes, 32), 0x62a8ab43);
    for (int i = 0; i < 32; i++) bytes[i] = (uint8_t)i;
    assert_int_equal(crc32c(bytes, 32), 0x46dd794e);
    assert_int_equal(crc32c("", 0), 0);
    /* (crc rotated right by 15) + 0xa282ead8, by hand: 0xe3069283 -> 0x2507c60d -> 0xc78ab0e5 */
    assert_int_equal(crc32c_masked("123456789", 9), 0xc78ab0e5);
}

static uint64_t little(const uint8_t *at, int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value |= (uint64_t)at[i] << 8 * i;
    return value;
}

static uint64_t varint(const uint8_t **at) {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
        uint8_t byte = *(*at)++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return value;
    }
}

struct scalar {
    char tag[64];
    int64_t step;
    float value;
};

struct decoded {
    char version[32];
    int64_t restart; /* -1: none */
    int n, events;
    struct scalar scalars[64];
};

static void decode_summary(const uint8_t *at, const uint8_t *end, int64_t step, struct decoded *out) {
    while (at < end) {
        assert_int_equal(*at++, 1 << 3 | 2); /* Summary.value */
        const uint8_t *stop = at + 1 + *at;  /* values are shorter than 128 bytes here */
        at++;
        struct scalar *scalar = &out->scalars[out->n++];
        assert_int_equal(*at++, 1 << 3 | 2); /* Value.tag */
        uint64_t length = varint(&at);
        memcpy(scalar->tag, at, length);
        at += length;
        assert_int_equal(*at++, 2 << 3 | 5); /* Value.simple_value */
        uint32_t bits = (uint32_t)little(at, 4);
        memcpy(&scalar->value, &bits, 4);
        at += 4;
        scalar->step = step;
        assert_ptr_equal(at, stop);
    }
}

static void decode_event(const uint8_t *at, const uint8_t *end, struct decoded *out) {
    assert_int_equal(*at++, 1 << 3 | 1); /* wall_time */
    uint64_t bits = little(at, 8);
    double time;
    memcpy(&time, &bits, 8);
    assert_true(time > 1.6e9);
    at += 8;
    assert_int_equal(*at++, 2 << 3 | 0); /* step */
    int64_t step = (int64_t)varint(&at);
    uint8_t key = *at++;
    uint64_t length = varint(&at);
    assert_ptr_equal(at + length, end);
    if (key == (3 << 3 | 2))
        memcpy(out->version, at, length);
    else if (key == (7 << 3 | 2))
        out->restart = step;
    else if (key == (5 << 3 | 2))
        decode_summary(at, end, step, out);
    else
        fail_msg("unexpected field %d", key);
    out->events++;
}

static struct decoded decode_file(const char *name) {
    struct decoded out = {.restart = -1};
    struct file_map map;
    assert_ok(file_map_open(&map, name, &err));
    const uint8_t *at = map.data, *end = at + map.size;
    while (at < end) {
        uint64_t length = little(at, 8);
        assert_true(length < (uint64_t)(end - at));
        assert_int_equal(little(at + 8, 4), crc32c_masked(at, 8));
        assert_int_equal(little(at + 12 + length, 4), crc32c_masked(at + 12, length));
        decode_event(at + 12, at + 12 + length, &out);
        at += 16 + length;
    }
    file_map_close(&map);
    return out;
}

static void find_only_file(const char *dir, char *name, size_t room, int expected) {
    int found = 0;
    DIR *handle = opendir(dir);
    assert_non_null(handle);
    for (struct dirent *entry; (entry = readdir(handle));) {
        if (strncmp(entry->d_name, "events.out.tfevents.", 20) != 0) continue;
        char full[400];
        snprintf(full, sizeof full, "%s/%s", dir, entry->d_name);
        if (found++ == 0 || strcmp(full, name) > 0) snprintf(name, room, "%s", full); /* the newest */
    }
    closedir(handle);
    assert_int_equal(found, expected);
}

static void the_same_scalars_go_to_tensorboard(void **state) {
    (void)state;
    char dir[200], name[400];
    const char *keep = getenv("OPSM_TEST_KEEP");
    snprintf(dir, sizeof dir, "%.150s/tensorboard", keep ? keep : scratch);
    write_run(dir, -1, 0, 3);
    find_only_file(dir, name, sizeof name, 1);
    struct decoded first = decode_file(name);
    assert_string_equal(first.version, "brain.Event:2");
    assert_int_equal(first.restart, 0);
    assert_int_equal(first.n, 4 * 4);
    assert_string_equal(first.scalars[1].tag, "step/loss");
    assert_int_equal(first.scalars[1].step, 1);
    assert_true(first.scalars[1].value == 0.1f);
    assert_string_equal(first.scalars[2].tag, "iteration/reward_mean");
    assert_string_equal(first.scalars[3].tag, "iteration/seconds/rollout");
    assert_true(first.scalars[3].value == 0.5f);

    /* Resumed after iteration 1, whose last step was 3, twice: the first file ends there, the second start left nothing. */
    char old[400];
    memcpy(old, name, sizeof old);
    struct sink_mark checkpoint = mark_after[1];
    write_run(dir, 1, 2, 3);
    mark_after[1] = checkpoint;
    write_run(dir, 1, 2, 2);
    first = decode_file(old);
    assert_int_equal(first.n, 2 * 4);
    assert_int_equal(first.scalars[first.n - 1].step, 3);
    find_only_file(dir, name, sizeof name, 2);
    struct decoded second = decode_file(name);
    assert_int_equal(second.restart, 4);
    assert_int_equal(second.n, 4);
    assert_int_equal(second.scalars[0].step, 4);
}

static void nonfinite_values_reach_tensorboard(void **state) {
    (void)state;
    char dir[100], name[400];
    snprintf(dir, sizeof dir, "%s/tb", scratch);
    struct tensorboard *board;
    assert_ok(tensorboard_open(&board, dir, NONE, -1, &err));
    tensorboard_scalar(board, "a", 1, NAN);
    tensorboard_scalar(board, "b", 1, 1e300);
    tensorboard_scalar(board, "c", 1000000, -2);
    assert_ok(tensorboard_flush(board, &err));
    tensorboard_close(board);
    find_only_file(dir, name, sizeof name, 1);
    struct decoded out = decode_file(name);
    assert_int_equal(out.restart, -1);
    assert_int_equal(out.events, 3); /* version, and one per step */
    assert_true(isnan(out.scalars[0].value) && isinf(out.scalars[1].value) && out.scalars[2].value == -2);
    assert_int_equal(out.scalars[2].step, 1000000);
}

static void out_of_memory_is_reported(void **state) {
    (void)state;
    char dir[100];
    snprintf(dir, sizeof dir, "%s/tb-memory", scratch);
    int failures = 0;
    for (int nth = 1;; nth++) {
        struct metrics *m;
        struct metrics_line line;
        mem_fail_at(nth);
        opsm_status status = metrics_open(&m, path, dir, -1, NULL, &err);
        if (status == OPSM_OK) {
            metrics_begin(&line, METRICS_STEP, 1, 1);
            metrics_group(&line,
                          "a long enough name to make the text grow once or twice, which is another way to fail");
            metrics_number(&line, "loss", NAN);
            metrics_number(&line, "a long enough name to make the text grow once or twice, which is another way", 1);
            status = metrics_write(m, &line, &err);
        }
        mem_fail_at(0);
        metrics_close(m);
        if (status == OPSM_OK) break;
        assert_int_equal(status, OPSM_NOMEM);
        failures++;
    }
    assert_true(failures > 12);
}

static int heard; /* lines that got through */

static opsm_status hear(void *self, const struct metrics_line *line, opsm_error *error) {
    (void)self, (void)line, (void)error;
    heard++;
    return OPSM_OK;
}

/* A value that finds no room is not lost without a word; and a run that nobody listens to goes on. */
static void a_line_has_room_for_so_many_values(void **state) {
    (void)state;
    const struct sink sink = {.write = hear};
    struct metrics_line line;
    metrics_begin(&line, METRICS_STEP, 0, 0);
    for (int i = 0; i < METRICS_VALUES_MAX; i++) metrics_number(&line, "x", i);
    assert_ok(sink_write(&sink, &line, &err));
    for (int i = 0; i < 3; i++) {
        metrics_integer(&line, "y", i);
        assert_int_equal(sink_write(&sink, &line, &err), OPSM_INTERNAL);
    }
    assert_int_equal(heard, 1);
    metrics_begin(&line, METRICS_STEP, 0, 0);
    struct sink_mark mark = {{7}};
    assert_ok(sink_open(NULL, scratch, -1, &mark, &err));
    assert_ok(sink_write(NULL, &line, &err));
    sink_mark(NULL, &mark);
    assert_int_equal(mark.words[0], 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_json_in_order),
        cmocka_unit_test(a_line_has_room_for_so_many_values),
        cmocka_unit_test(resuming_forgets_later_iterations),
        cmocka_unit_test(truncating_tolerates_damage),
        cmocka_unit_test(a_full_disk_while_truncating_changes_nothing),
        cmocka_unit_test(a_failing_write_is_reported_and_survived),
        cmocka_unit_test(a_killed_writer_tears_at_most_the_last_line),
        cmocka_unit_test(unusable_places_get_a_sentence),
        cmocka_unit_test(checksums),
        cmocka_unit_test(the_same_scalars_go_to_tensorboard),
        cmocka_unit_test(nonfinite_values_reach_tensorboard),
        cmocka_unit_test(out_of_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
