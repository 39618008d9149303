/* SPDX-License-Identifier: Apache-2.0
 *
 * opsm bench: throughput, and the share of this machine's ceiling measured in the same run.
 */
#include "bench/gemm.h"
#include "bench/model.h"
#include "bench/objective.h"
#include "cli/cli.h"
#include <string.h>

int cmd_bench(int argc, char **argv) {
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } benchmarks[] = {
        {"gemm", bench_gemm}, {"generate", bench_generate}, {"train", bench_train}, {"objective", bench_objective}};
    if (argc < 2) return cli_usage("bench", "expected gemm, generate, train or objective");
    for (size_t i = 0; i < sizeof benchmarks / sizeof *benchmarks; i++) {
        if (strcmp(argv[1], benchmarks[i].name) != 0) continue;
        argv[1] = argv[0]; /* usage sentences are those of `opsm bench` */
        return benchmarks[i].run(argc - 1, argv + 1);
    }
    return cli_usage("bench", "unknown benchmark '%.60s': expected gemm, generate, train or objective", argv[1]);
}
