/* SPDX-License-Identifier: Apache-2.0 */
#include "io/record.h"
#include <string.h>

enum { WORD = 8, HEADER = 3 * WORD };

/* Pages of a mapped file that have been read count as memory of this process: they go back after so many bytes. */
enum { DROP_BYTES = 1 << 24 };

/* Different when read on a machine of the other byte order. */
static const uint64_t ORDER_MARK = 0x0102030405060708ull;

static size_t padded(size_t size) {
    return (size + WORD - 1) / WORD * WORD;
}

/* One multiply and one shift a word: a bijection of the running sum for every word, so a changed word always shows. */
static uint64_t add_words(uint64_t sum, const void *data, size_t size) {
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i += WORD) {
        uint64_t word;
        memcpy(&word, bytes + i, WORD);
        sum = (sum ^ word) * 0x9E3779B97F4A7C15ull;
        sum ^= sum >> 32;
    }
    return sum;
}

uint64_t record_sum(const void *data, size_t size) {
    return add_words(0, data, size / WORD * WORD);
}

static void put(struct record_out *out, const void *data, size_t size) {
    out->sum = add_words(out->sum, data, size);
    file_write(out->file, data, size);
}

opsm_status record_create(struct record_out *out, const char *path, const char *magic, uint64_t version,
                          opsm_error *err) {
    *out = (struct record_out){0};
    opsm_status status = file_create(&out->file, path, err);
    if (status != OPSM_OK) return status;
    put(out, magic, WORD);
    put(out, &version, WORD);
    put(out, &ORDER_MARK, WORD);
    return OPSM_OK;
}

void record_write(struct record_out *out, const void *data, size_t size) {
    size_t whole = size / WORD * WORD;
    put(out, data, whole);
    if (whole == size) return;
    uint8_t tail[WORD] = {0};
    memcpy(tail, (const uint8_t *)data + whole, size - whole);
    put(out, tail, WORD);
}

void record_write_i64(struct record_out *out, int64_t value) {
    put(out, &value, WORD);
}

opsm_status record_commit(struct record_out *out, opsm_error *err) {
    uint64_t sum = out->sum;
    file_write(out->file, &sum, WORD);
    struct file_out *file = out->file;
    *out = (struct record_out){0};
    return file_commit(file, err);
}

static opsm_status check_whole(const struct record_in *in, const char *magic, uint64_t version, opsm_error *err) {
    const uint8_t *data = in->map.data;
    size_t size = in->map.size;
    if (size < HEADER + WORD || size % WORD || memcmp(data, magic, WORD) != 0)
        return opsm_fail(err, OPSM_FORMAT, "'%s' is not a whole file of ours: %zu bytes, expected the mark %.8s",
                         in->path, size, magic);
    uint64_t found_version, order, sum;
    memcpy(&found_version, data + WORD, WORD);
    memcpy(&order, data + 2 * WORD, WORD);
    memcpy(&sum, data + size - WORD, WORD);
    if (order != ORDER_MARK)
        return opsm_fail(err, OPSM_FORMAT, "'%s' was written on a machine of the other byte order", in->path);
    if (found_version != version)
        return opsm_fail(
            err, OPSM_UNSUPPORTED,
            "'%s' has format version %llu, this program reads %llu: go on with the program that wrote it, or "
            "take another output",
            in->path, (unsigned long long)found_version, (unsigned long long)version);
    uint64_t found = 0;
    for (size_t at = 0; at < size - WORD; at += DROP_BYTES) {
        size_t n = size - WORD - at < DROP_BYTES ? size - WORD - at : DROP_BYTES;
        found = add_words(found, data + at, n);
        file_map_drop(&in->map);
    }
    if (found != sum)
        return opsm_fail(err, OPSM_FORMAT, "'%s' is damaged: its checksum does not fit its %zu bytes", in->path, size);
    return OPSM_OK;
}

opsm_status record_open(struct record_in *in, const char *path, const char *magic, uint64_t version, opsm_error *err) {
    *in = (struct record_in){.path = path};
    opsm_status status = file_map_open(&in->map, path, err);
    if (status != OPSM_OK) return status;
    status = check_whole(in, magic, version, err);
    if (status != OPSM_OK) {
        record_close(in);
        return status;
    }
    in->position = HEADER;
    in->end = in->map.size - WORD;
    return OPSM_OK;
}

opsm_status record_read(struct record_in *in, void *data, size_t size, opsm_error *err) {
    size_t left = in->end - in->position;
    if (size > left)
        return opsm_fail(err, OPSM_FORMAT, "'%s': %zu bytes expected at byte %zu, %zu are left", in->path, size,
                         in->position, left);
    for (size_t at = 0; at < size; at += DROP_BYTES) {
        size_t n = size - at < DROP_BYTES ? size - at : DROP_BYTES;
        memcpy((uint8_t *)data + at, in->map.data + in->position + at, n);
        if (n == DROP_BYTES) file_map_drop(&in->map);
    }
    in->position += padded(size);
    return OPSM_OK;
}

opsm_status record_read_i64(struct record_in *in, int64_t lowest, int64_t highest, int64_t *value, opsm_error *err) {
    size_t at = in->position;
    opsm_status status = record_read(in, value, WORD, err);
    if (status != OPSM_OK) return status;
    if (*value < lowest || *value > highest)
        return opsm_fail(err, OPSM_FORMAT, "'%s': %lld at byte %zu, expected %lld to %lld", in->path, (long long)*value,
                         at, (long long)lowest, (long long)highest);
    return OPSM_OK;
}

opsm_status record_finish(struct record_in *in, opsm_error *err) {
    if (in->position == in->end) return OPSM_OK;
    return opsm_fail(err, OPSM_FORMAT, "'%s': %zu bytes too many", in->path, in->end - in->position);
}

void record_close(struct record_in *in) {
    file_map_close(&in->map);
    *in = (struct record_in){0};
}
