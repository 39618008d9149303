#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Real short runs -> opsm report -> a headless Chromium without network: charts drawn, no console error, keyboard, phone,
# light and dark, and text of models that tries to be markup. Then bad input: one sentence and the right exit code.
# REPORT_KEEP=DIRECTORY keeps pages and screenshots.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$SCRATCH"
export OPSM_THREADS=1

. "$here/base.sh"
cat >run.yaml <<'YAML'
model: base/model.gguf
precision: f32
task: {name: modsum, difficulty: 4}
rollout: {prompts: 16, group: 8, max_tokens: 8, max_prompt: 8}
schedule: {minibatches: 4, staleness: 2}
objective: {mask: {rule: opsm, delta: 0.003}, surrogate: {name: reinforce}}
optim: {lr: 1.0e-3}
train: {iterations: 12, eval_every: 6, checkpoint_every: 0}
eval: {problems: 32}
YAML
for seed in 1 2; do
  "$OPSM" -q train run.yaml "output=lab/opsm/seed-$seed" "seed=$seed" >/dev/null
  "$OPSM" -q train run.yaml "output=lab/none/seed-$seed" "seed=$seed" objective.mask.rule=none >/dev/null
done

# A single run in the hands of policy auto, with two verifiers.
{ cat run.yaml; echo 'reward: [{type: exact}, {type: numeric, weight: 0.5}]'; } >single.yaml
"$OPSM" -q train single.yaml output=single objective.mask.policy=auto >/dev/null

# A laboratory with hostile names and text, a torn record and a seed that failed.
python3 - <<'PY'
import json, os, shutil
evil = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=2>"
seeds = lambda arm: [{"seed": s, "status": "done", "directory": f"{arm}/seed-{s}", "final": 0.5, "worst": 0.1} for s in (1, 2)]
failed = {"seed": 3, "status": "failed", "error": "killed by signal 9 " + evil, "directory": "opsm/seed-3"}
lab = {"version": 1, "steps_per_round": 4, "collapse": {"below": 0.5, "window": 0.333}, "verdict": "opsm holds. " + evil,
       "arms": {"opsm": {"seeds": seeds("opsm") + [failed], "final_mean": 0.5, "final_ci95": [0.4, 0.6], "collapsed": 0, "failed": 1, "done": 2},
                evil: {"seeds": seeds("none"), "final_mean": 0.25, "final_ci95": None, "collapsed": 1, "failed": 0, "done": 2}}}
json.dump(lab, open("lab/lab.json", "w"))
row = {"iteration": 0, "group": 0, "sample": 9, "prompt": evil + "\u2028\u2029", "response": evil + "\u2028 <b>bold</b> &amp;",
       "reward": 0, "advantage": -1, "drift": 0.5, "delta": 0.003, "keep": False, "reason": evil}
with open("lab/opsm/seed-1/samples.jsonl", "ab") as file:
    file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n" + b'{"prompt": "\xff\xfe"}\n')
with open("lab/none/seed-1/metrics.jsonl", "ab") as file:
    file.write(b'{"kind":"step","iteration":12,"st')
PY

time_of() { local begin; begin=$(date +%s%N); "$@"; echo "$((($(date +%s%N) - begin) / 1000000)) ms: $1 $2"; }
time_of "$OPSM" report lab -o lab.html
"$OPSM" report lab/opsm/seed-1 -o one.html
"$OPSM" report single -o single.html
# Records of earlier versions lack what later ones have.
mkdir old
python3 - <<'PY'
import json
new = {"lr", "trust", "guard", "length_mean", "finished", "rewards", "accuracy_low", "accuracy_high", "problems", "samples", "seconds",
       "tokens", "tokens_forward"}
with open("old/metrics.jsonl", "w") as out:
    for line in open("single/metrics.jsonl"):
        out.write(json.dumps({k: v for k, v in json.loads(line).items() if k not in new}) + "\n")
PY
"$OPSM" report old -o old.html
"$OPSM" report lab/opsm/seed-1 lab/none/seed-1 lab/opsm/seed-2 -o runs.html
"$OPSM" report base -o sft.html

# ---- bad input ----
refused() { # CODE WORDS ARGUMENTS...: one line on stderr (two with the synopsis) that has the words
  local code=0 wanted=$1 words=$2
  shift 2
  "$OPSM" report "$@" >out.txt 2>err.txt || code=$?
  [ "$code" = "$wanted" ] || { echo "exit code $code, expected $wanted: report $*"; cat err.txt; exit 1; }
  grep -q -- "$words" err.txt || { echo "expected '$words', found: $(cat err.txt)"; exit 1; }
  [ "$(wc -l <err.txt)" -le 2 ] && [ ! -s out.txt ] && [ ! -e bad.html ]
}
mkdir -p empty void damaged
: >void/metrics.jsonl
echo '{"kind":"eval","iter' >damaged/metrics.jsonl
cp -r damaged damaged-lab
echo '{"arms": {"a": ' >damaged-lab/lab.json
refused 2 "which run"
refused 2 "-o FILE.html is missing" lab
refused 2 "needs the name of a file" lab -o
refused 2 "needs the name of a file" lab -o ""
refused 2 "unknown option" lab --out bad.html
refused 1 "no directory" nowhere -o bad.html
refused 1 "neither a run" empty -o bad.html
refused 1 "no optimiser step" void -o bad.html
refused 1 "no optimiser step" damaged -o bad.html
refused 1 "lab.json', line" damaged-lab -o bad.html
refused 2 "the same directory" lab/opsm/seed-1 lab/none/seed-1 ./lab/opsm/../opsm/seed-1/ -o bad.html
refused 2 "no regular file" lab -o empty
refused 2 "no regular file" lab -o /dev/null
refused 1 "/nowhere/" lab -o /nowhere/bad.html
echo '{"arms": {}}' >damaged-lab/lab.json
refused 1 "1 to 256 arms" damaged-lab -o bad.html
cp lab.html before.html
refused 1 "no optimiser step" void -o lab.html
cmp lab.html before.html
# Steps, but no complete iteration: drawn, with a note.
mkdir early
rows '"\n".join(json.dumps(r) for r in [r for r in rows if r["kind"] == "step"][:3])' \
  lab/opsm/seed-1/metrics.jsonl >early/metrics.jsonl
"$OPSM" report early -o early.html >/dev/null
grep -q "no iteration is complete" early.html

# ---- the page in a browser ----
chromium=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ -z "$chromium" ]; then
  echo "no Chromium here ('make deps' installs it): the pages were written, not opened"
  exit 77
fi
python3 "$here/check_report.py" "$chromium" "$SCRATCH"
if [ -n "${REPORT_KEEP:-}" ]; then cp ./*.html ./*.png "$REPORT_KEEP"; fi
