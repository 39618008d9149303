/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OPSM_KERNELS_ROPE_H
#define OPSM_KERNELS_ROPE_H

/* Frees the calling thread's tables of sines and cosines (rope_apply in layers.h fills them). */
void rope_release(void);

#endif
