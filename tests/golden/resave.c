/* SPDX-License-Identifier: Apache-2.0
 *
 * resave IN.gguf OUT.gguf f32|f16|bf16|q8_0: loads a model and saves it again, for compare_llama.py.
 */
#include "model/model.h"
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        enum quant_type type;
    } types[] = {{"f32", QUANT_F32}, {"f16", QUANT_F16}, {"bf16", QUANT_BF16}, {"q8_0", QUANT_Q8_0}};
    for (size_t i = 0; argc == 4 && i < sizeof types / sizeof *types; i++) {
        if (strcmp(argv[3], types[i].name) != 0) continue;
        struct model *model;
        opsm_error err = {0};
        opsm_status status = model_load(&model, argv[1], DTYPE_F32, false, &err);
        if (status == OPSM_OK) {
            status = model_save(model, argv[2], types[i].type, &err);
            model_free(model);
        }
        if (status != OPSM_OK) fprintf(stderr, "%s\n", err.text);
        return status != OPSM_OK;
    }
    fprintf(stderr, "usage: resave IN.gguf OUT.gguf f32|f16|bf16|q8_0\n");
    return 2;
}
