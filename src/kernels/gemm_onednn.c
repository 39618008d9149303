/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/gemm_onednn.h"
#include "base/cpu.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/platform.h"
#include "base/threads.h"
#include <dnnl.h>
#include <omp.h>
#include <stdio.h>

/* ---- what differs between the two APIs ---- */

#if DNNL_VERSION_MAJOR >= 3

typedef dnnl_memory_desc_t layout_own; /* a handle that we destroy */
typedef const_dnnl_memory_desc_t layout_ref;

static dnnl_status_t layout_strided(layout_own *layout, const dnnl_dims_t dims, dnnl_data_type_t type,
                                    const dnnl_dims_t strides) {
    return dnnl_memory_desc_create_with_strides(layout, 2, dims, type, strides);
}

static dnnl_status_t layout_any(layout_own *layout, const dnnl_dims_t dims, dnnl_data_type_t type) {
    return dnnl_memory_desc_create_with_tag(layout, 2, dims, type, dnnl_format_tag_any);
}

static dnnl_status_t layout_copy(layout_own *layout, layout_ref from) {
    return dnnl_memory_desc_clone(layout, from);
}

static void layout_drop(layout_own *layout) {
    if (*layout) dnnl_memory_desc_destroy(*layout);
}

static layout_ref layout_of(const layout_own *layout) {
    return *layout;
}

static dnnl_status_t describe_matmul(dnnl_primitive_desc_t *desc, dnnl_engine_t engine, const layout_own *a,
                                     const layout_own *b, const layout_own *c, const_dnnl_primitive_attr_t attr) {
    return dnnl_matmul_primitive_desc_create(desc, engine, *a, *b, NULL, *c, attr);
}

#else

typedef dnnl_memory_desc_t layout_own; /* a value */
typedef const dnnl_memory_desc_t *layout_ref;

static dnnl_status_t layout_strided(layout_own *layout, const dnnl_dims_t dims, dnnl_data_type_t type,
                                    const dnnl_dims_t strides) {
    return dnnl_memory_desc_init_by_strides(layout, 2, dims, type, strides);
}

static dnnl_status_t layout_any(layout_own *layout, const dnnl_dims_t dims, dnnl_data_type_t type) {
    return dnnl_memory_desc_init_by_tag(layout, 2, dims, type, dnnl_format_tag_any);
}

static dnnl_status_t layout_copy(layout_own *layout, layout_ref from) {
    *layout = *from;
    return dnnl_success;
}

static void layout_drop(layout_own *layout) {
    (void)layout;
}

static layout_ref layout_of(const layout_own *layout) {
    return layout;
}

static dnnl_status_t describe_matmul(dnnl_primitive_desc_t *desc, dnnl_engine_t engine, const layout_own *a,
                                     const layout_own *b, const layout_own *c, const_dnnl_primitive_attr_t attr) {
    dnnl_matmul_desc_t operation;
    dnnl_status_t status = dnnl_matmul_desc_init(&operation, a, b, NULL, c);
    return status == dnnl_success ? dnnl_primitive_desc_create(desc, &operation, attr, engine, NULL) : status;
}

#endif

/* ---- the engine, and what each worker has ---- */

/* One per worker, 64-byte aligned: no two workers write to the same cache line. */
struct worker {
    dnnl_stream_t stream;
    void *scratch; /* the primitives' scratchpad */
    size_t scratch_bytes;
};

static dnnl_engine_t engine;
static struct worker *workers[THREADS_MAX];

const char *onednn_version(void) {
    static char text[32];
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, sizeof text, "%d.%d.%d", v->major, v->minor, v->patch);
    return text;
}

opsm_status onednn_fail(opsm_error *err, int result, const char *what) {
    if (result == dnnl_out_of_memory)
        return opsm_fail(err, OPSM_NOMEM, "out of memory in oneDNN %s while it %s", onednn_version(), what);
    if (result == dnnl_unimplemented)
        return opsm_fail(err, OPSM_UNSUPPORTED,
                         "oneDNN %s has no implementation that %s on this machine; OPSM_ISA=ref does without it",
                         onednn_version(), what);
    return opsm_fail(err, OPSM_INTERNAL, "oneDNN %s failed (its status %d) while it %s", onednn_version(), result,
                     what);
}

/* Has no effect, and must have none, once the library has looked at the processor: called before anything else. */
static void cap_instructions(void) {
#if defined(CPU_X86)
    static const dnnl_cpu_isa_t caps[] = {[CPU_AVX2] = dnnl_cpu_isa_avx2,
                                          [CPU_AVX512] = dnnl_cpu_isa_avx512_core,
                                          [CPU_AVX512BF16] = dnnl_cpu_isa_avx512_core_bf16};
    enum cpu_isa isa = cpu_isa();
    if (isa >= CPU_AVX2 && isa < CPU_AMX) dnnl_set_max_cpu_isa(caps[isa]);
#endif
}

/* The library writes machine code into memory that it asks for, and into nothing where it gets none. */
static bool room_for_code(void) {
    enum { CODE_BYTES = 8 << 20 };
    return platform_room(CODE_BYTES);
}

opsm_status onednn_start(opsm_error *err) {
    if (engine) return OPSM_OK;
    cap_instructions();
    dnnl_status_t status = room_for_code() ? dnnl_engine_create(&engine, dnnl_cpu, 0) : dnnl_out_of_memory;
    if (status == dnnl_success) return OPSM_OK;
    engine = NULL;
    return onednn_fail(err, status, "creates its engine");
}

void onednn_stop(void) {
    for (int i = 0; i < THREADS_MAX; i++) {
        if (!workers[i]) continue;
        if (workers[i]->stream) dnnl_stream_destroy(workers[i]->stream);
        mem_free(workers[i]->scratch);
        mem_free(workers[i]);
        workers[i] = NULL;
    }
    if (engine) dnnl_engine_destroy(engine);
    engine = NULL;
}

/* The worker's own stream and at least `bytes` of scratch memory; made on first use, kept. */
static dnnl_status_t worker_ready(int number, size_t bytes, struct worker **worker) {
    if (!workers[number]) workers[number] = mem_zalloc(1, sizeof **workers);
    struct worker *w = *worker = workers[number];
    if (!w) return dnnl_out_of_memory;
    if (!w->stream) {
        dnnl_status_t status = dnnl_stream_create(&w->stream, engine, dnnl_stream_default_flags);
        if (status != dnnl_success) return status;
    }
    if (w->scratch_bytes < bytes) {
        mem_free(w->scratch);
        w->scratch = mem_alloc(bytes, 1);
        w->scratch_bytes = w->scratch ? bytes : 0;
        if (!w->scratch) return dnnl_out_of_memory;
    }
    return dnnl_success;
}

/* ---- one primitive with memory objects for every worker that has run it ---- */

enum { MAX_ARGS = 4 };

struct arguments {
    dnnl_exec_arg_t list[MAX_ARGS];
};

struct runnable {
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t primitive;
    int n_args;
    int names[MAX_ARGS];
    layout_ref layouts[MAX_ARGS]; /* borrowed from desc */
    size_t scratch_bytes;
    struct arguments *arguments[THREADS_MAX]; /* NULL until that worker's first run */
};

static void add_argument(struct runnable *r, int name, dnnl_query_t what) {
    r->names[r->n_args] = name;
    r->layouts[r->n_args++] = dnnl_primitive_desc_query_md(r->desc, what, 0);
}

/* r->desc is set. The scratchpad comes last and only where one is wanted. */
static dnnl_status_t runnable_finish(struct runnable *r) {
    layout_ref scratch = dnnl_primitive_desc_query_md(r->desc, dnnl_query_scratchpad_md, 0);
    r->scratch_bytes = scratch ? dnnl_memory_desc_get_size(scratch) : 0;
    if (r->scratch_bytes) add_argument(r, DNNL_ARG_SCRATCHPAD, dnnl_query_scratchpad_md);
    return dnnl_primitive_create(&r->primitive, r->desc);
}

static void arguments_free(struct arguments *arguments) {
    if (!arguments) return;
    for (int i = 0; i < MAX_ARGS; i++)
        if (arguments->list[i].memory) dnnl_memory_destroy(arguments->list[i].memory);
    mem_free(arguments);
}

static void runnable_release(struct runnable *r) {
    for (int i = 0; i < THREADS_MAX; i++) arguments_free(r->arguments[i]);
    if (r->primitive) dnnl_primitive_destroy(r->primitive);
    if (r->desc) dnnl_primitive_desc_destroy(r->desc);
}

static dnnl_status_t arguments_create(const struct runnable *r, struct arguments **arguments) {
    struct arguments *created = mem_zalloc(1, sizeof *created);
    if (!created) return dnnl_out_of_memory;
    for (int i = 0; i < r->n_args; i++) {
        created->list[i].arg = r->names[i];
        dnnl_status_t status = dnnl_memory_create(&created->list[i].memory, r->layouts[i], engine, DNNL_MEMORY_NONE);
        if (status == dnnl_success) continue;
        arguments_free(created);
        return status;
    }
    *arguments = created;
    return dnnl_success;
}

/* handles: one per argument; the scratchpad, if there is one, comes after them. */
static int runnable_run(struct runnable *r, int number, void *const *handles, int n_handles) {
    struct worker *worker;
    dnnl_status_t status = worker_ready(number, r->scratch_bytes, &worker);
    if (status == dnnl_success && !r->arguments[number]) status = arguments_create(r, &r->arguments[number]);
    if (status != dnnl_success) return status;
    struct arguments *arguments = r->arguments[number];
    for (int i = 0; i < r->n_args && status == dnnl_success; i++) {
        void *handle = i < n_handles ? handles[i] : worker->scratch;
        status = dnnl_memory_set_data_handle(arguments->list[i].memory, handle);
    }
    if (status != dnnl_success) return status;
    status = dnnl_primitive_execute(r->primitive, worker->stream, r->n_args, arguments->list);
    return status == dnnl_success ? dnnl_stream_wait(worker->stream) : status;
}

/* Primitives cut their work for the threads that they see while they are created. Returns what to show afterwards. */
static int show_threads(int threads) {
    int before = omp_get_max_threads();
    omp_set_num_threads(threads);
    return before;
}

/* The caller hands out the scratchpad: the library's own would belong to the thread that created the primitive. */
static dnnl_status_t attributes_create(dnnl_primitive_attr_t *attr) {
    dnnl_status_t status = dnnl_primitive_attr_create(attr);
    if (status != dnnl_success) return status;
    status = dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user);
    if (status != dnnl_success) dnnl_primitive_attr_destroy(*attr);
    return status;
}

static dnnl_data_type_t data_type(enum dtype type) {
    return type == DTYPE_BF16 ? dnnl_bf16 : dnnl_f32;
}

/* ---- products ---- */

struct onednn_matmul {
    struct runnable run;
    int64_t outs, inner;
    char name[48];
};

static dnnl_status_t describe(struct onednn_matmul *matmul, int64_t rows, enum dtype type,
                              const struct onednn_matmul *like) {
    const int64_t outs = matmul->outs, inner = matmul->inner;
    const dnnl_dims_t a_dims = {rows, inner}, b_dims = {inner, outs}, c_dims = {rows, outs};
    const dnnl_dims_t a_strides = {inner, 1}, c_strides = {outs, 1};
    layout_own a = {0}, b = {0}, c = {0};
    dnnl_primitive_attr_t attr = NULL;
    dnnl_status_t status = layout_strided(&a, a_dims, data_type(type), a_strides);
    if (status == dnnl_success)
        status = like ? layout_copy(&b, like->run.layouts[1]) : layout_any(&b, b_dims, data_type(type));
    if (status == dnnl_success) status = layout_strided(&c, c_dims, dnnl_f32, c_strides);
    if (status == dnnl_success) status = attributes_create(&attr);
    if (status == dnnl_success) {
        status = describe_matmul(&matmul->run.desc, engine, &a, &b, &c, attr);
        dnnl_primitive_attr_destroy(attr);
    }
    layout_drop(&a);
    layout_drop(&b);
    layout_drop(&c);
    return status;
}

static dnnl_status_t matmul_build(struct onednn_matmul *matmul, int64_t rows, enum dtype type,
                                  const struct onednn_matmul *like) {
    dnnl_status_t status = describe(matmul, rows, type, like);
    if (status != dnnl_success) return status;
    add_argument(&matmul->run, DNNL_ARG_SRC, dnnl_query_src_md);
    add_argument(&matmul->run, DNNL_ARG_WEIGHTS, dnnl_query_weights_md);
    add_argument(&matmul->run, DNNL_ARG_DST, dnnl_query_dst_md);
    const char *name = NULL;
    status = dnnl_primitive_desc_query(matmul->run.desc, dnnl_query_impl_info_str, 0, &name);
    snprintf(matmul->name, sizeof matmul->name, "%s", status == dnnl_success && name ? name : "unknown");
    return runnable_finish(&matmul->run);
}

opsm_status onednn_matmul_create(struct onednn_matmul **matmul, int64_t rows, int64_t outs, int64_t inner,
                                 enum dtype type, const struct onednn_matmul *like, int threads, opsm_error *err) {
    struct onednn_matmul *created = mem_zalloc(1, sizeof *created);
    if (!created) return mem_exhausted(err, "a matrix product", sizeof *created);
    created->outs = outs;
    created->inner = inner;
    int threads_before = show_threads(threads);
    dnnl_status_t status = room_for_code() ? matmul_build(created, rows, type, like) : dnnl_out_of_memory;
    show_threads(threads_before);
    if (status == dnnl_success) {
        *matmul = created;
        return OPSM_OK;
    }
    onednn_matmul_free(created);
    char what[120];
    snprintf(what, sizeof what, "multiplies %s matrices of %lld x %lld and %lld x %lld",
             type == DTYPE_BF16 ? "bf16" : "f32", (long long)rows, (long long)inner, (long long)inner, (long long)outs);
    return onednn_fail(err, status, what);
}

void onednn_matmul_free(struct onednn_matmul *matmul) {
    if (!matmul) return;
    runnable_release(&matmul->run);
    mem_free(matmul);
}

size_t onednn_matmul_packed_bytes(const struct onednn_matmul *matmul) {
    return dnnl_memory_desc_get_size(matmul->run.layouts[1]);
}

const char *onednn_matmul_name(const struct onednn_matmul *matmul) {
    return matmul->name;
}

int onednn_matmul_run(struct onednn_matmul *matmul, int worker, const void *a, const void *b, float *c) {
    void *const handles[] = {(void *)(uintptr_t)a, (void *)(uintptr_t)b, c};
    return runnable_run(&matmul->run, worker, handles, sizeof handles / sizeof *handles);
}

/* ---- packing ---- */

struct onednn_packer {
    struct runnable run;
};

static dnnl_status_t packer_build(struct onednn_packer *packer, const struct onednn_matmul *matmul, enum dtype type,
                                  int64_t stride_inner, int64_t stride_outs) {
    const dnnl_dims_t dims = {matmul->inner, matmul->outs}, strides = {stride_inner, stride_outs};
    layout_own src = {0};
    dnnl_primitive_attr_t attr = NULL;
    dnnl_status_t status = layout_strided(&src, dims, data_type(type), strides);
    if (status == dnnl_success) status = attributes_create(&attr);
    if (status == dnnl_success) {
        status = dnnl_reorder_primitive_desc_create(&packer->run.desc, layout_of(&src), engine, matmul->run.layouts[1],
                                                    engine, attr);
        dnnl_primitive_attr_destroy(attr);
    }
    layout_drop(&src);
    if (status != dnnl_success) return status;
    add_argument(&packer->run, DNNL_ARG_FROM, dnnl_query_src_md);
    add_argument(&packer->run, DNNL_ARG_TO, dnnl_query_dst_md);
    return runnable_finish(&packer->run);
}

opsm_status onednn_packer_create(struct onednn_packer **packer, const struct onednn_matmul *matmul, enum dtype src_type,
                                 int64_t stride_inner, int64_t stride_outs, opsm_error *err) {
    struct onednn_packer *created = mem_zalloc(1, sizeof *created);
    if (!created) return mem_exhausted(err, "packing weights", sizeof *created);
    int threads_before = show_threads(1);
    dnnl_status_t status =
        room_for_code() ? packer_build(created, matmul, src_type, stride_inner, stride_outs) : dnnl_out_of_memory;
    show_threads(threads_before);
    if (status == dnnl_success) {
        *packer = created;
        return OPSM_OK;
    }
    onednn_packer_free(created);
    return onednn_fail(err, status, "packs a matrix");
}

void onednn_packer_free(struct onednn_packer *packer) {
    if (!packer) return;
    runnable_release(&packer->run);
    mem_free(packer);
}

int onednn_packer_run(struct onednn_packer *packer, int worker, const void *src, void *dst) {
    void *const handles[] = {(void *)(uintptr_t)src, dst};
    return runnable_run(&packer->run, worker, handles, sizeof handles / sizeof *handles);
}
