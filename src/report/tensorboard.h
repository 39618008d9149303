/* SPDX-License-Identifier: Apache-2.0
 *
 * TensorBoard event files with scalars. The file is a sequence of records (TFRecord: length, masked CRC-32C of the
 * length, bytes, masked CRC-32C of the bytes), each a protobuf message tensorflow.Event.
 *
 * Each opening starts a new file in the directory; TensorBoard reads them in the order of their names as one run. The
 * first event of a resumed run declares a restart at `purge_step`, which makes TensorBoard drop what earlier files say
 * about that step and later ones.
 */
#ifndef OPSM_REPORT_TENSORBOARD_H
#define OPSM_REPORT_TENSORBOARD_H
#include <opsm/status.h>
#include <stddef.h>
#include <stdint.h>

struct tensorboard;

/* Makes the directory if need be. purge_step < 0: not a resumed run. */
opsm_status tensorboard_open(struct tensorboard **board, const char *dir, int64_t purge_step, opsm_error *err);

/* One scalar; kept until tensorboard_flush. Values are single precision there; non-finite ones are written as such. */
void tensorboard_scalar(struct tensorboard *board, const char *tag, int64_t step, double value);

/* Writes what was collected, as one event per step. OPSM_IO, or OPSM_NOMEM for an earlier tensorboard_scalar. */
opsm_status tensorboard_flush(struct tensorboard *board, opsm_error *err);

void tensorboard_close(struct tensorboard *board); /* does not flush; NULL is allowed */

/* CRC-32C (Castagnoli), and TFRecord's masking of it. */
uint32_t crc32c(const void *data, size_t size);
uint32_t crc32c_masked(const void *data, size_t size);

#endif
