#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compare `opsm score` with transformers on the same de-quantised weights, token by token.

    compare_score.py OPSM MODEL.gguf TEXT [TEXT ...] [--precision f32|bf16] [--tokens N]

transformers reads the GGUF file by itself (its own de-quantisation and un-permutation) and computes in float32. Exits 1
when the difference is above the project's bounds: f32 mean 1e-5 and maximum 1e-3 nats, bf16 mean 1e-2.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys

import torch
import transformers

BOUNDS = {"f32": (1e-5, 1e-3), "bf16": (1e-2, float("inf"))}


def opsm_scores(program, model, text, precision):
    command = [program, "score", model, "--jsonl", "--precision", precision]
    out = subprocess.run(command, input=text.encode(), stdout=subprocess.PIPE, check=True).stdout
    lines = [json.loads(line) for line in out.splitlines()]
    return [line["id"] for line in lines[:-1]], [line["logp"] for line in lines[1:-1]]


def load_reference(model):
    path = pathlib.Path(model)
    network = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, attn_implementation="eager")
    return network.eval()


def reference_scores(network, ids):
    with torch.no_grad():
        logits = network(torch.tensor([ids])).logits[0, :-1].double()
    return torch.log_softmax(logits, -1).gather(1, torch.tensor(ids[1:])[:, None])[:, 0].tolist()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("opsm")
    parser.add_argument("model")
    parser.add_argument("texts", nargs="+", type=pathlib.Path)
    parser.add_argument("--precision", choices=BOUNDS, default="f32")
    parser.add_argument("--tokens", type=int, default=4000, help="cut the text after about so many tokens")
    options = parser.parse_args()
    text = "\n".join(path.read_text(errors="replace") for path in options.texts)[: options.tokens * 4]
    ids, ours = opsm_scores(options.opsm, options.model, text, options.precision)
    network = load_reference(options.model)
    theirs = reference_scores(network, ids)
    gaps = [abs(a - b) for a, b in zip(ours, theirs, strict=True)]
    mean, worst = sum(gaps) / len(gaps), max(gaps)
    print(f"{len(gaps)} log-probs, {options.precision}: mean |difference| {mean:.3g} nats, maximum {worst:.3g}; "
          f"perplexity {torch.tensor(ours).mean().neg().exp():.4f} and {torch.tensor(theirs).mean().neg().exp():.4f} "
          f"(transformers {transformers.__version__}, torch {torch.__version__}, {os.cpu_count()} processors)")
    mean_bound, worst_bound = BOUNDS[options.precision]
    return 0 if mean <= mean_bound and worst <= worst_bound else 1


if __name__ == "__main__":
    sys.exit(main())
