#!/usr/bin/env bash
# Builds the libFuzzer targets from the product's own sources and runs each for a time.
# Usage: fuzz.sh [SECONDS_PER_TARGET [TARGET ...]]; the targets are tests/fuzz/fuzz_TARGET.c. CLANG chooses the compiler,
# FUZZ_DIR the place for programs, logs, the inputs found on the way and a crashing input (build-fuzz). Seeds come from
# tests/fuzz/corpus.
# Exit code 77: no clang with libFuzzer here.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
shift || true
targets=("$@")
known=$(cd tests/fuzz && ls fuzz_*.c | sed 's/^fuzz_//; s/\.c$//')
[ ${#targets[@]} -gt 0 ] || targets=($known)
for target in "${targets[@]}"; do
  [ -f "tests/fuzz/fuzz_$target.c" ] || { echo "fuzz: unknown target '$target', known are" $known >&2; exit 2; }
done
clang=${CLANG:-$(command -v clang-14 || command -v clang || true)}
dir=${FUZZ_DIR:-build-fuzz}
mkdir -p "$dir"
if [ -z "$clang" ] || ! "$clang" -fsanitize=fuzzer,address -x c -o "$dir/probe" - 2>/dev/null \
     <<<'int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return (int)(n & 0 * (d == 0)); }'; then
  echo "fuzz: clang with libFuzzer is missing; 'make deps' installs it" >&2
  exit 77
fi

flags=(-std=c17 -D_XOPEN_SOURCE=700 -g -O1 -Wall -Wextra -Werror -Wno-unknown-pragmas -ffp-contract=off -fno-omit-frame-pointer
       -fsanitize=address,undefined -fno-sanitize-recover=all -Iinclude -Isrc -Itests -DOPSM_VERSION='"fuzz"')
# What a target needs comes out of one archive of everything that reads.
rm -rf "$dir/objects"
mkdir "$dir/objects"
sources=(src/{base,io,text,config,data,reward,objective,audit,report}/*.c src/train/drift_histogram.c)
printf '%s\n' "${sources[@]}" | xargs -P "$(nproc)" -I{} bash -c \
  'clang=$1 dir=$2 source=$3; shift 3; name=${source#src/}; "$clang" "$@" -c "$source" -o "$dir/objects/${name//\//_}.o"' \
  - "$clang" "$dir" {} "${flags[@]}" -fsanitize=fuzzer-no-link
rm -f "$dir/libfuzzed.a"
ar rcs "$dir/libfuzzed.a" "$dir"/objects/*.o
libraries=($(pkg-config --libs jansson yaml-0.1 libpcre2-8) -lm)
for target in "${targets[@]}"; do
  program=$dir/fuzz_$target
  "$clang" "${flags[@]}" -D_GNU_SOURCE -fsanitize=fuzzer "tests/fuzz/fuzz_$target.c" "$dir/libfuzzed.a" -o "$program" "${libraries[@]}"
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
