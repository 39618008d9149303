/* SPDX-License-Identifier: Apache-2.0
 *
 * TensorBoard event files with scalars. The file is a sequence of records (TFRecord: length, masked CRC-32C of the
 * length, bytes, masked CRC-32C of the bytes), each a protobuf message tensorflow.Event.
 *
 * Each opening starts a new file in the directory, numbered from 0; TensorBoard reads them in the order of their names
 * as one run. A run that goes on first cuts its files back to where its checkpoint stood, so that no step is told
 * twice. The first event of the new file declares a restart at `purge_step`: a TensorBoard that is looking on drops
 * what it has read of that step and later ones.
 */
#ifndef OPSM_REPORT_TENSORBOARD_H
#define OPSM_REPORT_TENSORBOARD_H
#include <opsm/status.h>
#include <stddef.h>
#include <stdint.h>

struct tensorboard;

/* How far the events of a run go: the number of its last file, and its bytes. */
struct tensorboard_end {
    int64_t file; /* -1: no file at all */
    uint64_t bytes;
};

/* Makes the directory if need be, and removes what lies behind `keep` (-1: all event files in it). purge_step < 0: not a
 * resumed run. */
opsm_status tensorboard_open(struct tensorboard **board, const char *dir, struct tensorboard_end keep,
                             int64_t purge_step, opsm_error *err);

struct tensorboard_end tensorboard_written(const struct tensorboard *board);

/* One scalar; kept until tensorboard_flush. Values are single precision there; non-finite ones are written as such. */
void tensorboard_scalar(struct tensorboard *board, const char *tag, int64_t step, double value);

/* Writes what was collected, as one event per step. OPSM_IO, or OPSM_NOMEM for an earlier tensorboard_scalar. */
opsm_status tensorboard_flush(struct tensorboard *board, opsm_error *err);

void tensorboard_close(struct tensorboard *board); /* does not flush; NULL is allowed */

/* CRC-32C (Castagnoli), and TFRecord's masking of it. */
uint32_t crc32c(const void *data, size_t size);
uint32_t crc32c_masked(const void *data, size_t size);

#endif
