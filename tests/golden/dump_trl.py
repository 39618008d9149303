# SPDX-License-Identifier: Apache-2.0
"""Runs TRL's GRPOTrainer on the CPU with a small random model and the snippet of docs/audit.md, several minibatches and two
passes per generation, feeds the file to `opsm audit`, and compares what the audit drops with what TRL's own mask dropped.

    pip install trl transformers accelerate datasets torch
    python tests/golden/dump_trl.py build/opsm
"""
import glob
import json
import os
import subprocess
import sys
import tempfile

import torch
from datasets import Dataset
from snippets import snippet
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from trl import GRPOConfig, GRPOTrainer

OPSM = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "build/opsm")
THRESHOLD = 0.02


def model_and_tokenizer():
    torch.manual_seed(1)
    words = ["<pad>", "<eos>", "<unk>"] + [chr(c) for c in range(97, 123)]
    raw = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")
    config = Qwen2Config(vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                         num_attention_heads=2, num_key_value_heads=2, pad_token_id=0, eos_token_id=1, bos_token_id=1)
    return Qwen2ForCausalLM(config), tokenizer


def main():
    os.chdir(tempfile.mkdtemp())
    scope = dict(GRPOTrainer=GRPOTrainer, torch=torch, json=json)
    exec(snippet("TRL"), scope)
    kept = []

    class Watched(scope["DumpingTrainer"]):
        @staticmethod
        def get_off_policy_mask(**arguments):
            mask = GRPOTrainer.get_off_policy_mask(**arguments)
            kept.extend(bool(k) for k in mask[:, 0].tolist())
            return mask

    model, tokenizer = model_and_tokenizer()
    config = GRPOConfig(output_dir="run", max_steps=24, per_device_train_batch_size=8, num_generations=4, steps_per_generation=4,
                        num_iterations=2, max_completion_length=12, learning_rate=2e-3, off_policy_mask_threshold=THRESHOLD,
                        use_cpu=True, report_to=[], logging_steps=100, save_strategy="no", beta=0.0, seed=3, disable_tqdm=True)
    prompts = Dataset.from_dict({"prompt": ["a b c", "d e f", "g h", "i j k l"] * 16})
    reward = lambda completions, **_: [float(text.count("a") + text.count("e")) for text in completions]
    trainer = Watched(model=model, args=config, train_dataset=prompts, processing_class=tokenizer, reward_funcs=reward)
    trainer.train()

    (name,) = glob.glob("rollouts-*.jsonl")
    run = subprocess.run([OPSM, "audit", name, "--json", f"mask.delta={THRESHOLD}", "surrogate.ratio=trainer"],
                         capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    audit = json.loads(run.stdout)
    mine = [s["keep"] for s in audit["sequences"]]
    assert len(mine) == len(kept)
    near = min(abs(s["drift"] - THRESHOLD) for s in audit["sequences"])
    differing = sum(a != b for a, b in zip(mine, kept))
    print(f"{len(kept)} sequences over {config.max_steps} optimiser steps; TRL dropped {kept.count(False)}, the audit "
          f"{mine.count(False)}; {differing} differ (the drift closest to the threshold is {near:.1e} away)")
    print(f"dropped share: {kept.count(False) / len(kept):.4f} and {audit['metrics']['dropped']:.4f}")
    assert differing == 0 and kept.count(False) > 0


main()
