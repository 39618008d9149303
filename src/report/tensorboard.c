/* SPDX-License-Identifier: Apache-2.0 */
#include "report/tensorboard.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct tensorboard {
    int fd;
    char *path;
    struct tensorboard_end end;
    int64_t step;        /* of the values collected */
    struct text values;  /* their encoded Summary.Value fields */
    struct text records; /* whole records, ready to be written */
};

uint32_t crc32c(const void *data, size_t size) {
    const uint8_t *bytes = data;
    uint32_t crc = ~0u;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

uint32_t crc32c_masked(const void *data, size_t size) {
    uint32_t crc = crc32c(data, size);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

/* ---- protobuf: each field is a key (number * 8 + wire type) and a value ------------------------------------------ */

enum wire { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

static void put_little(struct text *out, uint64_t value, int bytes) {
    char little[8];
    for (int i = 0; i < bytes; i++) little[i] = (char)(value >> 8 * i & 0xff);
    text_append(out, little, (size_t)bytes);
}

static void put_varint(struct text *out, uint64_t value) {
    for (; value >= 0x80; value >>= 7) put_little(out, (value & 0x7f) | 0x80, 1);
    put_little(out, value, 1);
}

static void put_key(struct text *out, int field, enum wire wire) {
    put_varint(out, (uint64_t)field << 3 | (uint64_t)wire);
}

static void put_bytes(struct text *out, int field, const char *bytes, size_t length) {
    put_key(out, field, WIRE_BYTES);
    put_varint(out, length);
    text_append(out, bytes, length);
}

/* Event { double wall_time = 1; int64 step = 2; oneof { string file_version = 3; Summary summary = 5; SessionLog
 * session_log = 7; } } */
enum { EVENT_TIME = 1, EVENT_STEP = 2, EVENT_VERSION = 3, EVENT_SUMMARY = 5, EVENT_SESSION = 7 };

static void put_record(struct tensorboard *board, int64_t step, int field, const char *bytes, size_t length) {
    struct text event = {0};
    double now = clock_wall();
    uint64_t time_bits;
    memcpy(&time_bits, &now, sizeof time_bits);
    put_key(&event, EVENT_TIME, WIRE_FIXED64);
    put_little(&event, time_bits, 8);
    put_key(&event, EVENT_STEP, WIRE_VARINT);
    put_varint(&event, (uint64_t)step);
    put_bytes(&event, field, bytes, length);

    struct text *out = &board->records;
    uint8_t head[8];
    for (int i = 0; i < 8; i++) head[i] = (uint8_t)((uint64_t)event.length >> 8 * i);
    text_append(out, (const char *)head, sizeof head);
    put_little(out, crc32c_masked(head, sizeof head), 4);
    text_append(out, event.data ? event.data : "", event.length);
    put_little(out, crc32c_masked(event.data, event.length), 4);
    out->failed |= event.failed;
    text_free(&event);
}

static void close_event(struct tensorboard *board) {
    board->records.failed |= board->values.failed;
    if (board->values.length == 0) return;
    put_record(board, board->step, EVENT_SUMMARY, board->values.data, board->values.length);
    text_clear(&board->values);
}

/* Summary { repeated Value value = 1; }  Value { string tag = 1; float simple_value = 2; } */
void tensorboard_scalar(struct tensorboard *board, const char *tag, int64_t step, double value) {
    if (step != board->step) close_event(board);
    board->step = step;
    float single = (float)value;
    uint32_t bits;
    memcpy(&bits, &single, sizeof bits);
    struct text entry = {0};
    put_bytes(&entry, 1, tag, strlen(tag));
    put_key(&entry, 2, WIRE_FIXED32);
    put_little(&entry, bits, 4);
    put_bytes(&board->values, 1, entry.data ? entry.data : "", entry.length);
    board->values.failed |= entry.failed;
    text_free(&entry);
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

static opsm_status write_records(struct tensorboard *board, opsm_error *err) {
    opsm_status status = OPSM_OK;
    if (board->records.failed) status = mem_exhausted(err, "TensorBoard events", board->records.room);
    if (status == OPSM_OK)
        status = file_append(board->fd, board->path, board->records.data, board->records.length, NULL, err);
    if (status == OPSM_OK) board->end.bytes += board->records.length;
    text_clear(&board->records);
    return status;
}

opsm_status tensorboard_flush(struct tensorboard *board, opsm_error *err) {
    close_event(board);
    return write_records(board, err);
}

static const char EVENTS[] = "events.out.tfevents.";

/* The number at the end of the name of one of our event files, -1 for another name. */
static int64_t events_number(const char *name) {
    if (strncmp(name, EVENTS, sizeof EVENTS - 1) != 0) return -1;
    const char *digits = strrchr(name, '.') + 1;
    size_t n = strspn(digits, "0123456789");
    return n >= 1 && n <= 9 && !digits[n] ? strtoll(digits, NULL, 10) : -1;
}

static opsm_status cut_file(const char *path, bool keep, uint64_t bytes, opsm_error *err) {
    struct stat st;
    if (!keep) return file_remove_tree(path, err);
    if (stat(path, &st) != 0 || (uint64_t)st.st_size <= bytes || truncate(path, (off_t)bytes) == 0) return OPSM_OK;
    return opsm_fail(err, OPSM_IO, "cannot cut '%s' back to the checkpoint: %s", path, strerror(errno));
}

static opsm_status cut_back(const char *dir, struct tensorboard_end keep, opsm_error *err) {
    DIR *entries = opendir(dir);
    if (!entries) return opsm_fail(err, OPSM_IO, "cannot open the directory '%s': %s", dir, strerror(errno));
    opsm_status status = OPSM_OK;
    for (struct dirent *entry; status == OPSM_OK && (entry = readdir(entries));) {
        int64_t number = events_number(entry->d_name);
        if (number < 0 || number < keep.file) continue;
        char *path = file_join(dir, entry->d_name);
        status = path ? cut_file(path, number == keep.file, keep.bytes, err)
                      : mem_exhausted(err, "a file name", strlen(dir));
        mem_free(path);
    }
    closedir(entries);
    return status;
}

/* Creates a file whose name sorts by time, in the form that TensorBoard looks for. */
static opsm_status create_event_file(struct tensorboard *board, const char *dir, opsm_error *err) {
    char host[64] = "localhost", name[160];
    gethostname(host, sizeof host - 1);
    for (char *c = host; *c; c++)
        if (*c == '/') *c = '-';
    for (int64_t number = board->end.file; board->fd < 0; number++) {
        snprintf(name, sizeof name, "%s%010lld.%s.%ld.%lld", EVENTS, (long long)clock_wall(), host, (long)getpid(),
                 (long long)number);
        mem_free(board->path);
        board->path = file_join(dir, name);
        if (!board->path) return mem_exhausted(err, "a file name", strlen(dir));
        board->fd = open(board->path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
        if (board->fd < 0 && errno != EEXIST)
            return opsm_fail(err, OPSM_IO, "cannot create '%.300s': %s", board->path, strerror(errno));
        board->end.file = number;
    }
    return OPSM_OK;
}

static opsm_status open_file(struct tensorboard *board, const char *dir, struct tensorboard_end keep,
                             int64_t purge_step, opsm_error *err) {
    opsm_status status = file_make_dirs(dir, err);
    if (status == OPSM_OK) status = cut_back(dir, keep, err);
    board->end = (struct tensorboard_end){.file = keep.file + 1};
    if (status == OPSM_OK) status = create_event_file(board, dir, err);
    if (status != OPSM_OK) return status;
    static const char version[] = "brain.Event:2",
                      restart[] = {1 << 3 | WIRE_VARINT, 1}; /* SessionLog.status = START */
    put_record(board, 0, EVENT_VERSION, version, sizeof version - 1);
    if (purge_step >= 0) put_record(board, purge_step, EVENT_SESSION, restart, sizeof restart);
    return write_records(board, err);
}

opsm_status tensorboard_open(struct tensorboard **result, const char *dir, struct tensorboard_end keep,
                             int64_t purge_step, opsm_error *err) {
    *result = NULL;
    struct tensorboard *board = mem_zalloc(1, sizeof *board);
    if (!board) return mem_exhausted(err, "a TensorBoard writer", sizeof *board);
    board->fd = -1;
    opsm_status status = open_file(board, dir, keep, purge_step, err);
    if (status != OPSM_OK) {
        tensorboard_close(board);
        return status;
    }
    *result = board;
    return OPSM_OK;
}

struct tensorboard_end tensorboard_written(const struct tensorboard *board) {
    return board->end;
}

void tensorboard_close(struct tensorboard *board) {
    if (!board) return;
    if (board->fd >= 0) close(board->fd);
    mem_free(board->path);
    text_free(&board->values);
    text_free(&board->records);
    mem_free(board);
}
