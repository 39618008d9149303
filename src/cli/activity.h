/* SPDX-License-Identifier: Apache-2.0
 *
 * What is going on, for somebody who waits at a terminal: one line on stderr, rewritten in place and gone when it is
 * over. Nothing of it goes into files and pipes.
 */
#ifndef OPSM_CLI_ACTIVITY_H
#define OPSM_CLI_ACTIVITY_H

/* Shows the phases of base/log.h from now on, if stderr is a terminal. */
void activity_start(void);

/* Takes the line away: before anything else is printed. */
void activity_clear(void);

#endif
