#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares our safetensors reader and writer with the `safetensors` package, bit by bit, both ways: the package writes, we
read and write again, the package reads. Then a model directory: transformers writes it in shards, we copy them, and
transformers loads the copy.

Needs safetensors, torch, transformers. COPY is the program made of tests/golden/copy_safetensors.c.

Usage: compare_safetensors.py COPY [-n FILES] [--seed S]
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

TYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
BITS = {torch.float32: torch.int32, torch.float16: torch.int16, torch.bfloat16: torch.int16}


def tensor(rng, kind):
    """Any bits but F16 that are not finite, which our writer refuses, and NaNs of no interest."""
    shape = [rng.choice([0, 1, 1, 2, 3, 5, 17, 64]) for _ in range(rng.randrange(5))]
    if rng.random() < 0.02:
        shape = [700, 900]
    width = torch.iinfo(BITS[kind])
    bits = torch.randint(width.min, width.max, shape, dtype=torch.int64).to(BITS[kind])
    x = bits.view(kind)
    return torch.where(torch.isfinite(x) if kind == torch.float16 else ~torch.isnan(x), x, torch.zeros((), dtype=kind))


def tensors(rng):
    kinds = list(TYPES)
    names = [f"model.layers.{i}.self_attn.q_proj.weight" for i in range(rng.randrange(12))] + ["lm_head.weight", "\u6f22 \"x\"\\"]
    return {name: tensor(rng, rng.choice(kinds)) for name in names}


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.contiguous().view(BITS[a.dtype]), b.contiguous().view(BITS[b.dtype]))


def copy(program, source, target, shard_bytes):
    out = subprocess.run([program, source, target, str(shard_bytes)], stdout=subprocess.PIPE, check=True).stdout.decode()
    described = {}
    for line in out.splitlines():
        for kind in TYPES.values():
            if f" {kind} " in line + " ":
                name, shape = (line + " ").rsplit(f" {kind} ", 1)
                described[name] = (kind, [int(n) for n in shape.split()])
    return described


def read_all(directory):
    index = directory / "model.safetensors.index.json"
    if not index.exists():
        return load_file(directory / "model.safetensors"), 1
    listed = json.loads(index.read_text())
    found, total = {}, 0
    for name, file in listed["weight_map"].items():
        with safe_open(directory / file, "pt") as f:
            found[name] = f.get_tensor(name)
            assert f.metadata() == {"format": "pt"}
        total += found[name].numel() * found[name].element_size()
    assert total == listed["metadata"]["total_size"]
    return found, len(set(listed["weight_map"].values()))


def compare_files(program, n, seed):
    rng, wrong, sharded = random.Random(seed), 0, 0
    torch.manual_seed(seed)
    for _ in range(n):
        with tempfile.TemporaryDirectory() as scratch:
            scratch = pathlib.Path(scratch)
            theirs = tensors(rng)
            save_file(theirs, scratch / "theirs.safetensors", metadata={"format": "pt"} if rng.random() < 0.5 else None)
            (scratch / "ours").mkdir()
            described = copy(program, scratch / "theirs.safetensors", scratch / "ours" / "model.safetensors",
                             rng.choice([0, 0, 1, 100, 5000]))
            ours, shards = read_all(scratch / "ours")
            sharded += shards > 1
            right = described == {k: (TYPES[x.dtype], list(x.shape)) for k, x in theirs.items()}
            right = right and ours.keys() == theirs.keys() and all(same(ours[k], theirs[k]) for k in theirs)
            copy(program, scratch / "ours", scratch / "again.safetensors", 0)  # our shards, read by us
            again = load_file(scratch / "again.safetensors")
            right = right and again.keys() == theirs.keys() and all(same(again[k], theirs[k]) for k in theirs)
            wrong += not right
    print(f"{n} files, {sharded} of them copied into several: {wrong} differ", flush=True)
    return wrong


def compare_model(program):
    from transformers import LlamaConfig, LlamaForCausalLM
    torch.manual_seed(1)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=200, hidden_size=64, intermediate_size=96, num_hidden_layers=3,
                                         num_attention_heads=4, num_key_value_heads=2)).to(torch.bfloat16)
    with tempfile.TemporaryDirectory() as scratch:
        theirs, ours = pathlib.Path(scratch) / "theirs", pathlib.Path(scratch) / "ours"
        model.save_pretrained(theirs, max_shard_size="50KB")
        ours.mkdir()
        (ours / "config.json").write_bytes((theirs / "config.json").read_bytes())
        described = copy(program, theirs, ours / "model.safetensors", 70000)
        a, b = (LlamaForCausalLM.from_pretrained(path, dtype=torch.bfloat16) for path in (theirs, ours))
        ids = torch.arange(20).reshape(1, 20)
        wrong = not torch.equal(a(ids).logits, b(ids).logits)
        print(f"a model of {len(list(theirs.glob('*.safetensors')))} shards as {len(list(ours.glob('*.safetensors')))}, "
              f"{len(described)} tensors: logits {'differ' if wrong else 'equal'}")
    return wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("-n", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    return 1 if compare_files(options.program, options.n, options.seed) + compare_model(options.program) else 0


if __name__ == "__main__":
    sys.exit(main())
