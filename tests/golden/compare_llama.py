#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Load files that opsm wrote in llama.cpp and compare greedy continuations.

    compare_llama.py OPSM RESAVE MODEL.gguf [--tokens N]

RESAVE is the test program built from resave.c. The f32 file must be continued by llama.cpp exactly as opsm continues
the original in f32; the files of other types must load there, and their continuations are shown.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import llama_cpp

PROMPTS = ("The capital of France is", "def fibonacci(n):\n", "Once upon a time there was a little", "1, 2, 3, 4,",
           "Water boils at a temperature of")


def ours(opsm, model, prompt, tokens):
    command = [opsm, "generate", model, "-p", prompt, "--temperature", "0", "--max-tokens", str(tokens), "--precision",
               "f32", "--jsonl"]
    row = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.splitlines()[0])
    return row["tokens"] if "tokens" in row else row["ids"]


def theirs(llama, prompt, tokens):
    ids = llama.tokenize(prompt.encode(), add_bos=False)
    out = []
    for token in llama.generate(ids, temp=0.0, top_k=1, repeat_penalty=1.0):
        out.append(token)
        if len(out) == tokens or token == llama.token_eos():
            return out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("opsm")
    parser.add_argument("resave")
    parser.add_argument("model")
    parser.add_argument("--tokens", type=int, default=40)
    options = parser.parse_args()
    different = 0
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("f32", "f16", "bf16", "q8_0"):
            path = str(pathlib.Path(folder) / f"{kind}.gguf")
            subprocess.run([options.resave, options.model, path, kind], check=True)
            llama = llama_cpp.Llama(path, n_ctx=512, verbose=False)
            same = 0
            for prompt in PROMPTS:
                a, b = ours(options.opsm, options.model, prompt, options.tokens), theirs(llama, prompt, options.tokens)
                equal = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
                same += a[: len(b)] == b[: len(a)]
                if kind == "f32" and a[: len(b)] != b[: len(a)]:
                    different += 1
                    print(f"{prompt!r}: differs from token {equal}: {a[equal:equal + 5]} and {b[equal:equal + 5]}")
            print(f"{kind}: llama.cpp loads it; {same} of {len(PROMPTS)} continuations of {options.tokens} tokens are "
                  f"those of the original in f32")
    return different > 0


if __name__ == "__main__":
    sys.exit(main())
