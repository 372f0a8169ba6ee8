#pragma once

// The lines of an export, from a file, a pipe or a connection, into an importer.

#include "files/line_reader.h"
#include "transfer/importer.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>

namespace cairn {

/// The source of the lines.
struct LineSource {
    std::string name;                                               ///< For messages: "standard input", "file \"…\"".
    std::function<Result<std::optional<LineReader::Line>>()> next;  ///< Nothing: that was all.
};

/// Reads `source` to its end, gives `importer` the lines, and flushes it. Exports may follow one another. The lines
/// before an error are imported all the same, so the same import can be made again when the cause is gone.
/// `limits`: of a state.
/// Errors, naming the line: kInvalidArgument (no line of an export; the source ends before its last line, or other
///   lines stand before that than it says), kInvalidState, kCorrupt (a state that does not fit its checksum),
///   kLimitExceeded, those of `source`, of `Importer` and of the store.
[[nodiscard]] Status import_lines(const LineSource& source, Importer& importer, const StateLimits& limits);

/// Loads every snapshot of these runs; loading compares it with its checksum. Returns their number. `progress` gets the
/// number so far.
/// Errors: kCorrupt, kLimitExceeded (name the snapshot), the store's. A snapshot that was deleted meanwhile is not an
/// error.
[[nodiscard]] Result<std::uint64_t> verify_runs(Store& store, const std::set<std::string>& runs,
                                                const StateLimits& limits,
                                                const std::function<void(std::uint64_t)>& progress = nullptr);

}  // namespace cairn
