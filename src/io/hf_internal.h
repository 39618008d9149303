/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files that read and write a Hugging Face directory share.
 */
#ifndef OPSM_IO_HF_INTERNAL_H
#define OPSM_IO_HF_INTERNAL_H
#include "io/hf.h"
#include <jansson.h>

/* One small JSON file of the directory, an object; without a root where it is missing. */
struct hf_file {
    char *path; /* owned */
    json_t *root;
    opsm_error *err;
};

/* `required`: a missing file is a failure. Free it in any case. */
opsm_status hf_file_open(struct hf_file *file, const char *dir, const char *name, bool required, opsm_error *err);
void hf_file_free(struct hf_file *file);

/* Writes DIR/NAME. */
opsm_status hf_put_text(const char *dir, const char *name, const struct text *text, opsm_error *err);

/* A member of an object, NULL where it is missing or null. */
const json_t *hf_member(const json_t *object, const char *key);

/* "'DIR/config.json': KEY is WHAT", OPSM_FORMAT. */
opsm_status hf_wrong(const struct hf_file *file, const char *key, const char *what);

/* A setting that nobody here computes, OPSM_UNSUPPORTED: "'DIR/config.json': KEY VALUE is not supported". */
opsm_status hf_refuse(const struct hf_file *file, const char *key, const json_t *value);

/* Sets key "ARCHITECTURE.SUFFIX" ... of the metadata from config.json; *n_vocab is its vocab_size, *tied whether the head
 * is the embedding. Leaves the factors of RoPE to hf_rope_factors. */
opsm_status hf_config_read(struct metadata *metadata, const struct hf_file *config, int64_t *n_vocab, bool *tied,
                           opsm_error *err);

/* The parameters of Llama 3.1's RoPE. */
struct hf_rope {
    double theta, factor, low, high, original; /* factor 0: there are none */
};
opsm_status hf_rope_read(struct hf_rope *rope, const struct hf_file *config);
/* What each of the n = head_dim / 2 frequencies is divided by, as rope_freqs.weight has it. */
void hf_rope_factors(const struct hf_rope *rope, float *factors, int64_t n);

/* Sets tokenizer.* from tokenizer.json and the files beside it. */
opsm_status hf_tokenizer_read(struct metadata *metadata, const char *dir, const struct hf_file *config, int64_t n_vocab,
                              opsm_error *err);

/* How a family of models cuts its text. */
struct hf_family {
    const char *pre;   /* tokenizer.ggml.pre */
    const char *regex; /* HF_REGEX_GPT2: what ByteLevel does by itself */
    bool digits;       /* every digit is a piece of its own, before the expression is applied */
    bool ignore_merges;
};
extern const char HF_REGEX_GPT2[];
const struct hf_family *hf_family_find(const char *pre, size_t length);                   /* NULL: none */
const struct hf_family *hf_family_of(const char *regex, bool digits, bool ignore_merges); /* NULL: none */

#endif
