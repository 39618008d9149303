#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the seed files of the fuzz targets, tests/fuzz/corpus/: small valid inputs from which mutation starts. The GGUF
ones come from the `gguf` package (pip install gguf numpy)."""
import json
import pathlib

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T

CORPUS = pathlib.Path(__file__).parent / "corpus"


def write_gguf(name, fill):
    w = gguf.GGUFWriter(CORPUS / "gguf" / name, "llama")
    fill(w)
    w.write_header_to_file(), w.write_kv_data_to_file(), w.write_tensors_to_file(), w.close()


def metadata(w):
    w.add_uint8("a", 1), w.add_int8("b", 2), w.add_uint16("c", 3), w.add_int16("d", 4), w.add_uint32("e", 5)
    w.add_int32("f", 6), w.add_uint64("g", 7), w.add_int64("h", 8), w.add_float32("i", 9.0), w.add_float64("j", 10.0)
    w.add_bool("k", True), w.add_string("l", "text"), w.add_array("m", ["one", "two"]), w.add_array("n", [1, 2])
    w.add_array("o", [1.5]), w.add_array("p", [True, False])


def tensors(*kinds):
    def fill(w):
        for kind in kinds:
            block, size = gguf.GGML_QUANT_SIZES[kind]
            if kind in (T.F32, T.F16):
                w.add_tensor(kind.name, np.ones(3, np.float32 if kind is T.F32 else np.float16))
            else:
                w.add_tensor(kind.name, np.full((2, size), 0x11, np.uint8), raw_dtype=kind)
    return fill


def aligned(w):
    w.add_custom_alignment(8)
    tensors(T.F32, T.Q8_0)(w)


def verifiers():
    """A byte of settings, the answer or pattern, a NUL, the response."""
    (CORPUS / "verifier").mkdir(exist_ok=True)
    for name, settings, answer, response in [
        ("number", 0x10, "1,234.5", "about 7, -$1,234.50 or \\boxed{\\frac{2469}{2}}"),
        ("expression", 0x1f, "(3+5)*2", "so:\n(3 + 5) * 2 = 16."),
        ("pattern", 0x30, "is (?<answer>\\d+)\\b", "It is 12."),
        ("shape", 0x10, "</a>", "<a>x</a>"),
        ("tag", 0x1d, "7*2", "<answer>7*2</answer>"),
        ("subset", 0x16, "x", "2507"),
        ("path", 0x11, "x", "112"),
    ]:
        (CORPUS / "verifier" / name).write_bytes(bytes([settings]) + answer.encode() + b"\0" + response.encode())


def report_seeds():
    """metrics.jsonl, config.yaml, samples.jsonl and lab.json, parted by the byte 1 (fuzz_report.c)."""
    bins = "[" + ",".join(["0"] * 40 + ["3"] * 8) + "]"
    metrics = "".join(f'{{"kind":"step","step":{s},"drift_negative_mean":0.{s},"dropped":0.5,"delta":0.03}}\n' for s in range(4))
    metrics += '{"kind":"iteration","iteration":0,"step":4,"reward_mean":0.5,"delta":0.03,"drift_negative_histogram":' + bins + "}\n"
    metrics += '{"kind":"eval","iteration":1,"step":4,"accuracy":0.5}\n'
    config = "seed: 1\nobjective: {mask: {rule: opsm}}\noptim: {betas: [0.9, 0.99]}\nreward: [{type: numeric}]\n"
    samples = '{"iteration":0,"group":0,"prompt":"1+1","response":"</script>","keep":false,"drift":0.5,"reason":"A < 0"}\n'
    lab = ('{"steps_per_round":4,"verdict":"v","collapse":{"below":0.5},"arms":{"m":{"seeds":[{"seed":1,"status":"done",'
           '"directory":"m/seed-1"},{"seed":2,"status":"failed","error":"e"}],"final_ci95":[0,1],"final_mean":0.5}}}')
    for name, parts in {"run": [metrics, config, samples], "lab": [metrics, config, samples, lab], "bare": [metrics]}.items():
        (CORPUS / "report" / name).write_bytes("\x01".join(parts).encode())


def text_seeds():
    """The first byte of a tokenizer's input chooses the half and the pre-tokenizer (fuzz_tokenizer.c)."""
    text = "It's 1234  the caf\u00e9's\r\n\n  <|im_start|>x<|im_end|> \U0001f600!! \u4f60\u597d ab".encode()
    for kind in range(4):
        (CORPUS / "tokenizer" / f"text_{kind}").write_bytes(bytes([8 * (kind % 2) + 2 * kind]) + text)
    (CORPUS / "tokenizer" / "malformed").write_bytes(b"\x08a\xff\xe4\xbd\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80")
    vocabulary = b"1a\n1b\n1ab\n3<s>\n4<think>\n1\xc4\xa0\n5pad\n\x00a b\n\x00ab a<s>b <think>"
    (CORPUS / "tokenizer" / "vocabulary").write_bytes(b"\x05" + vocabulary)
    (CORPUS / "tokenizer" / "twice").write_bytes(b"\x01" + vocabulary.replace(b"1b", b"1a"))
    snippets = json.loads((CORPUS.parents[1] / "golden" / "jinja.json").read_text())["cases"]
    for i in range(0, len(snippets), 40):
        (CORPUS / "jinja" / f"snippets-{i // 40}").write_text("\n".join(
            s["template"] for s in snippets[i:i + 40] if s["expected"] is not None), newline="")
    for path in sorted((CORPUS.parents[1] / "golden" / "chat").glob("*.jinja")):
        (CORPUS / "jinja" / path.stem).write_bytes(path.read_bytes())
        messages = b"\x00pBe brief.\nuHello\nv<think>x</think>y\nu  again \n"  # the roles are the letters modulo 4
        (CORPUS / "chat" / path.stem).write_bytes(path.read_bytes() + messages)


def audit_seeds():
    """A byte that chooses the objective, then rollouts (fuzz_audit.c)."""
    both = {"logp_behavior": [0, -2, -1], "logp_current": [0, -2.5, -1]}
    rows = [{"group": 1, "reward": 1, "tokens": [5, 6, 5], "mask": [0, 1, 1], **both, "logp_trainer": [0, -2, -1.1], "version": 3, "finish": "length"},
            {"group": 1, "reward": 0, "tokens": [5, 7, 7], "tokens_behavior": [5, 7, 8], "mask": [0, 1, 1], **both, "version": 4, "finished": True},
            {"group": "1", "advantage": -1, **both, "logp_reference": [0, -1, -2], "drift": 0.25, "keep": False, "step": 0},
            {"group": 2, "advantage": [1, -1, 0], **both}]
    for choice in (0, 1, 2, 5, 8, 16, 33, 64, 128):
        text = "\n".join(json.dumps(row) for row in rows[:1 + choice % 4])
        (CORPUS / "audit" / f"objective-{choice}").write_bytes(bytes([choice]) + text.encode())


def safetensors_seeds():
    """A byte that chooses file or index, then its bytes (fuzz_safetensors.c)."""
    entry = lambda dtype, shape, begin, end: {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    files = {"plain": ({"__metadata__": {"format": "pt"}, "a": entry("F32", [2, 3], 0, 24), "b": entry("BF16", [1], 24, 26)}, 26),
             "other": ({"x": entry("I64", [1], 8, 16), "y": entry("F16", [2, 2], 0, 8), "z": entry("F4", [4, 0], 8, 8)}, 16),
             "scalar": ({"s": entry("F32", [], 0, 4)}, 4), "none": ({}, 0), "gap": ({"a": entry("F32", [1], 4, 8)}, 8)}
    for name, (header, size) in files.items():
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        (CORPUS / "safetensors" / name).write_bytes(b"\0" + len(text).to_bytes(8, "little") + text + bytes(range(size)))
    for name, map in {"index": {"a": "1.safetensors", "b": "2.safetensors", "c": "2.safetensors"},
                      "index_up": {"a": "../1.safetensors"}, "index_absent": {"c": "1.safetensors"}}.items():
        index = {"metadata": {"total_size": 6}, "weight_map": map}
        (CORPUS / "safetensors" / name).write_bytes(b"\1" + json.dumps(index).encode())


def main():
    (CORPUS / "gguf").mkdir(parents=True, exist_ok=True)
    for name in ("jsonl", "tokenizer", "chat", "jinja", "report", "audit", "safetensors"):
        (CORPUS / name).mkdir(exist_ok=True)
    safetensors_seeds()
    text_seeds()
    report_seeds()
    audit_seeds()
    write_gguf("metadata", metadata)
    write_gguf("plain", tensors(T.F32, T.F16, T.BF16))
    write_gguf("classic", tensors(T.Q8_0, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1))
    write_gguf("k_quants", tensors(T.Q4_K, T.Q5_K, T.Q6_K, T.Q2_K))
    write_gguf("aligned", aligned)
    version_2 = bytearray((CORPUS / "gguf" / "plain").read_bytes())
    version_2[4] = 2
    (CORPUS / "gguf" / "version_2").write_bytes(version_2)
    rows = '{"group": 17, "reward": 1.0, "tokens": [1, 2], "mask": null}\n{"a": {"b": [true, -1e-3, "\\u00e9\\n"]}}'
    for name, text in {"rows": rows + "\n", "no_newline": rows, "crlf": rows.replace("\n", "\r\n") + "\r\n\r\n",
                       "faulty": '{"a":1}\n[]\n{"a":1,"a":2}\n{\n\n{}'}.items():
        (CORPUS / "jsonl" / name).write_bytes(b"\xff" + text.encode())
    (CORPUS / "jsonl" / "short_limit").write_bytes(b"\x08" + rows.encode())
    verifiers()


if __name__ == "__main__":
    main()
