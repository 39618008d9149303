#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The command line as a whole: readers that go away, disks that are full, words that are no options.
set -euo pipefail
model=$PWD/models/tiny.gguf
base=$PWD/tests/e2e/base.sh
cd "$SCRATCH"
fail() {
  echo "$1"
  exit 1
}

# ---- a reader that has gone: silence, and what runs stand for goes on ----
cat >closed.py <<'PY'
import os, subprocess, sys
which, ignored, *command = sys.argv[1:]
read, write = os.pipe()
os.close(read)
pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, which: write}
# restore_signals: as a shell starts it; not: SIGPIPE ignored, as Python has it itself
done = subprocess.run(command, stdin=open("/dev/null"), restore_signals=ignored != "ignored", **pipes)
sys.stdout.buffer.write((done.stderr if which == "stdout" else done.stdout) or b"")
sys.exit(141 if done.returncode == -13 else done.returncode)
PY
gone() {
  local codes=$1 found=0
  shift
  python3 closed.py "$@" >said || found=$?
  [[ " $codes " == *" $found "* ]] || fail "$*: exit code $found, expected one of $codes: $(cat said)"
}
for ignored in no ignored; do
  for words in "help config" "help" "info $model --tensors" "generate $model -p 12= -n 300 --jsonl --max-tokens 4" \
    "generate $model -p 12=" "eval $model --task modsum -n 8 --max-tokens 8 --json" "help --man config"; do
    gone "0 141" stdout $ignored "$OPSM" $words
    [ ! -s said ] || fail "$words: said $(cat said)"
  done
done
printf '{"group":%d,"reward":%d,"logp_behavior":[-1,-2],"logp_current":[-1.5,-2]}\n' 1 0 1 1 2 0 2 1 >rollouts.jsonl
gone "0 141" stdout no "$OPSM" audit rollouts.jsonl --json --gradient
[ ! -s said ] || fail "audit: said $(cat said)"
seq 3000 >text
{ "$OPSM" score "$model" <text 2>said && echo 0 >code || echo $? >code; } | head -1 >first
[[ $(cat code) = 0 || $(cat code) = 141 ]] && [ ! -s said ] || fail "score | head: $(cat code) $(cat said)"

. "$base"
cat >run.yaml <<'YAML'
model: base/model.gguf
output: run
precision: f32
task: {name: modsum, difficulty: 4}
rollout: {max_tokens: 8, max_prompt: 8, prompts: 8}
schedule: {minibatches: 2}
train: {iterations: 3, eval_every: 0}
YAML
"$OPSM" -q train run.yaml >/dev/null
for which in stdout stderr; do
  gone 0 $which no "$OPSM" train run.yaml output=$which
  cmp run/model.gguf $which/model.gguf
done
gone 0 stdout no "$OPSM" report run -o page.html
[ -s page.html ]

# ---- a full disk: a sentence and exit code 1 ----
full() {
  local found=0
  "$OPSM" "$@" >/dev/full 2>said || found=$?
  [ $found = 1 ] && [ "$(wc -l <said)" = 1 ] && grep -q "cannot write the output: No space" said ||
    fail "$* on a full disk: exit code $found, $(cat said)"
}
full help config
full info "$model"
full generate "$model" -p 12=
full generate "$model" -p 12= -n 300 --jsonl --max-tokens 4
full audit rollouts.jsonl
echo 12= | { "$OPSM" score "$model" >/dev/full 2>said && fail "score on a full disk"; true; }
grep -q "No space" said

# ---- words ----
expect() {
  local code=$1 sentence=$2 found=0
  shift 2
  "$OPSM" "$@" >out 2>said </dev/null || found=$?
  [ $found = "$code" ] || fail "opsm $*: exit code $found, expected $code: $(cat said)"
  grep -q -e "$sentence" said out || fail "opsm $*: expected '$sentence', found $(cat said)"
}
for words in --version version; do expect 0 '^opsm [0-9]' $words; done
for words in --help -h help; do expect 0 '^usage: opsm' $words; done
for command in $("$OPSM" help | sed -n '/^Commands/,/^$/s/^  \([a-z]*\) .*/\1/p'); do
  "$OPSM" help $command >want
  for words in "$command --help" "$command -h" "$command x y --help"; do
    "$OPSM" $words >got || fail "opsm $words: exit code $?"
    cmp want got
  done
done
expect 2 "did you mean 'train'" tran
expect 2 "did you mean '--temperature'" generate "$model" -p x --temprature 1
expect 2 "did you mean '--output'" report run --outptu x.html
expect 2 "key.path=value" train run.yaml --resume
expect 2 "key.path=value" lab run.yaml --jobs
for number in 5x -1 0 1e3 99999999999999999999 "" 0x10 nan; do
  expect 2 "-n: expected a whole number from 1 to" generate "$model" -p x -n "$number"
done
for number in hot nan inf -0.1 1e400 "" 1,5; do
  expect 2 "--temperature: expected a number from 0 to 100" generate "$model" -p x --temperature "$number"
done
expect 2 "-p needs a value" generate "$model" -p
expect 2 "takes no value" generate "$model" -p x --jsonl=yes
expect 2 "one word too many" generate "$model" other -p x
"$OPSM" generate "$model" -p 12= --seed 4 >want
"$OPSM" generate -p 12= --seed=4 -- "$model" >got
cmp want got
cp "$model" ./-model.gguf
"$OPSM" generate -p 12= --seed=4 -- -model.gguf >got
cmp want got
cp run.yaml ./-run.yaml
"$OPSM" -q train -- -run.yaml output=dashed >/dev/null
cmp run/model.gguf dashed/model.gguf
