#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints "STEP TAG" for every scalar in the TensorBoard event files of a directory. Reads nothing but the format."""
import os
import struct
import sys


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def fields(data):
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        else:
            size = {1: 8, 5: 4}.get(key & 7)
            if size is None:
                size, at = varint(data, at)
            value, at = data[at : at + size], at + size
        yield key >> 3, value


for name in sorted(os.listdir(sys.argv[1])):
    data = open(os.path.join(sys.argv[1], name), "rb").read()
    at = 0
    while at < len(data):
        size = struct.unpack_from("<Q", data, at)[0]
        assert at + size + 16 <= len(data), f"{name} ends in the middle of a record"
        event = dict(fields(data[at + 12 : at + 12 + size]))
        for _, value in fields(event.get(5, b"")):
            print(event.get(2, 0), dict(fields(value))[1].decode())
        at += size + 16
