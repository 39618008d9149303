#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The laboratory as a program: results, an arm that fails, interrupt and kill and going on, refusals.
set -euo pipefail
cd "$SCRATCH"

cat >base.yaml <<'YAML'
precision: f32
task: {name: modsum, difficulty: 4}
rollout: {prompts: 8, group: 4, max_tokens: 8, max_prompt: 8}
schedule: {minibatches: 4, staleness: 2}
optim: {lr: 1.0e-3}
train: {iterations: 9, eval_every: 0, checkpoint_every: 1}
YAML
cat >lab.yaml <<'YAML'
output: straight
lab:
  base: base.yaml
  seeds: [1, 2]
  jobs: 2
  reference: fresh
  start:
    output: start
    optim: {lr: 3.0e-3, warmup: 20}
    sft: {steps: 150, batch: 32, init: {dim: 32, layers: 2, heads: 2, kv_heads: 2, ffn: 64, context: 32}}
  arms:
    fresh: {rollout: {prompts: 2}, schedule: {minibatches: 1, staleness: 0}}
    none: {objective: {mask: {rule: none}}}
    broken: {model: missing.gguf}
YAML

expect() { # EXIT_CODE PATTERN_ON_STDERR COMMAND...
  local wanted=$1 pattern=$2 code=0
  shift 2
  "$@" >out 2>err || code=$?
  if [ "$code" != "$wanted" ] || ! grep -q -- "$pattern" err; then
    echo "'$*' gave $code, expected $wanted with '$pattern':"
    cat out err
    exit 1
  fi
}

# What does not depend on the clock, the name of the directory, or when a run was done.
same_results() { # LAB
  python3 - straight "$1" <<'PY'
import json, sys
def results(lab):
    data = json.load(open(f"{lab}/lab.json"))
    del data["output"]
    for arm in data["arms"].values():
        for seed in arm["seeds"]:
            del seed["seconds"]
    return data
a, b = map(results, sys.argv[1:])
assert a == b, (a, b)
PY
}

# A failing arm is a result: the exit code is 0, its sentence stands in lab.json.
expect 0 "run 6/6" "$OPSM" lab lab.yaml
grep -q "^arm  *final  *95% interval" out
grep -q "Failed: broken in 2 of 2 runs" out
[ "$(tail -1 out)" = straight/report.html ] && grep -q "</html>" straight/report.html
python3 - <<'PY'
import json
lab = json.load(open("straight/lab.json"))
assert lab["version"] == 1 and lab["rounds"] == 9 and lab["steps_per_round"] == 4 and lab["final_rounds"] == 3
fresh, none, broken = (lab["arms"][name] for name in ("fresh", "none", "broken"))
assert fresh["keys"] == {"rollout.prompts": 2, "schedule.minibatches": 1, "schedule.staleness": 0,
                         "train.iterations": 36}, fresh["keys"]
assert none["keys"] == {"objective.mask.rule": "none"}, none["keys"]
for arm in fresh, none:
    for seed in arm["seeds"]:
        assert seed["status"] == "done" and seed["error"] is None and seed["steps"] == 36
        assert len(seed["curve"]) == 9 and all(0 <= r <= 1 for r in seed["curve"])
        assert abs(seed["final"] - sum(seed["curve"][-3:]) / 3) < 1e-12 and seed["best"] == max(seed["curve"])
        assert seed["worst"] == min(seed["curve"][3:])
    assert len(arm["final_ci95"]) == 2
assert none["seeds"][0]["dropped_negatives"] == 0 and none["seeds"][0]["drift_negative"] != 0
assert abs(fresh["seeds"][0]["drift_negative"]) < 1e-6  # fresh rollouts have not drifted
assert broken["failed"] == 2 and broken["final_mean"] is None and broken["final_ci95"] is None
assert all(s["status"] == "failed" and "missing.gguf" in s["error"] for s in broken["seeds"]), broken
# The curve of an arm with smaller iterations is their mean over a round.
rows = [json.loads(line) for line in open("straight/fresh/seed-1/metrics.jsonl")]
rewards = [row["reward_mean"] for row in rows if row["kind"] == "iteration"]
assert len(rewards) == 36 and abs(sum(rewards[4:8]) / 4 - fresh["seeds"][0]["curve"][1]) < 1e-12
PY

# What is done is not done again.
before=$(stat -c %Y.%i straight/none/seed-1/metrics.jsonl)
expect 0 "4 of 6 runs were done before" "$OPSM" lab lab.yaml
[ "$before" = "$(stat -c %Y.%i straight/none/seed-1/metrics.jsonl)" ]

# Another configuration of a finished run is refused before anything starts, with the key.
expect 2 "optim.lr is 0.001 there and 0.002 now" "$OPSM" lab lab.yaml optim.lr=2e-3
sed 's/lr: 3.0e-3/lr: 2.0e-3/' lab.yaml >changed.yaml
expect 2 "start.*optim.lr is 0.003 there and 0.002 now" "$OPSM" lab changed.yaml output=other
sed 's/steps: 150/steps: 151/' lab.yaml >changed.yaml
expect 2 "fewer sft.steps" "$OPSM" lab changed.yaml output=other
[ ! -e other/none ]
sed 's/seeds:/sedes:/' lab.yaml >misspelt.yaml
expect 2 "misspelt.yaml:4: unknown key 'lab.sedes'; did you mean 'lab.seeds'?" "$OPSM" lab misspelt.yaml
expect 2 "lab.*runs it" "$OPSM" train lab.yaml

# No run got to its end: exit code 1.
grep -v "fresh\|none:\|reference" lab.yaml >hopeless.yaml
expect 1 "no run got to its end" "$OPSM" lab hopeless.yaml output=hopeless
# What never began may be mended.
sed -i 's/missing.gguf/start\/model.gguf/' hopeless.yaml
expect 0 "run 2/2" "$OPSM" lab hopeless.yaml output=hopeless

# Starts a laboratory in the background and waits until its second arm has learnt something.
children() { pgrep -f "train $1/" || true; } # OUTPUT or OUTPUT/ARM
begin() { # OUTPUT [WORD...]
  "$OPSM" lab lab.yaml output="$1" "${@:2}" >/dev/null 2>log &
  pid=$!
  for _ in $(seq 3000); do [ -s "$1/none/seed-1/metrics.jsonl" ] && return; sleep 0.02; done
  echo "nothing was learnt in $1"
  exit 1
}
stop() {
  kill -TERM "$pid"
  code=0
  wait "$pid" || code=$?
}

# A second laboratory in the same place is refused. kill -9 of a child: a failed run, the others go on. SIGTERM: runs save
# long before their time, 130, no child is left.
begin long train.iterations=10000
expect 2 "another process is at work in the laboratory 'long'" "$OPSM" lab lab.yaml output=long train.iterations=10000
kill -9 "$(children long/none | head -1)"
for _ in $(seq 300); do grep -q "none, seed 1: failed: killed by signal 9" log && break; sleep 0.1; done
grep -q "none, seed 1: failed: killed by signal 9" log
stop
[ "$code" = 130 ]
[ -z "$(children long)" ]
rows 'any(s["status"] == "waiting" for a in row["arms"].values() for s in a["seeds"])' long/lab.json
ls -d long/fresh/seed-1/checkpoint-* >/dev/null

# The same command goes on, and the results are those of a straight run.
begin stopped
stop
[ "$code" = 130 ] || [ "$code" = 0 ] # 0: the signal came too late
"$OPSM" -q lab lab.yaml output=stopped >/dev/null
same_results stopped

# A child that was killed, where it was not done already, is mended by the same command.
begin shot
children shot | head -1 | xargs -r kill -9 2>/dev/null || true
wait "$pid"
"$OPSM" -q lab lab.yaml output=shot >/dev/null
same_results shot

# kill -9 of the laboratory: its children end by themselves, long before their time; the same command goes on.
kill_laboratory() { # OUTPUT [WORD...]
  begin "$@"
  kill -9 "$pid"
  wait "$pid" 2>/dev/null || true
  for _ in $(seq 300); do [ -z "$(children "$1")" ] && return; sleep 0.1; done
  echo "children outlive the laboratory in $1"
  exit 1
}
# Only Linux tells a child that its parent has ended.
[[ $OPSM == *_posix ]] || kill_laboratory longer train.iterations=10000
kill_laboratory dead
"$OPSM" -q lab lab.yaml output=dead >/dev/null
same_results dead

# A promise that is not kept is a failure.
(cat lab.yaml; echo "  expect: {none: {held_above: 1}}") >promise.yaml
expect 1 "arm none was expected to end above 1" "$OPSM" lab promise.yaml
