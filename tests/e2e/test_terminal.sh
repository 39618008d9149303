#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Whoever waits at a terminal sees what is going on; files and pipes, and -q, see nothing of it.
set -euo pipefail
model=$PWD/models/tiny.gguf
here=$PWD/tests/e2e
cd "$SCRATCH"
fail() {
  echo "$1"
  exit 1
}
# WORDS of the line, then the command; the input of score comes from `text`.
sees() {
  local words=$1
  shift
  python3 "$here/terminal.py" "$OPSM" "$@" <text >shown || fail "opsm $*: $(cat shown)"
  grep -qaE "$words" shown || fail "opsm $*: nothing of '$words' in $(cat -v shown | tail -c 600)"
  [ "$(tail -c 4 shown | tr -d '\r')" = $'\033[K' ] || fail "opsm $*: the line stays: $(cat -v shown | tail -c 200)"
  "$OPSM" "$@" <text 2>said >out
  ! grep -qa $'\r' said || fail "opsm $*: progress in a file: $(cat -v said | tail -c 200)"
  ! grep -qa $'\r' out || fail "opsm $*: progress in the results"
  python3 "$here/terminal.py" "$OPSM" -q "$@" <text >shown
  [ ! -s shown ] || fail "opsm -q $*: $(cat -v shown)"
}
seq 20000 >text
sees '\[generating [0-9]+%\]' generate "$model" -p 123456789012345678901234= -n 6000 --jsonl --in-flight 256
sees '\[eval [0-9]+%\]' eval "$model" --task modsum:24 -n 3000 --temperature 1 --max-tokens 28
sees '\[scoring [0-9]+%\]' score "$model" --context 64
sees '\[measuring [0-9]+%\]' bench generate "$model" --seconds 1
awk 'BEGIN {
  for (t = 0; t < 100; t++) { b = b (t ? "," : "") "-1.25"; c = c (t ? "," : "") "-1.5" }
  for (i = 0; i < 24000; i++) printf "{\"group\":%d,\"reward\":%d,\"logp_behavior\":[%s],\"logp_current\":[%s]}\n", i / 8, i % 2, b, c
}' >rollouts.jsonl
sees '\[reading [0-9]+%\]' audit rollouts.jsonl

# Runs: the status line of train names the phase, sft says how far it is.
cat >run.yaml <<YAML
model: $model
output: run
task: {name: modsum, difficulty: 24}
rollout: {max_tokens: 28, max_prompt: 32, prompts: 200}
schedule: {minibatches: 4}
train: {iterations: 2, eval_every: 2}
eval: {problems: 64}
sft: {steps: 150, batch: 16}
YAML
python3 "$here/terminal.py" "$OPSM" train run.yaml </dev/null >shown
for phase in 'rollout [0-9]*%' 'train [0-9]*%' 'eval [0-9]*%'; do
  grep -qa "\[$phase\]" shown || fail "train: no $phase in $(cat -v shown | tail -c 900)"
done
NO_COLOR=1 python3 "$here/terminal.py" "$OPSM" train run.yaml output=plain </dev/null >shown
! grep -qa $'\033\[1m' shown || fail "colours in spite of NO_COLOR"
python3 "$here/terminal.py" "$OPSM" sft run.yaml output=warm </dev/null >shown
grep -qa '\[sft [0-9]*%\]' shown || fail "sft: $(cat -v shown | tail -c 600)"
