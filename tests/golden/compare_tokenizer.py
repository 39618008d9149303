#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares our token ids with llama.cpp's and Hugging Face's on thousands of varied lines.

Needs the packages gguf, tokenizers and llama-cpp-python, and a GGUF file whose byte-level vocabulary and merges are used
with every pre-tokenizer in turn (SmolLM2-135M-Instruct, say).

  llama.cpp   the file's own vocabulary; valid and malformed text, with control tokens recognised and not
  tokenizers  the published expressions; the vocabulary is completed to 256 byte tokens, because where one is missing
              `tokenizers` drops the byte before merging and llama.cpp after it (we follow llama.cpp); valid text only

Usage: compare_tokenizer.py TOKENIZE_LINES MODEL.gguf [-n LINES] [--invalid LINES] [--seed S] [--speed]
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile
import time

import gguf
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

import make_tokenizer_lines as maker

CONTRACTIONS = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace("{1,3}", "")
KINDS = ["gpt-2", "smollm", "llama-bpe", "qwen2"]


def byte_alphabet() -> list[str]:
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in own]
    return [chr(b) if b in own else chr(0x100 + rest.index(b)) for b in range(256)]


class Vocabulary:
    def __init__(self, path: str):
        fields = gguf.GGUFReader(path).fields
        self.tokens = list(fields["tokenizer.ggml.tokens"].contents())
        self.types = [int(t) for t in fields["tokenizer.ggml.token_type"].contents()]
        self.merges = list(fields["tokenizer.ggml.merges"].contents())

    def complete(self) -> "Vocabulary":
        missing = [c for c in byte_alphabet() if c not in set(self.tokens)]
        self.tokens += missing
        self.types += [1] * len(missing)
        return self

    def write(self, path: pathlib.Path, kind: str) -> str:
        writer = gguf.GGUFWriter(str(path), "llama")
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(kind)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        writer.add_token_merges(self.merges)
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()
        return str(path)


def hugging_face(vocabulary: Vocabulary, kind: str) -> Tokenizer:
    merges = [tuple(rule.split(" ", 1)) for rule in vocabulary.merges]
    ids = {token: i for i, token in enumerate(vocabulary.tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges, ignore_merges=kind == "llama-bpe"))
    cut = {"gpt-2": [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)],
           "smollm": [pre_tokenizers.Digits(individual_digits=True),
                      pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)],
           "llama-bpe": [pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
                         pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)],
           "qwen2": [pre_tokenizers.Split(Regex(QWEN2), "isolated"),
                     pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]}[kind]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(cut)
    return tokenizer


def ours(program: str, model: str, lines: list[bytes], *options: str) -> list[list[int]]:
    records = b"".join(b"%d\n%s\n" % (len(data), data) for data in lines)
    out = subprocess.run([program, model, *options], input=records, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                         check=True).stdout
    rows = [[int(x) for x in row.split()] for row in out.decode().split("\n")[:-1]]
    assert len(rows) == len(lines)
    return rows


def report(name: str, lines, mine, theirs) -> int:
    wrong = [i for i in range(len(lines)) if mine[i] != theirs[i]]
    ids = sum(len(row) for row in theirs)
    print(f"{name:44} {len(lines):6} lines {ids:8} ids {len(wrong):5} mismatches", flush=True)
    for i in wrong[:3]:
        print(f"    {lines[i]!r}\n      ours   {mine[i]}\n      theirs {theirs[i]}")
    return len(wrong)


def compare_llama(program: str, model: str, name: str, lines: list[bytes]) -> int:
    from llama_cpp import Llama
    peer = Llama(model, vocab_only=True, verbose=False)
    wrong = 0
    for special in (False, True):
        theirs = [list(peer.tokenize(data, add_bos=False, special=special)) if data else [] for data in lines]
        mine = ours(program, model, lines, *(["special"] if special else []))
        wrong += report(f"llama.cpp {name}{' special' if special else ''}", lines, mine, theirs)
    theirs = [list(peer.tokenize(data, add_bos=True, special=False)) for data in lines[:100]]
    return wrong + report(f"llama.cpp {name} bos", lines[:100], ours(program, model, lines[:100], "bos"), theirs)


def compare_speed(program: str, model: str, peer: Tokenizer, lines: list[bytes]) -> None:
    """Both on one thread in one run; the fastest of five rounds, in turn."""
    texts = [data.decode() for data in lines]
    size = sum(map(len, lines)) / 1e6
    records = b"".join(b"%d\n%s\n" % (len(data), data) for data in lines)
    best_mine = best_theirs = 1e300
    for _ in range(5):
        out = subprocess.run([program, model, "repeat=1"], input=records, capture_output=True, check=True).stdout
        best_mine = min(best_mine, float(out))
        start = time.perf_counter()
        for text in texts:
            peer.encode(text, add_special_tokens=False)
        best_theirs = min(best_theirs, time.perf_counter() - start)
    print(f"speed, {size:.2f} MB: ours {size / best_mine:.1f} MB/s, tokenizers {size / best_theirs:.1f} MB/s, "
          f"ratio {best_theirs / best_mine:.1f}")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("-n", type=int, default=12000)
    parser.add_argument("--invalid", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--speed", action="store_true")
    options = parser.parse_args()
    lines = maker.make_lines(options.n, options.invalid, options.seed)
    wrong = compare_llama(options.program, options.model, "the file itself", lines)
    with tempfile.TemporaryDirectory() as scratch:
        for kind in KINDS:
            path = Vocabulary(options.model).write(pathlib.Path(scratch) / f"{kind}.gguf", kind)
            wrong += compare_llama(options.program, path, kind, lines)
            vocabulary = Vocabulary(options.model).complete()
            path = vocabulary.write(pathlib.Path(scratch) / f"{kind}-complete.gguf", kind)
            peer = hugging_face(vocabulary, kind)
            valid = lines[:options.n]
            theirs = [peer.encode(data.decode(), add_special_tokens=False).ids for data in valid]
            wrong += report(f"tokenizers {kind}", valid, ours(options.program, path, valid), theirs)
            if options.speed:
                compare_speed(options.program, path, peer, valid)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
