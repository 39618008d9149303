/* SPDX-License-Identifier: Apache-2.0
 *
 * Checksummed binary files (a checkpoint's parts): magic, format version, then blocks padded to 8 bytes, then a 64-bit
 * checksum of everything before it. A file that was torn or changed is recognised before a byte of it is used. Native
 * byte order: a checkpoint belongs to the machine type that wrote it, and says so.
 */
#ifndef OPSM_IO_RECORD_H
#define OPSM_IO_RECORD_H
#include "base/file.h"

struct record_out {
    struct file_out *file;
    uint64_t sum;
};

/* `magic` is 8 characters. */
opsm_status record_create(struct record_out *out, const char *path, const char *magic, uint64_t version,
                          opsm_error *err);
void record_write(struct record_out *out, const void *data, size_t size);
void record_write_i64(struct record_out *out, int64_t value);
/* Makes the file durable; frees. */
opsm_status record_commit(struct record_out *out, opsm_error *err);

/* The checksum of a block whose size is a multiple of 8 bytes (a fingerprint, e.g. of weights). */
uint64_t record_sum(const void *data, size_t size);

struct record_in {
    struct file_map map;
    size_t position, end;
    const char *path; /* borrowed */
};

/* Checks magic, version and checksum. OPSM_FORMAT when the file is not whole. */
opsm_status record_open(struct record_in *in, const char *path, const char *magic, uint64_t version, opsm_error *err);
opsm_status record_read(struct record_in *in, void *data, size_t size, opsm_error *err);
/* A number that must lie in [lowest, highest]. */
opsm_status record_read_i64(struct record_in *in, int64_t lowest, int64_t highest, int64_t *value, opsm_error *err);
/* OPSM_FORMAT when something is left over. */
opsm_status record_finish(struct record_in *in, opsm_error *err);
void record_close(struct record_in *in);

#endif
