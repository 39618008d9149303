/* SPDX-License-Identifier: Apache-2.0
 *
 * Tensor values on their way into a model file: checked, converted on all threads, written.
 */
#ifndef OPSM_IO_ENCODE_H
#define OPSM_IO_ENCODE_H
#include "base/file.h"
#include "io/quant.h"

enum { ENCODE_ROOM = 1 << 20 }; /* bytes of scratch memory that a writer lends */

/* The `count` values (whole blocks) of tensor `name` at the end of `out`. OPSM_NONFINITE, with nothing written, when the
 * type cannot hold one; `path` is the file's name for that sentence. Disk errors are reported by file_commit. */
opsm_status encode_to_file(struct file_out *out, enum quant_type type, const float *values, int64_t count,
                           uint8_t room[ENCODE_ROOM], const char *path, const char *name, opsm_error *err);

#endif
