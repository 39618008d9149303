/* SPDX-License-Identifier: Apache-2.0 */
#include "data/source.h"
#include "base/mem.h"
#include "data/shuffle.h"
#include <inttypes.h>

struct data_source {
    bool is_task;
    struct task_spec task;
    struct dataset dataset;
    uint64_t seed;
    const char *verifier;
};

opsm_status data_open_task(struct data_source **result, const struct task_spec *spec, opsm_error *err) {
    *result = NULL;
    opsm_status status = task_check(spec, err);
    if (status != OPSM_OK) return status;
    struct data_source *source = mem_zalloc(1, sizeof *source);
    if (!source) return mem_exhausted(err, "a data source", sizeof *source);
    *source = (struct data_source){.is_task = true, .task = *spec, .verifier = task_verifier(spec->family)};
    *result = source;
    return OPSM_OK;
}

opsm_status data_open_file(struct data_source **result, const struct dataset_spec *spec, uint64_t seed,
                           opsm_error *err) {
    *result = NULL;
    struct data_source *source = mem_zalloc(1, sizeof *source);
    if (!source) return mem_exhausted(err, "a data source", sizeof *source);
    source->seed = seed;
    opsm_status status = dataset_load(&source->dataset, spec, err);
    if (status != OPSM_OK) {
        data_close(source);
        return status;
    }
    *result = source;
    return OPSM_OK;
}

void data_close(struct data_source *source) {
    if (!source) return;
    dataset_free(&source->dataset);
    mem_free(source);
}

int64_t data_count(const struct data_source *source, enum data_split split) {
    return source->is_task ? DATA_UNLIMITED : source->dataset.count[split];
}

opsm_status data_get(const struct data_source *source, enum data_split split, int64_t index, struct problem *problem,
                     opsm_error *err) {
    *problem = (struct problem){0};
    if (source->is_task) return task_problem(&source->task, split, index, problem, err);
    int64_t count = source->dataset.count[split];
    if (count == 0)
        return opsm_fail(err, OPSM_INVALID, "the dataset has no rows for %s; see data.eval_file and train.eval_every",
                         data_split_name(split));
    if (index < 0 || (split == DATA_EVAL && index >= count))
        return opsm_fail(err, OPSM_INVALID, "the dataset has %" PRId64 " rows for %s, so there is no row %" PRId64,
                         count, data_split_name(split), index);
    int64_t row = index;
    if (split == DATA_TRAIN)
        row = (int64_t)shuffle_at(source->seed, (uint32_t)(index / count), (uint64_t)count, (uint64_t)(index % count));
    *problem = source->dataset.rows[split][row];
    problem->memory = NULL; /* a view: the dataset keeps the memory */
    return OPSM_OK;
}

opsm_status data_check(struct data_source *source, row_check *check, void *user, opsm_error *err) {
    return source->is_task ? OPSM_OK : dataset_check(&source->dataset, check, user, err);
}

int64_t data_skipped(const struct data_source *source, enum row_fault fault, const char **first) {
    const struct dataset *dataset = &source->dataset; /* all zero for a task */
    if (first) *first = dataset->first[fault].text;
    return dataset->skipped[fault];
}

const char *data_verifier(const struct data_source *source) {
    return source->verifier;
}

opsm_status data_rows(const struct data_source *source, int file, struct data_row **rows, int64_t *n, opsm_error *err) {
    return dataset_rows(&source->dataset, file, rows, n, err);
}

const struct task_spec *data_task(const struct data_source *source) {
    return source->is_task ? &source->task : NULL;
}
