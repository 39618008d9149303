/* SPDX-License-Identifier: Apache-2.0 */
#include "model/adapter_names.h"
#include "model/layout.h"
#include <stdio.h>
#include <string.h>

bool adapter_name_of_peft(char out[ADAPTER_NAME_ROOM], const char *name) {
    char tensor[GGUF_NAME_ROOM], module[HF_NAME_ROOM];
    const char *half = strstr(name, ".lora_");
    if (!half || snprintf(tensor, sizeof tensor, "%.*s", (int)(half - name), name) >= (int)sizeof tensor) return false;
    if (!hf_name_from_gguf(module, tensor, false)) return false;
    char *weight = strrchr(module, '.');
    *weight = '\0';
    snprintf(out, ADAPTER_NAME_ROOM, "base_model.model.%s.lora_%c.weight", module, half[6] == 'a' ? 'A' : 'B');
    return true;
}

bool adapter_is_interleaved(const struct model *m, const struct parameter *t) {
    return strstr(t->name, ".lora_b") && model_is_interleaved(m, t);
}
