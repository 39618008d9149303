#!/usr/bin/env bash
# Builds the libFuzzer targets from the product's own sources and runs each for a time.
# Usage: fuzz.sh [SECONDS_PER_TARGET [TARGET ...]]; targets: gguf, safetensors, jsonl, verifier, tokenizer, chat, jinja,
# report, audit, recorded. CLANG chooses the compiler, FUZZ_DIR the place for programs, logs, the inputs found on the way
# and a crashing input (build-fuzz). Seeds come from tests/fuzz/corpus.
# Exit code 77: no clang with libFuzzer here.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(gguf safetensors jsonl verifier tokenizer chat jinja report audit recorded)
clang=${CLANG:-$(command -v clang-14 || command -v clang || true)}
dir=${FUZZ_DIR:-build-fuzz}
mkdir -p "$dir"
if [ -z "$clang" ] || ! "$clang" -fsanitize=fuzzer,address -x c -o "$dir/probe" - 2>/dev/null \
     <<<'int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return (int)(n & 0 * (d == 0)); }'; then
  echo "fuzz: clang with libFuzzer is missing; 'make deps' installs it" >&2
  exit 77
fi

flags=(-std=c17 -D_XOPEN_SOURCE=700 -g -O1 -Wall -Wextra -Werror -Wno-unknown-pragmas -ffp-contract=off -fno-omit-frame-pointer
       -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -Iinclude -Isrc -Itests -DOPSM_VERSION='"fuzz"')
base=(src/base/{status,mem,file,clock,log,platform,proc}.c)
for target in "${targets[@]}"; do
  case $target in
    gguf) sources=(src/io/{tensor_source,gguf_read,metadata,cursor,quote,name_map,hf_names}.c src/io/quant*.c
                   src/io/safetensors_{open,read,source}.c)
          libraries=($(pkg-config --libs jansson) -lm) ;;
    safetensors) sources=(src/io/{safetensors_open,safetensors_read,quote,name_map}.c src/io/quant*.c)
                 libraries=($(pkg-config --libs jansson) -lm) ;;
    jsonl) sources=(src/io/json*.c src/base/text.c)
           libraries=($(pkg-config --libs jansson)) ;;
    verifier) sources=(src/reward/verifier*.c src/reward/{answer,expression,number,number_read,number_alone,span}.c
                       src/data/problem.c src/base/text.c src/text/unicode.c)
              libraries=($(pkg-config --libs libpcre2-8) -lm) ;;
    tokenizer | chat) sources=(src/text/*.c src/io/{metadata,cursor,name_map}.c src/base/text.c)
                      libraries=($(pkg-config --libs jansson) -lm) ;;
    jinja) sources=(src/text/jinja*.c src/text/unicode*.c src/base/text.c)
           libraries=($(pkg-config --libs jansson) -lm) ;;
    report) sources=(src/report/html*.c src/train/drift_histogram.c src/io/json*.c src/base/text.c)
            libraries=($(pkg-config --libs jansson yaml-0.1) -lm) ;;
    audit) sources=(src/audit/*.c src/objective/*.c src/io/json*.c src/base/text.c)
           libraries=($(pkg-config --libs jansson) -lm) ;;
    recorded) sources=(src/reward/*.c src/data/problem.c src/data/dataset_row.c src/io/json*.c src/base/text.c
                       src/text/unicode.c)
              libraries=($(pkg-config --libs jansson libpcre2-8) -lm) ;;
    *) echo "fuzz: unknown target '$target', known are gguf, safetensors, jsonl, verifier, tokenizer, chat, jinja, report, audit and recorded" >&2; exit 2 ;;
  esac
  program=$dir/fuzz_$target
  "$clang" "${flags[@]}" "tests/fuzz/fuzz_$target.c" "${sources[@]}" "${base[@]}" -o "$program" "${libraries[@]}"
  mkdir -p "$dir/corpus-$target"
  echo "fuzzing $target for $seconds s"
  log=$dir/$target.log
  if ! "$program" -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
       -dict="tests/fuzz/$target.dict" -artifact_prefix="$dir/$target-" \
       "$dir/corpus-$target" "tests/fuzz/corpus/$target" >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    echo "fuzz: $target failed; the input is in $dir, the log in $log" >&2
    exit 1
  fi
  executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  coverage=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1)
  echo "$target: $executed inputs in $seconds s, $coverage, no failure"
done
