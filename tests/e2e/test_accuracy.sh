#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Accuracy is the share that one verifier judges 1, whatever the others add or take; every verifier's mean is on record.
set -euo pipefail
fail() {
  echo "$1"
  exit 1
}
cd "$(dirname "$0")"
here=$PWD
cd "$SCRATCH"
. "$here/base.sh"
cat >run.yaml <<'YAML'
model: base/model.gguf
precision: f32
task: {name: modsum, difficulty: 4}
rollout: {prompts: 8, group: 4, max_tokens: 8, max_prompt: 8}
reward:
  - {type: exact}
  - {type: format, name: impossible, prefix: "x", weight: 0.5}
  - {type: format, weight: -0.25}
schedule: {minibatches: 2}
train: {iterations: 2, eval_every: 1}
eval: {problems: 64}
YAML
"$OPSM" train run.yaml output=first >out 2>err
python3 - first/metrics.jsonl <<'PYTHON'
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
evals = [r for r in rows if r["kind"] == "eval"]
iterations = [r for r in rows if r["kind"] == "iteration"]
assert len(evals) == 3 and len(iterations) == 2
for r in evals + iterations:
    s = r["rewards"]
    assert list(s) == ["exact", "impossible", "format"] and s["impossible"] == 0, s
    assert abs(r["reward_mean"] - (s["exact"] - 0.25 * s["format"])) < 1e-5, r
for r in evals:
    # no response gets every part of the reward, yet some are right
    assert 0 < r["accuracy"] == r["rewards"]["exact"] <= 1, r
for r in iterations:
    assert abs(r["truncated"] + r["finished"] - 1) < 1e-9
PYTHON
grep -qE 'reward -?[0-9.]+ \(exact [0-9.]+, impossible 0.000, format [0-9.]+\)' err || fail "progress: $(cat err)"
"$OPSM" -q train run.yaml output=named eval.verifier=impossible train.iterations=1 >/dev/null 2>&1
rows 'any(r["kind"] == "eval" and 0 <= r["accuracy"] < 1 for r in rows)' named/metrics.jsonl || fail "eval.verifier is not in force"
if "$OPSM" train run.yaml output=wrong eval.verifier=exakt 2>err; then fail "an unknown eval.verifier"; fi
grep -q "eval.verifier is 'exakt', but the verifiers of the reward are: exact, impossible, format" err || fail "$(cat err)"
"$OPSM" -q eval first --json >eval.json
python3 -c 'import json; e = json.load(open("eval.json")); assert e["accuracy"] == e["rewards"]["exact"] > 0, e'
"$OPSM" -q eval first >eval.txt
grep -qE '^reward +-?[0-9.]+  \(exact [0-9.]+, impossible 0.0000, format [0-9.]+\)' eval.txt || fail "$(cat eval.txt)"

# Responses that are cut off: judged as they are, worth nothing, or judged and left out of the loss.
for how in score zero mask; do
  "$OPSM" -q train run.yaml output=cut-$how rollout.truncated=$how rollout.max_tokens=2 rollout.save=true \
    'reward=[{type: format, unfinished_ok: true}, {type: exact, unfinished_ok: true}]' >/dev/null 2>err || fail "$how: $(cat err)"
done
python3 - <<'PYTHON'
import json
def rows(run, name): return [json.loads(line) for line in open(f"cut-{run}/{name}")]
for how, reward in ("score", 1.0), ("zero", 0.0), ("mask", 1.0):
    first = [r for r in rows(how, "metrics.jsonl") if r["kind"] == "iteration"][0]
    assert first["truncated"] == 1 and first["rewards"]["format"] == 1, first
    assert abs(first["reward_mean"] - reward) < 1e-6, (how, first)
    masks = [r["mask"] for r in rows(how, "rollouts/000000.jsonl")]
    assert any(any(m) for m in masks) == (how != "mask"), how
PYTHON
echo 'rollout: {truncated: zero}
reward: [{type: contains}]' >zero.yaml
for finished in 'true 1.0' 'false 0.0'; do
  echo "{\"response\": \"a b\", \"answer\": \"b\", \"finished\": ${finished% *}}" | "$OPSM" -q reward zero.yaml |
    rows "row['reward'] == ${finished#* } and row['rewards'] == {'contains': 1}" || fail "opsm reward, rollout.truncated zero: $finished"
done
