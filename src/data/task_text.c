/* SPDX-License-Identifier: Apache-2.0 */
#include "data/task_family.h"
#include <inttypes.h>

void task_write_list(struct text *text, const int64_t *numbers, int n, const char *separator, const char *last) {
    for (int i = 0; i < n; i++)
        text_printf(text, "%s%" PRId64, i == 0 ? "" : i + 1 == n ? last : separator, numbers[i]);
}
