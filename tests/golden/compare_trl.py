# SPDX-License-Identifier: Apache-2.0
"""Compares `opsm audit` with TRL's own code: GRPOTrainer.get_off_policy_mask and GRPOTrainer._compute_loss, called as they
are installed, on a stand-in trainer that hands them our log-probs. Prints the table of docs/parity.md.

    pip install trl transformers accelerate datasets torch
    python tests/golden/compare_trl.py build/opsm [rounds]
"""
import ast
import collections
import inspect
import math
import random
import sys
import textwrap
import types

import torch
import trl
from peers import Gaps, batch, head, ours, pad
from trl import GRPOTrainer

OPSM = sys.argv[1] if len(sys.argv) > 1 else "build/opsm"
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 20
BASE = ["surrogate.ratio=trainer"]


class Accelerator:
    num_processes = 1
    sync_gradients = False

    def gather(self, x):
        return x

    gather_for_metrics = gather

    def reduce(self, x, reduction="sum"):
        return x


def correction_of_trl():
    """The statements of GRPOTrainer._generate_and_score_completions that compute the importance-sampling ratio for vLLM."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(GRPOTrainer._generate_and_score_completions)))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and any(isinstance(n, ast.Name) and n.id == "sequence_level_is" for n in ast.walk(node.body[0])) or \
                isinstance(node, ast.If) and any(isinstance(n, ast.Assign) and getattr(n.targets[0], "id", "") == "sequence_level_is"
                                                 for n in node.body):
            return compile(ast.Module(node.body, []), "trl", "exec")
    raise SystemExit("TRL computes its importance-sampling ratio elsewhere now")


def importance_ratio(rows, mode, cap):
    scope = dict(torch=torch, math=math, tool_mask=None, completion_mask=pad(rows, "mask"),
                 old_per_token_logps=pad(rows, "logp_trainer"), sampling_per_token_logps=pad(rows, "logp_behavior"),
                 self=types.SimpleNamespace(vllm_importance_sampling_mode=mode, vllm_importance_sampling_clip_min=None,
                                            vllm_importance_sampling_clip_max=cap))
    exec(correction_of_trl(), scope)
    return scope["vllm_importance_sampling_ratio"]


def trl_loss(rows, loss_type, threshold, beta, unbiased, level, max_length, epsilon_high=0.2, delta=None, mode=None, cap=None):
    """Runs TRL's _compute_loss; padding holds 1e4 so that a leak would show. (The ratio's two arrays must agree there: TRL
    multiplies by the mask, and infinity times 0 is NaN.)"""
    logps = pad(rows, "logp_current", 1e4).requires_grad_()
    mask = pad(rows, "mask", 0)
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
        epsilon_high=epsilon_high, use_vllm=True, vllm_importance_sampling_correction=mode is not None,
        model=types.SimpleNamespace(training=True), current_gradient_accumulation_steps=1, accelerator=Accelerator(),
        max_completion_length=max_length, _entropy_bonus_enabled=False,
        _metrics={"train": collections.defaultdict(list)})
    inputs = dict(prompt_ids=torch.zeros(len(rows), 1), prompt_mask=torch.ones(len(rows), 1),
                  completion_ids=torch.zeros(len(rows), 12), completion_mask=mask,
                  advantages=torch.tensor([r["advantage"] for r in rows]),
                  old_per_token_logps=pad(rows, "logp_trainer", 1e4),
                  sampling_per_token_logps=pad(rows, "logp_behavior", -1e4),
                  ref_per_token_logps=pad(rows, "logp_reference", 1e4), num_items_in_batch=mask.sum())
    if mode:
        inputs["importance_sampling_ratio"] = importance_ratio(rows, mode, cap)
    loss = GRPOTrainer._compute_loss(self, None, inputs)
    (grad,) = torch.autograd.grad(loss, logps)
    kept = keep["value"][:, 0].bool().tolist() if keep else [True] * len(rows)
    return loss.item(), [g[: len(r["mask"])].tolist() for g, r in zip(grad, rows)], kept, self._metrics["train"]


KIND = {"grpo": ["aggregation=sequence_mean"], "bnpo": ["aggregation=token_mean"], "dapo": ["aggregation=token_mean"],
        "dr_grpo": ["aggregation=constant", "max_length=20"], "sapo": ["aggregation=sequence_mean", "surrogate.name=sapo"],
        "cispo": ["aggregation=token_mean", "surrogate.name=tis", "surrogate.cap=1.28"]}


def cases():
    """Name, loss type, threshold, beta, bias-corrected, level, more keys, more arguments of trl_loss."""
    for loss_type in ("grpo", "bnpo", "dr_grpo", "dapo"):
        yield f"{loss_type}, no mask", loss_type, None, 0, False, "token", [], {}
        yield f"{loss_type}, threshold 0.1", loss_type, 0.1, 0, False, "token", [], {}
        yield f"{loss_type}, threshold 0.1, KL k3", loss_type, 0.1, 0.05, False, "token", [], {}
        yield f"{loss_type}, threshold 0.1, bias-corrected KL", loss_type, 0.1, 0.05, True, "token", [], {}
    yield "sapo, threshold 0.1", "sapo", 0.1, 0, False, "token", [], {}
    yield "cispo (our tis), threshold 0.1", "cispo", 0.1, 0, False, "token", [], {}
    yield "grpo, sequence ratio (our gspo), threshold 0.1", "grpo", 0.1, 0, False, "sequence", ["surrogate.name=gspo"], {}
    yield "grpo, delta 1.5 (two-sided clip)", "grpo", 0.1, 0, False, "token", ["surrogate.dual_clip=1.5"], dict(delta=1.5)
    for mode in ("sequence_mask", "sequence_truncate", "token_mask", "token_truncate"):
        level, outside = mode.split("_")
        cap = 1.1 if level == "sequence" else 1.05
        keys = [f"weight.level={level}", f"weight.high={cap}"] + (["weight.zero=true"] if outside == "mask" else [])
        yield f"dapo, threshold 0.1, importance sampling {mode}, cap {cap}", "dapo", 0.1, 0.05, False, "token", keys, \
            dict(mode=mode, cap=cap)
    keys = ["mask.skip_nan=true", "weight.level=sequence", "weight.high=3", "weight.zero=true"]
    yield "dapo, threshold 0.1, defaults of vLLM mode, some behaviour log-probs NaN", "dapo", 0.1, 0, False, "token", keys, \
        dict(mode="sequence_mask", cap=3.0)


def main():
    print(f"TRL {trl.__version__}, torch {torch.__version__}, {ROUNDS} batches of 8 sequences each\n")
    head("TRL", BASE[0])
    for name, loss_type, threshold, beta, unbiased, level, extra, more in cases():
        keys = list(KIND[loss_type]) + extra
        keys += ["mask.rule=none"] if threshold is None else [f"mask.delta={threshold}"]
        if beta:
            keys += [f"penalty.beta={beta}", "penalty.estimator=" + ("unbiased" if unbiased else "k3")]
        rng, gaps = random.Random(7), Gaps()
        for _ in range(ROUNDS):
            rows = batch(rng, tools=True)
            if "NaN" in name:
                for row in rows:
                    row["logp_behavior"][0] = float("nan")
            high = 1.28 if loss_type == "cispo" else 0.2
            loss, gradient, kept, metrics = trl_loss(rows, loss_type, threshold, beta, unbiased, level, 20, high, **more)
            found = ours(OPSM, rows, BASE + keys)
            gaps.add(rows, loss, gradient, found)
            gaps.add_mask(kept, [s["keep"] for s in found["sequences"]], kept.count(False))
            if loss_type in ("grpo", "bnpo", "dr_grpo", "dapo") and level == "token":
                for t, o in (("clip_ratio/low_mean", "clip_low"), ("clip_ratio/high_mean", "clip_high")):
                    assert math.isclose(metrics[t][0], found["metrics"][o], abs_tol=1e-7), (t, metrics[t][0])
        gaps.row(name, keys)


main()
