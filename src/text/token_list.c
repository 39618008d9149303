/* SPDX-License-Identifier: Apache-2.0 */
#include "text/token_list.h"
#include "base/log.h"
#include "base/mem.h"

void token_list_free(struct token_list *list) {
    mem_free(list->ids);
    *list = (struct token_list){0};
}

void token_list_warn_dropped(const struct token_list *list, const char *what) {
    if (list->dropped > 0)
        log_line(LOG_WARN, "the model's tokenizer has no token for %lld bytes of %s: it reads the rest without them",
                 (long long)list->dropped, what);
}

opsm_status token_list_push(struct token_list *list, int32_t id, opsm_error *err) {
    if (list->count == list->room) {
        int64_t room = list->room ? 2 * list->room : 64;
        int32_t *ids = mem_resize(list->ids, (size_t)list->room, (size_t)room, sizeof *ids);
        if (!ids) return mem_exhausted(err, "a list of tokens", (size_t)room * sizeof *ids);
        list->ids = ids;
        list->room = room;
    }
    list->ids[list->count++] = id;
    return OPSM_OK;
}
