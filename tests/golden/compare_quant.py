#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares our quantisers with ggml's, block by block and bit by bit, and the types that a quantised file's tensors get
with those that llama.cpp chooses.

Needs gguf, numpy and libggml-python; for whole files a library that exports llama_model_quantize (llama-cpp-cffi ships
one, --llama .../llama/_llama_cpp_cpu*.so, which wants the C++ library of GCC 13 or later). QUANTIZE is the program made
of tests/golden/quantize.c.

  rows    every kind of make_quant_encode.py, 100 thousand values each, and the tensors of --model files
  types   a quantised file's own types (--made-by-llama FILE.gguf: some Q4_K_M)
  files   llama.cpp quantises small models of many shapes, and each --model: types and blocks of every tensor
  speed   values per second on one thread, ours against ggml's

Usage: compare_quant.py QUANTIZE [--llama LIBRARY] [--model FILE.gguf ...] [--made-by-llama FILE.gguf ...]
"""
import argparse
import ctypes
import pathlib
import subprocess
import sys
import tempfile
import time

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T

import make_quant_encode as maker

FILE_TYPES = {"Q4_0": 2, "Q8_0": 7, "Q4_K": 15}


class Ours:
    def __init__(self, program, scratch):
        self.program, self.floats = program, pathlib.Path(scratch) / "floats"

    def encode(self, kind, x):
        self.floats.write_bytes(np.ascontiguousarray(x, np.float32).tobytes())
        out = subprocess.run([self.program, "encode", kind.name, self.floats], stdout=subprocess.PIPE, check=True).stdout
        return np.frombuffer(out, np.uint8).reshape(-1, gguf.GGML_QUANT_SIZES[kind][1])

    def seconds(self, kind, x):
        self.floats.write_bytes(x.tobytes())
        return float(subprocess.run([self.program, "speed", kind.name, self.floats], stdout=subprocess.PIPE,
                                    check=True).stdout)

    def types(self, base, path):
        out = subprocess.run([self.program, "types", base, path], stdout=subprocess.PIPE, check=True).stdout.decode()
        return dict(line.split() for line in out.splitlines())


def report(name, wrong, of):
    print(f"{name:44} {of:8} {wrong:6} differ", flush=True)
    return wrong


def compare_rows(ours, lib, models):
    rows = [(name, x.astype(np.float32)) for name, x in maker.kinds(np.random.default_rng(7), 256 * 400)]
    for path in models:
        for t in gguf.GGUFReader(path).tensors:
            if len(t.shape) > 1 and t.shape[0] % 256 == 0:
                rows.append((t.name, gguf.dequantize(t.data, t.tensor_type).astype(np.float32).reshape(-1)[:256 * 4000]))
    wrong = 0
    for kind in maker.TYPES:
        bad = blocks = 0
        for name, x in rows:
            differ = (ours.encode(kind, x) != maker.encode(lib, kind, x)).any(axis=1)
            bad, blocks = bad + differ.sum(), blocks + differ.size
            if differ.any():
                print(f"    {name}: {differ.sum()} of {differ.size}, first {np.flatnonzero(differ)[0]}")
        wrong += report(f"{kind.name} blocks", bad, blocks)
    return wrong


def compare_speed(ours, lib):
    x = np.random.default_rng(1).standard_normal(1 << 21).astype(np.float32)
    for kind in maker.TYPES:
        theirs = 1e300
        for _ in range(10):
            start = time.perf_counter()
            maker.encode(lib, kind, x)
            theirs = min(theirs, time.perf_counter() - start)
        mine = ours.seconds(kind, x)
        print(f"{kind.name:6} ours {x.size / mine / 1e6:7.1f} million values/s, ggml {x.size / theirs / 1e6:7.1f}, "
              f"ratio {theirs / mine:.2f}")


class Parameters(ctypes.Structure):  # the first fields of llama_model_quantize_params, and room for the others
    _fields_ = [("threads", ctypes.c_int32), ("file_type", ctypes.c_int), ("output", ctypes.c_int),
                ("embedding", ctypes.c_int), ("allow_requantize", ctypes.c_bool), ("rest", ctypes.c_uint8 * 239)]


def llama_quantize(library, source, target, base):
    lib = ctypes.CDLL(library)
    lib.llama_model_quantize_default_params.restype = Parameters
    p = lib.llama_model_quantize_default_params()
    p.threads, p.file_type, p.allow_requantize = 2, FILE_TYPES[base], True
    silent = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)
    lib.llama_log_set(silent, None)
    return lib.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(p)) == 0


def small_model(path, arch, layers, width, inner, heads, kv_heads, tied, experts=0):
    rng = np.random.default_rng(layers + width)
    w = gguf.GGUFWriter(path, arch)
    w.add_context_length(64), w.add_embedding_length(width), w.add_block_count(layers), w.add_feed_forward_length(inner)
    w.add_head_count(heads), w.add_head_count_kv(kv_heads), w.add_layer_norm_rms_eps(1e-5), w.add_rope_freq_base(1e4)
    w.add_vocab_size(8), w.add_rope_dimension_count(width // heads)
    if arch == "gemma3":
        w.add_sliding_window(16)
    if experts:
        w.add_expert_count(experts), w.add_expert_used_count(2)

    def add(name, *shape):
        w.add_tensor(name, (rng.standard_t(3, shape) * 0.05).astype(np.float32))

    add("token_embd.weight", 8, width), add("output_norm.weight", width)
    if not tied:
        add("output.weight", 8, width)
    for i in range(layers):
        add(f"blk.{i}.attn_norm.weight", width), add(f"blk.{i}.ffn_norm.weight", width)
        add(f"blk.{i}.attn_q.weight", 4, width), add(f"blk.{i}.attn_k.weight", 4, width)
        add(f"blk.{i}.attn_v.weight", 4, width), add(f"blk.{i}.attn_output.weight", 4, width)
        if experts:
            add(f"blk.{i}.ffn_gate_inp.weight", experts, width)
            add(f"blk.{i}.ffn_gate_exps.weight", experts, 2, width), add(f"blk.{i}.ffn_up_exps.weight", experts, 2, width)
            add(f"blk.{i}.ffn_down_exps.weight", experts, 2, inner)
        else:
            add(f"blk.{i}.ffn_gate.weight", 4, width), add(f"blk.{i}.ffn_up.weight", 4, width)
            add(f"blk.{i}.ffn_down.weight", 4, inner)
    w.write_header_to_file(), w.write_kv_data_to_file(), w.write_tensors_to_file(), w.close()


SHAPES = [("llama", 1, 256, 512, 4, 4, True), ("llama", 2, 256, 512, 4, 4, False), ("llama", 16, 512, 256, 8, 2, False),
          ("llama", 30, 576, 1536, 9, 3, True), ("llama", 80, 256, 256, 4, 2, False), ("llama", 80, 256, 256, 4, 4, False),
          ("qwen2", 24, 896, 4864, 14, 2, True), ("qwen2", 7, 96, 160, 3, 3, False), ("qwen2", 80, 256, 256, 4, 2, False),
          ("qwen3", 28, 1024, 3072, 16, 8, True), ("gemma3", 18, 640, 2048, 4, 1, True),
          ("llama", 32, 256, 512, 4, 2, False, 8), ("qwen2moe", 12, 256, 768, 4, 2, False, 16),
          ("qwen3moe", 12, 256, 768, 4, 2, False, 16)]


def compare_file(ours, library, source, base, scratch, name):
    target = pathlib.Path(scratch) / "quantised.gguf"
    if not llama_quantize(library, source, target, base):
        print(f"{base} of {name}: refused by this llama.cpp, skipped")
        return 0
    types = ours.types(base, source)
    before = {t.name: t for t in gguf.GGUFReader(source).tensors}
    bad = 0
    after = gguf.GGUFReader(target).tensors
    for t in after:
        kind = t.tensor_type
        same = types[t.name] == kind.name
        if same and kind in maker.TYPES and before[t.name].tensor_type != kind:
            x = gguf.dequantize(before[t.name].data, before[t.name].tensor_type).astype(np.float32)
            same = ours.encode(kind, x).tobytes() == np.ascontiguousarray(t.data).tobytes()
        if not same:
            print(f"    {t.name}: {types[t.name]}, llama.cpp {kind.name}")
        bad += not same
    return report(f"{base} of {name}, tensors", bad, len(after))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--llama")
    parser.add_argument("--model", nargs="*", default=[])
    parser.add_argument("--made-by-llama", nargs="*", default=[])
    options = parser.parse_args()
    wrong, lib = 0, maker.library()
    with tempfile.TemporaryDirectory() as scratch:
        ours = Ours(options.program, scratch)
        wrong += compare_rows(ours, lib, options.model)
        for path in options.made_by_llama:
            types = ours.types("Q4_K", path)
            tensors = gguf.GGUFReader(path).tensors
            wrong += report(f"types of {pathlib.Path(path).name}"[:44],
                            sum(types[t.name] != t.tensor_type.name for t in tensors), len(tensors))
        for base in FILE_TYPES if options.llama else []:
            for shape in SHAPES:
                if base != "Q4_K" and any(n % 32 for n in shape[2:4]):
                    continue  # llama.cpp has nothing to fall back to
                source = pathlib.Path(scratch) / "small.gguf"
                small_model(source, *shape)
                wrong += compare_file(ours, options.llama, source, base, scratch, " ".join(map(str, shape)))
            for path in options.model:
                wrong += compare_file(ours, options.llama, path, base, scratch, pathlib.Path(path).name[:20])
        compare_speed(ours, lib)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
