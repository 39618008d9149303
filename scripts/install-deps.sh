#!/usr/bin/env bash
# The one place that lists what the build and the tests need on Debian 12 or Ubuntu 22.04 and later.
# Installs only what is missing; uses sudo only when not root. `--check` installs nothing and says what is missing.
set -euo pipefail

packages=(
  gcc make cmake ninja-build pkg-config git
  libdnnl-dev       # GEMM: bf16 on AMX and AVX-512, f32
  libyaml-dev       # configuration
  libjansson-dev    # JSON
  libpcre2-dev      # Unicode classes of the pre-tokenizers
  libcmocka-dev     # unit tests
  clang clang-format clang-tidy libomp-dev libclang-rt-dev # lint, sanitizers, fuzzing
  python3 python3-venv unzip # golden tests against other implementations
)

installed() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'install ok installed'; }
missing=()
for package in "${packages[@]}"; do installed "$package" || missing+=("$package"); done
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "${1:-}" = --check ]; then
  echo "missing packages: ${missing[*]}" >&2
  exit 1
fi
if ! command -v apt-get >/dev/null; then
  echo "install-deps: this script knows apt-get only; please install: ${missing[*]}" >&2
  exit 1
fi
sudo=()
[ "$(id -u)" -eq 0 ] || sudo=(sudo)
echo "installing: ${missing[*]}"
"${sudo[@]}" apt-get update -q
DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}"
