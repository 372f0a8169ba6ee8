#include <cairn/checksum.h>

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <iterator>

namespace cairn {

Checksum Checksum::of(std::string_view bytes) noexcept {
    const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
    return {.high = hash.high64, .low = hash.low64};
}

std::array<std::uint8_t, Checksum::kBytes> Checksum::to_bytes() const noexcept {
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH128_hash_t{.low64 = low, .high64 = high});
    std::array<std::uint8_t, kBytes> bytes{};
    std::ranges::copy(canonical.digest, bytes.begin());
    return bytes;
}

Checksum Checksum::from_bytes(const std::uint8_t (&bytes)[kBytes]) noexcept {
    XXH128_canonical_t canonical;
    std::ranges::copy(bytes, std::begin(canonical.digest));
    const XXH128_hash_t hash = XXH128_hashFromCanonical(&canonical);
    return {.high = hash.high64, .low = hash.low64};
}

std::string Checksum::to_hex() const {
    return fmt::format("{:016x}{:016x}", high, low);
}

}  // namespace cairn
