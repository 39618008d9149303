#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `make install`: to any PREFIX, and from there to wherever the tree is moved; pkg-config finds the library beside its file,
# man the pages.
set -euo pipefail
build=$(dirname "$OPSM")
source=$PWD
command -v pkg-config >/dev/null || { echo "no pkg-config here"; exit 77; }
fail() {
  echo "$1"
  exit 1
}
install_to() {
  make --no-print-directory -C "$source" BUILD="$build" install "$@" >"$SCRATCH/log" 2>&1 || fail "make install $*: $(cat "$SCRATCH/log")"
}

# Everything is there; nothing remembers where it was installed.
install_to PREFIX="$SCRATCH/first place"
usr="$SCRATCH/first place"
for file in bin/opsm include/opsm/objective.h lib*/libopsm.a lib*/libopsm.so lib*/pkgconfig/opsm.pc \
  share/man/man1/opsm.1 share/man/man1/opsm-train.1 share/man/man5/opsm-config.5; do
  [ -n "$(find "$usr" -path "*/$file")" ] || fail "not installed: $file"
done
[ "$("$usr/bin/opsm" help --man | wc -l)" = "$(find "$usr/share/man" -type f | wc -l)" ] || fail "pages are missing"
! grep -rqF "$SCRATCH" "$(find "$usr" -name opsm.pc)" || fail "opsm.pc names the place it was installed to"

use() { # DIRECTORY [pkg-config option ...]: a program in C and one in C++, shared and static
  local directory=$1 pc flags
  shift
  pc=$(dirname "$(find "$directory" -name opsm.pc)")
  export PKG_CONFIG_PATH=$pc LD_LIBRARY_PATH=$(dirname "$pc")
  pkg-config --exists opsm || fail "pkg-config does not find opsm in $directory"
  pkg-config --validate opsm
  eval "flags=($(pkg-config "$@" --cflags --libs opsm))"
  cc -std=c17 -Wall -Wextra -Werror "$source/examples/objective.c" "${flags[@]}" -o "$SCRATCH/program"
  "$SCRATCH/program" | grep -q 'loss -0.303265' || fail "the program is wrong"
  eval "flags=($(pkg-config "$@" --static --cflags --libs opsm))"
  if cc -std=c17 -static "$source/examples/objective.c" "${flags[@]}" -o "$SCRATCH/program" 2>"$SCRATCH/log"; then
    LD_LIBRARY_PATH= "$SCRATCH/program" | grep -q 'loss -0.303265' || fail "the static program is wrong"
  else
    grep -q 'cannot find -l' "$SCRATCH/log" || fail "static: $(cat "$SCRATCH/log")" # no static libc here
    ! grep -q 'cannot find -lopsm' "$SCRATCH/log" || fail "static: $(cat "$SCRATCH/log")"
  fi
  if command -v c++ >/dev/null; then
    printf '#include <opsm/objective.h>\nint main() { opsm_objective o; opsm_objective_defaults(&o); return 0; }\n' >"$SCRATCH/user.cc"
    eval "flags=($(pkg-config "$@" --cflags --libs opsm))"
    c++ -Wall -Wextra -Werror "$SCRATCH/user.cc" "${flags[@]}" -o "$SCRATCH/program"
    "$SCRATCH/program"
  fi
}
if ! nm -D "$(find "$usr" -name libopsm.so)" | grep -q -E '__(asan|ubsan|tsan)'; then
  use "$usr"
  mkdir "$SCRATCH/deeper"
  mv "$usr" "$SCRATCH/deeper/second"
  usr=$SCRATCH/deeper/second
  use "$usr"
  use "$usr" --define-prefix
  ! pkg-config --cflags --libs opsm | grep -q first || fail "the old place is remembered"
fi
"$usr/bin/opsm" --version >/dev/null

# A relative prefix, and a staging directory.
cd "$SCRATCH"
mkdir work
install_to PREFIX="$(realpath --relative-to="$source" work)"
[ -x work/bin/opsm ] || fail "a relative prefix is not below the directory"
install_to DESTDIR="$SCRATCH/stage" PREFIX=/opt/opsm
[ -x stage/opt/opsm/bin/opsm ] || fail "DESTDIR: $(find stage -name opsm)"
[ ! -e /opt/opsm/bin/opsm ] || [ /opt/opsm/bin/opsm -ot "$OPSM" ] || fail "DESTDIR: installed beside it"
if ! nm -D "$(find stage -name libopsm.so)" | grep -q -E '__(asan|ubsan|tsan)'; then use "$SCRATCH/stage/opt/opsm"; fi

# man reads what is installed.
command -v man >/dev/null || exit 0
MANWIDTH=80 man -M "$usr/share/man" opsm-train >page 2>log || fail "man opsm-train: $(cat log)"
grep -q 'checkpoint' page || fail "man opsm-train: $(cat page)"
MANWIDTH=80 man -M "$usr/share/man" 5 opsm-config >page
grep -q 'rollout.in_flight' page || fail "man 5 opsm-config: $(cat page)"
