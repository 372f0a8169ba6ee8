#!/usr/bin/env bash
# Runs the tests of one preset, and ends with the line "N passed, N failed, N skipped". It writes a JUnit report to
# build/PRESET/tests.xml.
#
#   scripts/run_tests.sh release|asan|tsan [further arguments for ctest]
#
# Exit code: 0 only if there were tests and none failed.
set -euo pipefail

preset=$1
shift
cd "$(dirname "${BASH_SOURCE[0]}")/.."
report=$PWD/build/$preset/tests.xml
python_reports=$PWD/build/$preset/python_tests
rm -rf "$report" "$python_reports"

result=0
ctest --preset "$preset" --output-junit "$report" "$@" || result=$?
if [[ ! -s $report ]]; then
    printf 'run_tests: ctest left no report (exit code %d)\n' "$result" >&2
    exit $((result == 0 ? 1 : result))
fi
printf '\n'
python3 scripts/test_report.py "$report" "$python_reports" || result=$((result == 0 ? 1 : result))
exit "$result"
