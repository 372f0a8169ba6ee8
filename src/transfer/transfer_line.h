#pragma once

// One line of an export: a snapshot with its whole state, or the end. Part of the program's interface: add members,
// never rename them.

#include <cairn/persistence.h>

#include <cstdint>
#include <string>
#include <variant>

namespace cairn {

/// The last line: without it a file has been cut off.
struct TransferEnd {
    std::uint64_t snapshots = 0;  ///< How many lines stand before it.
};

using TransferLine = std::variant<LoadedState, TransferEnd>;

/// Without the newline. State, context and metadata stand in it as they are, byte for byte.
std::string to_transfer_line(const LoadedState& snapshot);
std::string to_transfer_line(const TransferEnd& end);

/// How long a line may be if its state keeps within `limits`.
std::uint64_t transfer_line_bytes_max(const StateLimits& limits);

/// Reads a line and holds its state against its checksum.
/// Errors: kInvalidState (not a JSON object), kInvalidArgument (names the member), kCorrupt (another state than the
///   one that the checksum is of), kLimitExceeded.
[[nodiscard]] Result<TransferLine> parse_transfer_line(std::string&& line, const StateLimits& limits);

}  // namespace cairn
