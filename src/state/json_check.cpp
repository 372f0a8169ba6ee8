#include "state/json_check.h"

#include "state/json_grammar.h"
#include "state/structural_index.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <algorithm>
#include <array>
#include <bit>
#include <memory>
#include <new>

namespace cairn {
namespace {

/// For each open container, one bit that says whether it is an object: with one bit per level, the usual depth fits two
/// cache lines.
class ContainerStack {
public:
    /// Returns false if memory runs out.
    bool reserve(std::size_t depth_max) noexcept {
        if (depth_max <= inline_.size() * 64) return true;
        large_.reset(new (std::nothrow) std::uint64_t[depth_max / 64 + 1]);
        words_ = large_.get();
        return words_ != nullptr;
    }

    std::size_t depth() const { return depth_; }

    void push(bool is_object) {
        std::uint64_t& word = words_[depth_ / 64];
        const std::uint64_t bit = std::uint64_t{1} << (depth_ % 64);
        word = is_object ? word | bit : word & ~bit;
        ++depth_;
    }

    void pop() { --depth_; }

    bool top_is_object() const { return (words_[(depth_ - 1) / 64] >> ((depth_ - 1) % 64) & 1) != 0; }

private:
    std::array<std::uint64_t, 16> inline_{};
    std::unique_ptr<std::uint64_t[]> large_;
    std::uint64_t* words_ = inline_.data();
    std::size_t depth_ = 0;
};

/// Walks over the tokens and knows at each which ones may follow. The stack is not a member, so that only the walk has
/// the walk's address, and the compiler can keep it in registers.
class GrammarWalk {
public:
    GrammarWalk(std::string_view text, std::span<const std::uint32_t> positions, std::size_t depth_max,
                ContainerStack& stack)
        : text_(text), positions_(positions), depth_max_(depth_max), stack_(stack) {}

    std::size_t white_space_bytes() const { return white_space_bytes_; }

    bool accepts() {
        if (text_[positions_[0]] != '{') return false;
        white_space_bytes_ = positions_[0];
        for (std::size_t token = 0; token + 1 < positions_.size(); ++token) {
            if (!accept(positions_[token], positions_[token + 1])) return false;
        }
        return stack_.depth() == 0;
    }

private:
    // The tokens that may come next.
    static constexpr std::uint8_t kValue = 1;
    static constexpr std::uint8_t kKey = 2;
    static constexpr std::uint8_t kColon = 4;
    static constexpr std::uint8_t kComma = 8;
    static constexpr std::uint8_t kEndOfObject = 16;
    static constexpr std::uint8_t kEndOfArray = 32;

    /// Accepts one token that starts at `begin`; the next one starts at `next`.
    bool accept(std::uint32_t begin, std::uint32_t next) {
        switch (const char first = text_[begin]) {
            case '"':
                return string(begin, next);
            case ':':
            case ',':
            case '{':
            case '[':
            case '}':
            case ']':
                white_space_bytes_ += next - begin - 1;
                return punctuation(first);
            default:
                return number_or_literal(begin, next);
        }
    }

    bool punctuation(char byte) {
        switch (byte) {
            case ':':
                return take(kColon, kValue);
            case ',':
                return take(kComma, in_object_ ? kKey : kValue);
            case '{':
                return open(true, kKey | kEndOfObject);
            case '[':
                return open(false, kValue | kEndOfArray);
            case '}':
                return close(kEndOfObject);
            default:
                return close(kEndOfArray);
        }
    }

    bool take(std::uint8_t what, std::uint8_t then) {
        const bool right = (expected_ & what) != 0;
        expected_ = then;
        return right;
    }

    std::uint8_t after_value() const { return kComma | (in_object_ ? kEndOfObject : kEndOfArray); }

    bool open(bool is_object, std::uint8_t then) {
        if (stack_.depth() >= depth_max_) return false;
        stack_.push(is_object);
        in_object_ = is_object;
        return take(kValue, then);
    }

    bool close(std::uint8_t what) {
        if ((expected_ & what) == 0) return false;
        stack_.pop();
        if (stack_.depth() == 0) {
            expected_ = 0;
            return true;
        }
        in_object_ = stack_.top_is_object();
        expected_ = after_value();
        return true;
    }

    bool string(std::uint32_t begin, std::uint32_t next) {
        const std::uint32_t end = end_of_token(next);
        const bool closed = end - begin >= 2 && text_[end - 1] == '"';
        const bool is_key = (expected_ & kKey) != 0;
        return closed && take(kValue | kKey, is_key ? kColon : after_value());
    }

    bool number_or_literal(std::uint32_t begin, std::uint32_t next) {
        const std::string_view token(text_.data() + begin, end_of_token(next) - begin);
        const char first = token[0];
        if (first == '-' || is_digit(first)) {
            const NumberPrefix number = number_at_front(token);
            if (!number.complete || number.bytes != token.size()) return false;
        } else if (!is_literal(token)) {
            return false;
        }
        return take(kValue, after_value());
    }

    /// Steps back over the white space before the next token.
    std::uint32_t end_of_token(std::uint32_t next) {
        std::uint32_t end = next;
        while (is_white_space(text_[end - 1])) --end;
        white_space_bytes_ += next - end;
        return end;
    }

    std::string_view text_;
    std::span<const std::uint32_t> positions_;
    std::size_t depth_max_;
    std::size_t white_space_bytes_ = 0;
    std::uint8_t expected_ = kValue;
    bool in_object_ = false;
    ContainerStack& stack_;
};

constexpr std::size_t kBlockBytes = 64;

/// Bit i says whether byte i of the block is a backslash.
std::uint64_t backslashes_of_block(const char* block) {
    std::uint64_t mask = 0;
#if defined(__SSE2__)
    const __m128i backslash = _mm_set1_epi8('\\');
    for (int part = 0; part < 4; ++part) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block + part * 16));
        const int bits = _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, backslash));
        mask |= std::uint64_t{static_cast<std::uint32_t>(bits)} << (part * 16);
    }
#else
    for (std::size_t i = 0; i < kBlockBytes; ++i) mask |= std::uint64_t{block[i] == '\\'} << i;
#endif
    return mask;
}

/// Says whether every backslash starts an escape. Checks the whole text at once: outside of strings the walk accepts no
/// backslash.
bool escapes_are_right(std::string_view text) {
    std::size_t done = 0;  // Everything before this was checked: a block's first bytes may belong to an escape.
    const auto check_block = [&](const char* block, std::size_t block_at) {
        for (std::uint64_t mask = backslashes_of_block(block); mask != 0; mask &= mask - 1) {
            const std::size_t at = block_at + static_cast<std::size_t>(std::countr_zero(mask));
            if (at < done) continue;
            const std::size_t bytes = escape_at_front(text.substr(at));
            if (bytes == 0) return false;
            done = at + bytes;
        }
        return true;
    };

    std::size_t at = 0;
    for (; at + kBlockBytes <= text.size(); at += kBlockBytes) {
        if (!check_block(text.data() + at, at)) return false;
    }
    std::array<char, kBlockBytes> rest{};
    std::ranges::copy(text.substr(at), rest.begin());
    return check_block(rest.data(), at);
}

}  // namespace

JsonCheck check_json(std::string_view text, std::uint32_t depth_max, StructuralIndex& index) noexcept {
    using Indexed = StructuralIndex::Outcome;
    using Outcome = JsonCheck::Outcome;
    const Indexed indexed = index.index(text);
    if (indexed != Indexed::kIndexed) {
        return {.outcome = indexed == Indexed::kRefused ? Outcome::kRefused : Outcome::kOutOfMemory};
    }
    const std::size_t depth_bound = std::min<std::size_t>(depth_max, text.size());
    ContainerStack stack;
    if (!stack.reserve(depth_bound)) return {.outcome = Outcome::kOutOfMemory};
    GrammarWalk walk(text, index.positions(), depth_bound, stack);
    if (!walk.accepts() || !escapes_are_right(text)) return {.outcome = Outcome::kRefused};
    return {.outcome = Outcome::kAccepted, .white_space_bytes = walk.white_space_bytes()};
}

}  // namespace cairn
