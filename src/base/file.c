/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/platform.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WRITE_BUFFER = 1 << 20, PATH_LIMIT = 4096, WRITER_WAIT_MS = 5000, WRITER_TICK_MS = 20 };

static atomic_llong fail_countdown;

void file_fail_at(int64_t nth) {
    atomic_store(&fail_countdown, nth);
}

/* True when this operation is the one chosen to fail. */
static bool injected_failure(void) {
    if (atomic_load(&fail_countdown) <= 0 || atomic_fetch_sub(&fail_countdown, 1) != 1) return false;
    errno = ENOSPC;
    return true;
}

static opsm_status io_error(opsm_error *err, const char *doing, const char *path) {
    /* What open says of a socket, and of a device that is not there. */
    if (errno == ENXIO)
        return opsm_fail(err, OPSM_IO, "cannot %s '%s': it is a socket, or a device that is not there", doing, path);
    const char *hint = errno == EFBIG ? " for the limit on file sizes in force (ulimit -f)" : "";
    return opsm_fail(err, OPSM_IO, "cannot %s '%s': %s%s", doing, path, strerror(errno), hint);
}

static const char *kind_of(mode_t mode) {
    return S_ISDIR(mode)    ? "a directory"
           : S_ISFIFO(mode) ? "a pipe"
           : S_ISSOCK(mode) ? "a socket"
           : S_ISREG(mode)  ? "a file"
                            : "a device";
}

static opsm_status not_regular(opsm_error *err, const char *path, mode_t mode) {
    return opsm_fail(err, OPSM_IO, "'%s' is not a regular file but %s", path, kind_of(mode));
}

opsm_status file_map_open(struct file_map *map, const char *path, opsm_error *err) {
    *map = (struct file_map){0};
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* a pipe is refused below, not waited for */
    if (fd < 0) return io_error(err, "open", path);
    struct stat st;
    opsm_status status = OPSM_OK;
    if (fstat(fd, &st) != 0)
        status = io_error(err, "stat", path);
    else if (!S_ISREG(st.st_mode))
        status = not_regular(err, path, st.st_mode);
    else if (st.st_size > 0) {
        void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
            status = io_error(err, "map", path);
        else
            *map = (struct file_map){.data = data, .size = (size_t)st.st_size};
    }
    close(fd);
    return status;
}

void file_map_drop(const struct file_map *map) {
    if (map->data) platform_drop_pages(map->data, map->size);
}

void file_map_close(struct file_map *map) {
    if (map->data) munmap((void *)(uintptr_t)map->data, map->size);
    *map = (struct file_map){0};
}

struct file_out {
    int fd;
    int failed; /* errno of the first failure, 0 while all is well */
    uint64_t written;
    size_t buffered;
    char *path, *temporary;
    uint8_t *buffer;
};

static void file_out_free(struct file_out *out) {
    if (out->fd >= 0) close(out->fd);
    mem_free(out->path);
    mem_free(out->temporary);
    mem_free(out->buffer);
    mem_free(out);
}

opsm_status file_create(struct file_out **result, const char *path, opsm_error *err) {
    *result = NULL;
    struct file_out *out = mem_zalloc(1, sizeof *out);
    if (!out) return mem_exhausted(err, "a file writer", sizeof *out);
    out->fd = -1;
    size_t room = strlen(path) + 32;
    out->path = mem_strdup(path);
    out->temporary = mem_alloc(room, 1);
    out->buffer = mem_alloc(WRITE_BUFFER, 1);
    if (!out->path || !out->temporary || !out->buffer) {
        file_out_free(out);
        return mem_exhausted(err, "a file writer", WRITE_BUFFER);
    }
    snprintf(out->temporary, room, "%s.tmp.%ld", path, (long)getpid());
    out->fd = open(out->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (out->fd < 0) {
        opsm_status status = io_error(err, "create", out->temporary);
        file_out_free(out);
        return status;
    }
    *result = out;
    return OPSM_OK;
}

static void write_through(struct file_out *out, const uint8_t *data, size_t size) {
    while (size > 0 && !out->failed) {
        ssize_t n = injected_failure() ? -1 : write(out->fd, data, size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            out->failed = errno;
            return;
        }
        data += n;
        size -= (size_t)n;
    }
}

static void flush_buffer(struct file_out *out) {
    write_through(out, out->buffer, out->buffered);
    out->buffered = 0;
}

void file_write(struct file_out *out, const void *data, size_t size) {
    if (size == 0 || out->failed) return;
    out->written += size;
    if (size >= WRITE_BUFFER) {
        flush_buffer(out);
        write_through(out, data, size);
        return;
    }
    if (out->buffered + size > WRITE_BUFFER) flush_buffer(out);
    memcpy(out->buffer + out->buffered, data, size);
    out->buffered += size;
}

uint64_t file_written(const struct file_out *out) {
    return out->written;
}

/* A rename is durable only once the directory that holds the name is. */
static int sync_parent(const char *path) {
    char dir[PATH_LIMIT];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    if (n >= sizeof dir) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(dir, path, n);
    dir[n] = '\0';
    int fd = open(slash ? (n ? dir : "/") : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -1;
    int result = fsync(fd);
    /* Some file systems cannot sync a directory and say EINVAL: there is nothing more to do for them. */
    if (result != 0 && errno == EINVAL) result = 0;
    close(fd);
    return result;
}

opsm_status file_rename(const char *from, const char *to, opsm_error *err) {
    if (injected_failure() || rename(from, to) != 0)
        return opsm_fail(err, OPSM_IO, "cannot rename '%s' to '%s': %s", from, to, strerror(errno));
    if (sync_parent(to) != 0) return io_error(err, "sync the directory of", to);
    return OPSM_OK;
}

opsm_status file_commit(struct file_out *out, opsm_error *err) {
    flush_buffer(out);
    if (!out->failed && (injected_failure() || platform_sync(out->fd) != 0)) out->failed = errno;
    if (!out->failed) {
        int fd = out->fd;
        out->fd = -1;
        if (close(fd) != 0) out->failed = errno;
    }
    opsm_status status;
    if (out->failed) {
        errno = out->failed;
        status = io_error(err, "write", out->path);
    } else {
        status = file_rename(out->temporary, out->path, err);
    }
    if (status != OPSM_OK) unlink(out->temporary);
    file_out_free(out);
    return status;
}

void file_abort(struct file_out *out) {
    if (!out) return;
    unlink(out->temporary);
    file_out_free(out);
}

/* ---- reading once ------------------------------------------------------------------------------------------------ */

opsm_status file_in_open(struct file_in *in, const char *path, const char *name, opsm_error *err) {
    *in = (struct file_in){.fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC), .name = name};
    struct stat st;
    if (in->fd < 0) return io_error(err, "open", name);
    opsm_status status = OPSM_OK;
    if (fstat(in->fd, &st) != 0)
        status = io_error(err, "stat", name);
    else if (!S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode))
        status = opsm_fail(err, OPSM_IO, "'%s' is %s: expected a file or a pipe", name, kind_of(st.st_mode));
    else
        in->unopened = S_ISFIFO(st.st_mode);
    if (status != OPSM_OK) file_in_close(in);
    return status;
}

opsm_status file_in_standard(struct file_in *in, opsm_error *err) {
    *in = (struct file_in){.fd = STDIN_FILENO, .name = "standard input"};
    struct stat st;
    if (fstat(in->fd, &st) != 0) return io_error(err, "read", in->name);
    if (S_ISREG(st.st_mode) || S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)) return OPSM_OK;
    return opsm_fail(err, OPSM_IO, "standard input is %s: expected a file or a pipe",
                     isatty(in->fd) ? "a terminal" : kind_of(st.st_mode));
}

opsm_status file_in_read(struct file_in *in, void *data, size_t room, size_t *size, opsm_error *err) {
    *size = 0;
    for (int waited = 0;;) {
        ssize_t n = read(in->fd, data, room);
        if (n > 0 || (n == 0 && !in->unopened)) {
            in->unopened = false;
            *size = (size_t)n;
            return OPSM_OK;
        }
        if (n == 0 && waited >= WRITER_WAIT_MS)
            return opsm_fail(err, OPSM_IO, "nobody writes to the pipe '%s': waited %d seconds for a writer", in->name,
                             WRITER_WAIT_MS / 1000);
        if (n == 0) {
            poll(NULL, 0, WRITER_TICK_MS);
            waited += WRITER_TICK_MS;
        } else if (errno == EAGAIN) { /* a writer that has nothing yet: it may take its time */
            in->unopened = false;
            poll(&(struct pollfd){.fd = in->fd, .events = POLLIN}, 1, -1);
        } else if (errno != EINTR) {
            return io_error(err, "read", in->name);
        }
    }
}

void file_in_close(struct file_in *in) {
    if (in->fd > STDERR_FILENO) close(in->fd);
    in->fd = -1;
}

static opsm_status read_all(struct file_in *in, size_t limit, char **data, size_t *size, opsm_error *err) {
    size_t room = 65536, used = 0, n;
    char *buffer = mem_alloc(room, 1);
    opsm_status status = buffer ? OPSM_OK : mem_exhausted(err, in->name, room);
    while (status == OPSM_OK) {
        if (used + 1 == room) {
            char *bigger = mem_resize(buffer, room, room * 2, 1);
            if (!bigger) status = mem_exhausted(err, in->name, room * 2);
            if (!bigger) break;
            buffer = bigger;
            room *= 2;
        }
        status = file_in_read(in, buffer + used, room - used - 1, &n, err);
        if (status != OPSM_OK || n == 0) break;
        used += n;
        if (used > limit)
            status = opsm_fail(err, OPSM_FORMAT, "'%s' is larger than the %zu bytes expected at most", in->name, limit);
    }
    if (status != OPSM_OK) {
        mem_free(buffer);
        return status;
    }
    buffer[used] = '\0';
    *data = buffer;
    *size = used;
    return OPSM_OK;
}

opsm_status file_read(const char *path, size_t limit, char **data, size_t *size, opsm_error *err) {
    struct file_in in;
    opsm_status status = file_in_open(&in, path, path, err);
    if (status != OPSM_OK) return status;
    status = read_all(&in, limit, data, size, err);
    file_in_close(&in);
    return status;
}

/* ---- growing files ----------------------------------------------------------------------------------------------- */

opsm_status file_append_open(int *fd, const char *path, opsm_error *err) {
    *fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0666);
    struct stat st;
    if (*fd < 0) return io_error(err, "append to", path);
    if (fstat(*fd, &st) == 0 && S_ISREG(st.st_mode)) return OPSM_OK;
    close(*fd);
    *fd = -1;
    return not_regular(err, path, st.st_mode);
}

opsm_status file_still_there(int fd, const char *path, opsm_error *err) {
    struct stat open_file, named;
    if (fstat(fd, &open_file) == 0 && stat(path, &named) == 0 && open_file.st_ino == named.st_ino &&
        open_file.st_dev == named.st_dev)
        return OPSM_OK;
    return opsm_fail(err, OPSM_IO, "'%s' has been removed or replaced while it was in use", path);
}

opsm_status file_put(int fd, const char *name, const void *data, size_t size, size_t *written, opsm_error *err) {
    size_t done = 0;
    opsm_status status = OPSM_OK;
    while (status == OPSM_OK && done < size) {
        ssize_t n = injected_failure() ? -1 : write(fd, (const uint8_t *)data + done, size - done);
        if (n < 0 && errno != EINTR) status = io_error(err, "write", name);
        if (n > 0) done += (size_t)n;
    }
    if (written) *written = done;
    return status;
}

opsm_status file_append(int fd, const char *path, const void *data, size_t size, size_t *written, opsm_error *err) {
    opsm_status status = file_put(fd, path, data, size, written, err);
    return status == OPSM_OK ? file_still_there(fd, path, err) : status;
}

opsm_status file_cut_back(const char *path, uint64_t bytes, opsm_error *err) {
    struct stat st;
    uint64_t there = stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
    if (there < bytes)
        log_line(LOG_WARN,
                 "'%s' has lost some of what the run had written: %" PRIu64 " bytes, the checkpoint knows %" PRIu64,
                 path, there, bytes);
    if (there <= bytes || truncate(path, (off_t)bytes) == 0) return OPSM_OK;
    return opsm_fail(err, OPSM_IO, "cannot cut '%s' back to the checkpoint: %s", path, strerror(errno));
}

/* ---- directories ------------------------------------------------------------------------------------------------- */

opsm_status file_make_dir(const char *path, opsm_error *err) {
    if (mkdir(path, 0777) != 0 && errno != EEXIST) return io_error(err, "create directory", path);
    if (!file_is_dir(path)) return opsm_fail(err, OPSM_IO, "'%s' exists and is not a directory", path);
    return OPSM_OK;
}

opsm_status file_make_dirs(const char *path, opsm_error *err) {
    char partial[PATH_LIMIT];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof partial)
        return opsm_fail(err, OPSM_INVALID, "directory name '%.60s' is empty or too long", path);
    memcpy(partial, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (partial[i] != '/' && partial[i] != '\0') continue;
        char keep = partial[i];
        partial[i] = '\0';
        if (mkdir(partial, 0777) != 0 && errno != EEXIST) return io_error(err, "create directory", partial);
        partial[i] = keep;
    }
    if (!file_is_dir(path)) return opsm_fail(err, OPSM_IO, "'%s' exists and is not a directory", path);
    return OPSM_OK;
}

opsm_status file_remove_tree(const char *path, opsm_error *err) {
    struct stat st;
    if (lstat(path, &st) != 0) return errno == ENOENT ? OPSM_OK : io_error(err, "stat", path);
    if (!S_ISDIR(st.st_mode)) return unlink(path) == 0 ? OPSM_OK : io_error(err, "remove", path);
    DIR *dir = opendir(path);
    if (!dir) return io_error(err, "open directory", path);
    opsm_status status = OPSM_OK;
    for (struct dirent *entry; status == OPSM_OK && (entry = readdir(dir));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        char *child = file_join(path, entry->d_name);
        status = child ? file_remove_tree(child, err) : mem_exhausted(err, "a file name", PATH_LIMIT);
        mem_free(child);
    }
    closedir(dir);
    if (status == OPSM_OK && rmdir(path) != 0) status = io_error(err, "remove directory", path);
    return status;
}

opsm_status file_lock(int *lock, const char *dir, const char *doing, bool inherited, opsm_error *err) {
    char *path = file_join(dir, "lock");
    if (!path) return mem_exhausted(err, "a file name", 0);
    opsm_status status = OPSM_OK;
    *lock = open(path, O_RDWR | O_CREAT | (inherited ? 0 : O_CLOEXEC), 0666);
    if (*lock < 0)
        status = io_error(err, "create", path);
    else if (platform_lock(*lock) != 0 && errno == EWOULDBLOCK)
        status = opsm_fail(err, OPSM_INVALID, "another process is %s '%s'", doing, dir);
    mem_free(path);
    if (status != OPSM_OK && *lock >= 0) {
        close(*lock);
        *lock = -1;
    }
    return status;
}

bool file_out_of_reach(const char *path) {
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0) close(fd);
    return fd < 0 && (errno == EACCES || errno == EPERM || errno == EMFILE || errno == ENFILE);
}

bool file_exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

opsm_status file_find(const char *path, bool *there, opsm_error *err) {
    struct stat st;
    *there = stat(path, &st) == 0;
    return *there && !S_ISREG(st.st_mode) ? not_regular(err, path, st.st_mode) : OPSM_OK;
}

bool file_is_dir(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

char *file_join(const char *dir, const char *name) {
    size_t room = strlen(dir) + strlen(name) + 2;
    char *path = mem_alloc(room, 1);
    if (path) snprintf(path, room, "%s/%s", dir, name);
    return path;
}
