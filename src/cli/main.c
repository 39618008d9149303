/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

int main(void) {
    fprintf(stderr, "opsm " OPSM_VERSION "\n");
    return 2;
}
