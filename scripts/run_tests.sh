#!/usr/bin/env bash
# Runs the tests of one preset, the Python package's with release and asan, and ends with the line "N passed, N failed, N skipped".
#
#   scripts/run_tests.sh release|asan|tsan [further arguments for ctest]
#
# Exit code: 0 only if there were tests and none failed.
set -euo pipefail

preset=$1
shift
cd "$(dirname "${BASH_SOURCE[0]}")/.."
report=$PWD/build/$preset/tests.xml
reports=("$report")
rm -f "$report"

result=0
ctest --preset "$preset" --output-junit "$report" "$@" || result=$?
if [[ ! -s $report ]]; then
    printf 'run_tests: ctest left no report (exit code %d)\n' "$result" >&2
    exit $((result == 0 ? 1 : result))
fi

# One <testcase> element a test, with its status on the same line: run, fail, or notrun (skipped or disabled).
passed=$(grep -c '<testcase .* status="run"' "$report" || true)
failed=$(grep -c '<testcase .* status="fail"' "$report" || true)
skipped=$(grep -cE '<testcase .* status="(notrun|disabled)"' "$report" || true)

# Of a test that pytest reports, what stands inside its element says how it ended.
count_in() { { grep -o "<$1[ />]" "$2" || true; } | wc -l; }

python_environment=(PYTHONDONTWRITEBYTECODE=1 CAIRN=$PWD/build/$preset/cairn)
case $preset in
release) python_environment+=(PYTHONPATH=build/python) ;;
asan) # the interpreter was built without it, and keeps some memory until it ends
    python_environment+=(PYTHONPATH=build/asan/python PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0
        "LD_PRELOAD=$(clang++-19 -print-file-name=libclang_rt.asan-x86_64.so)")
    ;;
esac
if [[ $preset != tsan && $# == 0 ]]; then
    report=$PWD/build/$preset/python_tests.xml
    reports+=("$report")
    rm -f "$report"
    env "${python_environment[@]}" /usr/bin/python3 -m pytest tests/python --junitxml "$report" || result=$?
    failures=$(($(count_in failure "$report") + $(count_in error "$report")))
    skips=$(count_in skipped "$report")
    passed=$((passed + $(count_in testcase "$report") - failures - skips))
    failed=$((failed + failures))
    skipped=$((skipped + skips))
fi
printf '\n'
python3 scripts/skip_reasons.py "${reports[@]}"
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
exit "$result"
