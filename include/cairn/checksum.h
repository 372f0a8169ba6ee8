#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace cairn {

/// XXH3-128 of some bytes. It can rule out equality, and it detects damage. It never proves that two states are equal.
struct Checksum {
    static constexpr std::size_t kBytes = 16;

    std::uint64_t high = 0;
    std::uint64_t low = 0;

    static Checksum of(std::string_view bytes) noexcept;

    /// XXH3's canonical form: `high` then `low`, big endian. Part of the stored format.
    std::array<std::uint8_t, kBytes> to_bytes() const noexcept;
    static Checksum from_bytes(const std::uint8_t (&bytes)[kBytes]) noexcept;

    std::string to_hex() const;

    friend bool operator==(const Checksum&, const Checksum&) = default;
};

}  // namespace cairn
