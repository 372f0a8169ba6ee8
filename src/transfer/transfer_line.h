#pragma once

// One line of an export: a snapshot with its whole state, or the end. Part of the program's interface: add members,
// never rename them.

#include <cairn/persistence.h>

#include <cstdint>
#include <string>
#include <variant>

namespace cairn {

/// The last line. A file without it has been cut off.
struct TransferEnd {
    std::uint64_t snapshots = 0;  ///< The number of lines before it.
};

using TransferLine = std::variant<LoadedState, TransferEnd>;

/// Returns the line without the newline. State, context and metadata are in it as they are, byte for byte; of an opaque
/// state, the type and the bytes in base64.
std::string to_transfer_line(const LoadedState& snapshot);
std::string to_transfer_line(const TransferEnd& end);

/// The longest line whose state is within `limits`.
std::uint64_t transfer_line_bytes_max(const StateLimits& limits);

/// Reads a line and compares its state with its checksum.
/// Errors: kInvalidState (not a JSON object), kInvalidArgument (names the member), kCorrupt (the checksum is of another
///   state), kLimitExceeded.
[[nodiscard]] Result<TransferLine> parse_transfer_line(std::string&& line, const StateLimits& limits);

}  // namespace cairn
