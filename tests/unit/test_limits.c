/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/limits.h"
#include "base/platform.h"
#include "base/proc.h"
#include "check.h"
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static char root[] = "/tmp/opsm-limits-XXXXXX";

static const char *at(const char *name) {
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

static void put(const char *name, const char *text) {
    char path[256], *slash;
    snprintf(path, sizeof path, "%s", at(name));
    if ((slash = strrchr(path, '/'))) {
        *slash = '\0';
        assert_int_equal(file_make_dirs(path, NULL), OPSM_OK);
    }
    FILE *out = fopen(at(name), "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

static uint64_t left(const char *membership) {
    char file[256], v1[256];
    put("membership", membership);
    snprintf(file, sizeof file, "%s", at("membership"));
    snprintf(v1, sizeof v1, "%s", at("v1"));
    return proc_control_group(file, root, v1);
}

static void control_groups_of_version_2(void **state) {
    (void)state;
    put("a/b/memory.max", "max\n");
    put("a/b/memory.current", "5000\n");
    assert_true(left("0::/a/b\n") == UINT64_MAX);
    assert_true(left("0::/\n") == UINT64_MAX);
    put("a/memory.max", "100000\n"); /* of the group above: it holds for those below */
    put("a/memory.current", "40000\n");
    assert_int_equal(left("0::/a/b\n"), 60000);
    put("a/memory.stat", "anon 1\ninactive_file 30000\nactive_file 7\n");
    assert_int_equal(left("0::/a/b\n"), 90000);
    put("a/b/memory.max", "6000\n");
    assert_int_equal(left("0::/a/b\n"), 1000);
    put("a/b/memory.current", "7000\n");
    assert_int_equal(left("0::/a/b\n"), 0);
    assert_true(left("0::/elsewhere\n") == UINT64_MAX);
    put("memory.max", "500\n"); /* inside a container the group itself is the root */
    assert_int_equal(left("0::/elsewhere\n"), 500);
    assert_true(proc_control_group("/nowhere/cgroup", root, root) == UINT64_MAX);
}

static void control_groups_of_version_1(void **state) {
    (void)state;
    put("memory.max", "max\n");
    put("v1/x/memory.limit_in_bytes", "9223372036854771712\n");
    put("v1/x/memory.usage_in_bytes", "1000\n");
    assert_true(left("5:devices:/q\n4:memory:/x\n") == UINT64_MAX);
    put("v1/x/memory.limit_in_bytes", "3000\n");
    put("v1/x/memory.stat", "inactive_file 1\ntotal_inactive_file 500\n");
    assert_int_equal(left("5:devices:/q\n4:cpu,memory:/x\n"), 2500);
}

static void the_environment_speaks_for_the_machine(void **state) {
    (void)state;
    opsm_error err = {0};
    static const char *const bad[] = {"", "lots", "3", "3XB", "-1GB", "0GB", "GB", "3GBs", "nan GB"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        setenv("OPSM_MEMORY", bad[i], 1);
        assert_int_equal(limits_check_environment(&err), OPSM_INVALID);
        assert_non_null(strstr(err.text, "expected a size"));
    }
    setenv("OPSM_MEMORY", "2.5 TB", 1);
    assert_ok(limits_check_environment(&err));
    struct limit limit = limits_memory();
    assert_near(limit.bytes + platform_memory_resident(), 2.5e12, 1e8);
    setenv("OPSM_MEMORY", "1kB", 1);
    assert_int_equal(limits_memory().bytes, 0);
    assert_int_equal(limits_check("this", 1000, 0, 0, "do that", &err), OPSM_NOMEM);
    assert_string_equal(err.text, "this needs 0.00 MB of memory, but OPSM_MEMORY leaves only 0.00 MB: do that");
    unsetenv("OPSM_MEMORY");
    assert_ok(limits_check("this", 1000, 1000, 0, "do that", &err));
    limit = limits_memory();
    assert_true(limit.bytes > 1000000);
    assert_int_equal(limits_check("this", limit.bytes * 2, 0, 0, "do that", &err), OPSM_NOMEM);
}

static void sizes_differ_where_they_are_compared(void **state) {
    (void)state;
    char size[LIMITS_SIZE_ROOM];
    assert_string_equal(limits_size(size, 716800), "0.72 MB");
    assert_string_equal(limits_size(size, 12345678), "12 MB");
    assert_string_equal(limits_size(size, 2140000000), "2.14 GB");
}

/* QEMU passes limits of stack and address space on to nobody: they would be its own. */
static void a_stack_that_is_too_small_is_refused(void **state) {
    (void)state;
    if (EMULATED) skip();
    opsm_error err = {0};
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_STACK, &before), 0);
    small = (struct rlimit){200 << 10, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_STACK, &small), 0);
    opsm_status status = limits_check_environment(&err);
    assert_int_equal(setrlimit(RLIMIT_STACK, &before), 0);
    assert_int_equal(status, OPSM_NOMEM);
    assert_non_null(strstr(err.text, "leaves a stack of 200 kB: at least 256 kB"));
    assert_ok(limits_check_environment(&err));
}

/* A sanitizer's shadow is larger than any limit that we would set. */
static bool shadowed(void) {
    unsigned long long pages = 0;
    FILE *in = fopen("/proc/self/statm", "r");
    bool known = in && fscanf(in, "%llu", &pages) == 1;
    if (in) fclose(in);
    return !known || pages > (uint64_t)1 << 23;
}

static void the_shell_limits_address_space(void **state) {
    (void)state;
    if (EMULATED || shadowed()) skip();
    opsm_error err = {0};
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    if (before.rlim_cur != RLIM_INFINITY) skip();
    assert_true(limits_address_space().bytes == UINT64_MAX);
    small = before;
    small.rlim_cur = (rlim_t)64 << 30;
    assert_int_equal(setrlimit(RLIMIT_AS, &small), 0);
    struct limit limit = limits_address_space();
    opsm_status status = limits_check("this", 1000, (uint64_t)65 << 30, 0, "do that", &err);
    bool room = platform_room(1 << 20), too_much = platform_room((uint64_t)65 << 30);
    setrlimit(RLIMIT_AS, &before);
    assert_true(limit.bytes < small.rlim_cur && limit.bytes > small.rlim_cur / 2);
    assert_int_equal(status, OPSM_NOMEM);
    assert_non_null(strstr(err.text, "of address space, but `ulimit -v` leaves only"));
    assert_true(room && !too_much);
}

static void disks_are_those_of_the_nearest_directory(void **state) {
    (void)state;
    struct limit there = limits_disk("/tmp"), below = limits_disk("/tmp/not/there/yet");
    assert_true(there.bytes != UINT64_MAX && there.bytes > 0);
    assert_near(below.bytes, there.bytes, 1e9);
    assert_true(limits_disk("not/there").bytes == limits_disk(".").bytes || limits_disk(".").bytes > 0);
    assert_true(limits_disk("not/there").bytes != UINT64_MAX);
    assert_true(limits_disk("/not/there").bytes != UINT64_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_groups_of_version_2),
        cmocka_unit_test(control_groups_of_version_1),
        cmocka_unit_test(sizes_differ_where_they_are_compared),
        cmocka_unit_test(a_stack_that_is_too_small_is_refused),
        cmocka_unit_test(the_environment_speaks_for_the_machine),
        cmocka_unit_test(the_shell_limits_address_space),
        cmocka_unit_test(disks_are_those_of_the_nearest_directory),
    };
    if (!mkdtemp(root)) return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    file_remove_tree(root, NULL);
    return failed;
}
