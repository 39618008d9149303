/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/gemm.h"
#include "base/cpu.h"
#include "base/mem.h"
#include "kernels/convert.h"
#include "kernels/gemm_cut.h"
#include "kernels/gemm_onednn.h"
#include "kernels/vec.h"
#include <stdio.h>

enum { MAX_TILES = 8, DIMENSION_MAX = 1 << 24 };

/* One direction of a weight: out[m, outs] = in[m, inner] B, with B = W^T forward and B = W for dx. */
struct side {
    int64_t outs, inner;
    struct gemm_cut cut;
    struct gemm_packer *pack_full, *pack_tail;
    int64_t source_step; /* elements of W between two slices */
    size_t slice_stride;
    char *packed;
    /* The row counts that both kernels have, largest first, and their tile numbers. */
    int n_tiles, tile_full[MAX_TILES], tile_tail[MAX_TILES];
    int64_t tile_rows[MAX_TILES];
    int next_tile[GEMM_ROWS]; /* the tile to begin with when that many rows are left */
};

struct gemm_weight {
    int64_t n_out, n_in;
    enum dtype type, compute;
    bool packed, has_backward;
    struct gemm_blocks parts[GEMM_BLOCKS_MAX];
    int n_parts; /* 0: it is packed */
    struct side forward, backward;
};

/* ---- weights ---- */

static int find_tile(const struct gemm_kernel *kernel, int64_t rows) {
    for (int i = 0; i < gemm_kernel_tiles(kernel); i++)
        if (gemm_kernel_rows(kernel, i) == rows) return i;
    return -1;
}

static void common_tiles(struct side *side) {
    const struct gemm_cut *cut = &side->cut;
    for (int i = 0; i < gemm_kernel_tiles(cut->full) && side->n_tiles < MAX_TILES; i++) {
        int64_t rows = gemm_kernel_rows(cut->full, i);
        int tail = cut->tail ? find_tile(cut->tail, rows) : 0;
        if (tail < 0) continue;
        side->tile_rows[side->n_tiles] = rows;
        side->tile_full[side->n_tiles] = i;
        side->tile_tail[side->n_tiles++] = tail;
    }
}

/* The cheapest way to cover up to GEMM_ROWS - 1 rows. A tile costs its rows and a constant: measured, a tile of 4 rows
 * takes 0.11 of the time of one of 64, 16 rows 0.27, 32 rows 0.52. */
static void plan_rest(struct side *side) {
    const int64_t constant = 4;
    int64_t cost[GEMM_ROWS] = {0};
    for (int64_t left = 1; left < GEMM_ROWS; left++) {
        cost[left] = INT64_MAX;
        for (int tile = 0; tile < side->n_tiles; tile++) {
            int64_t rows = side->tile_rows[tile];
            int64_t with = rows + constant + (rows < left ? cost[left - rows] : 0);
            if (with > cost[left]) continue;
            cost[left] = with;
            side->next_tile[left] = tile;
        }
    }
}

/* Cuts outs into slices, for which B [inner, outs] is kept packed; its element (k, j) is W[k * stride_inner +
 * j * stride_outs]. */
static opsm_status side_create(struct side *side, const struct gemm_weight *weight, int64_t outs, int64_t inner,
                               int64_t stride_inner, int64_t stride_outs, opsm_error *err) {
    side->outs = outs;
    side->inner = inner;
    struct gemm_cut *cut = &side->cut;
    opsm_status status = gemm_cut_make(cut, GEMM_ROWS, outs, inner, weight->compute, true, err);
    if (status != OPSM_OK) return status;
    bool rounded = weight->type != weight->compute;
    /* Decoded, a slice of columns stands by itself: its rows are as long as it is wide. */
    bool alone = weight->n_parts > 0 && stride_outs == 1;
    int64_t full = alone ? cut->width : stride_inner, tail = alone ? cut->tail_width : stride_inner;
    status = gemm_packer_get(&side->pack_full, cut->full, DTYPE_F32, full, stride_outs, rounded, err);
    if (status == OPSM_OK && cut->tail)
        status = gemm_packer_get(&side->pack_tail, cut->tail, DTYPE_F32, tail, stride_outs, rounded, err);
    if (status != OPSM_OK) return status;
    common_tiles(side);
    plan_rest(side);
    side->source_step = cut->width * stride_outs;
    side->slice_stride = gemm_cut_stride(cut);
    if (weight->n_parts > 0) return OPSM_OK;
    side->packed = mem_alloc((size_t)cut->count, side->slice_stride);
    return side->packed ? OPSM_OK : mem_exhausted(err, "a weight matrix", (size_t)cut->count * side->slice_stride);
}

static opsm_status weight_fill(struct gemm_weight *weight, opsm_error *err) {
    int64_t n_out = weight->n_out, n_in = weight->n_in;
    opsm_status status = side_create(&weight->forward, weight, n_out, n_in, 1, n_in, err);
    if (status != OPSM_OK || !weight->has_backward) return status;
    return side_create(&weight->backward, weight, n_in, n_out, n_in, 1, err);
}

opsm_status gemm_weight_create(struct gemm_weight **weight, int64_t n_out, int64_t n_in, enum dtype type, bool backward,
                               opsm_error *err) {
    return gemm_weight_borrow(weight, n_out, n_in, type, backward, NULL, 0, err);
}

opsm_status gemm_weight_borrow(struct gemm_weight **weight, int64_t n_out, int64_t n_in, enum dtype type, bool backward,
                               const struct gemm_blocks *parts, int n_parts, opsm_error *err) {
    if (n_out < 1 || n_in < 1 || n_out > DIMENSION_MAX || n_in > DIMENSION_MAX)
        return opsm_fail(err, OPSM_INVALID, "a weight matrix of %lld x %lld: each side must be from 1 to %d",
                         (long long)n_out, (long long)n_in, DIMENSION_MAX);
    struct gemm_weight *created = mem_zalloc(1, sizeof *created);
    if (!created) return mem_exhausted(err, "a weight matrix", sizeof *created);
    created->n_out = n_out;
    created->n_in = n_in;
    created->type = type;
    created->compute = gemm_compute_type(type);
    created->has_backward = backward;
    created->n_parts = n_parts;
    for (int i = 0; i < n_parts; i++) created->parts[i] = parts[i];
    gemm_lock();
    opsm_status status = weight_fill(created, err);
    gemm_unlock();
    if (status != OPSM_OK) {
        gemm_weight_free(created);
        return status;
    }
    *weight = created;
    return OPSM_OK;
}

void gemm_weight_free(struct gemm_weight *weight) {
    if (!weight) return;
    mem_free(weight->forward.packed);
    mem_free(weight->backward.packed);
    mem_free(weight);
}

size_t gemm_weight_estimate(int64_t n_out, int64_t n_in, enum dtype type, bool backward) {
    return (size_t)n_out * (size_t)n_in * dtype_size(gemm_compute_type(type)) * (backward ? 2 : 1);
}

/* side->packed of one slice = B [inner, the slice's outs] from w [n_out, n_in]. */
static int pack_slice(const struct side *side, int worker, int64_t slice, const float *w) {
    const struct gemm_packer *packer = slice < side->cut.n_full ? side->pack_full : side->pack_tail;
    return gemm_packer_run(packer, worker, w + slice * side->source_step,
                           side->packed + (size_t)slice * side->slice_stride);
}

struct packing {
    const struct gemm_weight *weight;
    const float *w;
    int64_t next, n_forward, n_slices;
    int failure;
};

static void pack_work(void *context, int worker) {
    struct packing *p = context;
    for (int64_t i; (i = gemm_next(&p->next)) < p->n_slices;) {
        bool forward = i < p->n_forward;
        const struct side *side = forward ? &p->weight->forward : &p->weight->backward;
        gemm_note(&p->failure, pack_slice(side, worker, forward ? i : i - p->n_forward, p->w));
    }
}

opsm_status gemm_weight_pack(struct gemm_weight *weight, const float *w, opsm_error *err) {
    struct packing packing = {.weight = weight, .w = w, .n_forward = weight->forward.cut.count};
    packing.n_slices = packing.n_forward + (weight->has_backward ? weight->backward.cut.count : 0);
    const double operations_per_element = 8;
    gemm_lock();
    gemm_parallel(gemm_team(operations_per_element * (double)weight->n_out * (double)weight->n_in), pack_work,
                  &packing);
    gemm_unlock();
    weight->packed = !packing.failure;
    return packing.failure ? gemm_kernel_fail(err, packing.failure) : OPSM_OK;
}

/* ---- products with a weight ---- */

/* A piece of the rest costs at least 8 of the 68 that a whole block costs (plan_rest). */
enum { MAX_REST = 8 };

/* Rows of one tile: `valid` of them are real. */
struct piece {
    int64_t row, valid;
    int tile;
};

struct product {
    const struct gemm_weight *weight;
    const struct side *side;
    enum dtype type; /* of the input */
    bool convert;    /* bf16 input, f32 arithmetic */
    int64_t m;
    const char *in;
    int64_t ld_in;
    float *out;
    int64_t ld_out;
    bool accumulate;
    int64_t n_whole, n_pieces; /* the whole blocks come first */
    struct piece rest[MAX_REST];
    int64_t staged_row; /* input rows from here on are read from `stage`, dense, zero-padded, in the compute type */
    char *stage;
    int64_t group, n_groups; /* pieces per task, tasks per slice */
    int64_t next_staged, next_task;
    int failure;
};

/* Cuts m rows into whole blocks and the cheapest tiles for the rest. */
static void cut_rows(struct product *p) {
    const struct side *side = p->side;
    p->n_whole = p->m / GEMM_ROWS;
    int64_t n_rest = 0;
    for (int64_t row = p->n_whole * GEMM_ROWS; row < p->m;) {
        int64_t left = p->m - row;
        int tile = side->next_tile[left];
        int64_t rows = side->tile_rows[tile];
        p->rest[n_rest++] = (struct piece){row, left < rows ? left : rows, tile};
        row += rows;
    }
    p->n_pieces = p->n_whole + n_rest;
}

static struct piece piece_at(const struct product *p, int64_t i) {
    return i < p->n_whole ? (struct piece){i * GEMM_ROWS, GEMM_ROWS, 0} : p->rest[i - p->n_whole];
}

static enum dtype compute_type(const struct product *p) {
    return p->convert ? DTYPE_F32 : p->type;
}

/* Which rows have to be copied: all of them if they are not dense or need conversion, else an incomplete tile. */
static opsm_status plan_stage(struct product *p, opsm_error *err) {
    struct piece last = piece_at(p, p->n_pieces - 1);
    int64_t last_rows = p->side->tile_rows[last.tile];
    bool direct = !p->convert && p->ld_in == p->side->inner;
    p->staged_row = !direct ? 0 : last.valid < last_rows ? last.row : p->m;
    size_t rows = (size_t)(last.row + last_rows - p->staged_row);
    if (p->staged_row >= p->m) return OPSM_OK;
    size_t bytes = rows * (size_t)p->side->inner * dtype_size(compute_type(p));
    p->stage = gemm_shared_get(bytes);
    return p->stage ? OPSM_OK : mem_exhausted(err, "a copy of a matrix product's input", bytes);
}

/* The piece's rows of `in` to the stage [rows of the tile, inner], dense and in the compute type, zeros behind them. */
static void stage_piece(const struct product *p, struct piece piece) {
    int64_t inner = p->side->inner;
    size_t size = dtype_size(compute_type(p)), row_bytes = (size_t)inner * size;
    char *to = p->stage + (size_t)(piece.row - p->staged_row) * row_bytes;
    for (int64_t i = 0; i < piece.valid; i++, to += row_bytes) {
        const char *from = p->in + (size_t)((piece.row + i) * p->ld_in) * dtype_size(p->type);
        if (!p->convert) {
            memcpy(to, from, row_bytes);
            continue;
        }
        for (int64_t k = 0; k < inner; k++) ((float *)to)[k] = bf16_to_f32(((const uint16_t *)from)[k]);
    }
    memset(to, 0, (size_t)(p->side->tile_rows[piece.tile] - piece.valid) * row_bytes);
}

/* Where the tile reads its input [rows of the tile, inner]: the stage, or `in` itself. */
static const void *input_of(const struct product *p, struct piece piece) {
    size_t row_bytes = (size_t)p->side->inner * dtype_size(compute_type(p));
    if (piece.row >= p->staged_row) return p->stage + (size_t)(piece.row - p->staged_row) * row_bytes;
    return p->in + (size_t)piece.row * row_bytes;
}

/* to [rows, width], ld apart, = (or +=) from [rows, width], dense. */
static void put_rows(float *to, int64_t ld, const float *from, int64_t rows, int64_t width, bool accumulate) {
    for (int64_t i = 0; i < rows; i++, to += ld, from += width) {
        if (!accumulate) {
            memcpy(to, from, (size_t)width * sizeof *to);
            continue;
        }
        vec()->add(to, from, width);
    }
}

/* Columns first .. first + n - 1 of a row of a weight in blocks. */
static void decode_row(const struct gemm_weight *weight, int64_t row, int64_t first, int64_t n, float *out) {
    enum { BLOCK_MAX = 256, COLUMNS_MAX = 256 + 2 * BLOCK_MAX };
    const struct gemm_blocks *part = weight->parts;
    for (; row >= part->rows; part++) row -= part->rows;
    int64_t block = part->block, from = first / block, to = (first + n + block - 1) / block;
    const uint8_t *data = part->data + (row * (weight->n_in / block) + from) * part->bytes;
    float columns[COLUMNS_MAX];
    if (first % block == 0 && n % block == 0) {
        part->decode(data, to - from, out);
        return;
    }
    part->decode(data, to - from, columns); /* a slice of part of the columns: at most 256 of them */
    memcpy(out, columns + first - from * block, (size_t)n * sizeof *out);
}

/* B of the slice, packed: where it lies, or decoded for this worker. NULL: no memory, or *failure says what. */
static const char *slice_of(const struct product *p, int worker, int64_t slice, int *failure) {
    const struct side *side = p->side;
    const struct gemm_weight *weight = p->weight;
    if (weight->n_parts == 0) return side->packed + (size_t)slice * side->slice_stride;
    bool full = slice < side->cut.n_full, forward = side == &weight->forward;
    int64_t first = slice * side->cut.width, width = full ? side->cut.width : side->cut.tail_width;
    int64_t rows = forward ? width : weight->n_out, columns = forward ? weight->n_in : width;
    float *decoded = gemm_buffer_get(GEMM_BUFFER_DECODED, worker, (size_t)(rows * columns) * sizeof *decoded);
    char *packed = gemm_buffer_get(GEMM_BUFFER_SLICE, worker, side->slice_stride);
    if (!decoded || !packed) {
        *failure = GEMM_NO_MEMORY;
        return NULL;
    }
    for (int64_t i = 0; i < rows; i++)
        decode_row(weight, forward ? first + i : i, forward ? 0 : first, columns, decoded + i * columns);
    *failure = gemm_packer_run(full ? side->pack_full : side->pack_tail, worker, decoded, packed);
    return *failure ? NULL : packed;
}

/* One tile: out [rows of the piece, width of the slice] = (or +=) in [rows, inner] B. It writes densely, because
 * oneDNN's fastest kernels refuse a strided output; what is not dense goes through a buffer. */
static int run_tile(const struct product *p, int worker, int64_t slice, const char *b, struct piece piece) {
    const struct side *side = p->side;
    const struct gemm_kernel *kernel = gemm_cut_kernel(&side->cut, slice);
    int64_t rows = side->tile_rows[piece.tile], width = gemm_kernel_outs(kernel);
    float *to = p->out + piece.row * p->ld_out + slice * side->cut.width;
    bool direct = !p->accumulate && piece.valid == rows && p->ld_out == width;
    float *c = direct ? to : gemm_buffer_get(GEMM_BUFFER_OUT, worker, (size_t)(rows * width) * sizeof *c);
    if (!c) return GEMM_NO_MEMORY;
    int tile = slice < side->cut.n_full ? side->tile_full[piece.tile] : side->tile_tail[piece.tile];
    int result = gemm_kernel_run(kernel, tile, worker, input_of(p, piece), b, c);
    if (!result && !direct) put_rows(to, p->ld_out, c, piece.valid, width, p->accumulate);
    return result;
}

/* Neighbouring row blocks of one slice make a task: the slice's weights stay in the core's cache. */
static void plan_tasks(struct product *p, int team) {
    const int64_t most = 8, tasks_per_thread = 8;
    int64_t pieces = p->n_pieces * p->side->cut.count / (team * tasks_per_thread);
    p->group = pieces < 1 ? 1 : pieces > most ? most : pieces;
    p->n_groups = (p->n_pieces + p->group - 1) / p->group;
}

static void stage_work(struct product *p) {
    for (int64_t i; (i = gemm_next(&p->next_staged)) < p->n_pieces;) {
        struct piece piece = piece_at(p, i);
        if (piece.row >= p->staged_row) stage_piece(p, piece);
    }
#pragma omp barrier
}

static void multiply_work(void *context, int worker) {
    struct product *p = context;
    if (p->stage) stage_work(p);
    for (int64_t task; (task = gemm_next(&p->next_task)) < p->side->cut.count * p->n_groups;) {
        int64_t slice = task / p->n_groups, first = task % p->n_groups * p->group;
        int failure = 0;
        const char *b = slice_of(p, worker, slice, &failure);
        gemm_note(&p->failure, failure);
        for (int64_t i = first; i < first + p->group && i < p->n_pieces && !gemm_noted(&p->failure); i++)
            gemm_note(&p->failure, run_tile(p, worker, slice, b, piece_at(p, i)));
    }
}

/* out [m, outs] = (or +=) in [m, inner] B, for either direction of a weight. */
static opsm_status multiply(const struct gemm_weight *weight, const struct side *side, int64_t m, const void *in,
                            int64_t ld_in, float *out, int64_t ld_out, bool accumulate, opsm_error *err) {
    if (!weight->packed && weight->n_parts == 0)
        return opsm_fail(err, OPSM_INVALID, "a matrix product before its weights were packed");
    if (m < 0 || ld_in < side->inner || ld_out < side->outs)
        return opsm_fail(err, OPSM_INVALID,
                         "a matrix product of %lld rows, %lld apart in and %lld apart out: rows have %lld elements "
                         "in and %lld out",
                         (long long)m, (long long)ld_in, (long long)ld_out, (long long)side->inner,
                         (long long)side->outs);
    if (m == 0) return OPSM_OK;
    struct product product = {.weight = weight,
                              .side = side,
                              .type = weight->type,
                              .convert = weight->type != weight->compute,
                              .m = m,
                              .in = in,
                              .ld_in = ld_in,
                              .out = out,
                              .ld_out = ld_out,
                              .accumulate = accumulate};
    cut_rows(&product);
    gemm_lock();
    opsm_status status = plan_stage(&product, err);
    if (status == OPSM_OK) {
        int team = gemm_team((double)m * (double)side->outs * (double)side->inner);
        plan_tasks(&product, team);
        gemm_parallel(team, multiply_work, &product);
    }
    gemm_unlock();
    return product.failure ? gemm_kernel_fail(err, product.failure) : status;
}

opsm_status gemm_forward(const struct gemm_weight *weight, int64_t m, const void *x, int64_t ldx, float *y, int64_t ldy,
                         bool accumulate, opsm_error *err) {
    return multiply(weight, &weight->forward, m, x, ldx, y, ldy, accumulate, err);
}

opsm_status gemm_dx(const struct gemm_weight *weight, int64_t m, const void *dy, int64_t lddy, float *dx, int64_t lddx,
                    bool accumulate, opsm_error *err) {
    if (!weight->has_backward)
        return opsm_fail(err, OPSM_INVALID, "a gradient is wanted of a weight that was created without `backward`");
    return multiply(weight, &weight->backward, m, dy, lddy, dx, lddx, accumulate, err);
}

/* ---- what serves it ---- */

static void describe(char *text, size_t size, enum dtype wanted) {
    enum { REPRESENTATIVE = 64 };
    enum dtype compute = gemm_compute_type(wanted);
    const char *data = wanted == compute ? "" : " on bf16-rounded data";
    if (!gemm_kernel_uses_onednn()) {
        snprintf(text, size, "panels %s%s (%s), tile %d", compute == DTYPE_BF16 ? "bf16" : "f32", data,
                 cpu_isa_name(cpu_isa()), GEMM_ROWS);
        return;
    }
    struct gemm_kernel *kernel;
    opsm_error err = {0};
    if (gemm_kernel_get(&kernel, GEMM_ROWS, REPRESENTATIVE, REPRESENTATIVE, compute, true, &err) != OPSM_OK) {
        snprintf(text, size, "unavailable: %s", err.text);
        return;
    }
    int n = snprintf(text, size, "oneDNN %s %s%s %s (%s), tile", onednn_version(),
                     compute == DTYPE_BF16 ? "bf16" : "f32", data, gemm_kernel_name(kernel), cpu_isa_name(cpu_isa()));
    for (int i = 0; i < gemm_kernel_tiles(kernel) && n > 0 && (size_t)n < size; i++)
        n += snprintf(text + n, size - (size_t)n, " %d", (int)gemm_kernel_rows(kernel, i));
}

const char *gemm_implementation(enum dtype wanted) {
    static char text[2][560];
    gemm_lock();
    describe(text[wanted], sizeof text[wanted], wanted);
    gemm_unlock();
    return text[wanted];
}

void gemm_shutdown(void) {
    gemm_lock();
    gemm_kernels_free();
    gemm_unlock();
}
