/* SPDX-License-Identifier: Apache-2.0
 *
 * opsm report: runs and laboratories as one HTML page.
 */
#include "cli/cli.h"
#include "cli/options.h"
#include "report/html.h"
#include <stdio.h>
#include <string.h>

enum { PATHS_MAX = 64 };

int cmd_report(int argc, char **argv) {
    cli_outlive_readers();
    static const char *const names[] = {"-o", "--output"};
    const char *paths[PATHS_MAX], *out = NULL;
    int n = 0;
    bool options = true;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (options && !strcmp(word, "--")) {
            options = false;
        } else if (options && (!strcmp(word, "-o") || !strcmp(word, "--output"))) {
            if (out) return cli_usage("report", "%s is given twice", word);
            if (++i == argc) return cli_usage("report", "%s needs the name of a file", word);
            out = argv[i];
            if (!*out) return cli_usage("report", "%s needs the name of a file", word);
        } else if (options && word[0] == '-') {
            return options_unknown("report", word, names, sizeof names / sizeof *names);
        } else if (n == PATHS_MAX) {
            return cli_usage("report", "more than %d directories do not fit into one report", (int)PATHS_MAX);
        } else {
            paths[n++] = word;
        }
    }
    if (n == 0) return cli_usage("report", "which run? Name the output directory of one");
    if (!out) return cli_usage("report", "-o FILE.html is missing: where shall the page go?");
    opsm_error err = {0};
    opsm_status status = report_write(paths, n, out, &err);
    if (status != OPSM_OK) return cli_fail(status, &err);
    printf("%s\n", out);
    return 0;
}
