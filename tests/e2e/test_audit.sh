#!/usr/bin/env bash
# opsm audit on files whose numbers are known, on broken files, on interleaved groups, and on one far larger than memory
# it may use.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$SCRATCH"
. "$here/base.sh"

# Rollouts of real runs, stale, solved or collapsed, are nobody's fault in recording: at most nothing is left to learn from
# them, so that weights stand still, or a collapsed policy does not end.
for rule in opsm none; do
    "$OPSM" -q train /dev/stdin >/dev/null <<YAML
model: base/model.gguf
output: $rule
precision: f32
task: {name: modsum, difficulty: 4}
rollout: {prompts: 32, group: 8, max_tokens: 12, save: true}
schedule: {minibatches: 8, epochs: 1, staleness: 4}
objective: {advantage: mean, surrogate: {name: reinforce}, mask: {rule: $rule}, aggregation: token_mean}
optim: {lr: 3.0e-3}
train: {iterations: 10, eval_every: 0, checkpoint_every: 0}
YAML
    for file in "$rule"/rollouts/*.jsonl; do
        "$OPSM" audit "$file" --json | python3 -c '
import json, sys
found = {f["id"] for f in json.load(sys.stdin)["findings"]}
assert found <= {"no_signal", "truncated"} | ({"copied_behavior"} if "no_signal" in found else set()), (sys.argv[1], found)
' "$file"
    done
done

# What is dumped, audited, is what the training did: the same sequences dropped at the same drift. Responses that were cut
# off are in no loss.
"$OPSM" -q train /dev/stdin >/dev/null <<'YAML'
model: base/model.gguf
output: trip
precision: f32
task: {name: modsum, difficulty: 4}
rollout: {prompts: 32, group: 4, max_tokens: 5, temperature: 1.5, save: true, samples: 1000, truncated: mask}
schedule: {minibatches: 4, epochs: 2, staleness: 1}
objective: {advantage: mean, surrogate: {name: reinforce}, mask: {rule: opsm, delta: 0.02}, aggregation: token_mean}
optim: {lr: 1.0e-3}
train: {iterations: 5, eval_every: 0, checkpoint_every: 0}
YAML
python3 - "$OPSM" <<'PY'
import collections, json, subprocess, sys

samples = [json.loads(line) for line in open("trip/samples.jsonl")]
kinds = collections.Counter()
for iteration in sorted({s["iteration"] for s in samples}):
    lines = [s for s in samples if s["iteration"] == iteration]
    path = "trip/rollouts/%06d.jsonl" % iteration
    run = subprocess.run([sys.argv[1], "audit", path, "--json", "mask.delta=0.02", "surrogate.name=reinforce",
                          "aggregation=token_mean"], capture_output=True, text=True, check=True)
    audited = json.loads(run.stdout)["sequences"]
    assert len(lines) == len(audited) == 128, (len(lines), len(audited))
    by_group = collections.defaultdict(list)
    for a in audited:
        by_group[a["group"]].append(a)
    for s in lines:
        a = by_group[s["group"]][s["sample"]]
        assert s["keep"] == a["keep"] and s["advantage"] == a["advantage"], (s, a)
        assert (s["drift"] is None) == (a["drift"] is None), (s, a)
        assert s["drift"] is None or abs(s["drift"] - a["drift"]) <= 1e-5 * abs(a["drift"]), (s, a)
        assert (s["reason"] == "cut off: it is in no loss") == (a["reason"] == "empty" and s["finish"] == "length"), (s, a)
        assert ("drift" in s["reason"] and ">" in s["reason"].split("drift")[1]) == (a["reason"] == "opsm"), (s, a)
        kinds[a["reason"]] += 1
assert min(kinds["opsm"], kinds["kept"], kinds["empty"]) > 0, kinds
print("dumped, audited:", dict(kinds))
PY

python3 - "$OPSM" <<'PY'
import json, math, resource, subprocess, sys

OPSM = sys.argv[1]


def audit(rows, *words, text=None, code=0, name="r.jsonl"):
    with open(name, "w") as f:
        f.write(text if text is not None else "".join(json.dumps(r) + "\n" for r in rows))
    run = subprocess.run([OPSM, "audit", name, *words], capture_output=True, text=True)
    assert run.returncode == code, (words, run.returncode, run.stdout, run.stderr)
    if code:
        return run.stderr
    return json.loads(run.stdout) if "--json" in words else run.stdout


def near(a, b, tolerance=1e-6):
    assert abs(a - b) <= tolerance, (a, b)


def row(group, advantage, b, c, **more):
    return {"group": group, "advantage": advantage, "logp_behavior": b, "logp_current": c, **more}


# Case 8 and 9: loss, gradient, denominators, penalty.
case8 = [row(1, 1, [-1, -1], [-1.5, -1.5], logp_reference=[-1, -1]), row(1, -1, [-1, -1], [-1.5, -1.5], logp_reference=[-1, -1])]
near(audit(case8, "--json", "mask.rule=none")["loss"], 0.096735)
out = audit(case8, "--json", "--gradient", "mask.delta=0.3")
near(out["loss"], -0.303265)
assert [s["keep"] for s in out["sequences"]] == [True, False]
for got, want in zip(out["sequences"][0]["dlogp"] + out["sequences"][1]["dlogp"], [-0.151633, -0.151633, 0, 0]):
    near(got, want)
near(audit(case8, "--json", "mask.delta=0.3", "denominator=kept")["loss"], -0.606531)
near(audit(case8, "--json", "mask.delta=0.3", "penalty.beta=0.1", "penalty.estimator=k3")["loss"], -0.288393)
near(audit(case8, "--json", "mask.delta=0.3", "penalty.beta=0.1", "penalty.estimator=k3", "mask.kl=true")["loss"], -0.295829)
near(audit(case8, "--json", "objective.mask.delta=0.3")["loss"], -0.303265)

# Candidate thresholds; one --delta alone is the threshold in force.
out = audit(case8, "--json", "--delta", "0.3", "--delta=0.6", "--delta", "inf")
assert [t["dropped"] for t in out["thresholds"]] == [0.5, 0, 0]
assert [t["dropped_negatives"] for t in out["thresholds"]] == [1, 0, 0]
assert audit(case8, "--json", "--delta", "0.6")["sequences"][1]["keep"] is True
assert "dlogp" not in out["sequences"][0]

# Case 3: equality keeps. Case 2: masked-out tokens, also null ones.
eq = [row(1, -1, [0, 0, 0, 0], [-0.5, -100, -0.25, None], mask=[1, 0, 1, 0])]
assert audit(eq, "--json", "mask.delta=0.375")["sequences"][0]["keep"] is True
assert audit(eq, "--json", "mask.delta=0.374")["sequences"][0]["keep"] is False
near(audit(eq, "--json")["sequences"][0]["drift"], 0.375, 0)

# Case 13: advantages from rewards, by the rule in force; groups in any order give the same numbers.
r13 = [dict(row(g, None, [-1], [-1]), reward=r) for g, r in [(7, 1), (7, 0), (7, 0), (7, 1), ("x", 1), ("x", 3)]]
got = audit(r13, "--json", "advantage=grpo")["sequences"]
for s, want in zip(got, [0.865875, -0.865875, -0.865875, 0.865875]):
    near(s["advantage"], want)
assert got[5]["group"] == "x"
assert [s["advantage"] for s in audit(r13, "--json", "advantage=rloo")["sequences"]][4:] == [-2, 2]
mixed = [r13[i] for i in (0, 4, 1, 5, 2, 3)]
for rule in ("mean", "grpo", "rloo", "batch"):
    a = {(str(s["group"]), round(s["advantage"], 6)) for s in audit(r13, "--json", "advantage=" + rule)["sequences"]}
    b = audit(mixed, "--json", "advantage=" + rule)
    assert a == {(str(s["group"]), round(s["advantage"], 6)) for s in b["sequences"]}, rule
    assert b["metrics"]["groups"] == 2
assert "interleaved" in audit(mixed)

# Per-token advantages, by sequence and by token.
pt = [row(1, [-1, 2], [-1, -1], [-2, -2]), row(1, [1, -2], [-1, -1], [-2, -2])]
assert [s["keep"] for s in audit(pt, "--json", "mask.delta=0.05")["sequences"]] == [True, False]
assert [s["dropped_tokens"] for s in audit(pt, "--json", "mask.delta=0.05", "mask.sign=token")["sequences"]] == [1, 1]

# Pairs of a group; the loser's drift rejects them.
dpo = [row(1, 1, [-1], [-1], logp_reference=[-2]), row(1, -1, [-3], [-3], logp_reference=[-1])]
near(audit(dpo, "--json", "surrogate.name=dpo")["loss"], 0.554355244, 1e-9)

# Noise floor from first-step rows; the advice follows from the numbers.
noise = [row(i, (-1) ** i, [-1, -1], [-1 + d, -1], step=0) for i, d in enumerate([0.02, -0.02] * 20)]
out = audit(noise, "--json", "mask.delta=0.001")
near(out["noise_floor"]["first_step"], 3 * 0.01 * math.sqrt(40 / 39), 1e-7)
assert "noise floor" in out["advice"], out["advice"]
same = [row(i, (-1) ** i, [-1, -1], [-1, -1]) for i in range(4)]
assert "silent no-op" in audit(same)
assert "nothing to act on" in audit([row(1, 1, [-1], [-1])])
assert "A < 0" in audit(case8) and "What rule opsm would drop" in audit(case8)
assert "not log-probs" in audit([row(1, 1, [-1], [0.5])])

# Policy auto: every sequence its own threshold, 2 nats over its tokens; the report speaks of that one.
auto = [row(1, 1, [-1] * 4, [-1] * 4), row(1, -1, [-1] * 4, [-1.4] * 4), row(1, -1, [-1] * 8, [-1.4] * 8)]
out = audit(auto, "--json", "mask.policy=auto")
assert [s["delta"] for s in out["sequences"]] == [0.5, 0.5, 0.25]
assert [s["keep"] for s in out["sequences"]] == [True, True, False]
assert out["metrics"]["delta"] == 0.375 and "delta = 0.375 " in out["advice"], out["advice"]
# It is the default, as in `train`: a delta alone makes the threshold fixed, a policy that is named stays.
assert "delta 0.375 on average (auto, at full trust)" in audit(auto)
assert "delta 0.3 (fixed)" in audit(auto, "mask.delta=0.3") and "delta 0.3 (fixed)" in audit(auto, "--delta", "0.3")
assert "delta 0.05 (fixed)" in audit(auto, "mask.policy=fixed")
assert "delta 0.5 on average (auto" in audit(auto[:1])  # without negatives: at the mean length
assert "(auto, at full trust)" in audit(auto, "mask.delta=0.3", "mask.policy=auto")

# Broken files: a sentence with file and line, exit code 1; wrong words: 2.
nob = [{"group": 1, "advantage": -1, "logp_current": [-1, -1]}]
message = audit(nob, code=1)
assert "line 1" in message and "logp_behavior is missing" in message and "no-op" in message, message
audit(nob, "--json", "mask.rule=none", "surrogate.name=reinforce")
for text, part in [
    ("", "no rollouts"),
    ("{", "line 1"),
    ("[1]\n", "line 1"),
    ('{"group":1,"advantage":1}\n', "logp_current"),
    ('{"group":1,"advantage":1,"logp_current":[-1],"logp_behavior":[-1,-2]}\n', "one length"),
    ('{"group":1,"advantage":1,"logp_current":[-1],"logp_behavior":[-1],"mask":[2]}\n', "neither 0 nor 1"),
    ('{"group":1,"advantage":1,"logp_current":[-1],"logp_behavior":[-1],"mask":[1,1]}\n', "1 elements"),
    ('{"group":1,"advantage":1,"logp_current":["a"],"logp_behavior":[-1]}\n', "element 0"),
    ('{"group":1,"advantage":1,"logp_current":[-1],"logp_behavior":[-1],"tokens":[1,2]}\n', "one length"),
    ('{"group":1,"advantage":[1,2],"logp_current":[-1],"logp_behavior":[-1]}\n', "advantage"),
    ('{"group":1,"logp_current":[-1],"logp_behavior":[-1]}\n', "reward"),
    ('{"reward":1,"logp_current":[-1],"logp_behavior":[-1]}\n', "group"),
    ('\n{"group":1,"advantage":1,"logp_current":[null],"logp_behavior":[-1]}\n', "line 2"),
]:
    message = audit([], text=text, code=1)
    assert part in message and len(message.strip().splitlines()) == 1, (text, message)
# Hostile text: not JSON, not finite, deep, huge; and what is harmless.
good = json.dumps(case8[0])
for text, part in [
    (good[:-20], "cut off or is still being written"),
    (good + "\n" + good[:50] + "\n" + good, "line 2"),
    (good.replace("-1.5", "NaN"), "line 1"),
    (good.replace("-1.5", '"NaN"'), "element 0"),
    (good.replace('"group": 1', '"group": 1.5'), "neither an integer nor a string"),
    ("[" * 100000, "line 1"),
    (good.replace('"group": 1', '"group": ' + "[" * 5000 + "]" * 5000), "line 1"),
    (good.replace('"group": 1', '"group": 1, "tokens_behavior": [1]'), "tokenised again"),
    (good.replace('"group": 1', '"group": 1, "tokens": [1, 2, 3]'), "tokenised again"),
]:
    message = audit([], text=text, code=1)
    assert part in message and len(message.strip().splitlines()) == 1, (text[:200], message)
for text in [
    "\n".join(json.dumps(dict(r, group=10**30)) for r in case8),
    "\ufeff" + "\r\n".join(json.dumps(r) for r in case8),
    "\n\n" + "\n \n".join(json.dumps(r) for r in case8) + "\n\n",
    "\n".join(json.dumps(dict(r, tokens=[{}, None], tokens_behavior="x", finish=3, finished="no", drift=[], keep=1, step="0",
                               version={}, other=[[1]])) for r in case8),
]:
    near(audit([], "--json", "mask.delta=0.3", text=text)["loss"], -0.303265)

# The doctor, in the text, in the JSON, and where the objective refuses the file.
lone = [dict(row(1, None, [-1], [-1.1]), reward=1), dict(row(1, None, [-1], [-1.2]), reward=0),
        dict(row("1", None, [-1], [-1.1]), reward=1)]
out = audit(lone, "--json")
assert [f["id"] for f in out["findings"]] == ["singleton_groups", "mixed_ids"], out["findings"]
assert out["findings"][0]["count"] == 1 and out["findings"][0]["of"] == 2
assert "singleton_groups: 1 of 2 groups have a single row" in audit(lone)
assert "Doctor: nothing found" in audit(case8)
with open("nob.jsonl", "w") as f:
    f.write(json.dumps(nob[0]) + "\n")
refused = subprocess.run([OPSM, "audit", "nob.jsonl", "--json"], capture_output=True, text=True)
assert refused.returncode == 1 and refused.stderr.count("\n") == 1, refused.stderr
refused = json.loads(refused.stdout)
assert [f["id"] for f in refused["findings"]] == ["no_behavior"] and "logp_behavior" in refused["error"], refused
refused = subprocess.run([OPSM, "audit", "nob.jsonl"], capture_output=True, text=True)
assert refused.returncode == 1 and "no_behavior: 1 of 1 rows" in refused.stdout, refused.stdout

# A statistic without sign drops what became likelier; the paper's does not.
likelier = [row(1, -1, [-2] * 4, [-1.5, -1.2, -1.4, -1.3]), row(1, 1, [-2] * 4, [-1.9, -2.1, -2, -2.05])]
ids = lambda *words: [f["id"] for f in audit(likelier, "--json", "mask.delta=0.1", *words)["findings"]]
assert ids() == [] and ids("mask.estimator=abs") == ["absolute_mean"] and ids("mask.estimator=k2") == ["absolute_mean"]

dropped = audit([row(1, -1, [-1], [None]), row(1, 1, [-1], [-1])], "--json")
assert dropped["sequences"][0]["keep"] is False and dropped["metrics"]["nonfinite"] == 1
assert dropped["sequences"][0]["drift"] is None
audit(case8, "mask.detla=1", code=2)
audit(case8, "--delta", "-1", code=2)
audit(case8, "--delta", code=2)
audit(case8, "--frobnicate", code=2)
assert subprocess.run([OPSM, "audit"], capture_output=True).returncode == 2
assert subprocess.run([OPSM, "audit", "absent.jsonl"], capture_output=True).returncode == 1

# A pipe.
piped = subprocess.run([OPSM, "audit", "-", "--json", "mask.delta=0.3"], capture_output=True, text=True,
                       input="".join(json.dumps(r) + "\n" for r in case8))
assert piped.returncode == 0, piped.stderr
near(json.loads(piped.stdout)["loss"], -0.303265)
piped = subprocess.run([OPSM, "audit", "-"], capture_output=True, text=True, input="{")
assert piped.returncode == 1 and "'standard input', line 1" in piped.stderr, piped.stderr

# 90 MB of rows in less than 64 MB.
line = json.dumps(dict(row(0, None, [-1.25] * 1500, [-1.375] * 1500), reward=1)).replace('"group": 0', '"group": %d')
other = line.replace('"reward": 1', '"reward": 0')
with open("large.jsonl", "w") as f:
    for g in range(2000):
        f.write(line % g + "\n" + other % g + "\n")
before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
run = subprocess.run([OPSM, "audit", "large.jsonl"], capture_output=True, text=True)
assert run.returncode == 0 and "4000 sequences in 2000 groups" in run.stdout, run.stderr
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
sanitized = b"__asan_init" in open(OPSM, "rb").read()  # whose shadow memory counts too
assert peak < 64 or sanitized, f"{peak} MB"
print(f"peak {peak:.0f} MB for a 90 MB file")
PY
