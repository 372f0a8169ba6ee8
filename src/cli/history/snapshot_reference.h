#pragma once

#include "cli/usage/options.h"

#include <cairn/store.h>

#include <cstdint>
#include <optional>
#include <string>

namespace cairn::cli {

/// Returns the id of the snapshot that a person named by its id, or by its version number in the run (an id that looks
/// like a number comes first).
/// Errors: kNotFound (no snapshot of that version), and the store's. An id is not checked for existence.
[[nodiscard]] Result<std::string> find_snapshot_id(Store& store, const std::string& run_id,
                                                   const std::string& reference, const Owner& owner = {});

/// Returns kNotFound unless the run exists and `owner` owns it.
[[nodiscard]] Status require_run(Store& store, const std::string& run_id, const Owner& owner = {});

}  // namespace cairn::cli
