#!/usr/bin/env bash
# Builds and runs the whole suite; the last line is "N passed, N failed, N skipped". Usage: test.sh [BUILD_DIR [ctest arguments]]
set -uo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
shift || true
report=$(mktemp)
trap 'rm -f "$report"' EXIT
# Suites run side by side and each may use every core: threads that wait must not spin.
export OMP_WAIT_POLICY=passive
ctest --test-dir "$build" --output-on-failure --no-tests=error -j "$(nproc)" --output-junit "$report" "$@"
status=$?
python3 - "$report" <<'PY'
import sys, xml.etree.ElementTree as xml
cases = list(xml.parse(sys.argv[1]).getroot().iter("testcase"))
failed = sum(case.get("status") == "fail" for case in cases)
skipped = sum(case.find("skipped") is not None or case.get("status") in ("notrun", "disabled") for case in cases)
print(f"{len(cases) - failed - skipped} passed, {failed} failed, {skipped} skipped")
PY
exit $status
