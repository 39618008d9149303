/* SPDX-License-Identifier: Apache-2.0
 *
 * The HTML report: runs and laboratories as one page that needs nothing but itself.
 */
#ifndef OPSM_REPORT_HTML_H
#define OPSM_REPORT_HTML_H
#include <opsm/status.h>

/* Writes `out` from directories paths [n]: a laboratory (with lab.json), each of its arms one line with a band over its
 * seeds; or a run (with metrics.jsonl). Runs that differ in seed and output only are seeds of one arm. What a directory
 * lacks, and lines that cannot be read, are noted in the page. `out` is complete or untouched.
 * OPSM_INVALID: the same directory twice, or `out` is there and is not a report. OPSM_MISSING: neither a run nor a
 * laboratory, or nothing in any of them to draw yet. OPSM_FORMAT: a damaged lab.json. */
opsm_status report_write(const char *const *paths, int n, const char *out, opsm_error *err);

/* OPSM_INVALID when `out` is there and is not a report. */
opsm_status report_check_target(const char *out, opsm_error *err);

#endif
