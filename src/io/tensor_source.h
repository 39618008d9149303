/* SPDX-License-Identifier: Apache-2.0
 *
 * What a model file looks like from above, whatever its format: metadata, and tensors found by name. The names are
 * GGUF's ("token_embd.weight", "blk.0.attn_q.weight"), as are the keys of the metadata: a reader of another format
 * translates.
 *
 *   struct tensor_source *source;
 *   if (tensor_source_open(&source, "model.gguf", &err) != OPSM_OK) ...      sentence with the byte offset in err.text
 *   const struct tensor_info *t = tensor_source_find(source, "token_embd.weight");
 *   tensor_source_read(source, t, 0, t->n_elements, weights, &err);
 *   tensor_source_close(source);
 *
 * Everything in a file is hostile until checked: after it was opened, every length, offset and string that this header
 * hands out lies inside the map, names and keys are unique, and tensor sizes do not overflow. What is not guarded
 * against: another process that truncates the file while it is open.
 */
#ifndef OPSM_IO_TENSOR_SOURCE_H
#define OPSM_IO_TENSOR_SOURCE_H
#include "base/file.h"
#include "io/metadata.h"
#include "io/quant.h"

struct tensor_info {
    char name[64]; /* NUL-terminated */
    int n_dims;
    int64_t shape[4];   /* shape[0] is contiguous; unused dimensions are 1 */
    int64_t n_elements; /* product of shape */
    enum quant_type type;
    const uint8_t *data; /* into the map */
    size_t size;         /* bytes */
};

/* Immutable once it is open, safe to read from many threads. */
struct tensor_source {
    struct metadata metadata;
    struct tensor_info *tensors; /* [n_tensors], in the file's order */
    int64_t n_tensors;
    struct name_map names;
    struct file_map map;             /* of a GGUF file; empty where the bytes belong to the caller */
    struct safetensors *safetensors; /* what the tensors are views of instead; NULL for GGUF */
    float *rope_factors;             /* the values of rope_freqs.weight where no file has them; owned */
    bool rotate_half;                /* rows of queries and keys lie as Hugging Face has them, in halves of each head */
};

/* A GGUF file; or a Hugging Face directory; or tensors alone, without metadata: a directory, *.safetensors or its index,
 * as safetensors_open takes them. */
opsm_status tensor_source_open(struct tensor_source **source, const char *path, opsm_error *err);

/* The same over the bytes of a GGUF file that the caller keeps alive. `name` is used in sentences. */
opsm_status tensor_source_open_memory(struct tensor_source **source, const void *data, size_t size, const char *name,
                                      opsm_error *err);

/* One without tensors, whose metadata the caller sets: what a model that was never in a file begins with. */
opsm_status tensor_source_create(struct tensor_source **source, const char *name, opsm_error *err);

void tensor_source_close(struct tensor_source *source); /* NULL is allowed */

/* The file, for sentences. */
const char *tensor_source_path(const struct tensor_source *source);

const struct tensor_info *tensor_source_find(const struct tensor_source *source, const char *name); /* NULL: none */

/* Elements [first, first + count) of a tensor as floats, in the file's order; `first` and `count` are multiples of the
 * block size. Called by one thread; call it for disjoint ranges from many. OPSM_UNSUPPORTED for a type quant.h cannot
 * read. */
opsm_status tensor_source_read(const struct tensor_source *source, const struct tensor_info *tensor, int64_t first,
                               int64_t count, float *out, opsm_error *err);

/* Gives the pages of the map back to the system; they come again from the file when they are asked for. */
void tensor_source_drop_pages(const struct tensor_source *source);

#endif
