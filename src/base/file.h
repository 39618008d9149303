/* SPDX-License-Identifier: Apache-2.0
 *
 * Files that are either complete or absent. Writers go to a temporary name beside the target, are fsync'ed and renamed
 * on commit; a crash or a full disk leaves the previous file as it was. Readers map the file read-only.
 */
#ifndef OPSM_BASE_FILE_H
#define OPSM_BASE_FILE_H
#include <opsm/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A read-only view of a whole file; data is NULL for an empty one. */
struct file_map {
    const uint8_t *data;
    size_t size;
};

opsm_status file_map_open(struct file_map *map, const char *path, opsm_error *err);
/* Gives the pages read so far back to the system: they come again from the file when they are asked for. */
void file_map_drop(const struct file_map *map);
void file_map_close(struct file_map *map);

/* A file being written. The first failing write sticks: later writes do nothing, and file_commit reports it. */
struct file_out;

opsm_status file_create(struct file_out **out, const char *path, opsm_error *err);
void file_write(struct file_out *out, const void *data, size_t size);
uint64_t file_written(const struct file_out *out); /* bytes so far */

/* Makes the file durable under its final name and frees `out`, whatever happens. */
opsm_status file_commit(struct file_out *out, opsm_error *err);

/* Removes the temporary file and frees `out`; NULL is allowed. */
void file_abort(struct file_out *out);

/* An input that is read once, from front to back: a file or a pipe. Directories, devices and sockets are refused; a
 * pipe that nobody opens for writing is waited for a few seconds, not for ever. */
struct file_in {
    int fd;
    bool unopened;    /* a pipe at which no writer has been seen yet */
    const char *name; /* for sentences, borrowed */
};

opsm_status file_in_open(struct file_in *in, const char *path, const char *name, opsm_error *err);
/* Standard input, which may be a socket too, and is closed by nobody. */
opsm_status file_in_standard(struct file_in *in, opsm_error *err);
opsm_status file_in_read(struct file_in *in, void *data, size_t room, size_t *size, opsm_error *err); /* 0: the end */
void file_in_close(struct file_in *in);

/* A file that grows. file_append fails too when `path` is not that file any more: what goes into a removed file is lost
 * without a word. *written receives the bytes that went out, also on failure; may be NULL. */
opsm_status file_append_open(int *fd, const char *path, opsm_error *err);
opsm_status file_append(int fd, const char *path, const void *data, size_t size, size_t *written, opsm_error *err);

/* All of `data` to an open file, whatever its name is by now. */
opsm_status file_put(int fd, const char *name, const void *data, size_t size, size_t *written, opsm_error *err);

/* OPSM_IO when `path` is not the name, or no longer, of the open file `fd`. */
opsm_status file_still_there(int fd, const char *path, opsm_error *err);

/* The whole file as NUL-terminated memory (the NUL is not counted in size); release with mem_free. Refuses more than
 * `limit` bytes. */
opsm_status file_read(const char *path, size_t limit, char **data, size_t *size, opsm_error *err);

/* Cuts a file that grew to its first `bytes`: what a checkpoint knows of it. Missing or shorter (a warning): as it is. */
opsm_status file_cut_back(const char *path, uint64_t bytes, opsm_error *err);

/* mkdir -p. */
opsm_status file_make_dirs(const char *path, opsm_error *err);

/* A directory in one that must be there: what was removed is not brought back. One that exists is fine. */
opsm_status file_make_dir(const char *path, opsm_error *err);

/* Removes a directory tree; missing is not an error. Refuses to follow symbolic links. */
opsm_status file_remove_tree(const char *path, opsm_error *err);

/* Renames a complete temporary directory or file over `to` and makes the rename durable. */
opsm_status file_rename(const char *from, const char *to, opsm_error *err);

/* Takes DIR/lock, for as long as *lock (a descriptor) or a copy of it in a child is open; `inherited` gives it to
 * children that are executed. OPSM_INVALID when another process has it: "another process is DOING 'DIR'". */
opsm_status file_lock(int *lock, const char *dir, const char *doing, bool inherited, opsm_error *err);

bool file_exists(const char *path);

/* Whether only a permission, or a descriptor, is missing to read the file: nothing is known then of what is in it. */
bool file_out_of_reach(const char *path);

/* Whether a file that a run has left is there. OPSM_IO when something else has its name: a pipe would keep its reader
 * waiting, a device never end. */
opsm_status file_find(const char *path, bool *there, opsm_error *err);

bool file_is_dir(const char *path);

/* dir + "/" + name, release with mem_free; NULL when out of memory. */
char *file_join(const char *dir, const char *name);

/* Tests only: the nth write, fsync or rename from now fails as if the disk were full; 0 switches it off. */
void file_fail_at(int64_t nth);

#endif
