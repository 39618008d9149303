/* SPDX-License-Identifier: Apache-2.0
 *
 * The layout of help texts, for a terminal of 80 columns and as a man page. A text is written like this:
 *
 *   a paragraph, whose lines        are joined and filled anew
 *   "  --name VALUE  what it does"  a term and its meaning; lines indented by more than 10 go on with it
 *   "key\n    what it does"         likewise, the term on a line of its own
 *   "    anything"                  stays as it is, where it fits
 */
#ifndef OPSM_CLI_PAGE_H
#define OPSM_CLI_PAGE_H
#include <stdio.h>

enum { PAGE_COLUMNS = 80 };

void page_print(const char *text, FILE *out);
void page_print_roff(const char *text, FILE *out);

/* Words of one line of roff text: escaped. */
void page_print_roff_words(const char *words, size_t length, FILE *out);

#endif
