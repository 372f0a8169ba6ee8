#pragma once

// The positions of the tokens in a JSON text: the first stage of simdjson, at 5 to 15 GB/s. Its second stage is not
// used, because it refuses what a state may hold (lone surrogate escapes, integers and exponents of any size).

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace cairn {

/// Finds tokens; keeps its memory (4 bytes for each byte of text) for the next text.
/// Threads: one at a time.
class StructuralIndex {
public:
    enum class Outcome : std::uint8_t { kIndexed, kRefused, kOutOfMemory };

    StructuralIndex();
    ~StructuralIndex();
    StructuralIndex(const StructuralIndex&) = delete;
    StructuralIndex& operator=(const StructuralIndex&) = delete;

    /// Refuses text that is not UTF-8, raw control characters in strings, an unclosed string, and text without any
    /// token.
    /// Never reads beyond the text. `text` must be shorter than 4 GiB.
    Outcome index(std::string_view text) noexcept;

    /// Positions in the text that was indexed last: each `{ } [ ] : ,`, each opening quote, and the first byte of every
    /// other run of bytes; then the text's size as an end mark. Between the end of a token and the next position there
    /// is only white space or nothing.
    std::span<const std::uint32_t> positions() const noexcept;

private:
    struct Engine;

    bool reserve(std::size_t bytes) noexcept;

    std::unique_ptr<Engine> engine_;
};

}  // namespace cairn
