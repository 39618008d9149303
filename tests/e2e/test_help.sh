#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The help is whole: every name it mentions exists, every option of a command's table is in the command's help with its
# default, no line is wider than a terminal; and the same pages as man pages, which man, lexgrog and groff find nothing
# wrong with.
set -euo pipefail
fail() {
  echo "$1"
  exit 1
}

names=$("$OPSM" help | sed -n 's/^  \([a-z]*\) .*/\1/p')
[ "$(wc -w <<<"$names")" -ge 13 ] || fail "names: $names"
{ "$OPSM" help; for name in $names; do "$OPSM" help "$name"; done; } >"$SCRATCH/all"
awk 'length($0) > 80 { print; bad = 1 } END { exit bad }' "$SCRATCH/all" || fail "wider than 80 columns"
for name in $(grep -oE '`?opsm help [a-z]+' "$SCRATCH/all" | awk '{print $3}' | sort -u); do
  "$OPSM" help "$name" >/dev/null || fail "the help speaks of 'opsm help $name'"
done
if "$OPSM" help nonsense 2>"$SCRATCH/said"; then fail "help nonsense"; fi
if "$OPSM" help trian 2>"$SCRATCH/said"; then fail "help trian"; fi
grep -q "did you mean 'train'" "$SCRATCH/said" || fail "help trian: $(cat "$SCRATCH/said")"

# Options: from the tables of the sources.
for source in src/cli/*.c; do
  command=$(basename "$source" .c)
  command=${command%%_*}
  grep -qw "$command" <<<"$names" || continue
  "$OPSM" help "$command" >"$SCRATCH/help"
  { grep -oE '\{"--?[a-z-]+", OPTION_[A-Z]+' "$source" || true; } | tr -d '{",' | while read -r option kind; do
    # its item: the line that begins with it, and what goes on below
    awk -v o="$option" '/^  [^ ]/ { on = index(" " $0 " ", " " o " ") > 0 } /^$/ { on = 0 } on' "$SCRATCH/help" >"$SCRATCH/item"
    [ -s "$SCRATCH/item" ] || fail "opsm help $command: no $option"
    if [[ $kind = OPTION_INT || $kind = OPTION_REAL ]] && ! grep -q default "$SCRATCH/item"; then
      fail "opsm help $command: $option without its default"
    fi
  done
done

# A stated default is the true one: to give it changes nothing.
tiny=models/tiny.gguf
generated() { "$OPSM" generate "$tiny" -p 123= --jsonl "$@" 2>/dev/null; }
evaluated() { "$OPSM" eval "$tiny" --task modsum "$@" 2>/dev/null | grep -v ' s, '; }
benched() { "$OPSM" bench "$@" --json --seconds 0.1 |
  rows '{key: row.get(key) for key in ("precision", "prompt", "tokens", "in_flight", "groups", "group")}'; }
defaults() { # COMMAND: lines of option and number
  "$OPSM" help "$1" | tr '\n' ' ' | sed 's/   */ /g; s/ --\?[a-z]/\n&/g' |
    sed -nE 's/^ (--?[a-z-]+) .*\(default ([0-9.]+|bf16)[,:;) ].*/\1 \2/p'
}
stated() { # LEAST COMMAND FUNCTION WORDS...
  local least=$1 command=$2 option value count=0 usual
  shift 2
  usual=$("$@")
  while read -r option value; do
    [[ $* = *"$option"* ]] && continue
    [ "$("$@" "$option" "$value")" = "$usual" ] || fail "opsm $command: $option $value is not the default"
    count=$((count + 1))
  done < <(defaults "$command" | grep -vE -- "${SKIP:--$}")
  [ "$count" -ge "$least" ] || fail "opsm help $command: only $count defaults were understood"
}
stated 8 generate generated
SKIP='^-n |max-tokens' stated 6 eval evaluated
SKIP='--(groups|group|rows|length|sequences|repeats|seconds) ' stated 4 bench benched generate "$tiny"
SKIP='--(in-flight|rows|length|sequences|repeats|seconds) ' stated 5 bench benched train "$tiny"

# Man pages.
command -v man >/dev/null && command -v lexgrog >/dev/null || { echo "no man-db here"; exit 77; }
manual=$SCRATCH/man
cmake -DPROGRAM="$OPSM" -DOUTPUT="$manual" -P cmake/man.cmake
pages=$("$OPSM" help --man)
[ "$(wc -l <<<"$pages")" = "$(wc -w <<<"$names")" ] || fail "pages: $pages"
for page in $pages; do
  file=$manual/man${page##*.}/$page
  man --warnings -E UTF-8 -l "$file" >/dev/null 2>"$SCRATCH/warnings"
  [ ! -s "$SCRATCH/warnings" ] || fail "$page: $(cat "$SCRATCH/warnings")"
  lexgrog "$file" | grep -q "\"${page%.*} - ..*\"" || fail "$page: its NAME is not understood: $(lexgrog "$file")"
  MANWIDTH=80 man -l "$file" | awk 'length($0) > 80 { print; bad = 1 } END { exit bad }' || fail "$page: wider than 80"
done
for words in rollout.in_flight objective.mask.delta 'longest response, in tokens'; do
  MANWIDTH=80 man -l "$manual/man5/opsm-config.5" | grep -q "$words" || fail "opsm-config(5): no $words"
done
if mandb --no-purge --quiet --user-db "$manual" 2>/dev/null; then
  man -M "$manual" -k opsm >"$SCRATCH/found"
  for page in $pages; do grep -q "^${page%.*} (${page##*.})" "$SCRATCH/found" || fail "man -k opsm: no $page"; done
fi
