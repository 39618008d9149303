/* SPDX-License-Identifier: Apache-2.0 */
#include "io/quote.h"

const char *quote(char out[QUOTE_ROOM], const char *text, size_t length) {
    static const char hex[] = "0123456789abcdef";
    enum { ESCAPE = 4, TAIL = 5 }; /* "\xNN"; "...'" and NUL */
    size_t n = 0;
    out[n++] = '\'';
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (n + ESCAPE + TAIL > QUOTE_ROOM) {
            for (int dot = 0; dot < 3; dot++) out[n++] = '.';
            break;
        }
        if (c >= 0x20 && c < 0x7f) {
            out[n++] = (char)c;
            continue;
        }
        out[n++] = '\\';
        out[n++] = 'x';
        out[n++] = hex[c >> 4];
        out[n++] = hex[c & 15];
    }
    out[n++] = '\'';
    out[n] = '\0';
    return out;
}
