/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/mem.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WRITE_BUFFER = 1 << 20, PATH_LIMIT = 4096 };

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
    return opsm_fail(err, OPSM_IO, "cannot %s '%s': %s", doing, path, strerror(errno));
}

static opsm_status not_regular(opsm_error *err, const char *path) {
    return opsm_fail(err, OPSM_IO, "'%s' is not a regular file", path);
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
        status = not_regular(err, path);
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
    if (!out->failed && (injected_failure() || fsync(out->fd) != 0)) out->failed = errno;
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

static opsm_status read_fd(int fd, const char *path, size_t limit, char **data, size_t *size, opsm_error *err) {
    size_t room = 65536, used = 0;
    char *buffer = mem_alloc(room, 1);
    if (!buffer) return mem_exhausted(err, path, room);
    for (;;) {
        if (used + 1 == room) {
            char *bigger = mem_resize(buffer, room, room * 2, 1);
            if (!bigger) {
                mem_free(buffer);
                return mem_exhausted(err, path, room * 2);
            }
            buffer = bigger;
            room *= 2;
        }
        ssize_t n = read(fd, buffer + used, room - used - 1);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            mem_free(buffer);
            return io_error(err, "read", path);
        }
        if (n == 0) break;
        used += (size_t)n;
        if (used > limit) {
            mem_free(buffer);
            return opsm_fail(err, OPSM_FORMAT, "'%s' is larger than the %zu bytes expected at most", path, limit);
        }
    }
    buffer[used] = '\0';
    *data = buffer;
    *size = used;
    return OPSM_OK;
}

opsm_status file_read(const char *path, size_t limit, char **data, size_t *size, opsm_error *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return io_error(err, "open", path);
    opsm_status status = read_fd(fd, path, limit, data, size, err);
    close(fd);
    return status;
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
    else if (flock(*lock, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        status = opsm_fail(err, OPSM_INVALID, "another process is %s '%s'", doing, dir);
    mem_free(path);
    if (status != OPSM_OK && *lock >= 0) {
        close(*lock);
        *lock = -1;
    }
    return status;
}

bool file_exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

opsm_status file_find(const char *path, bool *there, opsm_error *err) {
    struct stat st;
    *there = stat(path, &st) == 0;
    return *there && !S_ISREG(st.st_mode) ? not_regular(err, path) : OPSM_OK;
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
