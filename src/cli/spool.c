/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/spool.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/platform.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* At most 4 GiB, and half of what is free there: other programs write there, too. */
static long long room_in(const char *dir) {
    static const long long most = 4ll << 30;
    uint64_t half = limits_disk(dir).bytes / 2;
    return half < (uint64_t)most ? (long long)half : most;
}

static opsm_status copy_all(struct file_in *in, int to, const char *path, long long room, opsm_error *err) {
    char size[LIMITS_SIZE_ROOM];
    char buffer[1 << 16];
    size_t n;
    for (long long total = 0;;) {
        opsm_status status = file_in_read(in, buffer, sizeof buffer, &n, err);
        if (status != OPSM_OK || n == 0) return status;
        total += (long long)n;
        if (total > room)
            return opsm_fail(err, OPSM_IO,
                             "'%s' gives more than %s, and a pipe is read through a temporary file, which takes 4 GiB "
                             "and half of what is free in TMPDIR at most: write the rows to a file of your own and "
                             "name that",
                             in->name, limits_size(size, (uint64_t)room));
        status = file_put(to, path, buffer, n, NULL, err);
        if (status != OPSM_OK) return status;
    }
}

static opsm_status copy_pipe(struct spool *spool, struct file_in *in, opsm_error *err) {
    const char *given = getenv("TMPDIR"), *dir = given && *given ? given : "/tmp";
    char *path = spool->temporary;
    int n = snprintf(path, sizeof spool->temporary, "%s/opsm-XXXXXX", dir);
    if (n >= (int)sizeof spool->temporary) return opsm_fail(err, OPSM_IO, "TMPDIR is too long a name: '%.60s...'", dir);
    spool->fd = mkstemp(path);
    if (spool->fd < 0)
        return opsm_fail(err, OPSM_IO, "cannot create the temporary file '%s': %s", path, strerror(errno));
    spool->named = !platform_open_name(spool->name, spool->fd);
    spool->path = spool->named ? path : spool->name;
    if (!spool->named) unlink(path); /* gone with this process, however it ends */
    return copy_all(in, spool->fd, path, room_in(dir), err);
}

opsm_status spool_open(struct spool *spool, const char *given, opsm_error *err) {
    *spool = (struct spool){.fd = -1, .path = given};
    struct stat st;
    struct file_in in;
    bool standard = !strcmp(given, "-");
    if (!standard && stat(given, &st) == 0 && S_ISREG(st.st_mode)) return OPSM_OK;
    opsm_status status = standard ? file_in_standard(&in, err) : file_in_open(&in, given, given, err);
    if (status != OPSM_OK) return status;
    status = copy_pipe(spool, &in, err);
    file_in_close(&in);
    if (status != OPSM_OK) spool_close(spool);
    return status;
}

void spool_close(struct spool *spool) {
    if (spool->fd >= 0) close(spool->fd);
    if (spool->named) unlink(spool->temporary);
    spool->fd = -1;
    spool->named = false;
}
