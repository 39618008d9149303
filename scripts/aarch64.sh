#!/usr/bin/env bash
# Cross build for 64-bit ARM and the unit suites under qemu: build-aarch64/. Compiler and emulator are Debian packages of
# this machine (install-deps.sh aarch64); the ARM libraries are unpacked beside the build, nothing foreign is installed.
# Usage: aarch64.sh [ctest arguments]
set -euo pipefail
cd "$(dirname "$0")/.."
build=$PWD/build-aarch64
export AARCH64_SYSROOT=$build/sysroot
packages=(libdnnl2 libdnnl-dev libyaml-0-2 libyaml-dev libjansson4 libjansson-dev libpcre2-8-0 libpcre2-dev libcmocka0
  libcmocka-dev)
if [ ! -f "$AARCH64_SYSROOT/complete" ]; then
  apt=$build/apt
  mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$apt/debs" "$AARCH64_SYSROOT"
  # A package list of its own: the machine's does not learn of a second architecture.
  options=(-o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State::lists="$apt/lists" -o Dir::Cache="$apt"
    -o Dir::State::status=/dev/null -o Debug::NoLocking=1 -o APT::Sandbox::User="$(id -un)")
  apt-get "${options[@]}" update -qq
  (cd "$apt/debs" && apt-get "${options[@]}" download -qq "${packages[@]}")
  for package in "$apt"/debs/*.deb; do dpkg -x "$package" "$AARCH64_SYSROOT"; done
  touch "$AARCH64_SYSROOT/complete"
fi
cmake -S . -B "$build" -G Ninja -DCMAKE_TOOLCHAIN_FILE="$PWD/cmake/aarch64.cmake" \
    -DCHART_JS=/usr/share/javascript/chart.js/chart.min.js
cmake --build "$build"
# Suites at lower instruction levels are the same kernels once more: too slow under an emulator.
scripts/test.sh "$build" -L unit -E '\.(ref|neon)$' "$@"
