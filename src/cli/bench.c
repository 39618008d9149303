/* SPDX-License-Identifier: Apache-2.0
 *
 * opsm bench: throughput, and the share of this machine's ceiling measured in the same run.
 */
#include "cli/bench_objective.h"
#include "cli/cli.h"
#include <string.h>

int cmd_bench(int argc, char **argv) {
    if (argc < 2) return cli_usage("bench", "what?");
    if (!strcmp(argv[1], "objective")) return bench_objective(argc - 1, argv + 1);
    return cli_usage("bench", "unknown benchmark '%.60s'", argv[1]);
}
