/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the reader share.
 */
#ifndef OPSM_IO_SAFETENSORS_INTERNAL_H
#define OPSM_IO_SAFETENSORS_INTERNAL_H
#include "io/safetensors.h"
#include <jansson.h>

/* Appends the tensors of one file: all, or those that `weight_map` (name -> file's name) places in `shard`. */
opsm_status safetensors_add_file(struct safetensors *st, const uint8_t *bytes, size_t size, const char *file,
                                 const json_t *weight_map, const char *shard, opsm_error *err);

#endif
