#include "frame/short_matches.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <memory>
#include <utility>

namespace cairn {
namespace {

constexpr std::uint32_t kSearchedBytesMin = 4;  ///< Of a match that is searched for: the bytes that are hashed.
constexpr std::uint32_t kRepeatBytesMin = 3;  ///< Of a match as far back as the one before: its distance costs nothing.

constexpr std::uint32_t kPlacesTried = 16;
constexpr std::uint32_t kLongMatchBytes = 32;  ///< A match of so many bytes is good enough.
constexpr std::uint32_t kStride = 2;           ///< Between the places that are entered. Matches are extended backwards.

/// Working memory of one thread.
struct Table {
    static constexpr unsigned kSlotBits = 11;
    std::array<std::uint16_t, std::size_t{1} << kSlotBits> newest{};  ///< By hash: the last place, counted from 1.
    std::array<bool, std::size_t{1} << kSlotBits> wanted{};
    std::array<std::uint16_t, kShortWindowBytesMax> before{};  ///< By place: the one before with the same hash.
};

std::uint32_t load4(const char* at) {
    std::uint32_t value = 0;
    std::memcpy(&value, at, sizeof value);
    return value;
}

std::uint64_t load8(const char* at) {
    std::uint64_t value = 0;
    std::memcpy(&value, at, sizeof value);
    return value;
}

struct Match {
    std::uint32_t at = 0;
    std::uint32_t distance = 0;
    std::uint32_t bytes = 0;
};

/// Works as zstd's "lazy" levels do: a match is taken unless one that begins a byte or two later is better.
class Parser {
public:
    Parser(Table& table, std::string_view window, std::size_t text_begin, std::size_t literal_bytes_max,
           std::vector<Sequence>& sequences)
        : table_(table),
          sequences_(sequences),
          window_(window.data()),
          literal_bytes_max_(literal_bytes_max),
          begin_(static_cast<std::uint32_t>(text_begin)),
          end_(static_cast<std::uint32_t>(window.size())),
          taken_(begin_) {}

    /// Returns what `find_short_matches` does: nothing as soon as too many bytes are in no match.
    std::optional<std::size_t> run() {
        sequences_.clear();
        enter_context();
        const std::uint32_t last = end_ - kSearchedBytesMin;
        std::uint32_t at = std::max(begin_, std::uint32_t{1});
        while (at <= last) {
            if (literal_bytes_ + (at - taken_) > literal_bytes_max_) return std::nullopt;
            Match match = first_match(at);
            if (match.bytes == 0) {
                ++at;
                continue;
            }
            improve(match, at, last);
            take(match);
            for (Match again = repeat(taken_, second_distance_); again.bytes != 0;) {
                take(again);
                again = repeat(taken_, second_distance_);
            }
            at = taken_;
        }
        literal_bytes_ += end_ - taken_;
        if (literal_bytes_ > literal_bytes_max_ || sequences_.empty()) return std::nullopt;
        return literal_bytes_;
    }

private:
    static std::uint32_t slot_of(const char* at) { return (load4(at) * 2'654'435'761U) >> (32 - Table::kSlotBits); }

    // Of a large context, only places are entered that a place of the text may ask for.
    void enter_context() {
        constexpr std::uint32_t kWorthChoosing = 4;
        table_.newest.fill(0);
        const bool chooses = begin_ > kWorthChoosing * (end_ - begin_);
        table_.wanted.fill(!chooses);
        for (std::uint32_t at = begin_; chooses && at + kSearchedBytesMin <= end_; ++at) {
            table_.wanted[slot_of(window_ + at)] = true;
        }
        for (; entered_ < begin_; entered_ += kStride) {
            const std::uint32_t slot = slot_of(window_ + entered_);
            if (table_.wanted[slot]) enter(entered_, slot);
        }
    }

    void enter(std::uint32_t at, std::uint32_t slot) {
        table_.before[at] = table_.newest[slot];
        table_.newest[slot] = static_cast<std::uint16_t>(at + 1);
    }

    std::uint32_t equal_bytes(std::uint32_t left, std::uint32_t right) const {
        const std::uint32_t start = left;
        for (; left + 8 <= end_; left += 8, right += 8) {
            const std::uint64_t difference = load8(window_ + left) ^ load8(window_ + right);
            if (difference == 0) continue;
            const int equal = std::endian::native == std::endian::little ? std::countr_zero(difference)
                                                                         : std::countl_zero(difference);
            return left - start + static_cast<std::uint32_t>(equal) / 8;
        }
        while (left < end_ && window_[left] == window_[right]) ++left, ++right;
        return left - start;
    }

    // The longest match at `at`; of equal ones the nearest.
    Match search(std::uint32_t at) {
        for (; entered_ < at; entered_ += kStride) enter(entered_, slot_of(window_ + entered_));
        Match best{.at = at};
        std::uint32_t longest = kSearchedBytesMin - 1;
        std::uint32_t place = table_.newest[slot_of(window_ + at)];
        for (std::uint32_t tried = 0; place != 0 && tried < kPlacesTried; ++tried, place = table_.before[place - 1]) {
            const std::uint32_t source = place - 1;
            if (load4(window_ + source + longest - 3) != load4(window_ + at + longest - 3)) continue;
            const std::uint32_t bytes = equal_bytes(at, source);
            if (bytes <= longest) continue;
            longest = bytes;
            best = {.at = at, .distance = at - source, .bytes = bytes};
            if (at + bytes == end_) break;
        }
        return best;
    }

    // The match at `at` that is as far back as `distance`.
    Match repeat(std::uint32_t at, std::uint32_t distance) const {
        if (distance > at || at + kSearchedBytesMin > end_) return {.at = at};
        const std::uint32_t bytes = equal_bytes(at, at - distance);
        return {.at = at, .distance = distance, .bytes = bytes < kRepeatBytesMin ? 0 : bytes};
    }

    Match first_match(std::uint32_t at) {
        const Match again = repeat(at + 1, distance_);
        const Match found = search(at);
        return found.bytes > again.bytes ? found : again;
    }

    /// The bits that a distance takes.
    std::int32_t cost(const Match& match) const {
        return match.distance == distance_ ? 0 : static_cast<std::int32_t>(std::bit_width(match.distance + 3)) - 1;
    }

    // zstd's rules for the worth of a later match.
    void improve(Match& match, std::uint32_t at, std::uint32_t last) {
        const auto worth = [&](const Match& some, std::int32_t factor) {
            return static_cast<std::int32_t>(some.bytes) * factor - cost(some);
        };
        for (std::uint32_t later = 1; later <= 2 && at + 1 <= last && match.bytes < kLongMatchBytes; ++later) {
            ++at;
            const Match again = repeat(at, distance_);
            const std::int32_t factor = later == 1 ? 3 : 4;
            if (again.bytes != 0 && worth(again, factor) > worth(match, factor) + 1) match = again;
            const Match found = search(at);
            if (found.bytes == 0 || worth(found, 4) <= worth(match, 4) + (later == 1 ? 4 : 7)) continue;
            match = found;
            later = 0;
        }
    }

    void take(Match match) {
        while (match.at > taken_ && match.at > match.distance &&
               window_[match.at - 1] == window_[match.at - 1 - match.distance]) {
            --match.at;
            ++match.bytes;
        }
        sequences_.push_back({match.at - taken_, match.distance, match.bytes});
        if (match.distance != distance_) second_distance_ = std::exchange(distance_, match.distance);
        literal_bytes_ += match.at - taken_;
        taken_ = match.at + match.bytes;
    }

    Table& table_;
    std::vector<Sequence>& sequences_;
    const char* window_;
    std::size_t literal_bytes_max_;
    std::uint32_t begin_;
    std::uint32_t end_;
    std::uint32_t taken_;            ///< The end of the last match.
    std::size_t literal_bytes_ = 0;  ///< Before the last match; in the end, all of them.
    std::uint32_t entered_ = 0;      ///< The next place to enter.
    // Of the last match, and of the last one with another distance; as the format begins.
    std::uint32_t distance_ = 1;
    std::uint32_t second_distance_ = 4;
};

}  // namespace

std::optional<std::size_t> find_short_matches(std::string_view window, std::size_t text_begin,
                                              std::size_t literal_bytes_max, std::vector<Sequence>& sequences) {
    // Not in the thread's own storage, which every thread has from its start.
    thread_local std::unique_ptr<Table> table;
    if (table == nullptr) table = std::make_unique<Table>();
    return Parser(*table, window, text_begin, literal_bytes_max, sequences).run();
}

}  // namespace cairn
