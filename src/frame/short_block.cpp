#include "frame/short_block.h"

#include "frame/short_matches.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <optional>
#include <ranges>
#include <vector>

// A block is its literal bytes, then sequences: each takes some of these bytes, then copies a match from before. The
// literal bytes stay as they are, and the sequences are coded by the format's own default distributions, so that no
// table stands in the block. Few bytes are smaller like this.

namespace cairn {
namespace {

constexpr std::uint32_t kMatchBytesMin = 3;  ///< Of the format.
constexpr std::size_t kTextBytesMin = 8;     ///< No block is smaller than fewer bytes.

// ---- codes ----

/// The codes of one field of a sequence, for a distribution that the format fixes. States are those of a finite state
/// entropy coder: the next symbol's bits depend on the state, and the state's bits are read last.
template <unsigned Log, std::size_t Symbols>
class Coder {
public:
    constexpr explicit Coder(const std::array<std::int8_t, Symbols>& weights) {
        const std::array<std::uint8_t, kStates> spread = spread_symbols(weights);
        std::array<std::uint16_t, Symbols> first{};
        std::uint16_t total = 0;
        for (std::size_t symbol = 0; symbol < Symbols; ++symbol) {
            const unsigned weight = weights[symbol] < 0 ? 1U : static_cast<unsigned>(weights[symbol]);
            const unsigned bits_max = Log + 1 - static_cast<unsigned>(std::bit_width(std::max(weight - 1, 1U)));
            steps_[symbol] = {.bits = (bits_max << 16U) - (weight << bits_max),
                              .offset = static_cast<std::int32_t>(total) - static_cast<std::int32_t>(weight)};
            first[symbol] = total;
            total = static_cast<std::uint16_t>(total + weight);
        }
        for (unsigned state = 0; state < kStates; ++state) {
            next_[first[spread[state]]++] = static_cast<std::uint16_t>(kStates + state);
        }
    }

    static constexpr unsigned kLog = Log;

    std::uint32_t first_state(unsigned symbol) const {
        const Step& step = steps_[symbol];
        const std::uint32_t bits = (step.bits + (1U << 15U)) >> 16U;
        return next(((bits << 16U) - step.bits) >> bits, step);
    }
    unsigned bits_of(unsigned symbol, std::uint32_t state) const { return (state + steps_[symbol].bits) >> 16U; }
    std::uint32_t next_state(unsigned symbol, std::uint32_t state) const {
        return next(state >> bits_of(symbol, state), steps_[symbol]);
    }

private:
    static constexpr unsigned kStates = 1U << Log;
    struct Step {
        std::uint32_t bits = 0;
        std::int32_t offset = 0;
    };

    static constexpr std::array<std::uint8_t, kStates> spread_symbols(const std::array<std::int8_t, Symbols>& weights) {
        constexpr unsigned kStep = kStates / 2 + kStates / 8 + 3;
        std::array<std::uint8_t, kStates> spread{};
        unsigned last = kStates - 1;
        for (std::size_t symbol = 0; symbol < Symbols; ++symbol) {
            if (weights[symbol] < 0) spread[last--] = static_cast<std::uint8_t>(symbol);
        }
        unsigned place = 0;
        for (std::size_t symbol = 0; symbol < Symbols; ++symbol) {
            for (int i = 0; i < weights[symbol]; ++i) {
                spread[place] = static_cast<std::uint8_t>(symbol);
                do {
                    place = (place + kStep) % kStates;
                } while (place > last);
            }
        }
        return spread;
    }

    std::uint32_t next(std::uint32_t prefix, const Step& step) const {
        return next_[prefix + static_cast<std::uint32_t>(step.offset)];
    }

    std::array<std::uint16_t, kStates> next_{};
    std::array<Step, Symbols> steps_{};
};

// The format's default distributions: the weight of each code, out of 64 or 32; −1 stands for less than 1.
constexpr Coder<6, 36> kLiteralsCoder({4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1,  1,  2,  2,
                                       2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1});
constexpr Coder<6, 53> kMatchCoder({1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1,  1,  1,  1,  1,  1,  1, 1,
                                    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,  1,  1,  1,  1,  1,  1, 1,
                                    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1});
constexpr Coder<5, 29> kDistanceCoder({1, 1, 1, 1, 1, 1, 2, 2, 2, 1,  1,  1,  1,  1, 1,
                                       1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1});

/// A code, and how many low bits of the value follow it.
struct Code {
    std::uint8_t symbol = 0;
    std::uint8_t bits = 0;
};

// Values below `plain` have codes of their own. Each further code stands for as many values as its bits can tell.
template <std::size_t Values, std::size_t Codes>
constexpr std::array<Code, Values> codes_from(unsigned plain, const std::array<std::uint8_t, Codes>& bits) {
    std::array<Code, Values> codes{};
    for (std::size_t value = 0; value < plain; ++value) codes[value].symbol = static_cast<std::uint8_t>(value);
    std::size_t value = plain;
    for (std::size_t code = 0; code < Codes; ++code) {
        for (std::size_t i = 0; i < (std::size_t{1} << bits[code]) && value < Values; ++i, ++value) {
            codes[value] = {.symbol = static_cast<std::uint8_t>(plain + code), .bits = bits[code]};
        }
    }
    return codes;
}

constexpr std::size_t kLiteralsCoded = 64;
constexpr std::size_t kMatchCoded = 128;
constexpr auto kLiteralsCodes = codes_from<kLiteralsCoded>(16, std::array<std::uint8_t, 9>{1, 1, 1, 1, 2, 2, 3, 3, 4});
constexpr auto kMatchCodes = codes_from<kMatchCoded>(32, std::array<std::uint8_t, 11>{1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5});

std::uint32_t highest_bit(std::uint32_t value) {
    return static_cast<std::uint32_t>(std::bit_width(value)) - 1;
}

/// The code of a value beyond the table: a power of two and its rest.
Code code_of_large(std::uint32_t value, std::uint32_t more) {
    const std::uint32_t bits = highest_bit(value);
    return {.symbol = static_cast<std::uint8_t>(bits + more), .bits = static_cast<std::uint8_t>(bits)};
}

Code code_of_literals(std::uint32_t bytes) {
    return bytes < kLiteralsCoded ? kLiteralsCodes[bytes] : code_of_large(bytes, 19);
}

Code code_of_match(std::uint32_t bytes) {
    const std::uint32_t value = bytes - kMatchBytesMin;
    return value < kMatchCoded ? kMatchCodes[value] : code_of_large(value, 36);
}

/// Bits from the lowest on; a reader begins with the last.
class BitWriter {
public:
    explicit BitWriter(std::string& out) : out_(out) {}

    /// At most 32 bits.
    void put(std::uint32_t value, unsigned bits) {
        held_ |= (value & ((std::uint64_t{1} << bits) - 1)) << count_;
        count_ += bits;
        if (count_ >= kBitsAtOnce) write(kBitsAtOnce);
    }
    void finish() {
        put(1, 1);
        write(count_);
    }

private:
    static constexpr unsigned kBitsAtOnce = 32;

    void write(unsigned bits) {
        std::array<char, kBitsAtOnce / 8> bytes{};
        for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(held_ >> (8 * i) & 0xFFU);
        out_.append(bytes.data(), (bits + 7) / 8);
        held_ >>= kBitsAtOnce;
        count_ -= bits;
    }

    std::string& out_;
    std::uint64_t held_ = 0;
    unsigned count_ = 0;
};

// ---- the block ----

void put_literals(std::string_view text, const std::vector<Sequence>& sequences, std::size_t bytes, std::string& out) {
    constexpr std::size_t kOneByteSizes = 32;
    if (bytes < kOneByteSizes) {
        out += static_cast<char>(bytes << 3U);
    } else {
        out += static_cast<char>((bytes << 4U | 4U) & 0xFFU);
        out += static_cast<char>(bytes >> 4U);
    }
    std::size_t at = 0;
    for (const Sequence& sequence : sequences) {
        out += text.substr(at, sequence.literal_bytes);
        at += sequence.literal_bytes + sequence.bytes;
    }
    out += text.substr(at);
}

/// The last three distances. One of them is coded by its place among them.
class RecentDistances {
public:
    /// The value that stands for `distance` in a sequence.
    std::uint32_t value_of(std::uint32_t distance, bool has_literals) {
        // Without new bytes, the last distance would only continue the match before. So its value has another meaning,
        // which is not used here.
        const auto first = recent_.begin() + (has_literals ? 0 : 1);
        const auto found = std::find(first, recent_.end(), distance);
        const bool is_recent = found != recent_.end();
        const std::uint32_t value = is_recent ? static_cast<std::uint32_t>(found - first) + 1 : distance + 3;
        std::rotate(recent_.begin(), is_recent ? found : recent_.end() - 1, is_recent ? found + 1 : recent_.end());
        recent_.front() = distance;
        return value;
    }

private:
    std::array<std::uint32_t, 3> recent_ = {1, 4, 8};
};

/// One field of all sequences, from the last sequence to the first.
template <class Codes>
class Field {
public:
    explicit Field(const Codes& codes) : codes_(codes) {}

    void put(unsigned symbol, BitWriter& bits) {
        if (state_ != 0) bits.put(state_, codes_.bits_of(symbol, state_));
        state_ = state_ != 0 ? codes_.next_state(symbol, state_) : codes_.first_state(symbol);
    }
    void finish(BitWriter& bits) const { bits.put(state_, Codes::kLog); }

private:
    const Codes& codes_;
    std::uint32_t state_ = 0;  ///< 0: there was no symbol yet.
};

// The reader takes the sequences in order, and the bits from the end. So they are written from the last on.
void put_sequences(std::vector<Sequence>& sequences, std::string& out) {
    constexpr std::size_t kOneByteCounts = 128;
    const std::size_t count = sequences.size();
    if (count >= kOneByteCounts) out += static_cast<char>((count >> 8U) + kOneByteCounts);
    out += static_cast<char>(count & 0xFFU);
    out += '\0';  // default distributions for all three fields

    RecentDistances recent;
    for (Sequence& sequence : sequences) {
        sequence.distance = recent.value_of(sequence.distance, sequence.literal_bytes != 0);
    }
    BitWriter bits(out);
    Field literals(kLiteralsCoder);
    Field matches(kMatchCoder);
    Field distances(kDistanceCoder);
    for (const Sequence& sequence : std::views::reverse(sequences)) {
        const Code literals_code = code_of_literals(sequence.literal_bytes);
        const Code match_code = code_of_match(sequence.bytes);
        const unsigned distance_code = highest_bit(sequence.distance);
        distances.put(distance_code, bits);
        matches.put(match_code.symbol, bits);
        literals.put(literals_code.symbol, bits);
        bits.put(sequence.literal_bytes, literals_code.bits);
        bits.put(sequence.bytes - kMatchBytesMin, match_code.bits);
        bits.put(sequence.distance, distance_code);
    }
    matches.finish(bits);
    distances.finish(bits);
    literals.finish(bits);
    bits.finish();
}

}  // namespace

bool compress_short_block(std::string_view context, std::string_view text, std::string& out) {
    if (text.size() < kTextBytesMin || context.size() + text.size() > kShortWindowBytesMax) return false;
    thread_local std::string window;
    thread_local std::vector<Sequence> sequences;
    window.assign(context);
    window += text;
    const std::optional<std::size_t> literal_bytes =
        find_short_matches(window, context.size(), kShortBlockLiteralsMax, sequences);
    if (!literal_bytes) return false;
    const std::size_t start = out.size();
    put_literals(text, sequences, *literal_bytes, out);
    put_sequences(sequences, out);
    if (out.size() - start < text.size()) return true;
    out.resize(start);
    return false;
}

}  // namespace cairn
