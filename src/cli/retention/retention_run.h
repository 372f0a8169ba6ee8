#pragma once

// What `prune` and `delete` have in common.

#include "cli/command.h"

#include <cairn/retention.h>

#include <functional>

namespace cairn::cli {

/// Deletes from the store as the options say.
using Deletion = std::function<Result<RetentionReport>(Store& store, const RetentionOptions& options)>;

/// Runs `deletion` and prints its report: only a rehearsal unless `confirmed`. Ctrl-C stops it between two
/// transactions; the report then says so, and the program ends as the signal asks.
[[nodiscard]] Status run_deletion(const Cli& cli, bool confirmed, const Deletion& deletion);

void add_confirmation_option(CLI::App& command, bool& confirmed);

}  // namespace cairn::cli
