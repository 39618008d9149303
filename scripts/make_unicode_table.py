#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes src/text/unicode_table.h: where the classes letter, number, space and other begin along the code points.

Needs the package unicodedata2 at the Unicode version that the table shall have (15.1.0, as llama.cpp).
Usage: make_unicode_table.py > src/text/unicode_table.h
"""
import unicodedata2

# The property White_Space; the general category does not give it (U+0085 is a control character).
SPACE = {*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}
NAMES = ["OTHER", "LETTER", "NUMBER", "SPACE"]


def char_class(code: int) -> int:
    if code in SPACE:
        return 3
    return {"L": 1, "N": 2}.get(unicodedata2.category(chr(code))[0], 0)


def main() -> None:
    starts, previous = [], None
    for code in range(0x110000):
        current = char_class(code)
        if current != previous:
            starts.append(code << 2 | current)
        previous = current
    print("/* SPDX-License-Identifier: Apache-2.0")
    print(" *")
    print(f" * Made by scripts/make_unicode_table.py from Unicode {unicodedata2.unidata_version}. Each entry: first code point << 2 | class,")
    print(" * class as enum char_class; it holds up to the next entry's code point. */")
    print("/* clang-format off */")
    print(f"static const uint32_t class_starts[{len(starts)}] = {{")
    line = "   "
    for start in starts:
        item = f" {start:#x},"
        if len(line) + len(item) > 118:
            print(line)
            line = "   "
        line += item
    print(line)
    print("};")
    print("/* clang-format on */")


main()
