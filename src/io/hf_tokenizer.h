/* SPDX-License-Identifier: Apache-2.0
 *
 * The two halves of reading a tokenizer: its lists, and what the small files say of single tokens.
 */
#ifndef OPSM_IO_HF_TOKENIZER_H
#define OPSM_IO_HF_TOKENIZER_H
#include "io/hf_internal.h"

/* tokenizer.ggml.token_type; the names are text/vocab.h's, which lies above. */
enum {
    HF_TOKEN_NORMAL = 1,
    HF_TOKEN_UNKNOWN = 2,
    HF_TOKEN_CONTROL = 3,
    HF_TOKEN_USER_DEFINED = 4,
    HF_TOKEN_UNUSED = 5
};

/* Sets the family, tokens, types and merges from the tokenizer.json at `path`. *first_token is the text of the token that
 * its post_processor puts before a text, a new reference, NULL: none; also on failure. */
opsm_status hf_tokenizer_lists(struct metadata *metadata, const char *path, int64_t n_tokens, json_t **first_token,
                               opsm_error *err);

#endif
