/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer target of the JSON lines reader. The first byte chooses the line limit; any bytes give objects and errors
 * with line numbers that rise and do not exceed the number of lines, and the reader comes to an end.
 */
#include "io/jsonl.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition, const char *what) {
    if (condition) return;
    fprintf(stderr, "broken promise: %s\n", what);
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    size_t limit = data[0] < 128 ? (size_t)data[0] + 1 : (size_t)1 << 20;
    int64_t n_lines = 1;
    for (size_t i = 1; i < size; i++) n_lines += data[i] == '\n';
    opsm_error err = {0};
    struct jsonl *lines;
    require(jsonl_open_memory(&lines, data + 1, size - 1, "fuzz", limit, &err) == OPSM_OK, "memory opens");
    int64_t before = 0;
    for (int64_t calls = 0;; calls++) {
        require(calls <= n_lines, "the reader comes to an end");
        json_t *row;
        opsm_status status = jsonl_next(lines, &row, &err);
        if (status == OPSM_OK && !row) break;
        require(jsonl_line(lines) > before && jsonl_line(lines) <= n_lines, "line numbers rise");
        before = jsonl_line(lines);
        require(status == OPSM_OK || (status == OPSM_FORMAT && strncmp(err.text, "'fuzz', line ", 13) == 0),
                "an error names the line");
        require((status == OPSM_OK) == json_is_object(row), "rows are objects");
        json_decref(row);
        if (strstr(err.text, "longer than")) break;
    }
    jsonl_close(lines);
    return 0;
}
