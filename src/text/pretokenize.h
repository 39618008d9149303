/* SPDX-License-Identifier: Apache-2.0
 *
 * Cuts a text into the pieces that BPE works on. Each kind is a published regular expression, applied by hand: the
 * expressions have no look-behind, so the first piece of a text depends on nothing before it.
 *
 *   gpt-2   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 *   smollm  every \p{N} is a piece of its own, the text between them is cut as gpt-2
 *   llama3  (?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|
 *           ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+            (a space before the third line's question
 * mark) qwen2   llama3 with \p{N} in place of \p{N}{1,3}
 *
 * Llama 3 and Qwen2 publish the contractions as (?i:'s|...), whose 's also matches U+017F (long s); we follow
 * llama.cpp, where it does not.
 */
#ifndef OPSM_TEXT_PRETOKENIZE_H
#define OPSM_TEXT_PRETOKENIZE_H
#include <stddef.h>
#include <stdint.h>

enum pretokenizer { PRE_GPT2, PRE_SMOLLM, PRE_LLAMA3, PRE_QWEN2 };

/* Length in bytes of the first piece of `text`: at least 1, at most `length`, which is not 0. A whole text is cut in
 * time linear in its length. `text` is UTF-8 as utf8_repair leaves it; a malformed byte counts as a character of its
 * own that is neither letter, number nor space. */
size_t pretokenize_next(enum pretokenizer kind, const uint8_t *text, size_t length);

#endif
