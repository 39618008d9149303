#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# opsm reward: recorded responses are judged as in training, as fast as they come, and nothing before a fault is lost.
set -euo pipefail
fail() {
  echo "$1"
  exit 1
}
cd "$SCRATCH"
expect() { # exit code, words in stderr, command...
  local code=$1 words=$2 got=0
  shift 2
  "$@" >out 2>err || got=$?
  [ "$got" = "$code" ] || fail "$*: exit code $got, expected $code: $(cat err)"
  grep -qF -- "$words" err || fail "$*: $(cat err)"
}
same() { # expected text, file
  [ "$1" = "$(cat "$2")" ] || fail "expected: $1
found: $(cat "$2")"
}

# A verifier by its name, with settings; from a file, from standard input, or from a pipe that has a name.
cat >rows.jsonl <<'JSONL'
{"response": "It is (B).", "answer": "B"}
{"response": "It is (C).", "answer": ["B", "c"], "finished": false, "id": 123}
{"response": "I do not know.", "answer": "B"}
{"response": "It is (B)."}
JSONL
cat >expected <<'JSONL'
{"reward": 1.0, "rewards": {"regex": 1.0}, "found": "B", "unjudged": null}
{"reward": 1.0, "rewards": {"regex": 1.0}, "found": "C", "unjudged": null}
{"reward": 0.0, "rewards": {"regex": 0.0}, "found": null, "unjudged": null}
{"reward": null, "rewards": {"regex": null}, "found": null, "unjudged": "verifier 'regex' compares with the answer, but there is none"}
JSONL
regex=(reward --verifier regex 'pattern=\((?<answer>[A-D])\)' ignore_case=true)
expect 0 '4 responses, mean reward 0.6667: regex 0.6667; 1 unjudged, the first in line 4' "$OPSM" "${regex[@]}" rows.jsonl
cmp out expected
"$OPSM" -q "${regex[@]}" <rows.jsonl | cmp - expected
"$OPSM" -q "${regex[@]}" <(cat rows.jsonl) | cmp - expected
"$OPSM" -q "${regex[@]}" - <rows.jsonl | cmp - expected
OPSM_THREADS=3 "$OPSM" -q "${regex[@]}" rows.jsonl 2>err | cmp - expected
[ ! -s err ] || fail "-q is not quiet"

# A configuration: weights, names, paths; and what training would choose where it names nothing.
cat >reward.yaml <<'YAML'
data: {answer: reward_model.ground_truth}
reward:
  - {type: exact, weight: 1.0}
  - {type: format, name: short, weight: 0.5, max_length: 3}
  - {type: format, weight: -0.25, prefix: so}
YAML
echo '{"response": "so", "reward_model": {"ground_truth": ["no", "so"]}}' >row.jsonl
"$OPSM" -q reward reward.yaml row.jsonl >out
same '{"reward": 1.25, "rewards": {"exact": 1.0, "short": 1.0, "format": 1.0}, "found": "so", "unjudged": null}' out
"$OPSM" -q reward reward.yaml data.answer=answer row.jsonl | rows 'row["reward"] is None' || fail "data.answer on the command line"
"$OPSM" -q reward reward.yaml --answer nothing row.jsonl | rows 'row["reward"] is None' || fail "--answer"
for answers in '12 1,000 numeric' '12 twelve exact'; do
  read -r one two type <<<"$answers"
  printf '{"prompt": "a", "answer": "%s"}\n{"prompt": "b", "answer": "%s"}\n' "$one" "$two" >data.jsonl
  echo 'data: {file: data.jsonl}' >data.yaml
  echo '{"response": "12", "answer": "12"}' | "$OPSM" -q reward data.yaml | rows "row['rewards'] == {'$type': 1}" || fail "$answers"
done
echo '{"prompt": "c"}' >data.jsonl
expect 2 "has rows without an answer only" "$OPSM" reward data.yaml row.jsonl
echo 'task: {name: countdown}' >task.yaml
echo '{"response": "3*4+12", "numbers": [3, 4, 12], "target": 24}' | "$OPSM" -q reward task.yaml >out
same '{"reward": 1.0, "rewards": {"expression": 1.0}, "found": "3*4+12", "unjudged": null}' out

# Nothing waits for more than has come: the verdict of a line is there before the next line.
coproc JUDGE { "$OPSM" -q reward --verifier exact; }
judge=$JUDGE_PID # bash forgets it once the process has ended
for word in one two three; do
  echo "{\"response\": \"$word\", \"answer\": \"two\"}" >&"${JUDGE[1]}"
  read -r -t 20 -u "${JUDGE[0]}" line || fail "no verdict for '$word' before the next line"
  rows "row['found'] == '$word'" <<<"$line" || fail "$line"
done
exec {JUDGE[1]}>&-
wait "$judge" || fail "the end of the input is no failure"

# A fault names its line, and all verdicts before it are there.
{ seq 3000 | sed 's/.*/{"response": "&", "answer": 7}/'; echo '{"response": 7}'; echo '{"response": "late"}'; } >faulty.jsonl
expect 1 "'faulty.jsonl', line 3001: field 'response' must be a text" "$OPSM" reward --verifier exact faulty.jsonl
[ "$(wc -l <out)" = 3000 ] || fail "verdicts before the fault: $(wc -l <out)"
expect 1 "cannot open 'missing.jsonl'" "$OPSM" reward --verifier exact missing.jsonl
expect 2 "did you mean 'numeric'?" "$OPSM" reward --verifier numerik rows.jsonl
expect 2 "unknown key 'reward.patern'; did you mean 'pattern'?" "$OPSM" reward --verifier regex patern=a rows.jsonl
expect 2 "verifier 'exact' has no setting 'pattern'" "$OPSM" reward --verifier exact pattern=a rows.jsonl
expect 2 "the type is what --verifier names, 'numeric'" "$OPSM" reward --verifier numeric type=exact rows.jsonl
expect 2 "tags: expected a list" "$OPSM" reward --verifier format tags=a rows.jsonl
expect 2 "what is to judge?" "$OPSM" reward
expect 2 "what is to judge?" "$OPSM" reward rows.jsonl
expect 2 "one word too many" "$OPSM" reward --verifier exact rows.jsonl rows.jsonl
if [ -w /dev/full ]; then
  code=0
  "$OPSM" reward --verifier exact faulty.jsonl >/dev/full 2>err || code=$?
  [ "$code" = 1 ] && grep -q 'cannot write the output' err || fail "a full disk: $code $(cat err)"
fi

# A line of many megabytes, and memory that does not grow with the file.
{
  head -c 20000000 /dev/zero | tr '\0' 'x' | sed 's/^/{"response": "/; s/$/ 12", "answer": "12"}\n/'
  head -200 faulty.jsonl
} >long.jsonl
"$OPSM" -q reward --verifier contains <long.jsonl >out
[ "$(wc -l <out)" = 201 ] && rows 'rows[0]["found"] == "12"' out || fail "a long line"
for _ in 1 2 3 4 5 6; do head -3000 faulty.jsonl; done >many
for _ in 1 2 3 4 5 6 7 8 9 10; do cat many; done | (
  ulimit -v 400000
  OPSM_THREADS=1 "$OPSM" -q reward --verifier exact
) | wc -l >count
[ "$(cat count)" = 180000 ] || fail "many lines: $(cat count)"
