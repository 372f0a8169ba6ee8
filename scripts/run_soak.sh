#!/usr/bin/env bash
# Runs the crash and failure suites for CAIRN_SOAK_SECONDS each, one after the other. It stops at the first failure; the
# output has the seed.
#
#   scripts/run_soak.sh [many|kill|power|nth …]     only these; without arguments all
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../build/release/tests/fault"

[[ $# -gt 0 ]] || set -- many kill power nth
for suite; do
    case $suite in
    many) ./soak_test ;; # processes of three kinds; on a violation it names the folder with the evidence
    kill)
        ./kill_test --gtest_filter='Kill.AnswersToAKilledProcessAreTrue'
        ./kill_test --gtest_filter='Kill.AnswersToSeveralKilledProcessesOfOneFileAreTrue'
        ;;
    power) ./power_loss_test --gtest_filter='*AgainAndAgain*' ;;
    nth) ./nth_failure_test ;; # every allocation, however long that takes
    *)
        printf 'run_soak: no suite "%s": many, kill, power or nth\n' "$suite" >&2
        exit 2
        ;;
    esac
done
