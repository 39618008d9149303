#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/golden/tokenizer.json: a small vocabulary, some hundred lines, and their ids by Hugging Face `tokenizers`.

The vocabulary is trained without cutting the text into words, so that its tokens reach over every boundary and a cut in
the wrong place shows. Malformed lines are given to `tokenizers` as llama.cpp reads them (repaired). The larger comparison,
and the one with llama.cpp itself, is compare_tokenizer.py.

Usage: make_tokenizer.py > tests/golden/tokenizer.json
"""
import json
import random
import sys

import compare_tokenizer as peers
import make_tokenizer_lines as maker

ADDED = {"<|im_start|>": 3, "<|im_end|>": 3, "<|endoftext|>": 3, "<think>": 4, "</think>": 4, "      ": 4, "<|im": 3}


def decode_one(data: bytes, at: int) -> tuple[int, int]:
    """Code point and length at `at`, as llama.cpp reads it; length 0 where it is malformed."""
    lead = data[at]
    length = 1 if lead < 0x80 else 0 if lead < 0xC0 or lead > 0xF7 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    rest = data[at + 1:at + length]
    if length == 0 or len(rest) != length - 1 or any(b & 0xC0 != 0x80 for b in rest):
        return 0, 0
    code = lead if length == 1 else lead & (0x7F >> length)
    for b in rest:
        code = code << 6 | b & 0x3F
    return code, length


def repaired(data: bytes) -> str:
    text, at = "", 0
    while at < len(data):
        code, length = decode_one(data, at)
        good = length > 0 and code <= 0x10FFFF
        text += chr(code) if good else "\ufffd"
        at += length if good else 1
    return text


def has_surrogate(data: bytes) -> bool:
    return any(0xD800 <= ord(c) < 0xE000 for c in repaired(data))


def short_lines(count: int, invalid: int) -> list[bytes]:
    """`tokenizers` can not be given lone surrogates."""
    pool = maker.make_lines(count * 20, invalid * 20, seed=7)
    valid = [x for x in pool[:count * 20] if 4 <= len(x) <= 100][:count]
    return valid + [x for x in pool[count * 20:] if 4 <= len(x) <= 100 and not has_surrogate(x)][:invalid]


def main() -> None:
    vocabulary = peers.Vocabulary.train(maker.make_lines(6000, 0, seed=3), 1600, ADDED)
    lines = short_lines(240, 60)
    r = random.Random(5)
    special = [x + r.choice(list(ADDED)).encode() + y for x, y in zip(lines[:20], lines[20:40])]
    cases = [(x, False) for x in lines + special] + [(x, True) for x in lines[:10] + special]
    rows = [{"hex": data.hex(), "special": flag} for data, flag in cases]
    for kind in peers.KINDS:
        tokenizers = {flag: peers.hugging_face(vocabulary, kind, (3, 4) if flag else (4,)) for flag in (False, True)}
        for row, (data, flag) in zip(rows, cases):
            row[kind] = " ".join(map(str, tokenizers[flag].encode(repaired(data), add_special_tokens=False).ids))
    print('{"tokens":', json.dumps(vocabulary.tokens), ',\n"types":', json.dumps(vocabulary.types), ',\n"merges":',
          json.dumps(vocabulary.merges), ',\n"cases": [')
    print(",\n".join(json.dumps(row) for row in rows))
    print("]}")


if __name__ == "__main__":
    sys.exit(main())
