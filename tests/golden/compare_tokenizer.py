#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares our token ids with llama.cpp's and Hugging Face's on thousands of varied lines.

Needs the packages gguf, tokenizers and llama-cpp-python, and a GGUF file with a byte-level vocabulary (of
SmolLM2-135M-Instruct, say). It is used as it is, with every pre-tokenizer in turn. A second vocabulary is trained on the
lines themselves without cutting them into words: its tokens reach over every boundary, so that a cut in the wrong place
changes the ids (SmolLM2's has no token of two digits, and could not tell \\p{N}{1,3} from \\p{N}).

  llama.cpp   valid and malformed text, with control tokens recognised and not
  tokenizers  the published expressions, valid text only. The file's vocabulary is completed to 256 byte tokens, because
              where one is missing `tokenizers` drops the byte before merging and llama.cpp after it (we follow llama.cpp)

Usage: compare_tokenizer.py TOKENIZE_LINES MODEL.gguf [-n LINES] [--invalid LINES] [--seed S] [--speed]
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import gguf
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers, trainers

import make_tokenizer_lines as maker

CONTRACTIONS = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace("{1,3}", "")
KINDS = ["gpt-2", "smollm", "llama-bpe", "qwen2"]
ADDED = {"<|endoftext|>": 3, "<|im_start|>": 3, "<|im_end|>": 3, "<repo_name>": 4, "<file_sep>": 4, "<file": 4, "    ": 4}


def byte_alphabet() -> list[str]:
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in own]
    return [chr(b) if b in own else chr(0x100 + rest.index(b)) for b in range(256)]


class Vocabulary:
    def __init__(self, tokens, types, merges):
        self.tokens, self.types, self.merges = tokens, types, merges

    @classmethod
    def read(cls, path: str) -> "Vocabulary":
        fields = gguf.GGUFReader(path).fields
        return cls(list(fields["tokenizer.ggml.tokens"].contents()),
                   [int(t) for t in fields["tokenizer.ggml.token_type"].contents()],
                   list(fields["tokenizer.ggml.merges"].contents()))

    @classmethod
    def train(cls, lines: list[bytes], size: int, added: dict[str, int]) -> "Vocabulary":
        """Merges over all boundaries. `added`: special tokens and their types (3 control, 4 user-defined)."""
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=byte_alphabet(), show_progress=False,
                                      max_token_length=16)
        tokenizer.train_from_iterator([data.decode() for data in lines if not any(t.encode() in data for t in added)],
                                      trainer)
        trained = json.loads(tokenizer.to_str())["model"]
        tokens = sorted(trained["vocab"], key=trained["vocab"].get)
        merges = [rule if isinstance(rule, str) else " ".join(rule) for rule in trained["merges"]]
        return cls(tokens + list(added), [1] * len(tokens) + list(added.values()), merges)

    def complete(self) -> "Vocabulary":
        missing = [c for c in byte_alphabet() if c not in set(self.tokens)]
        return Vocabulary(self.tokens + missing, self.types + [1] * len(missing), self.merges)

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


def hugging_face(vocabulary: Vocabulary, kind: str, recognized: tuple[int, ...] = (4,)) -> Tokenizer:
    """`recognized`: the types of special tokens that are split out of the text."""
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
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token, type in zip(vocabulary.tokens, vocabulary.types)
                          if type in recognized])
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


def compare_hugging_face(options, scratch: str, kind: str, name: str, vocabulary: Vocabulary, lines: list[bytes]) -> int:
    path = vocabulary.write(pathlib.Path(scratch) / f"{kind}-{name}-peer.gguf", kind)
    valid, wrong = lines[:options.n], 0
    for special in (False, True):
        peer = hugging_face(vocabulary, kind, (3, 4) if special else (4,))
        theirs = [peer.encode(data.decode(), add_special_tokens=False).ids for data in valid]
        mine = ours(options.program, path, valid, *(["special"] if special else []))
        wrong += report(f"tokenizers {kind} {name}{' special' if special else ''}", valid, mine, theirs)
        if options.speed and not special:
            compare_speed(options.program, path, peer, valid)
    return wrong


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
    own = Vocabulary.read(options.model)
    across = Vocabulary.train(lines[:options.n], 20000, ADDED)
    with tempfile.TemporaryDirectory() as scratch:
        for kind in KINDS:
            path = own.write(pathlib.Path(scratch) / f"{kind}.gguf", kind)
            wrong += compare_llama(options.program, path, f"{kind} own", lines)
            wrong += compare_hugging_face(options, scratch, kind, "own", own.complete(), lines)
            path = across.write(pathlib.Path(scratch) / f"{kind}-trained.gguf", kind)
            wrong += compare_llama(options.program, path, f"{kind} trained", lines)
            wrong += compare_hugging_face(options, scratch, kind, "trained", across, lines)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
