/* SPDX-License-Identifier: Apache-2.0
 *
 * Status codes and the error object, shared by libopsm and the program.
 *
 * Every call that can fail returns an opsm_status. The code says what kind of thing went wrong; the sentence for a
 * person (what, where, expected, found, what to do) is written into the caller's opsm_error.
 */
#ifndef OPSM_STATUS_H
#define OPSM_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define OPSM_API               __attribute__((visibility("default")))
#define OPSM_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define OPSM_API
#define OPSM_PRINTF(fmt, args)
#endif

/* X(name, number, text): the one list of status codes. Numbers are part of the ABI: append, never renumber. */
#define OPSM_STATUS_LIST(X)                                                                                            \
    X(OK, 0, "done")                                                                                                   \
    X(INVALID, 1, "invalid argument or configuration")                                                                 \
    X(IO, 2, "input or output failed")                                                                                 \
    X(FORMAT, 3, "malformed data")                                                                                     \
    X(UNSUPPORTED, 4, "not supported")                                                                                 \
    X(NOMEM, 5, "out of memory")                                                                                       \
    X(MISSING, 6, "required data is missing")                                                                          \
    X(NONFINITE, 7, "a value is not finite")                                                                           \
    X(INTERRUPTED, 8, "interrupted")                                                                                   \
    X(INTERNAL, 9, "internal error")                                                                                   \
    X(LENGTHS, 10, "lengths that do not agree")                                                                        \
    X(GROUPS, 11, "a group without members, or a member of no group")                                                  \
    X(POSITIVE, 12, "a log-prob above 0")

typedef enum opsm_status {
#define OPSM_STATUS_ENUM(name, number, text) OPSM_##name = number,
    OPSM_STATUS_LIST(OPSM_STATUS_ENUM)
#undef OPSM_STATUS_ENUM
} opsm_status;

/* The caller owns it; zero-initialise once. A failing call fills it, a succeeding one leaves it alone. */
typedef struct opsm_error {
    opsm_status code;
    char text[500]; /* one sentence, NUL-terminated, no newline */
} opsm_error;

/* The text of a code, "unknown status" for a number that is not in the list. Never NULL. */
OPSM_API const char *opsm_status_text(opsm_status code);

/* Writes the sentence and returns `code`, so that failing is one line: return opsm_fail(err, OPSM_IO, "..."). `err` may
 * be NULL: then only the code is returned. */
OPSM_API opsm_status opsm_fail(opsm_error *err, opsm_status code, const char *format, ...) OPSM_PRINTF(3, 4);

#ifdef __cplusplus
}
#endif
#endif
