#include "base/text_hash.h"

#include <unistd.h>
#include <xxhash.h>

#include <array>
#include <chrono>
#include <cstdint>

namespace cairn {
namespace {

// 192 bytes, like XXH3's own secret: each block of a text is mixed with different ones of them.
class Secret {
public:
    Secret() noexcept {
        if (getentropy(words_.data(), sizeof words_) == 0) return;
        // If asking the kernel is forbidden, this is still harder to guess than no secret.
        const auto time = static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
        const std::uint64_t seed = time ^ reinterpret_cast<std::uintptr_t>(this);
        for (std::uint64_t i = 0; i < words_.size(); ++i) words_[i] = XXH64(&i, sizeof i, seed);
    }

    const void* data() const noexcept { return words_.data(); }
    static constexpr std::size_t size_bytes() noexcept { return kWords * sizeof(std::uint64_t); }

private:
    static constexpr std::size_t kWords = 24;

    std::array<std::uint64_t, kWords> words_{};
};

}  // namespace

std::size_t TextHash::operator()(std::string_view text) const noexcept {
    static const Secret kSecret;
    return XXH3_64bits_withSecret(text.data(), text.size(), kSecret.data(), Secret::size_bytes());
}

}  // namespace cairn
