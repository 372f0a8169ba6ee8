#include "frame/byte_diff.h"

#include "frame/block_match.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

namespace cairn {
namespace {

/// A weight, and the copy that it belongs to.
using Candidate = std::pair<std::int64_t, std::size_t>;

constexpr Candidate kNone{std::numeric_limits<std::int64_t>::min(), 0};

/// Keeps the heaviest candidate at each place, and finds the heaviest of a range of places in logarithmic time.
class HeaviestOfRange {
public:
    explicit HeaviestOfRange(std::size_t places) : places_(places), tree_(2 * places, kNone) {}

    void add(std::size_t place, Candidate candidate) {
        for (std::size_t node = place + places_; node > 0; node /= 2) tree_[node] = std::max(tree_[node], candidate);
    }

    Candidate heaviest(std::size_t begin, std::size_t end) const {
        Candidate found = kNone;
        for (begin += places_, end += places_; begin < end; begin /= 2, end /= 2) {
            if (begin % 2 == 1) found = std::max(found, tree_[begin++]);
            if (end % 2 == 1) found = std::max(found, tree_[--end]);
        }
        return found;
    }

private:
    std::size_t places_;
    std::vector<Candidate> tree_;
};

std::int64_t end_of(const Copy& copy) {
    return static_cast<std::int64_t>(copy.source + copy.bytes);
}

/// Of the copies, which are in the order of the second text, chooses those that keep the most bytes if they are to be
/// in the order of the first text as well. The first and the last copy, which are the common start and end, are always
/// among them. Where two overlap in the first text, the second one begins behind the first.
class KeptCopies {
public:
    explicit KeptCopies(const std::vector<Copy>& copies)
        : copies_(copies), ends_(sorted_ends(copies)), apart_(ends_.size()), overlapping_(ends_.size()) {}

    std::vector<std::size_t> choose() {
        std::vector<std::size_t> before(copies_.size(), 0);
        add(0, end_of(copies_.front()));
        for (std::size_t at = 1; at < copies_.size(); ++at) {
            const Candidate best = best_before(copies_[at]);
            if (best == kNone) continue;  // it is from within the common start
            before[at] = best.second;
            add(at, best.first);
        }
        std::vector<std::size_t> chosen{copies_.size() - 1};
        while (chosen.back() != 0) chosen.push_back(before[chosen.back()]);
        std::ranges::reverse(chosen);
        return chosen;
    }

private:
    static std::vector<std::int64_t> sorted_ends(const std::vector<Copy>& copies) {
        std::vector<std::int64_t> ends;
        ends.reserve(copies.size());
        for (const Copy& copy : copies) ends.push_back(end_of(copy));
        std::ranges::sort(ends);
        ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
        return ends;
    }

    /// The number of ends up to this one.
    std::size_t count_up_to(std::int64_t end) const {
        return static_cast<std::size_t>(std::ranges::upper_bound(ends_, end) - ends_.begin());
    }

    void add(std::size_t at, std::int64_t weight) {
        const std::int64_t end = end_of(copies_[at]);
        apart_.add(count_up_to(end) - 1, {weight, at});
        overlapping_.add(count_up_to(end) - 1, {weight - end, at});
    }

    /// The heaviest chain that this copy ends, and the copy before it in that chain.
    Candidate best_before(const Copy& copy) const {
        const std::size_t up_to_source = count_up_to(static_cast<std::int64_t>(copy.source));
        Candidate apart = apart_.heaviest(0, up_to_source);
        Candidate overlapping = overlapping_.heaviest(up_to_source, count_up_to(end_of(copy)));
        if (apart != kNone) apart.first += static_cast<std::int64_t>(copy.bytes);
        if (overlapping != kNone) overlapping.first += end_of(copy);
        return std::max(apart, overlapping);
    }

    const std::vector<Copy>& copies_;
    std::vector<std::int64_t> ends_;
    HeaviestOfRange apart_;        // by end: the weight of the heaviest chain that ends there
    HeaviestOfRange overlapping_;  // the same, less the end
};

}  // namespace

std::vector<ByteChange> diff_bytes(std::string_view before, std::string_view after) {
    std::vector<Copy> copies;
    find_copies(before, after, copies);
    std::vector<std::size_t> ends_in_after;
    ends_in_after.reserve(copies.size());
    for (const Copy& copy : copies) {
        ends_in_after.push_back((ends_in_after.empty() ? 0 : ends_in_after.back()) + copy.literal_bytes + copy.bytes);
    }
    std::vector<ByteChange> changes;
    ByteChange change;
    for (const std::size_t at : KeptCopies(copies).choose()) {
        const std::size_t end = copies[at].source + copies[at].bytes;
        const std::size_t begin = std::max(copies[at].source, change.before.begin);
        if (begin == end && at + 1 != copies.size()) continue;
        change.before.end = begin;
        change.after.end = ends_in_after[at] - (end - begin);
        if (!change.before.is_empty() || !change.after.is_empty()) changes.push_back(change);
        change.before.begin = end;
        change.after.begin = ends_in_after[at];
    }
    return changes;
}

}  // namespace cairn
