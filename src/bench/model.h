/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OPSM_BENCH_MODEL_H
#define OPSM_BENCH_MODEL_H

/* opsm bench generate MODEL, opsm bench train MODEL; argv[0] is "bench". Each measures the GEMM ceiling of the machine
 * in the same run. Returns the exit code. */
int bench_generate(int argc, char **argv);
int bench_train(int argc, char **argv);

#endif
