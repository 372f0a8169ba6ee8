#include "frame/block_match.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

// The base is indexed by the hash of 16 bytes at every 32nd (or further) position. Then 16 bytes at every position of
// the text's middle are looked up, and each match is extended in both directions. So every equal range of stride + 15
// bytes or more is met, wherever it moved. The index is only as large as the base needs, since clearing it is a fixed
// cost.
//
// It takes longer to index a large base than to compare it. But what follows a change is mostly near: it stands a
// little behind the place in the base where the last copy ended. So of a large base only a window behind that place is
// indexed at first. If too much of the text is not found like that, the walk begins again with an index of the whole
// base.

namespace cairn {
namespace {

constexpr std::size_t kProbeBytes = 16;

// A copy costs some 5 bytes of frame. It also separates literals that compress better together.
constexpr std::size_t kCopyBytesMin = 64;

// A smaller middle goes to zstd as a whole, which sees the same bytes of the base and finds shorter matches.
constexpr std::size_t kMiddleBytesMin = 2000;

constexpr std::size_t kStrideMin = 32;
constexpr std::size_t kIndexEntriesMax = 128U << 10;

constexpr std::size_t kLargeBaseBytes = 1U << 20;
constexpr std::size_t kWindowBytes = 64U << 10;
constexpr std::size_t kWindowBytesAheadMin = kWindowBytes / 2;  // with less of it ahead, the window moves
constexpr std::size_t kMissedBytesMax = 8U << 10;               // more new bytes than that are worth a whole index

constexpr unsigned kSlotBitsMin = 8;
constexpr unsigned kSlotBitsMax = 18;

// x86 and ARM load eight bytes at any address in one instruction; memcpy asks for that without undefined behaviour.
std::uint64_t load8(const char* at) {
    std::uint64_t value = 0;
    std::memcpy(&value, at, sizeof value);
    return value;
}

std::uint64_t differing8(const char* left, const char* right) {
    return load8(left) ^ load8(right);
}

bool equal32(const char* left, const char* right) {
    return (differing8(left, right) | differing8(left + 8, right + 8) | differing8(left + 16, right + 16) |
            differing8(left + 24, right + 24)) == 0;
}

bool equal_probe(const char* left, const char* right) {
    return (differing8(left, right) | differing8(left + 8, right + 8)) == 0;
}

std::uint64_t probe_hash(const char* at) {
    return ((load8(at) * 0x9E3779B185EBCA87U) ^ ((load8(at + 8) * 0xC2B2AE3D27D4EB4FU) >> 3U)) * 0x9E3779B97F4A7C15U;
}

/// The places of 16-byte probes in a range of the base, one for each hash.
class BaseIndex {
public:
    /// Of equal probes, the last one counts.
    void build(std::string_view base) {
        const std::size_t probes = prepare(base, 0);
        for (std::size_t probe = 0; probe < probes; ++probe) add(probe);
    }

    /// Of equal probes, the first one counts: it is the nearest to the place where the range begins.
    void build_window(std::string_view base, std::size_t begin) {
        const std::size_t probes = prepare(base.substr(begin, kWindowBytes), begin);
        for (std::size_t probe = probes; probe > 0; --probe) add(probe - 1);
    }

    /// Returns a place in the base that holds the 16 bytes at `probe`, or null.
    const char* find(const char* probe) const {
        const std::uint32_t slot = slots_[probe_hash(probe) >> shift_];
        if (slot == 0) return nullptr;
        const char* place = range_.data() + (slot - 1) * stride_;
        return equal_probe(place, probe) ? place : nullptr;
    }

    std::size_t end() const { return end_; }  ///< The end of the range in the base.

private:
    /// Returns the number of probes in the range.
    std::size_t prepare(std::string_view range, std::size_t begin) {
        range_ = range;
        end_ = begin + range.size();
        stride_ = std::max(kStrideMin, range.size() / kIndexEntriesMax);
        const unsigned bits = slot_bits_for(range.size() / stride_);
        shift_ = 64 - bits;
        slots_.assign(std::size_t{1} << bits, 0);
        return range.size() < kProbeBytes ? 0 : (range.size() - kProbeBytes) / stride_ + 1;
    }

    void add(std::size_t probe) {
        slots_[probe_hash(range_.data() + probe * stride_) >> shift_] = static_cast<std::uint32_t>(probe + 1);
    }

    static unsigned slot_bits_for(std::size_t entries) {
        return std::clamp(static_cast<unsigned>(std::bit_width(entries)) + 1, kSlotBitsMin, kSlotBitsMax);
    }

    std::string_view range_;
    std::size_t end_ = 0;
    std::size_t stride_ = 0;
    unsigned shift_ = 0;
    std::vector<std::uint32_t> slots_;  ///< Number of the indexed place, counted from 1; at most 1 MiB is ever held.
};

/// The indexed part of the base, during a walk over the text.
class MovingIndex {
public:
    /// `source` is the place in the base where the last copy ended, here and below.
    MovingIndex(BaseIndex& index, std::string_view base, std::size_t source)
        : index_(index), base_(base), is_whole_(base.size() <= kLargeBaseBytes) {
        if (is_whole_) {
            index_.build(base_);
        } else {
            index_.build_window(base_, source);
        }
    }

    const char* find(const char* probe) const { return index_.find(probe); }

    void follow(std::size_t source) {
        if (is_whole_ || index_.end() >= std::min(base_.size(), source + kWindowBytesAheadMin)) return;
        index_.build_window(base_, source);
    }

    /// Indexes the whole base if so many bytes of the text that were not found are too many. Says whether it did.
    bool widen(std::size_t missed_bytes) {
        if (is_whole_ || missed_bytes <= kMissedBytesMax) return false;
        is_whole_ = true;
        index_.build(base_);
        return true;
    }

private:
    BaseIndex& index_;
    std::string_view base_;
    bool is_whole_;
};

/// Walks over the text between prefix and suffix and adds the copies found there. Returns the end of the last one.
std::size_t add_copies_between(MovingIndex& index, std::string_view base, std::string_view text, std::size_t begin,
                               std::size_t end, std::vector<Copy>& copies) {
    std::size_t literals = begin;  // start of the literal bytes in front of the next copy
    std::size_t missed = 0;        // literal bytes in front of the copies so far
    for (std::size_t at = begin; at + kProbeBytes <= end;) {
        if (index.widen(missed + at - literals)) {
            copies.resize(1);
            missed = 0;
            at = literals = begin;
        }
        const char* place = index.find(text.data() + at);
        if (place == nullptr) {
            ++at;
            continue;
        }
        const auto source = static_cast<std::size_t>(place - base.data());
        const std::size_t forward = common_prefix_bytes(base.substr(source), text.substr(at, end - at));
        const std::size_t backward = common_suffix_bytes(base.substr(0, source), text.substr(literals, at - literals));
        if (forward + backward < kCopyBytesMin) {
            ++at;
            continue;
        }
        copies.push_back({at - backward - literals, source - backward, forward + backward});
        missed += copies.back().literal_bytes;
        at += forward;
        literals = at;
        index.follow(source + forward);
    }
    return literals;
}

}  // namespace

std::size_t common_prefix_bytes(std::string_view left, std::string_view right) noexcept {
    const std::size_t bytes = std::min(left.size(), right.size());
    std::size_t at = 0;
    while (at + 32 <= bytes && equal32(left.data() + at, right.data() + at)) at += 32;
    while (at < bytes && left[at] == right[at]) ++at;
    return at;
}

std::size_t common_suffix_bytes(std::string_view left, std::string_view right) noexcept {
    const std::size_t bytes = std::min(left.size(), right.size());
    const char* left_end = left.data() + left.size();
    const char* right_end = right.data() + right.size();
    std::size_t back = 0;
    while (back + 32 <= bytes && equal32(left_end - back - 32, right_end - back - 32)) back += 32;
    while (back < bytes && *(left_end - back - 1) == *(right_end - back - 1)) ++back;
    return back;
}

void find_copies(std::string_view base, std::string_view text, std::vector<Copy>& copies) {
    const std::size_t prefix = common_prefix_bytes(base, text);
    const std::size_t suffix = common_suffix_bytes(base.substr(prefix), text.substr(prefix));
    const std::size_t end = text.size() - suffix;
    copies.clear();
    copies.push_back({0, 0, prefix});
    std::size_t literals = prefix;
    if (end - prefix >= kMiddleBytesMin && base.size() >= kCopyBytesMin) {
        thread_local BaseIndex places;
        MovingIndex index(places, base, prefix);
        literals = add_copies_between(index, base, text, prefix, end, copies);
    }
    copies.push_back({end - literals, base.size() - suffix, suffix});
}

}  // namespace cairn
