#!/usr/bin/env bash
# What `make run` shows: a small agent persisted by both services, then recorded agents where there are any.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

trajectories=../shared/trajectories/tau_bench_airline.jsonl

build/release/repo_analyst --out build/run .

if [[ -f $trajectories ]]; then
    printf '\nThe same comparison on 100 recorded runs of an airline assistant (%s):\n\n' "$trajectories"
    build/release/cairn replay "$trajectories" --mode compare
else
    printf '\nNo recorded agents at %s, so no replay. Any file of that format will do:\n' "$trajectories"
    printf '  build/release/cairn replay FILE.jsonl --mode compare\n'
fi
