#!/usr/bin/env bash
# The one place that lists the packages, for Debian 12 or Ubuntu 22.04 and later. Installs only what is missing; uses sudo
# only when not root. Usage: install-deps.sh build|test|dev (each includes the ones before it) or aarch64 (test and a cross
# compiler); with --check behind it nothing is installed, and what is missing is said.
set -euo pipefail

build=(
  gcc make cmake ninja-build pkg-config
  libdnnl-dev    # GEMM: bf16 on AMX and AVX-512, f32
  libyaml-dev    # configuration
  libjansson-dev # JSON
  libpcre2-dev   # regular expressions of verifiers
  libcmocka-dev  # unit tests
  libjs-chart.js # charts of the HTML report, inlined into the program
)
test=(
  git unzip python3 python3-venv # counts results; fetches the real model of one end-to-end test
  g++                            # libopsm from C++
  man-db groff-base              # read the man pages
)
dev=(
  clang clang-format clang-tidy libomp-dev libclang-rt-dev # lint, second compiler, fuzzing
  chromium                                                 # opens the HTML report in a test
)
aarch64=(
  gcc-aarch64-linux-gnu libc6-dev-arm64-cross # cross compiler
  qemu-user                                   # runs what it makes
)

case "${1:-}" in
  build) packages=("${build[@]}") ;;
  test) packages=("${build[@]}" "${test[@]}") ;;
  dev) packages=("${build[@]}" "${test[@]}" "${dev[@]}") ;;
  aarch64) packages=("${build[@]}" "${test[@]}" "${aarch64[@]}") ;;
  *)
    echo "usage: $0 build|test|dev|aarch64 [--check]" >&2
    exit 2
    ;;
esac

installed() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'install ok installed'; }
missing=()
for package in "${packages[@]}"; do installed "$package" || missing+=("$package"); done
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "${2:-}" = --check ] || ! command -v apt-get >/dev/null; then
  echo "missing packages: ${missing[*]}; install them first" >&2
  exit 1
fi
sudo=()
[ "$(id -u)" -eq 0 ] || sudo=(sudo)
echo "installing: ${missing[*]}"
"${sudo[@]}" apt-get update -q
DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}"
