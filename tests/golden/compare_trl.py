# SPDX-License-Identifier: Apache-2.0
"""Compares `opsm audit` with TRL's own code: GRPOTrainer.get_off_policy_mask and GRPOTrainer._compute_loss, called as they
are installed, on a stand-in trainer that hands them our log-probs. Prints the table of docs/parity.md.

    pip install trl transformers accelerate datasets torch
    python tests/golden/compare_trl.py build/opsm [rounds]
"""
import collections
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import types

import torch
import trl
from trl import GRPOTrainer

torch.set_default_dtype(torch.float64)
OPSM = sys.argv[1] if len(sys.argv) > 1 else "build/opsm"
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 20


def batch(rng):
    """Rows padded to one width, log-probs on the grid of 1/1024 so that JSON and float32 hold them exactly."""
    width = 12
    rows = []
    for i in range(8):
        n = rng.choice([3, 5, 9, 12])
        grid = lambda x: round(x * 1024) / 1024
        drift = rng.choice([0, 0.1, 0.4, -0.2])
        mu = [grid(-rng.expovariate(1) - 0.01) for _ in range(n)]
        old = [grid(x + rng.gauss(0, 0.05)) for x in mu]
        cur = [grid(x - drift + rng.gauss(0, 0.25)) for x in mu]
        ref = [grid(x + rng.gauss(0, 0.3)) for x in cur]
        mask = [1] * n
        for t in range(1, n - 1):
            mask[t] = int(rng.random() < 0.85)  # tool output inside the completion
        rows.append(dict(group=i // 4, advantage=rng.choice([-1.5, -0.25, 0.0, 0.5, 1.25]), mask=mask, logp_behavior=mu,
                         logp_trainer=old, logp_current=cur, logp_reference=ref))
    return rows, width


def pad(rows, key, width, fill):
    return torch.tensor([r[key] + [fill] * (width - len(r[key])) for r in rows], dtype=torch.float64)


class Accelerator:
    num_processes = 1
    sync_gradients = False

    def gather(self, x):
        return x

    gather_for_metrics = gather

    def reduce(self, x, reduction="sum"):
        return x


def trl_loss(rows, width, loss_type, threshold, beta, unbiased, level, max_length, epsilon_high=0.2, delta=None):
    """Runs TRL's _compute_loss; padding holds 1e4 so that a leak would show. (The ratio's two arrays must agree there: TRL
    multiplies by the mask, and infinity times 0 is NaN.)"""
    logps = pad(rows, "logp_current", width, 1e4).requires_grad_()
    mask = pad(rows, "mask", width, 0)
    keep = {}

    def get_mask(**kw):
        keep["value"] = GRPOTrainer.get_off_policy_mask(**kw)
        return keep["value"]

    args = types.SimpleNamespace(use_bias_correction_kl=unbiased, delta=delta, sapo_temperature_pos=1.0,
                                 sapo_temperature_neg=1.05, steps_per_generation=1)
    self = types.SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *a, **k: (logps, torch.ones_like(logps), None), aux_loss_enabled=False,
        top_entropy_quantile=1.0, off_policy_mask_threshold=threshold, get_off_policy_mask=get_mask,
        importance_sampling_level=level, beta=beta, args=args, loss_type=loss_type, epsilon_low=0.2,
        epsilon_high=epsilon_high, use_vllm=True, vllm_importance_sampling_correction=False,
        model=types.SimpleNamespace(training=True), current_gradient_accumulation_steps=1, accelerator=Accelerator(),
        max_completion_length=max_length, _entropy_bonus_enabled=False,
        _metrics={"train": collections.defaultdict(list)})
    inputs = dict(prompt_ids=torch.zeros(len(rows), 1), prompt_mask=torch.ones(len(rows), 1),
                  completion_ids=torch.zeros(len(rows), width), completion_mask=mask,
                  advantages=torch.tensor([r["advantage"] for r in rows]),
                  old_per_token_logps=pad(rows, "logp_trainer", width, 1e4),
                  sampling_per_token_logps=pad(rows, "logp_behavior", width, -1e4),
                  ref_per_token_logps=pad(rows, "logp_reference", width, 1e4), num_items_in_batch=mask.sum())
    loss = GRPOTrainer._compute_loss(self, None, inputs)
    (grad,) = torch.autograd.grad(loss, logps)
    kept = keep["value"][:, 0].bool().tolist() if keep else [True] * len(rows)
    return loss.item(), [g[: len(r["mask"])].tolist() for g, r in zip(grad, rows)], kept, self._metrics["train"]


def ours(rows, words):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", delete=False) as f:
        f.write("".join(json.dumps(r) + "\n" for r in rows))
    run = subprocess.run([OPSM, "audit", f.name, "--json", "--gradient", "surrogate.ratio=trainer", *words],
                         capture_output=True, text=True)
    os.unlink(f.name)
    assert run.returncode == 0, run.stderr
    out = json.loads(run.stdout)
    return out["loss"], [s["dlogp"] for s in out["sequences"]], [s["keep"] for s in out["sequences"]], out["metrics"]


KIND = {"grpo": ["aggregation=sequence_mean"], "bnpo": ["aggregation=token_mean"], "dapo": ["aggregation=token_mean"],
        "dr_grpo": ["aggregation=constant", "max_length=20"], "sapo": ["aggregation=sequence_mean", "surrogate.name=sapo"],
        "cispo": ["aggregation=token_mean", "surrogate.name=tis", "surrogate.cap=1.28"]}


def cases():
    for loss_type in ("grpo", "bnpo", "dr_grpo", "dapo"):
        yield f"{loss_type}, no mask", loss_type, None, 0, False, "token", []
        yield f"{loss_type}, threshold 0.1", loss_type, 0.1, 0, False, "token", []
        yield f"{loss_type}, threshold 0.1, KL k3", loss_type, 0.1, 0.05, False, "token", []
        yield f"{loss_type}, threshold 0.1, bias-corrected KL", loss_type, 0.1, 0.05, True, "token", []
    yield "sapo, threshold 0.1", "sapo", 0.1, 0, False, "token", []
    yield "cispo (our tis), threshold 0.1", "cispo", 0.1, 0, False, "token", []
    yield "grpo, sequence ratio (our gspo), threshold 0.1", "grpo", 0.1, 0, False, "sequence", ["surrogate.name=gspo"]


def worse(a, b):
    """The larger one; NaN wins, unlike with max()."""
    return b if not b <= a else a


def main():
    print(f"TRL {trl.__version__}, torch {torch.__version__}, {ROUNDS} batches of 8 sequences each\n")
    print("| TRL | opsm keys | mask | largest loss difference | largest gradient difference |\n|---|---|---|---|---|")
    worst = 0
    for name, loss_type, threshold, beta, unbiased, level, extra in cases():
        keys = list(KIND[loss_type]) + extra
        keys += ["mask.rule=none"] if threshold is None else [f"mask.delta={threshold}"]
        if beta:
            keys += [f"penalty.beta={beta}", "penalty.estimator=" + ("unbiased" if unbiased else "k3")]
        rng, loss_gap, grad_gap, agree, drops = random.Random(7), 0.0, 0.0, 0, 0
        for _ in range(ROUNDS):
            rows, width = batch(rng)
            high = 1.28 if loss_type == "cispo" else 0.2
            a = trl_loss(rows, width, loss_type, threshold, beta, unbiased, level, 20, high)
            b = ours(rows, keys)
            loss_gap = worse(loss_gap, abs(a[0] - b[0]))
            for g, h in zip(a[1], b[1]):
                for x, y in zip(g, h):
                    grad_gap = worse(grad_gap, abs(x - y))
            agree += a[2] == b[2]
            drops += a[2].count(False)
            if loss_type in ("grpo", "bnpo", "dr_grpo", "dapo"):
                for t, o in (("clip_ratio/low_mean", "clip_low"), ("clip_ratio/high_mean", "clip_high")):
                    if level == "token":
                        assert math.isclose(a[3][t][0], b[3][o], abs_tol=1e-7), (t, a[3][t][0], b[3][o])
        assert agree == ROUNDS and loss_gap < 1e-12 and grad_gap < 1e-7, (name, agree, loss_gap, grad_gap)
        worst = worse(worst, grad_gap)
        print(f"| {name} | `{' '.join(keys)}` | {agree} of {ROUNDS} equal ({drops} dropped) | {loss_gap:.1e} | {grad_gap:.1e} |")
    print(f"\nall equal; gradients are stored as float32, hence {worst:.0e}")


main()
