/* SPDX-License-Identifier: Apache-2.0
 *
 * Input that is read more than once. A pipe cannot be: it goes through a temporary file. On Linux that has no name from
 * its first byte on, so that nothing is left behind however the program ends.
 */
#ifndef OPSM_CLI_SPOOL_H
#define OPSM_CLI_SPOOL_H
#include "base/platform.h"
#include <opsm/status.h>

struct spool {
    int fd;                        /* of the temporary file; -1: none was needed */
    bool named;                    /* it has a name until it is closed */
    char temporary[4096];          /* its first name */
    char name[PLATFORM_NAME_ROOM]; /* that which it has without one */
    const char *path;              /* what to open, as often as wanted */
};

/* `given` is the name of a file or pipe, or "-" for standard input. */
opsm_status spool_open(struct spool *spool, const char *given, opsm_error *err);
void spool_close(struct spool *spool);

#endif
