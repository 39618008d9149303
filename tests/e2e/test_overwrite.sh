#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Nothing overwrites what it did not write: every place where the program writes a file, with somebody's work there.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$SCRATCH"
export OPSM_THREADS=1

. "$here/base.sh"

cat >run.yaml <<'YAML'
model: base/model.gguf
precision: f32
task: {name: modsum, difficulty: 4}
rollout: {prompts: 8, group: 8, max_tokens: 8, max_prompt: 8}
schedule: {minibatches: 4}
train: {iterations: 2, eval_every: 0, checkpoint_every: 1}
YAML

# kept DIRECTORY WORDS COMMAND...: refused with a sentence that has the words, and not a byte of the directory changes.
state() { find "$1" -printf '%P %y %s %T@\n' | sort; find "$1" -type f -exec sha256sum {} + | sort; }
kept() {
  local directory=$1 words=$2 code=0 before
  shift 2
  before=$(state "$directory")
  "$OPSM" -q "$@" >"$SCRATCH/out" 2>"$SCRATCH/err" </dev/null || code=$?
  if [ "$code" != 2 ] || ! grep -q -- "$words" "$SCRATCH/err"; then
    echo "opsm $*: exit code $code, expected 2 and a sentence with '$words':"
    cat "$SCRATCH/err"
    exit 1
  fi
  [ "$(state "$directory")" = "$before" ] || { echo "opsm $* changed $directory"; exit 1; }
}

# ---- a directory with somebody's files
mkdir own
cp base/model.gguf own/start.gguf
kept own "model to start from" train run.yaml model=own/start.gguf output=own
(cd own && kept . "model to start from" train ../run.yaml model=start.gguf output=.)
ln -s own link
kept own "model to start from" train run.yaml model=own/start.gguf output=link
mv own/start.gguf own/model.gguf
kept own "own/model.gguf" train run.yaml output=own
kept own "own/model.gguf" sft run.yaml output=own model=base/model.gguf
ln own/model.gguf hard.gguf
kept own "hard.gguf. is read by this run" train run.yaml model=hard.gguf output=own
rm own/model.gguf
for name in metrics.jsonl samples.jsonl config.yaml; do
  echo "# mine" >own/$name
  kept own "own/$name" train run.yaml output=own
  rm own/$name
done
for name in tensorboard rollouts checkpoint-500 checkpoint-500.tmp checkpoint-8.damaged; do
  mkdir own/$name
  echo mine >own/$name/file
  kept own "own/$name" train run.yaml output=own
  rm -r own/$name
done
cp run.yaml own/config.yaml
kept own "own/config.yaml" train own/config.yaml output=own
rm own/config.yaml

# Other names are no reason, and stay.
echo mine >own/notes.txt
echo mine >own/model.gguf.tmp.bak
mkdir own/checkpoint-best.tmp
"$OPSM" -q train run.yaml output=own >/dev/null
[ "$(cat own/notes.txt own/model.gguf.tmp.bak)" = "mine
mine" ]
[ -d own/checkpoint-best.tmp ]

# ---- a run's own directory
"$OPSM" -q train run.yaml output=run >/dev/null
"$OPSM" -q train run/config.yaml train.iterations=3 >/dev/null
kept run "model to start from" train run.yaml model=run/model.gguf output=run
kept run "a checkpoint of another run" train run/config.yaml output=run/checkpoint-12 train.iterations=3
kept run "optim.lr" train run.yaml output=run optim.lr=0.5
kept run "opsm train" sft run/config.yaml
echo '{"prompt": "1+1=", "answer": "2"}' >rows.jsonl
ln -f rows.jsonl run/samples.jsonl
kept run "read by this run" train run.yaml output=run task.name=null task.difficulty=0 data.file=rows.jsonl
kept run "read by this run" train run.yaml output=run task.name=null task.difficulty=0 data.file=run/metrics.jsonl
mkdir result
cp run/model.gguf run/config.yaml result
kept result "no checkpoint" train run/config.yaml output=result

# ---- reports
for target in run/model.gguf run/metrics.jsonl run/config.yaml rows.jsonl; do
  kept run "is no report" report run -o $target
done
"$OPSM" report run -o page.html >/dev/null
"$OPSM" report run -o page.html >/dev/null
kept run "no regular file" report run -o run

# ---- laboratories
cat >lab.yaml <<'YAML'
model: base/model.gguf
output: lab
precision: f32
task: {name: modsum, difficulty: 4}
rollout: {prompts: 8, group: 8, max_tokens: 8, max_prompt: 8}
schedule: {minibatches: 4}
train: {iterations: 2, eval_every: 0}
lab: {seeds: 1, arms: {plain: {}}}
YAML
mkdir lab
echo '{"my": "notes"}' >lab/lab.json
kept lab "lab/lab.json" lab lab.yaml
rm lab/lab.json
echo '<title>my page</title>' >lab/report.html
kept lab "lab/report.html" lab lab.yaml
rm lab/report.html
mkdir -p lab/plain/seed-1
echo mine >lab/plain/seed-1/metrics.jsonl
kept lab/plain "metrics.jsonl" lab lab.yaml
rm -r lab/plain
"$OPSM" -q lab lab.yaml >/dev/null
sed 's/plain/other/' lab.yaml >other.yaml
kept lab "another laboratory" lab other.yaml
kept lab "optim.lr" lab lab.yaml optim.lr=0.5
"$OPSM" -q lab lab.yaml >/dev/null

# Runs that are done are not set beside those of another model or other rows under the same name.
for ((i = 0; i < 60; i++)); do echo "{\"prompt\": \"$((1000 + i))=\", \"answer\": \"1\"}"; done >rows.jsonl
of_rows=(lab.yaml output=rows task.name=null task.difficulty=0 data.file=rows.jsonl)
"$OPSM" -q lab "${of_rows[@]}" >/dev/null
sed -i '17s/"1"/"2"/' rows.jsonl
kept rows "'rows.jsonl' is not what the finished runs" lab "${of_rows[@]}"
sed -i '17s/"2"/"1"/' rows.jsonl
"$OPSM" -q lab "${of_rows[@]}" >/dev/null
cp run/model.gguf base/model.gguf
kept lab "'base/model.gguf' is not what the finished runs" lab lab.yaml
