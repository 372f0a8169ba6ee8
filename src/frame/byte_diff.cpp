#include "frame/byte_diff.h"

#include "frame/block_match.h"

#include <algorithm>

namespace cairn {

// A copy from behind the last one of its kind is a range that stayed. The others, and what lies between, changed.
std::vector<ByteChange> diff_bytes(std::string_view before, std::string_view after) {
    std::vector<Copy> copies;
    find_copies(before, after, copies);
    const std::size_t suffix = before.size() - copies.back().bytes;
    std::vector<ByteChange> changes;
    ByteChange change;
    std::size_t at = 0;
    for (const Copy& copy : copies) {
        at += copy.literal_bytes;
        const bool is_last = &copy == &copies.back();
        const bool stayed = copy.source >= change.before.begin && (is_last || copy.source + copy.bytes <= suffix);
        if (stayed) {
            change.before.end = copy.source;
            change.after.end = at;
            if (!change.before.is_empty() || !change.after.is_empty()) changes.push_back(change);
            change.before.begin = copy.source + copy.bytes;
            change.after.begin = at + copy.bytes;
        }
        at += copy.bytes;
    }
    return changes;
}

}  // namespace cairn
