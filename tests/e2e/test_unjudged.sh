#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Responses that could not be judged: a library that is loaded first takes the memory away from some regular expressions.
# They are counted and set aside, the run goes on with the others; when there are no others, it ends with a sentence.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$SCRATCH"
export OPSM_THREADS=1 # the order in which responses are judged
[ "$(uname)" = Linux ] && ldd "$OPSM" | grep -q 'libpcre2-8\.so' || { echo "no library to stand in front of"; exit 77; }

cat >refuse.c <<'C'
#include <dlfcn.h>
#include <stdlib.h>
/* Of every OF calls the first REFUSE fail. */
void *pcre2_match_data_create_from_pattern_8(const void *code, void *context) {
    static long calls;
    const char *refuse = getenv("REFUSE"), *of = getenv("OF");
    void *(*real)(const void *, void *) =
        (void *(*)(const void *, void *))dlsym(RTLD_NEXT, "pcre2_match_data_create_from_pattern_8");
    return refuse && calls++ % atol(of) < atol(refuse) ? NULL : real(code, context);
}
C
cc -D_GNU_SOURCE -shared -fPIC refuse.c -o refuse.so -ldl
refusing() { REFUSE=$1 OF=$2 LD_PRELOAD=$PWD/refuse.so "$OPSM" -q "${@:3}"; }

. "$here/base.sh"
cat >run.yaml <<'YAML'
model: base/model.gguf
precision: f32
task: {name: modsum, difficulty: 4}
reward: [{type: regex, pattern: "^(?<answer>[0-9]+)$"}]
rollout: {prompts: 8, group: 4, max_tokens: 8, max_prompt: 8, save: true, samples: 8}
schedule: {minibatches: 4, staleness: 1}
optim: {lr: 1.0e-3}
train: {iterations: 3, eval_every: 3, checkpoint_every: 0}
eval: {problems: 20, temperature: 1}
YAML

# Every fifth of 20 answers, then of 32 a batch; what a batch lacks, its steps lack.
refusing 1 5 train run.yaml output=some >/dev/null 2>log || { cat log; exit 1; }
[ "$(grep -c 'could not be judged' log)" = 1 ]
grep -q "4 of 20 responses could not be judged and are set aside; the first: out of memory" log
python3 - <<'PY'
import json

lines = [json.loads(line) for line in open("some/metrics.jsonl")]
of = lambda kind: [line for line in lines if line["kind"] == kind]
assert [line["unjudged"] for line in of("eval")] == [4, 4], of("eval")
batches = {}
for step in of("step"):
    batches[step["batch"]] = batches.get(step["batch"], 0) + step["sequences"]
kept = [batches[b] for b in range(3)]
assert all(25 <= n <= 26 for n in kept), kept
unjudged = [line["unjudged"] for line in of("iteration")]
# The first iteration makes the batches of two.
assert unjudged[0] == 2 * 32 - kept[0] - kept[1] and unjudged[1] == 32 - kept[2], (unjudged, kept)
for b, n in enumerate(kept):
    rows = [json.loads(line) for line in open(f"some/rollouts/{b:06}.jsonl")]
    assert len(rows) == n and all(row["reward"] is not None for row in rows)
    # Advantages are those of the group without what is set aside: they add up to nothing.
    groups = {}
    for row in rows:
        groups.setdefault(row["group"], []).append(row["advantage"])
    assert all(abs(sum(members)) < 1e-6 for members in groups.values()), groups
samples = [json.loads(line) for line in open("some/samples.jsonl")]
aside = [row for row in samples if row["reward"] is None]
assert any(row.get("kind") == "eval" and row["right"] is None for row in aside)
shown = [row for row in aside if "reason" in row]
assert shown and all(row["reason"] == "set aside: it could not be judged" and row["keep"] is None and row["advantage"] == 0
                     for row in shown), shown
PY
"$OPSM" -q audit some/rollouts/000001.jsonl --json >audit.json
python3 -c 'import json; assert 25 <= len(json.load(open("audit.json"))["sequences"]) <= 26'

# Whole groups, so that minibatches are empty: a step on nothing.
refusing 8 16 train run.yaml output=groups train.eval_every=0 >/dev/null 2>log || { cat log; exit 1; }
rows 'any(r.get("sequences") == 0 for r in rows)' groups/metrics.jsonl

code=0
refusing 1 1 train run.yaml output=all train.eval_every=0 >/dev/null 2>log || code=$?
[ "$code" = 1 ]
grep -q "^opsm: none of 32 responses could be judged: out of memory" log

refusing 1 4 eval base/model.gguf --config run.yaml --json >eval.json 2>log
python3 -c 'import json; e = json.load(open("eval.json")); assert e["unjudged"] == 5 and e["problems"] == 20, e'
refusing 1 4 eval base/model.gguf --config run.yaml 2>log | grep -q "^20 problems x 1 samples, 5 of them unjudged$"
