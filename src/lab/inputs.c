/* SPDX-License-Identifier: Apache-2.0 */
#include "lab/inputs.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include <string.h>

static bool is_known(const struct lab *lab, const char *path) {
    for (int32_t i = 0; i < lab->n_inputs; i++)
        if (!strcmp(lab->inputs[i].path, path)) return true;
    return false;
}

/* What is not there yet (a warm start makes it), or cannot be read, is said by the runs. */
static void add(struct lab *lab, const char *path) {
    struct file_map map;
    if (!path || is_known(lab, path) || file_map_open(&map, path, NULL) != OPSM_OK) return;
    lab->inputs[lab->n_inputs++] = (struct lab_input){path, hash_bytes(0, 0, map.data, map.size)};
    file_map_close(&map);
}

opsm_status lab_inputs_take(struct lab *lab, opsm_error *err) {
    enum { EACH = 3 };
    mem_free(lab->inputs);
    lab->n_inputs = 0;
    lab->inputs = mem_alloc((size_t)lab->n_arms * EACH, sizeof *lab->inputs);
    if (!lab->inputs) return mem_exhausted(err, "a list of files", (size_t)lab->n_arms * EACH);
    for (int32_t a = 0; a < lab->n_arms; a++) {
        const struct run_config *c = &lab->arms[a].config;
        add(lab, c->model);
        add(lab, c->data.file);
        add(lab, c->data.eval_file);
    }
    return OPSM_OK;
}
