#!/usr/bin/env bash
# The demonstration of `make run`: a pipeline of agents that is killed in the middle and goes on, one agent persisted by
# both services, then recordings of other agents.
#
#   scripts/run_example.sh [BUILD_FOLDER [OUTPUT_FOLDER]]
#
# With an output folder, it shows only the pipeline.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build=$(realpath "${1:-build/release}")
out=${2:-build/run}
mkdir -p "$out"
out=$(realpath "$out")
export PATH="$build:$PATH" ENABLE_OPTIMIZED_PERSISTENCE=true CAIRN_STORE="sqlite:$out/pipeline.db"
export REPO_ANALYST_JOURNAL="$out/journal.txt"
pipeline=examples/pipelines/repo_analyst/pipeline.yaml
events="$out/events.jsonl"
rm -f "$out"/pipeline.db* "$events" "$REPO_ANALYST_JOURNAL"

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
has_event() { [[ -f $events ]] && grep -q "\"type\":\"$1\".*\"step\":\"$2\"" "$events"; }

say "1. A pipeline of five agents (C++, Python, shell) describes this repository:"
cairn run "$pipeline" --set folder="$PWD" --dry-run

say "2. It runs, and is killed (kill -9) while its fourth agent is at work:"
cairn run "$pipeline" --set folder="$PWD" --run analysis --events "$events" &
pid=$!
until has_event step_started rank_files && grep -q '^rank_files ' "$REPO_ANALYST_JOURNAL"; do
    kill -0 "$pid" 2>/dev/null || { echo "run_example: the run ended too early" >&2 && exit 1; }
done
{ kill -9 "$pid" && wait "$pid" || true; } 2>/dev/null
finished=$(sed -n 's/.*"type":"step_completed".*"step":"\([a-z_]*\)".*/\1/p' "$events" | sort -u)

say "3. What the store knows of it:"
cairn runs

say "4. It goes on where it stopped:"
cairn run "$pipeline" --run analysis --resume --events "$events"

say "5. Who ran how often (each agent writes a line when it begins: $REPO_ANALYST_JOURNAL):"
twice=0
for step in survey count_lines find_concerns rank_files report; do
    times=$(grep -c "^$step " "$REPO_ANALYST_JOURNAL" || true)
    note=""
    if grep -qx "$step" <<<"$finished"; then
        note="finished before the kill"
        ((times == 1)) || twice=1
    elif ((times > 1)); then
        note="interrupted by the kill, so run again (attempt $times)"
    fi
    printf '  %-14s %d   %s\n' "$step" "$times" "$note"
done
((twice == 0)) || { echo "run_example: a finished step ran twice" >&2 && exit 1; }
echo "  No finished step ran twice."

say "6. What they found (cairn load --run analysis):"
cairn load --run analysis | python3 -c 'import json, sys; print(json.load(sys.stdin)["report"], end="")'

try_next() {
    say "Try next:"
    printf '  export PATH=%q:$PATH CAIRN_STORE=%q\n' "$build" "sqlite:$out/pipeline.db"
    printf '  cairn log --run analysis --graph      # its checkpoints\n'
    printf '  cairn diff --run analysis             # what the last step changed\n'
    printf '  cairn run %s --set folder=%q   # again; press Ctrl-C, then --resume\n' "$pipeline" "$PWD"
    printf '  cairn help                            # all commands; README.md goes on from here\n'
}
if (($# == 2)); then
    try_next
    exit 0
fi
unset CAIRN_STORE ENABLE_OPTIMIZED_PERSISTENCE

say "7. One agent that saves after every step, with the standard and the optimised service:"
"$build/repo_analyst" --out "$out" .

say "8. The same comparison on recordings of three kinds of invented agents (examples/recordings):"
CAIRN_STORE="sqlite:$out/replay.db" cairn replay examples/recordings --mode compare --verify

trajectories=../shared/trajectories/tau_bench_airline.jsonl
if [[ -f $trajectories ]]; then
    say "9. And on 100 recorded runs of an airline assistant ($trajectories):"
    CAIRN_STORE="sqlite:$out/replay.db" cairn replay "$trajectories" --mode compare
fi
try_next
