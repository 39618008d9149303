/* SPDX-License-Identifier: Apache-2.0
 *
 * Resuming: the metrics file forgets what happened after the checkpoint.
 */
#include "base/file.h"
#include "base/log.h"
#include "report/metrics.h"
#include <jansson.h>
#include <string.h>

enum fate { KEEP, LATER, FAULTY };

static enum fate fate_of(const char *line, size_t length, int64_t iteration, int64_t *step) {
    json_t *row = json_loadb(line, length, JSON_ALLOW_NUL, NULL);
    const json_t *number = json_object_get(row, "iteration"), *count = json_object_get(row, "step");
    enum fate fate = FAULTY;
    if (json_is_integer(number)) fate = json_integer_value(number) <= iteration ? KEEP : LATER;
    *step = json_is_integer(count) ? json_integer_value(count) : -1;
    json_decref(row);
    return fate;
}

/* Writes the lines to keep to `out`; *changed when any is not kept. */
static void copy_kept(const struct file_map *map, const char *path, int64_t iteration, struct file_out *out,
                      int64_t *last_step, bool *changed) {
    const char *line = (const char *)map->data, *end = line + map->size;
    long long faulty = 0;
    *last_step = -1;
    while (line < end) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        int64_t step = -1;
        /* Without its newline the last line is torn, even if what is there happens to be JSON. */
        enum fate fate = newline ? fate_of(line, (size_t)(newline - line), iteration, &step) : LATER;
        const char *next = newline ? newline + 1 : end;
        if (fate == KEEP) {
            file_write(out, line, (size_t)(next - line));
            if (step > *last_step) *last_step = step;
        }
        *changed |= fate != KEEP;
        faulty += fate == FAULTY;
        line = next;
    }
    if (faulty) log_line(LOG_WARN, "%s: dropped %lld lines that are not metrics", path, faulty);
}

opsm_status metrics_truncate(const char *path, int64_t iteration, int64_t *last_step, opsm_error *err) {
    int64_t step = -1;
    if (last_step) *last_step = -1;
    if (!file_exists(path)) return OPSM_OK;
    struct file_map map;
    opsm_status status = file_map_open(&map, path, err);
    if (status != OPSM_OK || map.size == 0) return status;
    struct file_out *out;
    status = file_create(&out, path, err);
    if (status == OPSM_OK) {
        bool changed = false;
        copy_kept(&map, path, iteration, out, &step, &changed);
        if (changed)
            status = file_commit(out, err);
        else
            file_abort(out);
    }
    file_map_close(&map);
    if (last_step) *last_step = step;
    return status;
}
