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

/* A line of the table names what its architecture has; every other trait is 0. */
struct architecture {
    const char *name;       /* the value of general.architecture, which also begins the file's keys */
    enum presence qkv_bias; /* biases of the attention's projections (Llama's converter allows them) */
    enum presence qk_norm;  /* norms of queries and keys, one weight per element of a head */
    bool interleaved;       /* GGUF keeps the rows of Q and K interleaved for RoPE by neighbours */
};

/* X(name, traits) */
#define ARCHITECTURE_LIST(X)                                                                                           \
    X(llama, .qkv_bias = PRESENCE_MAYBE, .interleaved = true)                                                          \
    X(qwen2, .qkv_bias = PRESENCE_ALWAYS)                                                                              \
    X(qwen3, .qk_norm = PRESENCE_ALWAYS)

/* By the whole name; NULL: not one of ours. */
const struct architecture *architecture_find(const char *name, size_t length);

/* The one whose keys begin like this ("qwen2." of "qwen2.block_count"); NULL: none's. */
const struct architecture *architecture_of_key(const char *key, size_t length);

/* "llama, qwen2, qwen3", for sentences. */
const char *architecture_names(void);

#endif
