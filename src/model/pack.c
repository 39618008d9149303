/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "model/forward.h"

void pack_clear(struct pack *p) {
    p->n_tokens = p->n_segments = 0;
}

void pack_free(struct pack *p) {
    mem_free(p->tokens);
    mem_free(p->positions);
    mem_free(p->segments);
    *p = (struct pack){0};
}

static opsm_status grow(void **array, int32_t used, int32_t room, size_t size, opsm_error *err) {
    void *larger = mem_resize(*array, (size_t)used, (size_t)room, size);
    if (!larger) return mem_exhausted(err, "a packed batch", (size_t)room * size);
    *array = larger;
    return OPSM_OK;
}

static opsm_status reserve_tokens(struct pack *p, int32_t more, opsm_error *err) {
    if (more > INT32_MAX / 2 - p->n_tokens)
        return opsm_fail(err, OPSM_INVALID, "a packed batch holds at most %d tokens", INT32_MAX / 2);
    int32_t need = p->n_tokens + more;
    if (need <= p->room_tokens) return OPSM_OK;
    int32_t room = need < 256 ? 256 : need + need / 2;
    opsm_status status = grow((void **)&p->tokens, p->n_tokens, room, sizeof *p->tokens, err);
    if (status == OPSM_OK) status = grow((void **)&p->positions, p->n_tokens, room, sizeof *p->positions, err);
    if (status == OPSM_OK) p->room_tokens = room;
    return status;
}

static opsm_status reserve_segment(struct pack *p, opsm_error *err) {
    if (p->n_segments < p->room_segments) return OPSM_OK;
    if (p->n_segments > INT32_MAX / 4) return opsm_fail(err, OPSM_INVALID, "a packed batch of too many segments");
    int32_t room = p->n_segments < 32 ? 32 : p->n_segments * 2;
    opsm_status status = grow((void **)&p->segments, p->n_segments, room, sizeof *p->segments, err);
    if (status == OPSM_OK) p->room_segments = room;
    return status;
}

opsm_status pack_add(struct pack *p, const int32_t *tokens, int32_t length, int32_t prefix, int32_t *index,
                     opsm_error *err) {
    if (length < 0 || (length == 0 && prefix < 0))
        return opsm_fail(err, OPSM_INVALID, "a prompt of %d tokens, expected at least 1", length);
    if (prefix >= p->n_segments || prefix < -1 || (prefix >= 0 && p->segments[prefix].prefix != -1))
        return opsm_fail(err, OPSM_INVALID, "segment %d cannot follow segment %d: that is no earlier prompt",
                         p->n_segments, prefix);
    opsm_status status = reserve_tokens(p, length, err);
    if (status == OPSM_OK) status = reserve_segment(p, err);
    if (status != OPSM_OK) return status;
    int32_t first = prefix >= 0 ? p->segments[prefix].length : 0;
    for (int32_t i = 0; i < length; i++) {
        p->tokens[p->n_tokens + i] = tokens[i];
        p->positions[p->n_tokens + i] = first + i;
    }
    p->segments[p->n_segments] = (struct pack_segment){.start = p->n_tokens, .length = length, .prefix = prefix};
    p->n_tokens += length;
    if (index) *index = p->n_segments;
    p->n_segments++;
    return OPSM_OK;
}
