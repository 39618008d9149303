/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "environment/problems.h"
#include <string.h>

/* With a system message of our own in front, in place of the one that the conversation has. */
static opsm_status encode(const struct problems *p, const struct problem *problem, const struct chat_extra *extra,
                          struct token_list *tokens, opsm_error *err) {
    if (!p->system)
        return chat_encode(p->chat, p->tokenizer, problem->messages, problem->n_messages, extra, tokens, err);
    size_t n = (size_t)problem->n_messages, skip = n && !strcmp(problem->messages[0].role, "system");
    struct chat_message *messages = mem_alloc(n + 1, sizeof *messages);
    if (!messages) return mem_exhausted(err, "a conversation", (n + 1) * sizeof *messages);
    messages[0] = (struct chat_message){"system", p->system};
    memcpy(messages + 1, problem->messages + skip, (n - skip) * sizeof *messages);
    opsm_status status = chat_encode(p->chat, p->tokenizer, messages, (int)(n - skip) + 1, extra, tokens, err);
    mem_free(messages);
    return status;
}

opsm_status problems_prompt(const struct problems *p, const struct problem *problem, struct token_list *tokens,
                            opsm_error *err) {
    struct chat_extra extra = p->extra;
    json_t *own = problem->tools && *problem->tools ? json_loads(problem->tools, 0, NULL) : NULL;
    if (own) extra.tools = own;
    opsm_status status = encode(p, problem, &extra, tokens, err);
    json_decref(own);
    return status;
}

/* What closes an answer: eos if it ends a turn, else the first token that does. */
static int32_t end_token(const struct tokenizer *tokenizer) {
    int32_t eos = tokenizer_eos(tokenizer);
    if (eos >= 0) return eos;
    for (int32_t id = 0; id < tokenizer_size(tokenizer); id++)
        if (tokenizer_is_end(tokenizer, id)) return id;
    return -1;
}

opsm_status problems_solution(const struct problems *p, const struct problem *problem, struct token_list *tokens,
                              opsm_error *err) {
    if (!*problem->solution)
        return opsm_fail(err, OPSM_MISSING, "the problem '%.80s' has no solution to imitate", problem->prompt);
    int32_t end = end_token(p->tokenizer);
    if (end < 0) return opsm_fail(err, OPSM_UNSUPPORTED, "the tokenizer has no token that ends a response");
    opsm_status status = tokenizer_encode(p->tokenizer, problem->solution, strlen(problem->solution), 0, tokens, err);
    return status == OPSM_OK ? token_list_push(tokens, end, err) : status;
}
