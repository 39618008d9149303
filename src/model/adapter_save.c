/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/mem.h"
#include "io/gguf.h"
#include "io/hf_names.h"
#include "io/json_writer.h"
#include "io/safetensors.h"
#include "model/adapter_names.h"
#include "model/layout.h"
#include <stdio.h>
#include <string.h>

/* ---- GGUF -------------------------------------------------------------------------------------------------------- */

static opsm_status describe(struct metadata *metadata, const struct model *m, opsm_error *err) {
    float alpha = (float)(lora_scale(&m->lora) * m->lora.rank);
    opsm_status status = metadata_set_string(metadata, "general.type", "adapter", err);
    if (status == OPSM_OK)
        status = metadata_set_string(metadata, "general.architecture", m->config.architecture->name, err);
    if (status == OPSM_OK) status = metadata_set_string(metadata, "adapter.type", "lora", err);
    if (status == OPSM_OK) status = metadata_set_f32(metadata, "adapter.lora.alpha", alpha, err);
    return status == OPSM_OK ? metadata_set_u32(metadata, "general.file_type", 0, err) : status;
}

static opsm_status put(struct gguf_writer *w, const struct model *m, const struct parameter *t, opsm_error *err) {
    const float *ours = m->adapters.values + t->offset;
    int64_t n = t->rows * t->cols;
    if (!adapter_is_interleaved(m, t)) return gguf_writer_put(w, ours, n, err);
    float *rows = mem_alloc((size_t)n, sizeof *rows);
    if (!rows) return mem_exhausted(err, t->name, (size_t)n * sizeof *rows);
    for (int64_t row = 0; row < t->rows; row++)
        memcpy(rows + row * t->cols, ours + model_rotate_half_row(row, m->config.head_dim) * t->cols,
               (size_t)t->cols * sizeof *rows);
    opsm_status status = gguf_writer_put(w, rows, n, err);
    mem_free(rows);
    return status;
}

static opsm_status write_gguf(const struct model *m, const char *path, const struct metadata *metadata,
                              opsm_error *err) {
    struct gguf_writer *w;
    opsm_status status = gguf_writer_create(&w, path, metadata, err);
    if (status != OPSM_OK) return status;
    for (int32_t i = 0; i < m->adapters.n_tensors && status == OPSM_OK; i++) {
        const struct parameter *t = &m->adapters.tensors[i];
        status = gguf_writer_add_tensor(w, t->name, 2, (int64_t[]){t->cols, t->rows}, QUANT_F32, err);
    }
    for (int32_t i = 0; i < m->adapters.n_tensors && status == OPSM_OK; i++)
        status = put(w, m, &m->adapters.tensors[i], err);
    if (status == OPSM_OK) return gguf_writer_commit(w, err);
    gguf_writer_abort(w);
    return status;
}

opsm_status adapter_save_gguf(const struct model *m, const char *path, opsm_error *err) {
    struct metadata metadata = {0};
    opsm_status status = metadata_init(&metadata, path, err);
    if (status == OPSM_OK) status = describe(&metadata, m, err);
    if (status == OPSM_OK) status = write_gguf(m, path, &metadata, err);
    metadata_free(&metadata);
    return status;
}

/* ---- PEFT -------------------------------------------------------------------------------------------------------- */

/* The last part of the module's name, "q_proj", for every kind of tensor that is adapted. */
static void put_modules(struct json_writer *w, const struct model *m) {
    json_put_open(w, "target_modules", '[');
    for (int32_t i = 0; i < m->adapters.n_tensors; i++) {
        const char *name = m->adapters.tensors[i].name;
        char peft[ADAPTER_NAME_ROOM], first[] = "blk.0.";
        if (strncmp(name, first, sizeof first - 1) != 0 || !adapter_name_of_peft(peft, name) ||
            !strstr(name, ".lora_a"))
            continue;
        *strstr(peft, ".lora_A.") = '\0';
        json_put_string(w, NULL, strrchr(peft, '.') + 1);
    }
    json_put_close(w, ']');
}

static opsm_status write_config(const struct model *m, const char *path, const char *base, opsm_error *err) {
    struct text text = {0};
    struct json_writer w = {.text = &text, .spaced = true};
    json_put_open(&w, NULL, '{');
    json_put_string(&w, "peft_type", "LORA");
    json_put_string(&w, "task_type", "CAUSAL_LM");
    json_put_string(&w, "base_model_name_or_path", base);
    json_put_int(&w, "r", m->lora.rank);
    json_put_number(&w, "lora_alpha", m->lora.alpha);
    json_put_bool(&w, "use_rslora", m->lora.rslora);
    json_put_number(&w, "lora_dropout", 0);
    put_modules(&w, m);
    json_put_string(&w, "bias", "none");
    json_put_bool(&w, "fan_in_fan_out", false);
    json_put_bool(&w, "inference_mode", true);
    json_put_close(&w, '}');
    json_put_end(&w);
    struct file_out *out;
    opsm_status status = text.failed ? mem_exhausted(err, path, text.length) : file_create(&out, path, err);
    if (status == OPSM_OK) {
        file_write(out, text.data, text.length);
        status = file_commit(out, err);
    }
    text_free(&text);
    return status;
}

static opsm_status fill_safetensors(struct safetensors_writer *w, const struct model *m, opsm_error *err) {
    opsm_status status = OPSM_OK;
    for (int32_t i = 0; i < m->adapters.n_tensors && status == OPSM_OK; i++) {
        const struct parameter *t = &m->adapters.tensors[i];
        char name[ADAPTER_NAME_ROOM];
        if (!adapter_name_of_peft(name, t->name))
            return opsm_fail(err, OPSM_INTERNAL, "%s has no name in PEFT", t->name);
        status = safetensors_writer_add(w, name, 2, (int64_t[]){t->rows, t->cols}, QUANT_F32, err);
    }
    for (int64_t i; status == OPSM_OK && (i = safetensors_writer_next(w)) >= 0;) {
        const struct parameter *t = &m->adapters.tensors[i];
        status = safetensors_writer_put(w, m->adapters.values + t->offset, t->rows * t->cols, err);
    }
    return status;
}

static opsm_status write_safetensors(const struct model *m, const char *path, opsm_error *err) {
    struct safetensors_writer *w;
    opsm_status status = safetensors_writer_create(&w, path, 0, err);
    if (status != OPSM_OK) return status;
    status = fill_safetensors(w, m, err);
    if (status == OPSM_OK) return safetensors_writer_commit(w, err);
    safetensors_writer_abort(w);
    return status;
}

opsm_status adapter_save_peft(const struct model *m, const char *dir, const char *base, opsm_error *err) {
    char *config = file_join(dir, "adapter_config.json"), *weights = file_join(dir, "adapter_model.safetensors");
    opsm_status status = config && weights ? file_make_dir(dir, err) : mem_exhausted(err, "a file name", 0);
    if (status == OPSM_OK) status = write_safetensors(m, weights, err);
    if (status == OPSM_OK) status = write_config(m, config, base, err);
    mem_free(config);
    mem_free(weights);
    return status;
}
