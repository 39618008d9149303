/* SPDX-License-Identifier: Apache-2.0
 *
 * Our side of compare_quant.py.
 *
 *   quantize encode TYPE FLOATS      a file of floats -> blocks on stdout
 *   quantize speed TYPE FLOATS       -> seconds of the fastest of ten conversions, on one thread
 *   quantize types BASE MODEL.gguf   the type that each tensor of the file gets in the mixture, one a line
 */
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "io/quant_mixture.h"
#include "io/tensor_source.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t type_named(const char *name) {
    for (uint32_t type = 0; type < 64; type++)
        if (quant_traits(type)->encode && strcmp(quant_traits(type)->name, name) == 0) return type;
    fprintf(stderr, "no encoder for '%s'\n", name);
    exit(2);
}

static int fail(const opsm_error *err) {
    fprintf(stderr, "%s\n", err->text);
    return 1;
}

static int convert(const char *type_name, const char *path, int measure) {
    const struct quant_traits *traits = quant_traits(type_named(type_name));
    opsm_error err = {0};
    struct file_map map;
    if (file_map_open(&map, path, &err) != OPSM_OK) return fail(&err);
    const float *values = (const float *)(const void *)map.data;
    int64_t n_blocks = (int64_t)(map.size / sizeof *values) / traits->block;
    uint8_t *blocks = mem_alloc((size_t)n_blocks, (size_t)traits->bytes);
    double best = 1e300;
    for (int round = 0; round < (measure ? 10 : 1); round++) {
        double start = clock_seconds();
        traits->encode(values, n_blocks, blocks);
        double seconds = clock_seconds() - start;
        if (seconds < best) best = seconds;
    }
    if (measure)
        printf("%.9f\n", best);
    else
        fwrite(blocks, (size_t)traits->bytes, (size_t)n_blocks, stdout);
    file_map_close(&map);
    mem_free(blocks);
    return 0;
}

static uint32_t number(const struct tensor_source *file, const char *key, uint32_t missing) {
    struct text_view arch;
    char full[128];
    uint32_t value;
    opsm_error err = {0};
    if (metadata_get_string(&file->metadata, "general.architecture", &arch, &err) != OPSM_OK) return missing;
    snprintf(full, sizeof full, "%.*s.%s", (int)arch.length, arch.data, key);
    return metadata_get_u32(&file->metadata, full, &value, &err) == OPSM_OK ? value : missing;
}

static int list_types(const char *base, const char *path) {
    opsm_error err = {0};
    struct tensor_source *file;
    if (tensor_source_open(&file, path, &err) != OPSM_OK) return fail(&err);
    uint32_t heads = number(file, "attention.head_count", 1);
    struct text_view arch;
    struct quant_mixture m = {.base = (enum quant_type)type_named(base),
                              .n_layers = (int)number(file, "block_count", 0),
                              .n_experts = (int)number(file, "expert_count", 0),
                              .tied = !tensor_source_find(file, "output.weight")};
    if (metadata_get_string(&file->metadata, "general.architecture", &arch, &err) == OPSM_OK && arch.length == 5 &&
        (memcmp(arch.data, "llama", 5) == 0 || memcmp(arch.data, "qwen2", 5) == 0))
        m.shared_heads = number(file, "attention.head_count_kv", heads) != heads;
    for (int64_t i = 0; i < file->n_tensors; i++) {
        const struct tensor_info *t = &file->tensors[i];
        enum quant_type type = quant_mixture_type(&m, t->name, t->n_dims, t->shape, t->type);
        printf("%s %s\n", t->name, quant_traits((uint32_t)type)->name);
    }
    tensor_source_close(file);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[1], "encode") == 0) return convert(argv[2], argv[3], 0);
    if (argc == 4 && strcmp(argv[1], "speed") == 0) return convert(argv[2], argv[3], 1);
    if (argc == 4 && strcmp(argv[1], "types") == 0) return list_types(argv[2], argv[3]);
    fprintf(stderr, "usage: quantize encode TYPE FLOATS | speed TYPE FLOATS | types BASE MODEL.gguf\n");
    return 2;
}
