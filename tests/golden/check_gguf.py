#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads a GGUF file that opsm wrote with the `gguf` package (pip install gguf numpy), an independent reader, and compares.

    OPSM_GGUF_OUT=example.gguf build/tests/test_gguf_write   # the example file of the unit test
    python3 tests/golden/check_gguf.py example.gguf
    python3 tests/golden/check_gguf.py OURS.gguf ORIGINAL.gguf   # metadata as in the original, tensors within rounding

Without an original: every entry and value of the example is compared with what the unit test put in. In both cases the
rules of ggml's reader are checked that the package itself lets pass: order, offsets, padding, name lengths.
"""
import sys

import gguf
import numpy as np

GOLDEN = "tests/golden/quant.gguf"
EXAMPLE_KEYS = {
    "key.u32": 4294967295, "key.f32": float(np.float32(0.1)), "key.bool": True, "key.string": "value",
    "key.strings": ["", "a", "NUL\0inside", "\u6f22"], "key.i32s": [-2147483648, 0, 2147483647], "key.f32s": [1.5, -0.0],
    "key.none": [],
}
EXAMPLE_TENSORS = {
    "a.f32": ([3, 5], "F32"), "b.f16": ([7], "F16"), "c.bf16": ([2, 3, 2], "BF16"), "d.q8_0": ([64, 2, 1, 3], "Q8_0"),
    "empty": ([32, 0], "Q8_0"), "a.name.of.sixty.three.bytes".ljust(63, "."): ([1], "F32"),
    "large.q8_0": ([160000], "Q8_0"),
}
TOLERANCE = {"F32": 0.0, "F16": 2**-11, "BF16": 2**-8, "Q8_0": 1 / 127}  # of the tensor's largest magnitude


def entries(reader):
    return {k: (f.types, f.contents()) for k, f in reader.fields.items() if not k.startswith("GGUF.")}


def values(tensor):
    return gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32).ravel()


def check_layout(reader, path):
    expected = 0
    for t in reader.tensors:
        assert len(t.name.encode()) < 64, t.name
        assert t.data_offset == reader.data_offset + expected, f"{t.name}: offset"
        expected += -(-t.n_bytes // reader.alignment) * reader.alignment
    assert len(reader.data) == reader.data_offset + expected, f"{path}: padding after the last tensor"


def check_example(reader):
    found = entries(reader)
    golden = entries(gguf.GGUFReader(GOLDEN))
    for key, value in EXAMPLE_KEYS.items():
        assert found.pop(key)[1] == value, key
    assert found == golden, set(found) ^ set(golden)
    assert [t.name for t in reader.tensors] == list(EXAMPLE_TENSORS)
    for t in reader.tensors:
        shape, kind = EXAMPLE_TENSORS[t.name]
        assert list(t.shape) == shape and t.tensor_type.name == kind, t.name
        if t.n_elements == 0:
            continue
        i = np.arange(t.n_elements)
        expected = np.where(i % 32 == 0, 127, (i * 7919) % 255 - 127).astype(np.float32)
        assert np.array_equal(values(t), expected), t.name


def check_copy(reader, original):
    ours, theirs = entries(reader), entries(original)
    changed = sorted(k for k in theirs if ours.get(k) != theirs[k])
    assert set(changed) <= {"general.file_type", "general.quantization_version"}, changed
    known = {t.name: t for t in original.tensors}
    assert {t.name for t in reader.tensors} == set(known)
    for t in reader.tensors:
        a, b = values(t), values(known[t.name])
        assert list(t.shape) == list(known[t.name].shape), t.name
        assert np.abs(a - b).max() <= TOLERANCE[t.tensor_type.name] * np.abs(b).max(), t.name


def main():
    reader = gguf.GGUFReader(sys.argv[1])
    check_layout(reader, sys.argv[1])
    if len(sys.argv) > 2:
        check_copy(reader, gguf.GGUFReader(sys.argv[2]))
    else:
        check_example(reader)
    print(f"{sys.argv[1]}: {len(entries(reader))} metadata entries and {len(reader.tensors)} tensors agree")


if __name__ == "__main__":
    main()
