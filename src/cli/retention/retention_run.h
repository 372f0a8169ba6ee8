#pragma once

// The common part of `prune` and `delete`.

#include "cli/command.h"

#include <cairn/retention.h>

#include <functional>

namespace cairn::cli {

/// Deletes from the store according to the options.
using Deletion = std::function<Result<RetentionReport>(Store& store, const RetentionOptions& options)>;

/// Runs `deletion` and prints its report; it is a dry run unless `confirmed`. Ctrl-C stops it between two transactions.
/// The report then says so, and the program ends by the signal.
[[nodiscard]] Status run_deletion(const Cli& cli, bool confirmed, const Deletion& deletion);

void add_confirmation_option(CLI::App& command, bool& confirmed);

}  // namespace cairn::cli
