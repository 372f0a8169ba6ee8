#!/usr/bin/env bash
# Runs every fuzzer, each for SECONDS_EACH (60) seconds from its kept corpus. New inputs go to build/fuzz/corpus; what
# breaks a promise is kept as build/fuzz/failures/NAME-*, and is the first argument to give to the program again.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=${SECONDS_EACH:-60}
for source in fuzz/*_fuzz.cpp; do
    name=$(basename "$source" _fuzz.cpp)
    mkdir -p "build/fuzz/corpus/$name" build/fuzz/failures
    printf '%s: %d s\n' "$name" "$seconds"
    "build/fuzz/fuzz/${name}_fuzz" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=8192 \
        -print_final_stats=1 -verbosity=0 -artifact_prefix="build/fuzz/failures/$name-" \
        "build/fuzz/corpus/$name" "fuzz/corpus/$name"
done
