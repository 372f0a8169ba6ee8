#pragma once

// The fast check of a JSON text: right or not, without a reason. `diagnose()` finds the reason, for the few texts that
// are refused.

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace cairn {

class StructuralIndex;

struct JsonCheck {
    enum class Outcome : std::uint8_t { kAccepted, kRefused, kOutOfMemory };

    Outcome outcome = Outcome::kRefused;
    std::size_t white_space_bytes = 0;  ///< Insignificant white space; only for an accepted text.
};

/// Accepts one JSON object (RFC 8259, UTF-8) nested at most `depth_max` deep, with optional white space around it.
/// `text` must be shorter than 4 GiB.
JsonCheck check_json(std::string_view text, std::uint32_t depth_max, StructuralIndex& index) noexcept;

}  // namespace cairn
