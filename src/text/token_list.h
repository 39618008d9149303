/* SPDX-License-Identifier: Apache-2.0
 *
 * A list of token ids that grows. Zero-initialise.
 */
#ifndef OPSM_TEXT_TOKEN_LIST_H
#define OPSM_TEXT_TOKEN_LIST_H
#include <opsm/status.h>
#include <stdint.h>

struct token_list {
    int32_t *ids; /* owned; release with token_list_free */
    int64_t count, room;
    int64_t dropped; /* bytes of the texts that were encoded into it for which the vocabulary has no token */
};
void token_list_free(struct token_list *list);
/* Warns when bytes of `what`, which was encoded into the list, were left out. */
void token_list_warn_dropped(const struct token_list *list, const char *what);
opsm_status token_list_push(struct token_list *list, int32_t id, opsm_error *err);

#endif
