#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What the outside does to a run and to its inputs: devices and pipes without a writer, files that are taken away, full
# disks. A sentence and exit code 1, in time, and what was good stays good.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$SCRATCH"
export OPSM_THREADS=1

. "$here/base.sh"

# refused CODE WORDS COMMAND...: ends in time with the code and a sentence that has the words.
refused() {
  local expected=$1 words=$2 code=0
  shift 2
  timeout 20 "$OPSM" "$@" >out 2>err </dev/null || code=$?
  if [ "$code" != "$expected" ] || ! grep -q -- "$words" err || [ "$(grep -c '^opsm: ' err)" != 1 ]; then
    echo "opsm $*: exit code $code, expected $expected and a sentence with '$words':"
    cat err
    exit 1
  fi
}

# ---- inputs that are no files
mkfifo pipe
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
for input in /dev/zero socket .; do
  for command in train sft lab audit; do refused 1 "$input" $command $input; done
done
for input in /dev/zero socket; do
  refused 1 "$input" info $input
  refused 1 "$input" generate $input -p x
done
refused 1 "nobody writes" train pipe
refused 1 "nobody writes" audit pipe
refused 1 "is a pipe\|but a pipe" info pipe
refused 1 "is a device" audit -
cat >data.yaml <<'YAML'
model: base/model.gguf
output: data
rollout: {max_tokens: 8, max_prompt: 8}
YAML
refused 1 "nobody writes" train data.yaml data.file=pipe data.prompt=p data.answer=a
refused 1 "is a device" train data.yaml data.file=/dev/zero data.prompt=p data.answer=a

# A pipe that is read twice leaves no file behind, even when it is killed.
mkdir tmp
(echo '{"prompt":'; sleep 5) | TMPDIR=$PWD/tmp "$OPSM" audit - >/dev/null 2>&1 &
sleep 0.5
[ -z "$(ls tmp)" ]
kill %1
wait 2>/dev/null || true

# Nor does it fill the disk that others write to, too: half of what is free is the most.
if unshare -rm mount -t tmpfs -o size=1m none tmp 2>/dev/null; then
  unshare -rm bash -c 'mount -t tmpfs -o size=1m none tmp; yes "{}" | head -c 3000000 | TMPDIR=tmp "$0" audit -' "$OPSM" 2>err &&
    exit 1
  grep -q "gives more than 0.52 MB, .* half of what is free in TMPDIR" err || { cat err; exit 1; }
fi

# ---- a run that loses its files
cat >run.yaml <<'YAML'
model: base/model.gguf
precision: f32
task: {name: modsum, difficulty: 4}
rollout: {prompts: 8, group: 8, max_tokens: 8, max_prompt: 8, save: true}
schedule: {minibatches: 4}
train: {iterations: 100000, eval_every: 0, checkpoint_every: 1}
YAML
loses() { # NAME OF WHAT IS LOST
  rm -rf lost
  "$OPSM" -q train run.yaml output=lost >/dev/null 2>err &
  local pid=$! code=0
  until [ -n "$(ls -d lost/checkpoint-?* 2>/dev/null | grep -v tmp)" ]; do sleep 0.05; done
  until rm -rf "$1" 2>/dev/null; do :; done # a checkpoint may be written into it meanwhile
  for ((i = 0; i < 100; i++)); do
    kill -0 $pid 2>/dev/null || break
    sleep 0.1
  done
  kill -9 $pid 2>/dev/null && { echo "goes on without $1"; exit 1; }
  wait $pid || code=$?
  [ "$code" = 1 ] && grep -q "^opsm: .*lost" err || { echo "exit code $code without $1:"; cat err; exit 1; }
  echo "$1: $(cat err)"
}
loses lost
[ ! -e lost ]
loses lost/metrics.jsonl
loses lost/samples.jsonl
loses lost/lock
loses lost/config.yaml
loses lost/tensorboard
ls lost/checkpoint-*/state.bin >/dev/null

# A laboratory, too: it does not bring its directory back for the next run.
cat run.yaml - >lab.yaml <<'YAML'
output: lab
lab: {seeds: 2, jobs: 1, arms: {a: {}, b: {optim.lr: 1.0e-4}}}
YAML
"$OPSM" -q lab lab.yaml >/dev/null 2>err &
pid=$!
until [ -n "$(ls -d lab/a/seed-1/checkpoint-?* 2>/dev/null | grep -v tmp)" ]; do sleep 0.05; done
until rm -rf lab 2>/dev/null; do :; done
code=0
wait $pid || code=$?
[ "$code" = 1 ] && grep -q "^opsm: .*lab/" err || { echo "exit code $code without the laboratory's directory:"; cat err; exit 1; }
[ ! -e lab ]

# ---- a limit on file sizes, which would end the program by a signal
code=0
(ulimit -f 4; "$OPSM" -q train run.yaml output=small >/dev/null 2>err) || code=$?
[ "$code" = 1 ]
grep -q "ulimit -f" err
code=0
(ulimit -f 1; yes '{"a":1}' | head -c 100000 | "$OPSM" audit - >/dev/null 2>err) || code=$?
[ "$code" = 1 ]
grep -q "ulimit -f" err

# ---- parts of one checkpoint in another
cat >parts.yaml <<'YAML'
model: base/model.gguf
precision: f32
task: {name: modsum, difficulty: 4}
rollout: {prompts: 8, group: 8, max_tokens: 8, max_prompt: 8}
schedule: {minibatches: 4, staleness: 2}
train: {iterations: 4, eval_every: 0, checkpoint_every: 1}
YAML
"$OPSM" -q train parts.yaml output=parts >/dev/null
cp -a parts good
"$OPSM" -q train parts.yaml output=good train.iterations=5 >/dev/null
for part in state.bin queue.bin; do
  cp -a parts mixed
  cp mixed/checkpoint-12/$part mixed/checkpoint-16
  "$OPSM" -q train parts.yaml output=mixed train.iterations=5 >/dev/null 2>err
  grep -q "checkpoint-16 is not usable, .* its $part is that of" err || { cat err; exit 1; }
  cmp mixed/model.gguf good/model.gguf
  rm -r mixed
done

# ---- a model that is cut short under a run that still wants its tokenizer: the run goes on from its last checkpoint
cp base/model.gguf cut.gguf
"$OPSM" -q train parts.yaml output=cut model=cut.gguf train.iterations=2000 train.checkpoint_every=100 >/dev/null 2>err &
pid=$!
until ls -d cut/checkpoint-?*[0-9] >/dev/null 2>&1; do sleep 0.05; done
: >cut.gguf
code=0
wait $pid || code=$?
[ "$code" = 1 ] && grep -q "^opsm: a file that is being read was cut short" err || { echo "exit code $code"; cat err; exit 1; }
cp base/model.gguf cut.gguf
"$OPSM" -q train parts.yaml output=cut model=cut.gguf train.iterations=2000 train.checkpoint_every=100 >/dev/null
ls cut | grep -q tmp && exit 1

# Written over, it would give the new weights another tokenizer.
python3 "$here/retype.py" base/model.gguf other.gguf 4 5
"$OPSM" -q train parts.yaml output=over model=cut.gguf train.iterations=2000 train.checkpoint_every=100 >/dev/null 2>err &
pid=$!
until ls -d over/checkpoint-?*[0-9] >/dev/null 2>&1; do sleep 0.05; done
cat other.gguf >cut.gguf
code=0
wait $pid || code=$?
[ "$code" = 1 ] && grep -q "^opsm: 'cut.gguf' was written over" err || { echo "exit code $code"; cat err; exit 1; }
[ ! -e over/model.gguf ]

# ---- a stack that its deepest calls do not fit
(ulimit -s 64; refused 1 "ulimit -s" info base/model.gguf)

# ---- what only a permission is missing to: a checkpoint is not set aside as damaged, threads are as many as there can be
if [ "$(id -u)" = 0 ] && setpriv --reuid=65534 --clear-groups true 2>/dev/null; then
  nobody() { setpriv --reuid=65534 --clear-groups "$@"; }
  chmod a+rx .
  sed -i 's/iterations: 100000/iterations: 3/' run.yaml
  "$OPSM" -q train run.yaml output=theirs >/dev/null
  chmod 0 theirs/checkpoint-12/queue.bin
  chown -R 65534 theirs
  code=0
  nobody "$OPSM" -q train run.yaml output=theirs train.iterations=4 >/dev/null 2>err || code=$?
  [ "$code" = 1 ] && grep -q "^opsm: cannot open 'theirs/checkpoint-12/queue.bin'" err || { cat err; exit 1; }
  [ -d theirs/checkpoint-12 ]
  chmod 0 theirs/checkpoint-12
  nobody "$OPSM" -q train run.yaml output=theirs train.iterations=4 >/dev/null 2>err && exit 1
  grep -q "no permission to look into it" err
  chmod 755 theirs/checkpoint-12
  chmod 644 theirs/checkpoint-12/queue.bin
  OPSM_THREADS=8 prlimit --nproc=1:1 setpriv --reuid=65534 --clear-groups "$OPSM" -q train run.yaml output=theirs \
    train.iterations=4 >/dev/null 2>err
  grep -q "1 of 8 threads are used" err
fi
