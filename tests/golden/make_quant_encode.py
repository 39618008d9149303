#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/golden/quant_encode.gguf: rows of many kinds as F32 (`source`) and the blocks that ggml's reference
quantisers make of them, one tensor for each type that opsm writes, named by the type.

    pip install gguf numpy libggml-python
    python3 tests/golden/make_quant_encode.py

The same seed gives the same file. compare_quant.py tries the same kinds in other numbers.
"""
import ctypes
import glob
import os
import pathlib

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T

OUT = pathlib.Path(__file__).parent / "quant_encode.gguf"
TYPES = [T.Q8_0, T.Q4_0, T.Q5_0, T.Q4_K, T.Q5_K, T.Q6_K]
POWERS = (-14, -15, -16, -18, -20, -25, -30, -36, -37, -38, -39, -40, -42, -44)


def library():
    import libggml
    found = glob.glob(os.path.join(os.path.dirname(libggml.__file__), "lib*", "libggml-base.so"))
    return ctypes.CDLL(found[0])


def encode(lib, kind, x):
    """Blocks of a type, by ggml's reference quantiser."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    x = np.ascontiguousarray(x, np.float32)
    out = np.zeros((x.size // block, size), np.uint8)
    getattr(lib, f"quantize_row_{kind.name.replace('Q', 'q')}_ref")(
        x.ctypes.data_as(ctypes.c_void_p), out.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(x.size))
    return out


def kinds(rng, n):
    """Name and n values, a multiple of 256: what weights look like, and what they had better not look like."""
    normal = rng.standard_normal
    yield "normal", normal(n)
    yield "as weights", normal(n) * 0.02
    yield "heavy tails", rng.standard_t(1.5, n) * 0.02
    yield "heavier tails", np.clip(rng.standard_cauchy(n), -1e5, 1e5)
    yield "scales that differ", normal(n) * np.exp2(rng.integers(-40, 15, n // 32).repeat(32))
    yield "zeros", np.zeros(n)
    yield "negative zeros", -np.zeros(n)
    yield "positive", rng.random(n)
    yield "negative", -rng.random(n)
    yield "32 alike", normal(n // 32).repeat(32)
    yield "256 alike", normal(n // 256).repeat(256)
    yield "sparse", normal(n) * (rng.random(n) < 0.05)
    yield "integers", rng.integers(-8, 8, n)
    yield "ties", rng.integers(-64, 64, n) / 8
    yield "tiny", normal(n) * 1e-12
    for power in POWERS:
        yield f"1e{power}", normal(n) * 10.0**power
    yield "huge", np.clip(normal(n) * 1e5, -5e5, 5e5)
    yield "half denormal", np.where(rng.random(n) < 0.5, 1e-41 * normal(n), normal(n))


def main():
    rng, lib = np.random.default_rng(20250302), library()
    source = np.concatenate([x.astype(np.float32) for _, x in kinds(rng, 512)])
    w = gguf.GGUFWriter(OUT, "golden")
    w.add_tensor("source", source)
    for kind in TYPES:
        w.add_tensor(kind.name, encode(lib, kind, source), raw_dtype=kind)
    w.write_header_to_file(), w.write_kv_data_to_file(), w.write_tensors_to_file(), w.close()


if __name__ == "__main__":
    main()
