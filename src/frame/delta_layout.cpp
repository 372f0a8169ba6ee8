#include "frame/delta_layout.h"

#include <fmt/format.h>

#include <algorithm>

namespace cairn {
namespace {

constexpr std::size_t kCopyVarints = 3;

// The largest context. Part of the stored format.
struct ContextReach {
    std::size_t before = 0;
    std::size_t after = 0;
};
constexpr ContextReach kWide = {.before = 16U << 10, .after = 4U << 10};
constexpr ContextReach kNear = {.before = 2U << 10, .after = 2U << 10};

// Maps 0, −1, 1, −2, … to 0, 1, 2, 3, …
std::uint64_t fold_sign(std::uint64_t difference) {
    return (difference << 1U) ^ (0 - (difference >> 63U));
}

std::uint64_t unfold_sign(std::uint64_t folded) {
    return (folded >> 1U) ^ (0 - (folded & 1U));
}

/// Reads the copies. After the first error, it reads nothing more.
class CopyReader {
public:
    CopyReader(std::string_view body, std::size_t base_bytes, std::uint64_t text_bytes)
        : rest_(body), base_bytes_(base_bytes), text_left_(text_bytes) {}

    bool read(ParsedDelta& delta) {
        const std::uint64_t prefix = take();
        const std::uint64_t suffix = take();
        const std::uint64_t count = take();
        if (!good_ || suffix > base_bytes_ || count / 2 > rest_.size() / kCopyVarints) return false;
        delta.form = count % 2 == 0 ? ZstdBlocks::kOneBare : ZstdBlocks::kWithHeader;
        delta.copies.reserve(count / 2 + 2);
        add(delta, 0, 0, prefix);
        for (std::uint64_t i = 0; good_ && i < count / 2; ++i) {
            const std::uint64_t literals = take();
            const std::uint64_t source = source_ + unfold_sign(take());
            add(delta, literals, source, take());
        }
        if (suffix > text_left_) return false;
        add(delta, text_left_ - suffix, base_bytes_ - suffix, suffix);
        delta.literals = rest_;
        return good_;
    }

private:
    std::uint64_t take() {
        const auto value = take_varint(rest_);
        good_ = good_ && value;
        return value.value_or(0);
    }

    void add(ParsedDelta& delta, std::uint64_t literals, std::uint64_t source, std::uint64_t bytes) {
        good_ = good_ && source <= base_bytes_ && bytes <= base_bytes_ - source && literals <= text_left_ &&
                bytes <= text_left_ - literals;
        if (!good_) return;
        text_left_ -= literals + bytes;
        source_ = source + bytes;
        delta.literal_bytes += literals;
        delta.copies.push_back({literals, source, bytes});
    }

    std::string_view rest_;
    std::uint64_t base_bytes_;
    std::uint64_t text_left_;
    std::uint64_t source_ = 0;  ///< End of the previous range.
    bool good_ = true;
};

Status check_literals(const ParsedDelta& delta) {
    if (delta.header.kind != FrameKind::kDeltaPlain) {
        return check_zstd_blocks(delta.literals, delta.form, delta.literal_bytes);
    }
    if (delta.form == ZstdBlocks::kOneBare && delta.literals.size() == delta.literal_bytes) return {};
    return corrupt_frame_error(
        fmt::format("{} new bytes are there, its copies leave {}", delta.literals.size(), delta.literal_bytes));
}

}  // namespace

ContextRange context_range(FrameKind kind, const std::vector<Copy>& copies, std::size_t base_bytes) {
    const ContextReach reach = kind == FrameKind::kDeltaZstdWide ? kWide : kNear;
    const Copy* longest = &copies.back();
    std::size_t place = 0;
    std::size_t source = 0;
    for (const Copy& copy : copies) {
        if (&copy == &copies.front() || copy.literal_bytes > longest->literal_bytes) {
            longest = &copy;
            place = source;
        }
        source = copy.source + copy.bytes;
    }
    const std::size_t begin = place - std::min(place, reach.before);
    const std::size_t end = place + std::min(base_bytes - place, reach.after);
    return {begin, end - begin};
}

void collect_literals(std::string_view text, const std::vector<Copy>& copies, std::string& literals) {
    literals.clear();
    std::size_t at = 0;
    for (const Copy& copy : copies) {
        literals += text.substr(at, copy.literal_bytes);
        at += copy.literal_bytes + copy.bytes;
    }
}

void put_copies(const std::vector<Copy>& copies, ZstdBlocks form, std::string& frame) {
    const std::size_t between = copies.size() - 2;
    put_varint(frame, copies.front().bytes);
    put_varint(frame, copies.back().bytes);
    put_varint(frame, 2 * between + (form == ZstdBlocks::kWithHeader ? 1 : 0));
    std::size_t source = copies.front().bytes;
    for (std::size_t i = 1; i <= between; ++i) {
        put_varint(frame, copies[i].literal_bytes);
        put_varint(frame, fold_sign(copies[i].source - source));
        put_varint(frame, copies[i].bytes);
        source = copies[i].source + copies[i].bytes;
    }
}

Status parse_delta(std::string_view frame, std::size_t base_bytes, std::uint64_t bytes_max, ParsedDelta& delta) {
    Result<ParsedFrame> parsed = parse_frame(frame);
    if (!parsed) return std::unexpected(std::move(parsed.error()));
    delta.header = parsed->header;
    if (!needs_base(delta.header.kind)) return corrupt_frame_error("a full frame stands where a delta belongs");
    if (parsed->body.size() < kGuardBytes) return corrupt_frame_error("cut off before its guard");
    const std::size_t guard_at = frame.size() - kGuardBytes;
    if (!std::ranges::equal(guard_of(frame.substr(0, guard_at)), frame.substr(guard_at))) {
        return corrupt_frame_error("it does not have the stored guard");
    }
    if (Status status = check_text_limit(delta.header, bytes_max); !status) return status;
    parsed->body.remove_suffix(kGuardBytes);
    if (!CopyReader(parsed->body, base_bytes, delta.header.text_bytes).read(delta)) {
        return corrupt_frame_error("its copies cannot be read, or do not fit its base");
    }
    return check_literals(delta);
}

}  // namespace cairn
