/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer target of `opsm audit`: the first byte chooses the objective, the others are a file of rollouts. Any bytes
 * give a sentence, or one JSON object with a record for every row, and a doctor that contradicts no count.
 */
#include "audit/audit.h"
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition, const char *what) {
    if (condition) return;
    fprintf(stderr, "broken promise: %s\n", what);
    abort();
}

static void choose_objective(opsm_objective *config, uint8_t byte) {
    static const char *const keys[][2] = {{"mask.policy", "auto"}, {"mask.rule", "none"},     {"surrogate.name", "dpo"},
                                          {"advantage", "batch"},  {"mask.estimator", "abs"}, {"advantage", "grpo"},
                                          {"denominator", "kept"}, {"mask.sign", "token"}};
    opsm_objective_defaults(config);
    for (int k = 0; k < 8; k++)
        if (byte >> k & 1)
            require(opsm_objective_set(config, keys[k][0], keys[k][1], NULL) == OPSM_OK, "keys are known");
}

static void check_findings(const json_t *result) {
    const json_t *findings = json_object_get(result, "findings"), *finding;
    size_t k;
    require(json_is_array(findings), "there are findings, none perhaps");
    json_array_foreach(findings, k, finding) {
        json_int_t count = json_integer_value(json_object_get(finding, "count"));
        json_int_t of = json_integer_value(json_object_get(finding, "of"));
        require(count > 0 && count <= of, "a finding counts some of what there is");
        require(json_string_length(json_object_get(finding, "sentence")) > 20, "a finding has a sentence");
        require(json_string_length(json_object_get(finding, "advice")) > 20, "a finding has advice");
    }
}

static void check_output(FILE *out, opsm_status status) {
    long length = ftell(out);
    rewind(out);
    if (status != OPSM_OK && length == 0) return;
    json_error_t where;
    json_t *result = json_loadf(out, 0, &where);
    require(json_is_object(result), "the output is one JSON object");
    check_findings(result);
    require((json_object_get(result, "error") != NULL) == (status != OPSM_OK), "a failure is said in the output");
    require(json_array_size(json_object_get(result, "sequences")) > 0 || status != OPSM_OK, "there are records");
    json_decref(result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int fd = -1;
    static char path[64];
    if (size == 0) return 0;
    if (fd < 0) {
        fd = memfd_create("rollouts", MFD_CLOEXEC);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    require(fd >= 0 && ftruncate(fd, 0) == 0 && pwrite(fd, data + 1, size - 1, 0) == (ssize_t)(size - 1), "a file");
    struct audit_options *options = calloc(1, sizeof *options);
    require(options != NULL, "memory");
    choose_objective(&options->config, data[0]);
    options->path = path;
    options->name = "fuzz";
    options->json = options->gradient = true;
    options->deltas[options->n_deltas++] = 0.1;
    opsm_error err = {0};
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    require(out != NULL, "memory");
    opsm_status status = audit_run(options, out, &err);
    require(status == OPSM_OK || (err.text[0] && !strchr(err.text, '\n')), "a failure is one sentence");
    fflush(out);
    FILE *in = length ? fmemopen(text, length, "r") : NULL;
    if (in) {
        fseek(in, 0, SEEK_END);
        check_output(in, status);
        fclose(in);
    }
    fclose(out);
    free(text);
    options->json = false;
    out = fopen("/dev/null", "w");
    require(out && audit_run(options, out, &err) == status, "text and JSON agree");
    fclose(out);
    free(options);
    return 0;
}
