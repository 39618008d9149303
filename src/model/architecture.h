/* SPDX-License-Identifier: Apache-2.0
 *
 * The architectures of the Llama family that the program computes, as a table of what differs between them. Code asks
 * for a trait, never for a name.
 */
#ifndef OPSM_MODEL_ARCHITECTURE_H
#define OPSM_MODEL_ARCHITECTURE_H
#include <stdbool.h>
#include <stddef.h>

enum presence { PRESENCE_NEVER, PRESENCE_MAYBE, PRESENCE_ALWAYS }; /* MAYBE: as the file has it */

/* X(name, qkv_bias, qk_norm, interleaved): the value of general.architecture, which also begins the file's keys; biases
 * of the attention's projections (Llama's converter allows them); norms of queries and keys, one weight per element of a
 * head; GGUF keeps the rows of Q and K interleaved for RoPE by neighbours. */
#define ARCHITECTURE_LIST(X)                                                                                           \
    X(llama, MAYBE, NEVER, true)                                                                                       \
    X(qwen2, ALWAYS, NEVER, false)                                                                                     \
    X(qwen3, NEVER, ALWAYS, false)

struct architecture {
    const char *name;
    enum presence qkv_bias, qk_norm;
    bool interleaved;
};

/* By the whole name; NULL: not one of ours. */
const struct architecture *architecture_find(const char *name, size_t length);

/* The one whose keys begin like this ("qwen2." of "qwen2.block_count"); NULL: none's. */
const struct architecture *architecture_of_key(const char *key, size_t length);

/* "llama, qwen2, qwen3", for sentences. */
const char *architecture_names(void);

#endif
