#!/usr/bin/env bash
# opsm render: text and tokens of a conversation by a model's template and by a file's; whatever stdin holds gets a
# sentence; the same template in training, with the configuration's arguments.
set -euo pipefail
tests=$PWD/tests
tiny=$PWD/models/tiny.gguf
qwen=$tests/golden/model-qwen3.gguf
cd "$SCRATCH"
render() { "$OPSM" render "$@"; }
is() { [ "$1" = "$2" ] || { echo "expected: $2"; echo "found:    $1"; exit 1; }; }

cat >t.jinja <<'EOF'
{{ bos_token }}{% for message in messages %}
<|{{ message.role }}|>{{ message.content|trim }}{{ eos_token }}
{% endfor %}{{ tools|tojson if tools }}{% if add_generation_prompt %}<|assistant|>{% endif %}{{ '!' if thinks }}
EOF
conversation='{"messages": [{"role": "user", "content": " Grüße \u0000"}]}'
is "$(render --template t.jinja --bos '<s>' --eos '</s>' <<<"$conversation" | od -An -c | tr -d ' \n')" \
   "$(printf '<s><|user|>Grüße \0</s>\n<|assistant|>' | od -An -c | tr -d ' \n')"
conversation='{"messages": [{"role": "user", "content": "Hi"}], "tools": [{"a": 1}], "add_generation_prompt": false, "args": {"thinks": true}}'
is "$(render --template t.jinja <<<"$conversation"; echo .)" $'<|user|>Hi\n[{"a": 1}]!.'

# A model that has the template renders the same, its tokens decode to it, and --template takes its place.
python3 "$tests/e2e/add_template.py" "$qwen" model.gguf t.jinja
render model.gguf <<<"$conversation" >own
render model.gguf --template t.jinja <<<"$conversation" | cmp - own
ids=$(render model.gguf --ids <<<"$conversation")
[[ $ids == \[*[0-9]\] ]]
! render "$tiny" <<<"$conversation" 2>log
grep -q "no chat template" log

# Hostile input: a sentence, one line, exit code 1 or 2, nothing on stdout.
refused() {
  local code=0
  printf '%b' "$1" | render --template "${2:-t.jinja}" >out 2>log || code=$?
  { [ $code = 1 ] || [ $code = 2 ]; } && [ ! -s out ] && [ "$(wc -l <log)" = 1 ] || { echo "'$1': $code"; cat out log; exit 1; }
  grep -q "${3:-.}" log || { echo "'$1': $(cat log), expected: $3"; exit 1; }
}
for text in '' '[]' '{}' '{' '7' 'null' '{"messages": 7}' '{"messages": [7]}' '{"messages": [], "tool": []}' '{"messages": [], "tools": {}}' \
            '{"messages": [], "args": []}' '{"messages": [], "add_generation_prompt": 1}' '\0' '\377' '{"messages": ["\\\\ud800"]}' \
            '{"messages": [{"role": "user", "content": 99999999999999999999}]}' '{"messages": [], "args": {"messages": 1}}'; do
  refused "$text"
done
printf '{%% for m in messages %%}\n{{ m.role + 1 }}{{ raise_exception(m.role) }}{%% endfor %%}' >raises.jinja
refused '{"messages": [{}]}' raises.jinja "line 2, column 4: 'role' is undefined"
deep=$(printf '[%.0s' $(seq 3000))
refused "{\"messages\": [$deep" t.jinja 'JSON'
deep=$(printf '[%.0s' $(seq 1500))$(printf ']%.0s' $(seq 1500))
refused "{\"messages\": [], \"tools\": [$deep]}" t.jinja 'levels deep'
printf '{{ messages }}{%% for i in range(100000) %%}{%% for j in range(100000) %%}{%% endfor %%}{%% endfor %%}' >endless.jinja
refused '{"messages": []}' endless.jinja 'more'
printf '{{ messages }}{%% set n = namespace(s="ab") %%}{%% for i in range(99) %%}{%% set n.s = n.s ~ n.s %%}{%% endfor %%}' >grows.jinja
refused '{"messages": []}' grows.jinja 'MiB'
printf '{{ messages|nosuch }}' >unknown.jinja
refused '{"messages": []}' unknown.jinja "line 1, column 13: the filter 'nosuch'"
refused '{"messages": []}' no-such-file.jinja 'no-such-file'
for words in "" "--ids --template t.jinja" "--template" "model.gguf --ids --bos x" "model.gguf other.gguf"; do
  code=0
  # shellcheck disable=SC2086
  render $words </dev/null >out 2>log || code=$?
  [ $code = 2 ] && [ ! -s out ]
done

# Evaluation asks through the same template; its arguments change what a greedy model says, or nothing runs.
printf '{"prompt": "ab", "answer": "1"}\n' >data.jsonl
cat >run.yaml <<'EOF'
data: {file: data.jsonl, template_args: {thinks: true}, tools: [{a: 1}]}
EOF
"$OPSM" eval model.gguf --data data.jsonl --config run.yaml --max-tokens 2 --json >out
grep -q accuracy out
! "$OPSM" eval "$tiny" --data data.jsonl --config run.yaml --max-tokens 2 >out 2>log
grep -q "data.template_args is for a chat template" log
