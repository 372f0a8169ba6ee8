#pragma once

#include "cli/usage/options.h"

#include <cairn/store.h>

#include <cstdint>

namespace cairn::cli {

enum class HistoryStyle : std::uint8_t { kRows, kGraph, kJson };

/// Prints the results of `query`, page by page, so that a history of any length takes little memory.
[[nodiscard]] Status print_history(Store& store, HistoryQuery query, const RowLimit& limit, HistoryStyle style);

}  // namespace cairn::cli
