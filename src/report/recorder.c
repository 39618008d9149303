/* SPDX-License-Identifier: Apache-2.0 */
#include "report/recorder.h"
#include "base/file.h"
#include "base/mem.h"

static opsm_status open_files(void *self, const char *directory, int64_t iteration, const struct sink_mark *mark,
                              opsm_error *err) {
    struct recorder *recorder = self;
    char *path = file_join(directory, "metrics.jsonl"), *board = file_join(directory, "tensorboard");
    opsm_status status = path && board ? OPSM_OK : mem_exhausted(err, "a file name", 0);
    if (status == OPSM_OK) status = metrics_open(&recorder->metrics, path, board, iteration, mark, err);
    mem_free(path);
    mem_free(board);
    return status;
}

static opsm_status write_line(void *self, const struct metrics_line *line, opsm_error *err) {
    struct recorder *recorder = self;
    opsm_status status = metrics_write(recorder->metrics, line, err);
    if (status == OPSM_OK && recorder->progress) progress_line(recorder->progress, line);
    return status;
}

static void tell_mark(const void *self, struct sink_mark *mark) {
    metrics_mark(((const struct recorder *)self)->metrics, mark);
}

struct sink recorder_sink(struct recorder *recorder) {
    return (struct sink){.self = recorder, .open = open_files, .write = write_line, .mark = tell_mark};
}

void recorder_close(struct recorder *recorder) {
    metrics_close(recorder->metrics);
    recorder->metrics = NULL;
}
