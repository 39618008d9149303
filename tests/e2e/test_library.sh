#!/usr/bin/env bash
# libopsm as its users get it: installed, found by pkg-config, linked shared and static from C and, where there is a
# compiler for it, C++; nothing exported but opsm_*, nothing needed but libc and libm.
set -euo pipefail
build=$(dirname "$OPSM")
cmake --install "$build" --prefix "$SCRATCH/usr" >/dev/null
library=$(find "$SCRATCH/usr" -name 'libopsm.so')
export PKG_CONFIG_PATH=$(dirname "$library")/pkgconfig LD_LIBRARY_PATH=$(dirname "$library")
flags=$(pkg-config --define-variable=prefix="$SCRATCH/usr" --cflags --libs opsm) # installed elsewhere than configured
sanitized=$(nm -D "$library" | grep -c -E '__(asan|ubsan|tsan)' || true)
if [ "$sanitized" -gt 0 ]; then
  echo "a sanitizer is linked into the library: nothing to see here"
  exit 77
fi

expected='loss -0.303265
sequence 0: drift 0.500, kept, gradient -0.151633
sequence 1: drift 0.500, dropped, gradient 0.000000'
cc -std=c17 -Wall -Wextra -Werror examples/objective.c $flags -o "$SCRATCH/shared"
diff <("$SCRATCH/shared") <(echo "$expected")
cc -std=c17 examples/objective.c -I"$SCRATCH/usr/include" "$(dirname "$library")/libopsm.a" -lm -o "$SCRATCH/static"
diff <("$SCRATCH/static") <(echo "$expected")
grep -q "loss -0.303265" docs/objective.md

if command -v c++ >/dev/null; then
  cat >"$SCRATCH/user.cc" <<'CC'
#include <opsm/objective.h>
int main() {
    opsm_objective config;
    opsm_objective_defaults(&config);
    opsm_error error = {OPSM_OK, ""};
    return opsm_objective_set(&config, "mask.rule", "icepop", &error) != OPSM_OK || config.mask_rule != OPSM_RULE_ICEPOP;
}
CC
  c++ -Wall -Wextra -Werror "$SCRATCH/user.cc" $flags -o "$SCRATCH/cxx"
  "$SCRATCH/cxx"
fi

archive=$(dirname "$library")/libopsm.a
for listing in "-D $library" "-g $archive"; do
  stray=$(nm $listing --defined-only | awk 'NF == 3 {print $3}' | grep -v '^opsm_' || true)
  [ -z "$stray" ] || { echo "nm $listing: to be seen besides opsm_*: $stray"; exit 1; }
  nm $listing --defined-only | grep -q ' T opsm_objective_evaluate$'
done
# A program with functions of its own by the library's internal names.
cat >"$SCRATCH/names.c" <<'C'
#include <opsm/objective.h>
int plan_make(void), sort_doubles(void), block_exp(void), mask_decide(void);
int plan_make(void) { return 0; }
int sort_doubles(void) { return 0; }
int block_exp(void) { return 0; }
int mask_decide(void) { return 0; }
int main(void) {
    opsm_objective config;
    opsm_objective_defaults(&config);
    return opsm_objective_check(&config, 0) != OPSM_OK || plan_make() || sort_doubles() || block_exp() || mask_decide();
}
C
cc -std=c17 "$SCRATCH/names.c" -I"$SCRATCH/usr/include" "$archive" -lm -o "$SCRATCH/names"
"$SCRATCH/names"
needed=$(readelf -d "$library" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' | grep -v -E '^lib(c|m)\.so' || true)
[ -z "$needed" ] || { echo "needs besides libc and libm: $needed"; exit 1; }

# Without the program a C compiler is enough: no pkg-config, no OpenMP, no library of anybody's.
cmake -S . -B "$SCRATCH/alone" -DOPSM_PROGRAM=OFF -DCMAKE_DISABLE_FIND_PACKAGE_PkgConfig=ON \
    -DCMAKE_DISABLE_FIND_PACKAGE_OpenMP=ON >/dev/null
cmake --build "$SCRATCH/alone" -j "$(nproc)" >/dev/null
cmake --install "$SCRATCH/alone" --prefix "$SCRATCH/alone-usr" >/dev/null
cc -std=c17 examples/objective.c -I"$SCRATCH/alone-usr/include" "$(find "$SCRATCH/alone-usr" -name libopsm.a)" -lm \
    -o "$SCRATCH/alone-example"
diff <("$SCRATCH/alone-example") <(echo "$expected")
