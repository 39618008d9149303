#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes src/text/unicode_case_table.h: upper, lower and title case as Python's str has them.

Usage: make_case_table.py > src/text/unicode_case_table.h
"""
import unicodedata

CODES = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]


def runs(mapping: dict[int, int]) -> list[tuple[int, int, int, int]]:
    """(first, last, step, difference): every step-th code point from first to last maps to itself + difference."""
    out = []
    for code, other in sorted(mapping.items()):
        if out:
            first, last, step, difference = out[-1]
            gap = code - last
            if other - code == difference and (gap == step or (first == last and gap in (1, 2))):
                out[-1] = (first, code, gap, difference)
                continue
        out.append((code, code, 1, other - code))
    return out


def table(kind: str, name: str, rows: list[str]) -> None:
    print(f"static const struct {kind} {name}[{len(rows)}] = {{")
    line = "   "
    for row in rows:
        if len(line) + len(row) + 2 > 118:
            print(line)
            line = "   "
        line += f" {row},"
    print(line)
    print("};")


def main() -> None:
    print("/* SPDX-License-Identifier: Apache-2.0")
    print(" *")
    print(f" * Made by scripts/make_case_table.py from Unicode {unicodedata.unidata_version}. */")
    print("/* clang-format off */")
    for name in "upper", "lower", "title":
        single = {c: ord(t) for c in CODES if len(t := getattr(chr(c), name)()) == 1 and t != chr(c)}
        if name == "title":  # only where it is not the upper case
            single = {c: t for c, t in single.items() if chr(t) != chr(c).upper()}
            single |= {c: c for c in CODES if chr(c).title() == chr(c) != chr(c).upper()}
        table("case_run", f"{name}_runs", [f"{{{a:#x}, {b:#x}, {s}, {d}}}" for a, b, s, d in runs(single)])
    special = []
    for c in CODES:
        for title, text in enumerate((chr(c).upper(), chr(c).title())):
            if len(text) > 1:
                letters = [ord(t) for t in text] + [0]
                special.append(f"{{{c:#x}, {title}, {{{', '.join(hex(x) for x in letters[:3])}}}}}")
    table("case_special", "specials", special)
    print("/* clang-format on */")


main()
