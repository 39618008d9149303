/* SPDX-License-Identifier: Apache-2.0
 *
 * Names from untrusted files, made safe to print: whatever the bytes are, the result is short printable ASCII.
 */
#ifndef OPSM_IO_QUOTE_H
#define OPSM_IO_QUOTE_H
#include <stddef.h>

/* Room for a quoted name, its ellipsis and the NUL. */
enum { QUOTE_ROOM = 80 };

/* 'name' in single quotes; bytes outside printable ASCII become \xNN, a long name ends in "...". Returns `out`. */
const char *quote(char out[QUOTE_ROOM], const char *text, size_t length);

#endif
