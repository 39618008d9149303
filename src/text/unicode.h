/* SPDX-License-Identifier: Apache-2.0
 *
 * The little of Unicode that pre-tokenizers and chat templates need: UTF-8, the classes \p{L}, \p{N}, \s, and upper and
 * lower case.
 *
 * The classes come from a table of our own (Unicode 15.1, equal to llama.cpp's at every code point), so that the same
 * text has the same ids on every machine. An installed regular-expression library would bring its own Unicode version,
 * and PCRE2 also counts U+180E as a space.
 */
#ifndef OPSM_TEXT_UNICODE_H
#define OPSM_TEXT_UNICODE_H
#include <opsm/status.h>
#include <stddef.h>
#include <stdint.h>

enum char_class { CHAR_OTHER, CHAR_LETTER, CHAR_NUMBER, CHAR_SPACE, CHAR_END /* past the text */ };

/* Any code point; those above U+10FFFF are CHAR_OTHER. */
enum char_class unicode_class(uint32_t code);

/* Case as Python's str has it (unicode_case.c). Upper case may be up to three letters, their number is returned;
 * `title`: as the first letter of a word. Cased: a letter that has another case. */
int unicode_upper(uint32_t code, int title, uint32_t out[3]);
uint32_t unicode_lower(uint32_t code); /* but U+0130, which becomes two */
int unicode_is_cased(uint32_t code);

/* The character at the start of `text`: its length in bytes, 0 if there is none or it is malformed. Over-long forms and
 * surrogates pass, as they do in llama.cpp. `code` may reach 0x1fffff. */
size_t utf8_decode(const uint8_t *text, size_t length, uint32_t *code);

/* Writes the shortest form, 1 to 4 bytes; `code` is at most U+10FFFF. */
size_t utf8_encode(uint32_t code, uint8_t out[4]);

/* True if utf8_repair would change nothing. */
int utf8_is_clean(const uint8_t *text, size_t length);

/* The text as llama.cpp's tokenizer sees it: every byte that does not begin a well-formed character becomes U+FFFD,
 * over-long forms become the shortest. `fixed` is released with mem_free. */
opsm_status utf8_repair(const uint8_t *text, size_t length, uint8_t **fixed, size_t *fixed_length, opsm_error *err);

#endif
