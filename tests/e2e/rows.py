#!/usr/bin/env python3
"""Looks at JSON. Usage: rows.py EXPRESSION [FILE]

The expression is Python: `rows` are the values of the file (or of standard input), usually one a line, `row` is the
last. What comes out is printed, numbers with six digits; the exit code is 1 where it is false.
"""
import json
import math  # for expressions
import sys

text = (open(sys.argv[2], encoding="utf-8") if len(sys.argv) > 2 else sys.stdin).read()
rows, decoder, at = [], json.JSONDecoder(), 0
while text[at:].strip():
    at += len(text[at:]) - len(text[at:].lstrip())
    value, at = decoder.raw_decode(text, at)
    rows.append(value)
found = eval(sys.argv[1], {"rows": rows, "row": rows[-1] if rows else None, "math": math, "json": json})
if isinstance(found, bool) or found is None:
    sys.exit(0 if found else f"false: {sys.argv[1]}\nof: {text[:2000]}")
print(f"{found:.6g}" if isinstance(found, float) else found)
