# SPDX-License-Identifier: Apache-2.0
"""What the comparisons with other frameworks share: random batches, the padded tensors that frameworks take, the call of
`opsm audit`, functions taken out of an installed package's source without importing the package (so that no GPU stack is
needed), and the rows of the tables in docs/parity.md.
"""
import ast
import json
import math
import os
import random
import subprocess
import tempfile
import types
from typing import Any, Callable, Dict, List, Optional, Tuple, Union

import torch

torch.set_default_dtype(torch.float64)
WIDTH = 12


def grid(x):
    """A multiple of 1/1024: JSON and float32 hold it exactly."""
    return round(x * 1024) / 1024


def batch(rng, per_token=False, tools=False, spread=0.25):
    """Eight sequences with drifts of either sign; advantages per sequence or per token; perhaps tool output inside."""
    rows = []
    for i in range(8):
        n = rng.choice([3, 5, 9, WIDTH])
        drift = rng.choice([0, 0.1, 0.4, -0.2])
        mu = [grid(-rng.expovariate(1) - 0.01) for _ in range(n)]
        old = [grid(x + rng.gauss(0, 0.05)) for x in mu]
        cur = [grid(x - drift + rng.gauss(0, spread)) for x in mu]
        ref = [grid(x + rng.gauss(0, 0.3)) for x in cur]
        mask = [1] * n
        for t in range(1, n - 1):
            mask[t] = int(not tools or rng.random() < 0.85)
        advantage = [grid(rng.gauss(0, 1)) for _ in range(n)] if per_token else rng.choice([-1.5, -0.25, 0.0, 0.5, 1.25])
        rows.append(dict(group=i // 4, advantage=advantage, mask=mask, logp_behavior=mu, logp_trainer=old,
                         logp_current=cur, logp_reference=ref))
    return rows


def pad(rows, key, fill=0.0):
    whole = lambda r: r[key] if isinstance(r[key], list) else [r[key]] * len(r["mask"])
    return torch.tensor([whole(r) + [fill] * (WIDTH - len(r["mask"])) for r in rows], dtype=torch.float64)


def tensors(rows):
    """cur (a leaf), mu, old, ref, mask and A, each (8, WIDTH)."""
    x = types.SimpleNamespace(mu=pad(rows, "logp_behavior"), old=pad(rows, "logp_trainer"), ref=pad(rows, "logp_reference"),
                              mask=pad(rows, "mask"), A=pad(rows, "advantage"))
    x.cur = pad(rows, "logp_current").requires_grad_()
    return x


def ours(opsm, rows, words):
    known = lambda v: [None if x != x else x for x in v] if isinstance(v, list) else v
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", delete=False) as f:
        f.write("".join(json.dumps({k: known(v) for k, v in r.items()}) + "\n" for r in rows))
    run = subprocess.run([opsm, "audit", f.name, "--json", "--gradient", *words], capture_output=True, text=True)
    os.unlink(f.name)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def worse(a, b):
    """The larger one; NaN wins, unlike with max()."""
    return b if not b <= a else a


class Gaps:
    """The largest differences over a number of batches."""

    def __init__(self):
        self.loss = self.gradient = 0.0
        self.batches = self.agreed = self.dropped = 0

    def add(self, rows, loss, gradient, found):
        self.loss = worse(self.loss, abs(loss - found["loss"]))
        for row, g, s in zip(rows, gradient, found["sequences"]):
            for x, y in zip(g[: len(row["mask"])], s["dlogp"]):
                self.gradient = worse(self.gradient, abs(x - y))

    def add_mask(self, theirs, mine, dropped):
        self.batches += 1
        self.agreed += theirs == mine
        self.dropped += dropped

    def row(self, name, words, loss_limit=1e-12, gradient_limit=1e-7):
        assert self.gradient < gradient_limit, (name, self.gradient)
        assert loss_limit is None or self.loss < loss_limit, (name, self.loss)
        assert self.agreed == self.batches, (name, self.agreed, self.batches)
        mask = f"{self.agreed} of {self.batches} equal ({self.dropped} dropped)" if self.batches else ""
        loss = "(1)" if loss_limit is None else f"{self.loss:.1e}"
        print(f"| {name} | `{' '.join(words)}` | {mask} | {loss} | {self.gradient:.1e} |", flush=True)


def compare(opsm, name, base, words, theirs, rounds, seed=7, loss_limit=1e-12, gradient_limit=1e-7, **kind):
    """base and words are keys; the table shows the words. theirs(tensors, rows) gives their loss, and perhaps which sequences (or how many tokens of each) they keep."""
    rng, gaps = random.Random(seed), Gaps()
    for _ in range(rounds):
        rows = batch(rng, **kind)
        x = tensors(rows)
        out = theirs(x, rows)
        loss, kept = out if isinstance(out, tuple) else (out, None)
        (gradient,) = torch.autograd.grad(loss, x.cur)
        found = ours(opsm, rows, base + words)
        gaps.add(rows, loss.item(), gradient.tolist(), found)
        if kept is None:
            continue
        tokens = [s["tokens"] - s["dropped_tokens"] for s in found["sequences"]]
        whole = [s["keep"] for s in found["sequences"]]
        by_token = not isinstance(kept[0], bool)
        gaps.add_mask(kept, tokens if by_token else whole,
                      sum(s["dropped_tokens"] for s in found["sequences"]) if by_token else whole.count(False))
    gaps.row(name, words, loss_limit, gradient_limit)


def head(framework, base=""):
    print(f"| {framework} | opsm keys{f', besides `{base.strip()}`' if base else ''} | mask | loss | gradient |\n|---|---|---|---|---|")


# ---- Functions out of a package's source ----


def _define(node, scope, path):
    node.decorator_list = [d for d in node.decorator_list if isinstance(d, ast.Name) and d.id in ("staticmethod", "classmethod")]
    exec(compile(ast.Module([node], []), path, "exec"), scope)


def scope_of(**more):
    import torch.distributed
    import torch.nn.functional

    return dict(torch=torch, math=math, nn=torch.nn, F=torch.nn.functional, dist=torch.distributed, Any=Any, Dict=Dict,
                List=List, Optional=Optional, Tuple=Tuple, Callable=Callable, Union=Union, **more)


def functions(path, names, scope, class_name=None, hints=True):
    """Defines the named functions and classes of a file (or the methods of one of its classes), decorators and type hints
    left off, with the module's constants, in `scope`."""
    tree = ast.parse(open(path).read())
    body = tree.body
    if class_name:
        body = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == class_name).body
    for node in body:
        constant = isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(getattr(node, "value", None),
                                                                               (ast.Constant, ast.Set, ast.Dict, ast.BinOp))
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in names:
            for inner in ast.walk(node):
                if isinstance(inner, ast.FunctionDef):
                    inner.returns = None
                    for argument in [*inner.args.args, *inner.args.kwonlyargs]:
                        argument.annotation = None
            if class_name:
                node.decorator_list = []
            _define(node, scope, path)
        elif constant:
            try:
                exec(compile(ast.Module([node], []), path, "exec"), scope)
            except NameError:
                pass
    return types.SimpleNamespace(**{n: scope[n] for n in names})


def version(site, package):
    """Of the package installed with pip install --target SITE/..."""
    for name in sorted(os.listdir(site)):
        if name.endswith(".dist-info") and name.lower().replace("-", "_").startswith(package.lower().replace("-", "_") + "_") or \
                name.endswith(".dist-info") and name.split("-")[0].lower().replace("-", "_") == package.lower().replace("-", "_"):
            return name[: -len(".dist-info")].split("-")[1]
    return "?"
