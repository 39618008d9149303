# SPDX-License-Identifier: Apache-2.0
"""Compares `opsm audit` with verl's own functions. They are taken out of the installed package's source one by one, so
that neither its GPU stack nor its Ray cluster is needed. Prints the second table of docs/parity.md.

    pip install --no-deps --target verl_site verl
    python tests/golden/compare_verl.py build/opsm verl_site/verl [rounds]
"""
import ast
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import types
from typing import Any, Callable, Optional

import torch

torch.set_default_dtype(torch.float64)
OPSM, ROOT = sys.argv[1], sys.argv[2]
ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 20


def functions(path, names, scope):
    """Defines the named functions (decorators left off) and the module's constants in `scope`."""
    tree = ast.parse(open(os.path.join(ROOT, path)).read())
    for node in tree.body:
        constant = isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(getattr(node, "value", None),
                                                                               (ast.Constant, ast.Set, ast.Dict, ast.BinOp))
        if isinstance(node, ast.FunctionDef) and node.name in names:
            node.decorator_list = []
        elif not constant:
            continue
        try:
            exec(compile(ast.Module([node], []), path, "exec"), scope)
        except NameError:
            assert constant
    return types.SimpleNamespace(**{n: scope[n] for n in names})


base = dict(torch=torch, math=math, Any=Any, Optional=Optional, Callable=Callable, ActorConfig=None, AlgoConfig=dict)
verl_F = functions("utils/torch_functional.py", ["masked_sum", "masked_mean"], dict(base))
core = functions("trainer/ppo/core_algos.py", ["compute_policy_loss_vanilla", "agg_loss", "kl_penalty_forward"],
                 dict(base, verl_F=verl_F))
helper = ["compute_rollout_rejection_mask", "_parse_rollout_rs_thresholds", "compute_rs_metrics"]
correction = functions("trainer/ppo/rollout_corr_helper.py", helper, dict(base, verl_F=verl_F))


class Config(types.SimpleNamespace):
    clip_ratio, clip_ratio_low, clip_ratio_high, global_batch_info = 0.2, 0.2, 0.28, {}

    def get(self, key, default):
        return 3.0 if key == "clip_ratio_c" else default


def batch(rng):
    width, rows = 12, []
    grid = lambda x: round(x * 1024) / 1024
    for i in range(8):
        n = rng.choice([3, 5, 9, 12])
        drift = rng.choice([0, 0.02, 0.4, -0.2])
        mu = [grid(-rng.expovariate(1) - 0.01) for _ in range(n)]
        old = [grid(x + rng.gauss(0, 0.05)) for x in mu]
        cur = [grid(x - drift + rng.gauss(0, 0.5)) for x in mu]
        rows.append(dict(group=i, advantage=[grid(rng.gauss(0, 1)) for _ in range(n)], mask=[1] * n, logp_behavior=mu,
                         logp_trainer=old, logp_current=cur, logp_reference=[grid(x + rng.gauss(0, 0.3)) for x in cur]))
    pad = lambda key: torch.tensor([r[key] + [0] * (width - len(r[key])) for r in rows], dtype=torch.float64)
    return rows, pad


def ours(rows, words):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", delete=False) as f:
        f.write("".join(json.dumps(r) + "\n" for r in rows))
    run = subprocess.run([OPSM, "audit", f.name, "--json", "--gradient", "surrogate.ratio=trainer", "surrogate.clip_high=0.28",
                          "surrogate.dual_clip=3", *words], capture_output=True, text=True)
    os.unlink(f.name)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def worse(a, b):
    return b if not b <= a else a


def compare_loss(name, mode, kl, words):
    rng, loss_gap, grad_gap = random.Random(3), 0.0, 0.0
    for _ in range(ROUNDS):
        rows, pad = batch(rng)
        cur, mask = pad("logp_current").requires_grad_(), pad("mask")
        loss, _ = core.compute_policy_loss_vanilla(pad("logp_trainer"), cur, pad("advantage"), mask, mode, Config())
        if kl:
            loss = loss + 0.05 * core.agg_loss(core.kl_penalty_forward(cur, pad("logp_reference"), kl), mask, mode)
        (grad,) = torch.autograd.grad(loss, cur)
        out = ours(rows, ["mask.rule=none", *words])
        loss_gap = worse(loss_gap, abs(loss.item() - out["loss"]))
        for g, s in zip(grad, out["sequences"]):
            for x, y in zip(g.tolist(), s["dlogp"]):
                grad_gap = worse(grad_gap, abs(x - y))
    # verl adds 1e-8 to some token counts: agreement ends there.
    assert loss_gap < 1e-8 and grad_gap < 1e-7, (name, loss_gap, grad_gap)
    print(f"| {name} | `{' '.join(words)}` | {loss_gap:.1e} | {grad_gap:.1e} |")


def compare_mask(option, threshold, words, by_token):
    rng, equal, dropped = random.Random(4), 0, 0
    for _ in range(ROUNDS):
        rows, pad = batch(rng)
        mask = pad("mask")
        kept, _ = correction.compute_rollout_rejection_mask(pad("logp_current") - pad("logp_behavior"), mask, option,
                                                            threshold)
        theirs = [(int(k.sum()) if by_token else int(k.sum() > 0)) for k in kept]
        got = ours(rows, words)["sequences"]
        mine = [s["tokens"] - s["dropped_tokens"] if by_token else int(s["keep"]) for s in got]
        equal += theirs == mine
        dropped += sum(not s["keep"] for s in got) if not by_token else sum(s["dropped_tokens"] for s in got)
    assert equal == ROUNDS, (option, equal)
    print(f"| rejection {option}, {threshold} | `{' '.join(words)}` | {equal} of {ROUNDS} equal "
          f"({dropped} {'tokens' if by_token else 'sequences'} dropped) | |")


def main():
    print("| verl | opsm keys (besides surrogate.ratio=trainer surrogate.clip_high=0.28 surrogate.dual_clip=3) | loss | gradient |")
    print("|---|---|---|---|")
    modes = {"token-mean": ["aggregation=token_mean"], "seq-mean-token-mean": ["aggregation=sequence_mean"],
             "seq-mean-token-sum-norm": ["aggregation=constant", "max_length=12"]}
    for mode, words in modes.items():
        compare_loss(f"vanilla, {mode}", mode, None, words)
        for kl in ("k1", "k2", "k3"):
            compare_loss(f"vanilla, {mode}, KL {kl}", mode, kl, [*words, "penalty.beta=0.05", f"penalty.estimator={kl}"])
    # verl's k1 band is on exp(X) = behaviour over current, ours on exp(-X): the band is inverted.
    compare_mask("seq_mean_k1", "0.9_1.25", ["mask.rule=geometric", "mask.low=0.8", f"mask.high={1 / 0.9}"], False)
    compare_mask("seq_sum_k1", "0.5_2.0", ["mask.rule=geometric", "mask.reduce=sum", "mask.low=0.5", "mask.high=2"], False)
    compare_mask("token_k1", "0.2_2.0", ["mask.rule=icepop", "mask.low=0.5", "mask.high=5"], True)
    compare_mask("token_k2", 0.1, ["mask.rule=token_k2", "mask.delta=0.1"], True)


main()
