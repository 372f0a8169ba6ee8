#!/usr/bin/env bash
# Runs the benchmark programs and leaves their joint JSON at build/bench.json. Arguments go to all of them, for
# example --benchmark_filter=skip.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

folder=build/release/bench
for program in cairn_bench cairn_delta_bench; do
    rm -f "$folder/$program.json"
    "$folder/$program" --benchmark_out="$folder/$program.json" --benchmark_out_format=json "$@"
done
# A filter that matches no benchmark of a program leaves an empty file.
find "$folder" -maxdepth 1 -name '*.json' -size +0 -exec jq --slurp '.[0] * {benchmarks: (map(.benchmarks) | add)}' {} + \
    >build/bench.json
[[ $# -gt 0 ]] || "$folder/cairn_concurrency_bench"
[[ $# -gt 0 ]] || "$folder/cairn_pipeline_bench"
printf '\nThe figures are at build/bench.json\n'
