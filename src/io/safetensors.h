/* SPDX-License-Identifier: Apache-2.0
 *
 * safetensors: named arrays in one file, or in several that an index file beside them lists; a bounds-checked reader over
 * memory maps and a strict writer. Names, shapes and order are the file's own (Hugging Face's): shape[0] is the outermost
 * dimension.
 *
 *   struct safetensors *file;
 *   if (safetensors_open(&file, "model", &err) != OPSM_OK) ...           sentence with file and tensor, or byte, in err.text
 *   const struct safetensors_tensor *t = safetensors_find(file, "lm_head.weight");
 *   safetensors_read(file, t, 0, t->n_elements, weights, &err);
 *   safetensors_close(file);
 *
 * Everything in a file is hostile until checked: after it was opened, every tensor lies inside its map, names are unique,
 * and the tensors of a file cover its data without gaps or overlaps. What is not guarded against: another process that
 * truncates the file while it is open.
 */
#ifndef OPSM_IO_SAFETENSORS_H
#define OPSM_IO_SAFETENSORS_H
#include "base/file.h"
#include "io/name_map.h"
#include "io/quant.h"

/* The format's limit on the header, in bytes; ours on dimensions. */
enum { SAFETENSORS_HEADER_MAX = 100000000, SAFETENSORS_DIMS_MAX = 8 };

/* What elements are called in a file. Types without `readable` are listed with their sizes, to be refused by name. */
struct safetensors_dtype {
    const char *name;
    int bits;
    bool readable;
    enum quant_type type; /* where readable */
};

struct safetensors_tensor {
    char *name;
    const struct safetensors_dtype *dtype;
    int n_dims;
    int64_t shape[SAFETENSORS_DIMS_MAX]; /* the first n_dims */
    int64_t n_elements;                  /* product of shape, 1 without dimensions */
    const uint8_t *data;                 /* into the map, unaligned */
    size_t size;                         /* bytes */
};

struct tensor_source;

/* Immutable once it is open, safe to read from many threads. */
struct safetensors {
    char *path;
    struct safetensors_tensor *tensors; /* [n_tensors], in the order of the data, file after file */
    int64_t n_tensors;
    struct name_map names;
    struct file_map *maps; /* [n_maps]; none where the bytes belong to the caller */
    int64_t n_maps;
};

/* `path` is a file, an index (*.index.json), or a directory with model.safetensors or model.safetensors.index.json. Of
 * the files that an index names, the tensors count that it lists; all of them must be there. */
opsm_status safetensors_open(struct safetensors **file, const char *path, opsm_error *err);

/* Whether a path looks like one that safetensors_open takes: by its end, or a directory. */
bool safetensors_is_path(const char *path);

/* One file over bytes that the caller keeps alive; `name` is used in sentences. */
opsm_status safetensors_open_memory(struct safetensors **file, const void *data, size_t size, const char *name,
                                    opsm_error *err);

void safetensors_close(struct safetensors *file); /* NULL is allowed */

const struct safetensors_tensor *safetensors_find(const struct safetensors *file, const char *name); /* NULL: none */

/* Elements [first, first + count) of a tensor as floats. Called by one thread; call it for disjoint ranges from many.
 * OPSM_UNSUPPORTED for a type that is not readable. */
opsm_status safetensors_read(const struct safetensors *file, const struct safetensors_tensor *tensor, int64_t first,
                             int64_t count, float *out, opsm_error *err);

/* Gives the pages of the maps back to the system; they come again from the files when they are asked for. */
void safetensors_drop_pages(const struct safetensors *file);

/* Fills a new source with the tensors of a model under their GGUF names; metadata it has none. `tied`: a head in the file
 * does not count. On failure it is to be closed. */
opsm_status safetensors_fill(struct tensor_source *source, const char *path, bool tied, opsm_error *err);

/* One more tensor, once, behind those: `values`, borrowed. */
opsm_status safetensors_fill_floats(struct tensor_source *source, const char *name, const float *values, int64_t n,
                                    opsm_error *err);

/* ---- writing ---------------------------------------------------------------------------------------------------- */

/* Announce all tensors, then put the values of the one that safetensors_writer_next names until it names none, then
 * commit: each file appears complete under its name, the index last.
 *
 * `path` names the file ("DIR/model.safetensors"). Tensors of more than `shard_bytes` together (0: no limit) go to
 * DIR/model-00001-of-00002.safetensors and so on, each as full as it gets, and DIR/model.safetensors.index.json; a file
 * at `path` is removed then, as readers would prefer it. In each file F32 comes first, so that all data is aligned. */
struct safetensors_writer;

opsm_status safetensors_writer_create(struct safetensors_writer **writer, const char *path, uint64_t shard_bytes,
                                      opsm_error *err);

/* `type` is F32, F16 or BF16; n_dims 0 to SAFETENSORS_DIMS_MAX. */
opsm_status safetensors_writer_add(struct safetensors_writer *writer, const char *name, int n_dims,
                                   const int64_t *shape, enum quant_type type, opsm_error *err);

/* Which tensor's values come next: its number in the order of announcing; -1 when all were put. */
int64_t safetensors_writer_next(struct safetensors_writer *writer);

/* Its values; `count` must be its number of elements. OPSM_NONFINITE when F16 cannot hold one. */
opsm_status safetensors_writer_put(struct safetensors_writer *writer, const float *values, int64_t count,
                                   opsm_error *err);

/* Frees the writer, whatever happens. OPSM_INVALID when values are missing. */
opsm_status safetensors_writer_commit(struct safetensors_writer *writer, opsm_error *err);
void safetensors_writer_abort(struct safetensors_writer *writer); /* NULL is allowed */

#endif
