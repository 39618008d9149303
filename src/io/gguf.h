/* SPDX-License-Identifier: Apache-2.0
 *
 * GGUF model files: a bounds-checked reader and a strict writer. Versions 2 and 3, little endian.
 *
 * The reader's tables take at most a small multiple of the file's size, whatever counts it announces. Tensors must lie
 * in the order of their descriptions, aligned and without gaps, as ggml's reader demands; padding after the last one may
 * be missing. Strings are not NUL-terminated in the file and may hold NUL bytes.
 */
#ifndef OPSM_IO_GGUF_H
#define OPSM_IO_GGUF_H
#include "io/metadata.h"
#include "io/quant.h"
#include <opsm/status.h>
#include <stddef.h>
#include <stdint.h>

struct tensor_source;

/* Fills a new source with views into the bytes of a file, which must outlive it. On failure it is to be closed. */
opsm_status gguf_read(struct tensor_source *source, const void *data, size_t size, opsm_error *err);

/* ---- writing ---------------------------------------------------------------------------------------------------- */

/* Describe all tensors first, then write their data in the same order. `metadata` is borrowed until the end, and goes
 * out in its own order, before the first tensor's data; "general.alignment", when it holds that (u32, power of two), is
 * obeyed. The file appears under its name only when gguf_writer_commit succeeds. After an error, abort. */
struct gguf_writer;

opsm_status gguf_writer_create(struct gguf_writer **writer, const char *path, const struct metadata *metadata,
                               opsm_error *err);

/* Announces a tensor of a type with an encoder; rows (shape[0]) must be whole blocks. */
opsm_status gguf_writer_add_tensor(struct gguf_writer *writer, const char *name, int n_dims, const int64_t *shape,
                                   enum quant_type type, opsm_error *err);

/* The values of the next announced tensor, converted to its type; `count` must be its number of elements. F32 and BF16
 * take any value; OPSM_NONFINITE when another type cannot hold one. Full disks are reported by gguf_writer_commit. */
opsm_status gguf_writer_put(struct gguf_writer *writer, const float *values, int64_t count, opsm_error *err);

/* Durable under its final name, then frees the writer, whatever happens. OPSM_INVALID when a tensor's data is missing.
 */
opsm_status gguf_writer_commit(struct gguf_writer *writer, opsm_error *err);
void gguf_writer_abort(struct gguf_writer *writer); /* NULL is allowed */

#endif
