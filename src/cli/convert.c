/* SPDX-License-Identifier: Apache-2.0
 *
 * opsm convert: a model as GGUF, as a Hugging Face directory, or in another type.
 */
#include "model/convert.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "io/hf.h"
#include <string.h>

static const struct {
    const char *name;
    enum quant_type type;
} types[] = {
    {"f32", QUANT_F32}, {"f16", QUANT_F16}, {"bf16", QUANT_BF16}, {"q8_0", QUANT_Q8_0}, {"q4_k_m", QUANT_Q4_K}};

enum { N_TYPES = sizeof types / sizeof *types };

static bool find_type(const char *name, struct conversion *c) {
    for (int i = 0; i < N_TYPES; i++)
        if (strcmp(types[i].name, name) == 0) {
            *c = (struct conversion){.type = types[i].type};
            return true;
        }
    return false;
}

static bool ends_with(const char *text, const char *end) {
    size_t length = strlen(text), n = strlen(end);
    return length > n && strcmp(text + length - n, end) == 0;
}

/* The model of a run is its model.gguf. */
static opsm_status find_input(const char *in, char **path, opsm_error *err) {
    bool there = false;
    *path = file_join(in, "model.gguf");
    if (!*path) return mem_exhausted(err, "a file name", 0);
    opsm_status status = file_is_dir(in) ? file_find(*path, &there, err) : OPSM_OK;
    if (status != OPSM_OK || there) return status;
    mem_free(*path);
    *path = mem_strdup(in);
    return *path ? OPSM_OK : mem_exhausted(err, "a file name", 0);
}

static opsm_status convert(const char *path, const char *out, const struct conversion *c, opsm_error *err) {
    struct model *model = NULL;
    bool to_gguf = ends_with(out, ".gguf");
    if (file_exists(out)) return opsm_fail(err, OPSM_IO, "'%s' is there already; name one that is not", out);
    if (to_gguf && c->keep && !file_is_dir(path))
        return opsm_fail(err, OPSM_INVALID, "from GGUF to GGUF the type is what changes: give --type");
    opsm_status status = model_open(&model, path, DTYPE_F32, err);
    if (status == OPSM_OK)
        status = to_gguf ? model_convert_to_gguf(model, out, c, err) : model_convert_to_hf(model, out, c, err);
    model_free(model);
    return status;
}

int cmd_convert(int argc, char **argv) {
    const char *words[2] = {NULL}, *type = NULL;
    static const char *const names[] = {"the model (a GGUF file, a Hugging Face directory or that of a run)",
                                        "what to write (FILE.gguf or a new directory)"};
    const struct option table[] = {{"--type", OPTION_TEXT, &type, 0, 0}, {NULL, OPTION_FLAG, NULL, 0, 0}};
    int code = options_read(argc, argv, table, words, 2, names);
    if (code) return code;
    struct conversion conversion = {.keep = true};
    if (type && !find_type(type, &conversion))
        return cli_usage("convert", "--type '%s' is none of f32, f16, bf16, q8_0, q4_k_m", type);
    opsm_error err = {0};
    char *out = mem_strdup(words[1]), *path = NULL;
    opsm_status status = out ? find_input(words[0], &path, &err) : mem_exhausted(&err, "a file name", 0);
    for (size_t n = out ? strlen(out) : 0; n > 1 && out[n - 1] == '/'; n--) out[n - 1] = '\0';
    if (status == OPSM_OK) status = convert(path, out, &conversion, &err);
    if (status == OPSM_OK) printf("%s\n", out);
    mem_free(path);
    mem_free(out);
    return status == OPSM_OK ? 0 : cli_fail(status, &err);
}
