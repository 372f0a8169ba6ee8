#pragma once

// Decodes several deltas in a row without copying the parts that they keep.

#include <cairn/checksum.h>
#include <cairn/error.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace cairn {

struct ContextRange;
struct ParsedDelta;

/// A text, and its changes by one delta frame after the other. It is held as a list of pieces: ranges of the base, and
/// the bytes that the deltas brought. So a delta costs a few microseconds however long the text is; only `text` copies
/// everything.
/// Threads: one at a time. Lifetime: the text given to the constructor must stay; frames need not.
/// Memory: the bytes that the deltas brought, and at most about twice the current text beyond that.
class TextChain {
public:
    explicit TextChain(std::string_view base);
    ~TextChain() = default;
    TextChain(const TextChain&) = delete;
    TextChain& operator=(const TextChain&) = delete;

    /// Replaces the current text by the one that `frame` describes on top of it. The frame's guard finds damage to the
    /// frame here; `text` finds a wrong base.
    /// Errors, with the current text unchanged: kCorrupt, kIncompatible, kLimitExceeded (more than `bytes_max`),
    ///   kInternal (memory).
    [[nodiscard]] Status apply(std::string_view frame, std::uint64_t bytes_max);

    std::size_t text_bytes() const noexcept { return pieces_.empty() ? 0 : pieces_.back().end; }

    /// The current text. Errors: kCorrupt if it does not have the checksum; kInternal (memory).
    [[nodiscard]] Result<std::string> text(const Checksum& expected) const;

    /// Does the same without checking the checksum.
    [[nodiscard]] Result<std::string> unverified_text() const;

    /// The bytes copied so far to make the text one piece again. Tests see by it what a chain costs.
    std::uint64_t bytes_flattened() const noexcept { return bytes_flattened_; }

private:
    struct Piece {
        const char* data = nullptr;
        std::size_t end = 0;  ///< End of the piece in the text; it begins where the previous one ends.
    };
    using Pieces = std::vector<Piece>;

    Status apply_or_throw(std::string_view frame, std::uint64_t bytes_max);
    Status read_literals(const ParsedDelta& delta, std::string& literals);
    std::string_view range(const ContextRange& range);
    std::size_t pieces_max(const ParsedDelta& delta) const;
    bool build_pieces(const ParsedDelta& delta, const char* literals);
    void append_range(std::size_t begin, std::size_t bytes);
    void flatten();
    std::string whole_text() const;

    Pieces pieces_;
    Pieces next_;                    ///< Only used while a delta is applied; kept for its memory.
    std::deque<std::string> owned_;  ///< The texts that pieces point to, apart from the base.
    std::size_t owned_bytes_ = 0;
    std::uint64_t bytes_flattened_ = 0;
    std::string context_;
};

}  // namespace cairn
