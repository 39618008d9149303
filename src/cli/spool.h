/* SPDX-License-Identifier: Apache-2.0
 *
 * Input that is read more than once. A pipe cannot be: it goes through a temporary file that has no name from its
 * first byte on, so that nothing is left behind however the program ends.
 */
#ifndef OPSM_CLI_SPOOL_H
#define OPSM_CLI_SPOOL_H
#include <opsm/status.h>

struct spool {
    int fd;           /* of the temporary file; -1: none was needed */
    char name[32];    /* its name in /proc */
    const char *path; /* what to open, as often as wanted */
};

/* `given` is the name of a file or pipe, or "-" for standard input. */
opsm_status spool_open(struct spool *spool, const char *given, opsm_error *err);
void spool_close(struct spool *spool);

#endif
