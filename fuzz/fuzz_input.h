#pragma once

// The common part of the fuzzers: an input cut into parts, and a stop at the first broken promise.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace cairn::fuzz {

/// The input's bytes, taken from the front.
class Input {
public:
    Input(const std::uint8_t* data, std::size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}

    std::uint8_t byte() {
        if (rest_.empty()) return 0;
        const auto value = static_cast<std::uint8_t>(rest_.front());
        rest_.remove_prefix(1);
        return value;
    }

    /// A part with its length in the two bytes before it; everything left if the length is larger.
    std::string_view part() {
        const std::size_t low = byte();
        const std::size_t bytes = low | static_cast<std::size_t>(byte()) << 8U;
        const std::string_view taken = rest_.substr(0, bytes);
        rest_.remove_prefix(taken.size());
        return taken;
    }

    std::string_view rest() const { return rest_; }

private:
    std::string_view rest_;
};

/// libFuzzer keeps the input of a run that ends like this.
inline void require(bool holds) {
    if (!holds) std::abort();
}

}  // namespace cairn::fuzz
