/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OPSM_BASE_CLOCK_H
#define OPSM_BASE_CLOCK_H

double clock_seconds(void); /* monotonic, for durations */
double clock_wall(void);    /* seconds since 1970, for records */

#endif
