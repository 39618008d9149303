/* SPDX-License-Identifier: Apache-2.0 */
#include "lab/lab.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "lab/result.h"
#include "report/html.h"
#include <string.h>

static void print_results(const struct lab *lab) {
    struct text out = {0};
    text_printf(&out,
                "final: mean reward of the last %d of %d rounds of %d optimiser steps; worst: lowest round after "
                "the first third\n\n",
                lab_final_rounds(lab), lab->rounds, lab->steps_per_round);
    lab_table(lab, &out);
    text_puts(&out, "\n");
    lab_verdict(lab, &out);
    text_printf(&out, "\n\n%s/lab.json\n", lab->base.output);
    if (!out.failed) fputs(out.data, stdout);
    text_free(&out);
}

/* LAB/report.html; its path is the last line. */
static opsm_status write_report(const struct lab *lab, opsm_error *err) {
    char *path = file_join(lab->base.output, "report.html");
    if (!path) return mem_exhausted(err, "a file name", 0);
    const char *const paths[] = {lab->base.output};
    opsm_status status = report_write(paths, 1, path, err);
    if (status == OPSM_OK) puts(path);
    mem_free(path);
    return status;
}

static bool any_done(const struct lab *lab) {
    for (int32_t a = 0; a < lab->n_arms; a++)
        if (lab->arms[a].done > 0) return true;
    return false;
}

/* No run finished: a failure. An arm that breaks its promise: likewise. */
static int exit_code(const struct lab *lab) {
    opsm_error err = {0};
    fflush(stdout); /* the table comes before what is said about it */
    if (!any_done(lab)) {
        fprintf(stderr, "opsm: no run got to its end\n");
        return 1;
    }
    if (lab_expectations_met(lab, &err)) return 0;
    fprintf(stderr, "opsm: %s\n", err.text);
    return 1;
}

int cmd_lab(int argc, char **argv) {
    cli_outlive_readers();
    log_install_phase(NULL, NULL); /* the laboratory has a status line of its own */
    int code = options_none(&argc, argv);
    if (code) return code;
    if (argc < 2) return cli_usage(argv[0], "the file of a laboratory is needed");
    opsm_error err = {0};
    struct lab lab;
    opsm_status status = lab_load(&lab, argv[1], (const char *const *)argv + 2, argc - 2, &err);
    if (status != OPSM_OK) return cli_fail(status, &err);
    struct lab_options options = {.interrupt = cli_catch_signals(),
                                  .progress = cli_log_level() >= LOG_WARN ? NULL : stderr,
                                  .program = cli_program()};
    status = options.program ? lab_run(&lab, &options, &err)
                             : opsm_fail(&err, OPSM_IO, "cannot tell which file this program is: start it by its path");
    if (status == OPSM_OK || (status == OPSM_INTERRUPTED && any_done(&lab))) print_results(&lab);
    if (status == OPSM_OK && any_done(&lab)) status = write_report(&lab, &err);
    code = status == OPSM_OK ? exit_code(&lab) : cli_fail(status, &err);
    lab_free(&lab);
    return code;
}
