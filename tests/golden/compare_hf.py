#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares Hugging Face directories that we write and read with transformers.

    compare_hf.py OPSM MODEL.gguf [--tokenize TOKENIZE_LINES] [-n LINES] [--new TOKENS]

Needs torch, transformers and the packages of compare_tokenizer.py. MODEL.gguf, SmolLM2 say, is converted to a directory;
transformers loads it. Then

  logp     of a text, f32: largest difference in nats
  greedy   continuations of prompts, f32: equal token for token
  families with --tokenize: ids of varied lines by each family's tokenizer.json, written by `tokenizers`, against ours
  back     a directory that transformers saved, read by us: the same log-probs as from ours, to the bit
"""
import argparse
import json
import pathlib
import subprocess
import tempfile

import torch
import transformers

import compare_tokenizer as peer
import make_tokenizer_lines as maker

# As the tokenizer.json of Llama 3 has it; Qwen2 has one digit a piece.
PUBLISHED = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
             r"|\s+(?!\S)|\s+")
PROMPTS = ["The capital of France is", "Question: what is 12 + 30? Answer:", "def add(a, b):\n    return",
           "Once upon a time there was a", "Die Hauptstadt von Italien heißt"]
TEXT = "The quick brown fox jumps over the lazy dog; it costs 1234 dollars.\nNext line, in C: for (int i = 0; i < n; i++)"


def run(opsm, *words, text=None):
    return subprocess.run([opsm, "-q", *words], input=text, stdout=subprocess.PIPE, check=True, text=True).stdout


def scores(opsm, model, text):
    return [json.loads(row) for row in run(opsm, "score", model, "--precision", "f32", "--jsonl", text=text).splitlines()]


def compare_families(program, directory, n):
    """tokenizer.json as `tokenizers` writes it for each family, over a vocabulary whose tokens reach over every boundary."""
    lines = maker.make_lines(n, 0, 7)
    peer.LLAMA3, peer.QWEN2 = PUBLISHED, PUBLISHED.replace("{1,3}", "")
    vocabulary = peer.Vocabulary.train(lines, 20000, peer.ADDED)
    for kind in peer.KINDS:
        other = peer.hugging_face(vocabulary, kind, (3, 4))
        other.save(f"{directory}/tokenizer.json")
        theirs = [other.encode(data.decode(), add_special_tokens=False).ids for data in lines]
        peer.report(f"tokenizer.json {kind}", lines, peer.ours(program, directory, lines, "special"), theirs)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("opsm")
    parser.add_argument("model")
    parser.add_argument("--tokenize")
    parser.add_argument("-n", type=int, default=10000)
    parser.add_argument("--new", type=int, default=40)
    options = parser.parse_args()
    opsm = str(pathlib.Path(options.opsm).resolve())
    with tempfile.TemporaryDirectory() as scratch:
        ours, theirs = f"{scratch}/ours", f"{scratch}/theirs"
        run(opsm, "convert", options.model, ours, "--type", "f32")
        tokenizer = transformers.AutoTokenizer.from_pretrained(ours)
        network = transformers.AutoModelForCausalLM.from_pretrained(ours, dtype=torch.float32).eval()
        print("loaded as", type(network).__name__, type(tokenizer).__name__, flush=True)

        rows = [row for row in scores(opsm, ours, TEXT) if "id" in row]
        ids = torch.tensor([[row["id"] for row in rows]])
        with torch.no_grad():
            logp = torch.log_softmax(network(ids).logits[0, :-1], -1).gather(1, ids[0, 1:, None])[:, 0]
        gap = max(abs(row["logp"] - value) for row, value in zip(rows[1:], logp.tolist()))
        same = tokenizer.encode(TEXT) == ids[0].tolist()
        print(f"logp: {len(rows) - 1} tokens, off by at most {gap:.2g} nats; ids {'equal' if same else 'DIFFER'}")

        equal = 0
        for prompt in PROMPTS:
            mine = json.loads(run(opsm, "generate", ours, "-p", prompt, "--temperature", "0", "--precision", "f32", "--jsonl",
                                  "--max-tokens", str(options.new)).splitlines()[0])
            start = tokenizer(prompt, return_tensors="pt")
            out = network.generate(**start, max_new_tokens=options.new, do_sample=False)[0, start.input_ids.shape[1]:].tolist()
            equal += mine["tokens"] == out
            if mine["tokens"] != out:
                print("DIFFER", repr(prompt), mine["tokens"], out)
        print(f"greedy: {equal} of {len(PROMPTS)} continuations of {options.new} tokens are equal")

        network.save_pretrained(theirs)
        tokenizer.save_pretrained(theirs)
        print("back:", "equal" if scores(opsm, theirs, TEXT) == scores(opsm, ours, TEXT) else "DIFFERS")
        if options.tokenize:
            compare_families(options.tokenize, theirs, options.n)


if __name__ == "__main__":
    main()
