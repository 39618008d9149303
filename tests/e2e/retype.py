#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""retype.py IN.gguf OUT.gguf KIND TOKEN...: a copy in which these tokens have another type (tokenizer.ggml.token_type: 1
normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte). The weights stay as they are."""
import struct
import sys

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
STRING, ARRAY = 8, 9


def read_string(data, at):
    (n,) = struct.unpack_from("<Q", data, at)
    return data[at + 8 : at + 8 + n], at + 8 + n


def read_value(data, at, kind):
    """(strings or None, where the first element stands, where the value ends)"""
    if kind == STRING:
        return None, at, read_string(data, at)[1]
    if kind != ARRAY:
        return None, at, at + SIZES[kind]
    inner, n = struct.unpack_from("<IQ", data, at)
    first = at = at + 12
    if inner != STRING:
        return None, first, first + n * SIZES[inner]
    strings = []
    for _ in range(n):
        text, at = read_string(data, at)
        strings.append(bytes(text))
    return strings, first, at


def main():
    source, target, kind, *wanted = sys.argv[1:]
    data = bytearray(open(source, "rb").read())
    (n_keys,) = struct.unpack_from("<Q", data, 16)
    at, found = 24, {}
    for _ in range(n_keys):
        key, at = read_string(data, at)
        (value_kind,) = struct.unpack_from("<I", data, at)
        strings, first, at = read_value(data, at + 4, value_kind)
        found[bytes(key).decode()] = strings, first
    tokens, types = found["tokenizer.ggml.tokens"][0], found["tokenizer.ggml.token_type"][1]
    for token in wanted:
        struct.pack_into("<i", data, types + 4 * tokens.index(token.encode()), int(kind))
    open(target, "wb").write(data)


if __name__ == "__main__":
    main()
