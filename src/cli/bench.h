/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OPSM_CLI_BENCH_H
#define OPSM_CLI_BENCH_H

/* opsm bench objective [--json] [--sequences N] [--length T] [--repeats R] [key=value ...]; argv[0] is "bench". Returns
 * the exit code. */
int cli_bench_objective(int argc, char **argv);

#endif
