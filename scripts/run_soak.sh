#!/usr/bin/env bash
# Runs the crash and failure suites for CAIRN_SOAK_SECONDS each, one after the other; stops at the first failure, whose
# seed stands in the output.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../build/release/tests/fault"

./kill_test --gtest_filter='Kill.WhatAKilledProcessWasToldIsTrue'
./kill_test --gtest_filter='Kill.WhatSeveralKilledProcessesOfOneFileWereToldIsTrue'
./power_loss_test --gtest_filter='*AgainAndAgain*'
./nth_failure_test  # every allocation, however long that takes
