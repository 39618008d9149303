/* SPDX-License-Identifier: Apache-2.0 */
#include "io/hf_names.h"
#include <stdio.h>
#include <string.h>

struct pair {
    const char *hf, *gguf;
};

static const struct pair whole[] = {{"model.embed_tokens.weight", "token_embd.weight"},
                                    {"model.norm.weight", "output_norm.weight"},
                                    {"lm_head.weight", "output.weight"}};

/* What stands between "model.layers.N." or "blk.N." and ".weight" or ".bias". */
static const struct pair parts[] = {{"input_layernorm", "attn_norm"},    {"self_attn.q_proj", "attn_q"},
                                    {"self_attn.k_proj", "attn_k"},      {"self_attn.v_proj", "attn_v"},
                                    {"self_attn.o_proj", "attn_output"}, {"self_attn.q_norm", "attn_q_norm"},
                                    {"self_attn.k_norm", "attn_k_norm"}, {"mlp.gate_proj", "ffn_gate"},
                                    {"mlp.up_proj", "ffn_up"},           {"mlp.down_proj", "ffn_down"}};

static const struct pair plain_norms[] = {{"post_attention_layernorm", "ffn_norm"}};
static const struct pair sandwich_norms[] = {{"post_attention_layernorm", "post_attention_norm"},
                                             {HF_SANDWICH_MARK, "ffn_norm"},
                                             {"post_feedforward_layernorm", "post_ffw_norm"}};

#define COUNT(table) (sizeof(table) / sizeof *(table))

/* The other side of the pair one of whose sides is the `length` bytes at `name`; NULL: there is none. */
static const char *partner(const struct pair *pairs, size_t n, const char *name, size_t length, bool from_hf) {
    for (size_t i = 0; i < n; i++) {
        const char *side = from_hf ? pairs[i].hf : pairs[i].gguf;
        if (strlen(side) == length && memcmp(side, name, length) == 0) return from_hf ? pairs[i].gguf : pairs[i].hf;
    }
    return NULL;
}

static const char *partner_of_part(const char *part, size_t length, bool sandwich, bool from_hf) {
    const char *found = partner(parts, COUNT(parts), part, length, from_hf);
    if (found) return found;
    return sandwich ? partner(sandwich_norms, COUNT(sandwich_norms), part, length, from_hf)
                    : partner(plain_norms, COUNT(plain_norms), part, length, from_hf);
}

static bool translate(char *out, size_t room, const char *name, bool sandwich, bool from_hf) {
    const char *prefix = from_hf ? "model.layers." : "blk.", *other = from_hf ? "blk." : "model.layers.";
    const char *found = partner(whole, COUNT(whole), name, strlen(name), from_hf);
    if (found) return (size_t)snprintf(out, room, "%s", found) < room;
    if (strncmp(name, prefix, strlen(prefix)) != 0) return false;
    const char *layer = name + strlen(prefix);
    size_t digits = strspn(layer, "0123456789");
    const char *part = layer + digits + 1, *end = strrchr(name, '.');
    if (digits == 0 || digits > 6 || layer[digits] != '.' || end <= part) return false;
    if (strcmp(end, ".weight") != 0 && strcmp(end, ".bias") != 0) return false;
    found = partner_of_part(part, (size_t)(end - part), sandwich, from_hf);
    if (!found) return false;
    return (size_t)snprintf(out, room, "%s%.*s.%s%s", other, (int)digits, layer, found, end) < room;
}

bool hf_name_to_gguf(char out[GGUF_NAME_ROOM], const char *name, bool sandwich) {
    return translate(out, GGUF_NAME_ROOM, name, sandwich, true);
}

bool hf_name_from_gguf(char out[HF_NAME_ROOM], const char *name, bool sandwich) {
    return translate(out, HF_NAME_ROOM, name, sandwich, false);
}
