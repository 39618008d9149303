/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OPSM_BENCH_GEMM_H
#define OPSM_BENCH_GEMM_H

/* opsm bench gemm [MODEL]: the GEMM ceiling of this machine and, with a model, how close the products of its shapes
 * come. argv[0] is "bench". Returns the exit code. */
int bench_gemm(int argc, char **argv);

#endif
