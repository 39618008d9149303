#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/golden/quant.gguf: blocks of every tensor type that opsm reads, with the floats they stand for, both by the
`gguf` package (pip install gguf numpy), which is an implementation independent of ours.

    python3 tests/golden/make_quant.py

Tensors: `TYPE.blocks` (of that type) and `TYPE.values` (F32, what the package's dequantize makes of them); for the types
we write, `encode.TYPE.source` (F32) and `encode.TYPE.blocks` (what its quantize makes of that). Types the package cannot
quantise get random blocks, with scales drawn so that every value is finite. One metadata entry per value type.
The same seed gives the same file.
"""
import pathlib
import warnings

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T

OUT = pathlib.Path(__file__).parent / "quant.gguf"
READ = [T.F16, T.BF16, T.Q8_0, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q4_K, T.Q5_K, T.Q6_K]
WRITE = [T.F16, T.BF16, T.Q8_0]
SCALES = {T.Q4_K: (0, 2), T.Q5_K: (0, 2), T.Q6_K: (208,)}  # byte positions of the f16 scales
rng = np.random.default_rng(20250301)


def sample(n):
    """Values of many magnitudes, signs and exact zeros, in blocks that differ in scale."""
    x = rng.standard_normal(n).astype(np.float32)
    x *= np.exp2(rng.integers(-12, 6, n // 32).repeat(32)).astype(np.float32)
    x[rng.integers(0, n, n // 40)] = 0
    x[:32] = 0  # a block of zeros: scale 0
    return x


def half_edges(dtype):
    """Numbers around the rounding boundaries of a 16-bit format: ties, subnormals, the largest finite ones."""
    bits = np.array([0x0001, 0x0002, 0x03FF, 0x0400, 0x3C00, 0x3C01, 0x7BFF if dtype is T.F16 else 0x7F7E], np.uint32)
    if dtype is T.F16:
        x = bits.astype(np.uint16).view(np.float16).astype(np.float32)
    else:
        x = (bits << 16).view(np.float32)
    f = x.view(np.uint32)
    near = np.concatenate([f, f + 1, f - 1, f + 0x0FFF, f + 0x1000, f + 0x1001, f + 0x7FFF, f + 0x8000, f + 0x8001])
    near = near.astype(np.uint32).view(np.float32)
    if dtype is T.F16:
        near = near[np.abs(near) < 65520]
    return np.concatenate([near, -near])


def random_blocks(dtype, n_blocks):
    block, size = gguf.GGML_QUANT_SIZES[dtype]
    raw = rng.integers(0, 256, (n_blocks, size), dtype=np.uint8)
    for at in SCALES[dtype]:
        scale = (rng.standard_normal(n_blocks) * np.exp2(rng.integers(-20, 1, n_blocks))).astype(np.float16)
        raw[:, at:at + 2] = scale.reshape(-1, 1).view(np.uint8)
    return raw


def blocks_of(dtype):
    if dtype in SCALES:
        return random_blocks(dtype, 6)
    if dtype in (T.F16, T.BF16):  # random bits, all finite
        raw = rng.integers(0, 1 << 16, 512).astype(np.uint16)
        exponent = 0x7C00 if dtype is T.F16 else 0x7F80
        raw = raw[(raw & exponent) != exponent][:480]
        return raw.view(np.float16) if dtype is T.F16 else raw.view(np.uint8)
    return gguf.quantize(sample(32 * 16).reshape(-1, 32), dtype)


def main():
    warnings.simplefilter("ignore")
    w = gguf.GGUFWriter(OUT, "golden")
    w.add_uint8("kv.u8", 255), w.add_int8("kv.i8", -128), w.add_uint16("kv.u16", 65535), w.add_int16("kv.i16", -32768)
    w.add_uint32("kv.u32", 4294967295), w.add_int32("kv.i32", -2147483648), w.add_uint64("kv.u64", 18446744073709551615)
    w.add_int64("kv.i64", -9223372036854775808), w.add_float32("kv.f32", 1.5), w.add_float64("kv.f64", -2.25)
    w.add_bool("kv.bool", True), w.add_string("kv.string", "na\u00efve \u6f22\u5b57")
    w.add_array("kv.strings", ["", "a", "two words", "\U0001F600"])
    w.add_array("kv.i32s", [1, -2, 3]), w.add_array("kv.f32s", [0.5, -0.25])

    tensors = []
    for dtype in READ:
        blocks = blocks_of(dtype)
        values = gguf.dequantize(blocks, dtype).astype(np.float32).reshape(-1)
        assert np.isfinite(values).all()
        tensors += [(f"{dtype.name}.blocks", blocks, dtype), (f"{dtype.name}.values", values, None)]
    for dtype in WRITE:
        source = sample(32 * 16) if dtype is T.Q8_0 else np.concatenate([sample(320), half_edges(dtype)])
        blocks = gguf.quantize(source.reshape(-1, 32) if dtype is T.Q8_0 else source, dtype)
        tensors += [(f"encode.{dtype.name}.source", source, None), (f"encode.{dtype.name}.blocks", blocks, dtype)]
    for name, data, dtype in tensors:
        w.add_tensor(name, data, raw_dtype=dtype)
    w.write_header_to_file(), w.write_kv_data_to_file(), w.write_tensors_to_file(), w.close()


if __name__ == "__main__":
    main()
