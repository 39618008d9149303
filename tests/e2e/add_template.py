#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""add_template.py IN.gguf OUT.gguf TEMPLATE.jinja: a copy that carries this chat template (tokenizer.chat_template)."""
import struct
import sys

from retype import STRING, read_string, read_value


def skip_tensors(data, at, n):
    for _ in range(n):
        _, at = read_string(data, at)
        (dims,) = struct.unpack_from("<I", data, at)
        at += 4 + 8 * dims + 4 + 8
    return at


def padded(n):
    return (n + 31) // 32 * 32


def main():
    source, target, template = sys.argv[1:]
    data = bytearray(open(source, "rb").read())
    n_tensors, n_keys = struct.unpack_from("<QQ", data, 8)
    at = 24
    for _ in range(n_keys):
        _, at = read_string(data, at)
        (kind,) = struct.unpack_from("<I", data, at)
        _, _, at = read_value(data, at + 4, kind)
    infos, first = at, padded(skip_tensors(data, at, n_tensors))
    key, value = b"tokenizer.chat_template", open(template, "rb").read()
    entry = struct.pack("<Q", len(key)) + key + struct.pack("<IQ", STRING, len(value)) + value
    struct.pack_into("<Q", data, 16, n_keys + 1)
    head = data[:infos] + entry + data[infos : skip_tensors(data, infos, n_tensors)]
    open(target, "wb").write(head + bytes(padded(len(head)) - len(head)) + data[first:])


main()
