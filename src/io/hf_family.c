/* SPDX-License-Identifier: Apache-2.0
 *
 * The regular expressions that tokenizer.json has where GGUF has a name.
 */
#include "io/hf_internal.h"
#include <string.h>

const char HF_REGEX_GPT2[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

#define MODERN(numbers)                                                                                                \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" numbers                                              \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* The first of those that cut alike is what a directory becomes. */
static const struct hf_family families[] = {
    {"gpt-2", HF_REGEX_GPT2, false, false},
    {"smollm", HF_REGEX_GPT2, true, false},
    {"llama-bpe", MODERN("\\p{N}{1,3}"), false, true},
    {"llama3", MODERN("\\p{N}{1,3}"), false, true},
    {"llama-v3", MODERN("\\p{N}{1,3}"), false, true},
    {"qwen2", MODERN("\\p{N}"), false, false},
    {"deepseek-r1-qwen", MODERN("\\p{N}"), false, false},
};
enum { N_FAMILIES = sizeof families / sizeof *families };

const struct hf_family *hf_family_find(const char *pre, size_t length) {
    for (int i = 0; i < N_FAMILIES; i++)
        if (strlen(families[i].pre) == length && memcmp(families[i].pre, pre, length) == 0) return &families[i];
    return NULL;
}

const struct hf_family *hf_family_of(const char *regex, bool digits, bool ignore_merges) {
    for (int i = 0; i < N_FAMILIES; i++)
        if (strcmp(families[i].regex, regex) == 0 && families[i].digits == digits &&
            families[i].ignore_merges == ignore_merges)
            return &families[i];
    return NULL;
}
