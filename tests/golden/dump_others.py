# SPDX-License-Identifier: Apache-2.0
"""Executes the snippets of docs/audit.md for verl, slime and OpenRLHF and feeds what they write to `opsm audit`: verl's inside
its own ppo_loss, taken out of the installed source; the others on stand-in objects.

    for p in verl openrlhf; do pip install --no-deps --target site/$p $p; done
    python tests/golden/dump_others.py build/opsm site
"""
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import textwrap
import types

import torch
from peers import batch, tensors
from snippets import snippet

OPSM, SITE = sys.argv[1], sys.argv[2]
nowhere = types.SimpleNamespace


def audited(text, *words):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", delete=False) as f:
        f.write(text)
    run = subprocess.run([OPSM, "audit", f.name, "--json", *words], capture_output=True, text=True)
    os.unlink(f.name)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def verl(rows, x, out):
    path = f"{SITE}/verl/verl/workers/utils/losses.py"
    source = open(path).read()
    source = source[source.index("def ppo_loss"):source.index("\ndef ", source.index("def ppo_loss") + 1)]
    fields, line = '"old_log_probs", "advantages"]', '    advantages = data["advantages"]\n'
    assert fields in source and line in source
    source = source.replace(fields, '"old_log_probs", "advantages", "rollout_log_probs"]')
    source = source.replace(line, line + textwrap.indent(snippet("verl"), "    "))

    class Data(dict):
        def select(self, *names):
            return Data({n: self[n] for n in names})

        def to_padded_tensor(self):
            return self

    metric = type("Metric", (), {"__init__": lambda self, **k: None, "from_dict": staticmethod(lambda d, aggregation: d)})
    scope = dict(torch=torch, json=json, out=out, ActorConfig=None, TensorDict=None, Metric=metric,
                 AggregationType=nowhere(SUM=0, MEAN=1), no_padding_2_padding=lambda values, data: values,
                 get_policy_loss_fn=lambda mode: lambda **k: (k["log_prob"].sum(), {}))
    exec(source, scope)
    data = Data(response_mask=x.mask, old_log_probs=x.old, advantages=x.A, rollout_log_probs=x.mu, dp_size=1,
                batch_num_tokens=None, global_batch_size=None)
    config = nowhere(global_batch_info={}, loss_scale_factor=None, loss_agg_mode="token-mean", policy_loss={}, use_kl_loss=False)
    scope["ppo_loss"](config, {"log_probs": x.cur}, data)


def slime(rows, x, out):
    column = lambda key: [torch.tensor(r[key]) for r in rows]
    scope = dict(json=json, out=out, log_probs=column("logp_current"),
                 batch=dict(log_probs=column("logp_trainer"), rollout_log_probs=column("logp_behavior"),
                            loss_masks=column("mask"), advantages=column("advantage")))
    exec(snippet("slime"), scope)


def openrlhf(rows, x, out):
    fields = open(f"{SITE}/openrlhf/openrlhf/trainer/ppo_utils/experience.py").read()
    names = dict(action_mask=x.mask, advantages=x.A, action_log_probs=x.old, rollout_log_probs=x.mu)
    assert all(f"    {name}: torch" in fields for name in names)
    exec(snippet("OpenRLHF"), dict(json=json, out=out, action_log_probs=x.cur, experience=nowhere(**names)))


def main():
    for dump in (verl, slime, openrlhf):
        rows = batch(random.Random(2), per_token=True, tools=dump is slime)
        x, out = tensors(rows), io.StringIO()
        dump(rows, x, out)
        words = ["mask.delta=0.1", "surrogate.ratio=trainer"]
        found = audited(out.getvalue(), *words)
        expected = audited("".join(json.dumps(r) + "\n" for r in rows), *words)
        for key in ("loss", "surrogate"):
            assert abs(found[key] - expected[key]) < 1e-6, (dump.__name__, key)
        assert [s["keep"] for s in found["sequences"]] == [s["keep"] for s in expected["sequences"]]
        print(f"{dump.__name__}: {len(rows)} sequences, the audit of the dump is that of the data")


main()
