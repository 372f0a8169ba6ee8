// Goal: a damaged or lying delta frame, or a wrong base, is an error of a known code. It never gives other text, a
// crash, or an allocation that frame, base and limit do not justify.
// Method: flips every bit of sample frames; tries every truncation; writes frames by hand that lie behind a valid
// guard; makes seeded random mutations and then fits the guard, so that they reach the code behind it.

#include "frame/delta_frame.h"
#include "frame/delta_layout.h"
#include "frame/text_chain.h"
#include "support/edits.h"
#include "support/seed.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace cairn {
namespace {

using test::Edits;

constexpr std::uint64_t kBytesMax = 64ULL << 20;
constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();

struct Sample {
    std::string name;
    std::string base;
    std::string text;
    std::string frame;
};

std::vector<Sample> samples() {
    Edits edits(20260103);
    std::vector<Sample> made;
    const auto add = [&made](std::string name, const std::string& base, const std::string& text,
                             const FrameOptions& options = {}) {
        const auto frame = encode_delta_frame(base, text, options, kNoLimit);
        made.push_back({std::move(name), base, text, frame.value().value()});
    };
    std::string messages;
    while (messages.size() < 8000) messages += fmt::format(R"({{"id":{},"ok":true}},)", edits.below(100'000));
    std::string middle_changed = messages;
    middle_changed.insert(4000, "first").insert(200, std::string(3000, '-'));
    std::string scattered = messages;
    for (std::size_t at = 100; at < scattered.size(); at += 900) scattered[at] = '~';
    add("nothing changed", messages, messages);
    add("empty base", "", messages.substr(0, 300));
    add("empty text", messages, "");
    add("one byte", "{\"step\":1}", "{\"step\":2}");
    add("plain, several copies", messages, scattered, {.compression = false});
    add("zstd, one bare block", messages, messages + messages.substr(50, 700) + "and more of what is new here");
    add("zstd, several copies", messages, middle_changed);
    add("zstd, blocks with headers", messages, messages + std::string(200'000, ' ') + "end");
    add("opaque, plain", messages, scattered, {.content = FrameContent::kOpaque, .compression = false});
    add("opaque, zstd", messages, middle_changed, {.content = FrameContent::kOpaque});
    return made;
}

bool is_damage(ErrorCode code) {
    return code == ErrorCode::kCorrupt || code == ErrorCode::kIncompatible || code == ErrorCode::kLimitExceeded;
}

Result<std::string> decode(const Sample& sample, std::string_view frame, std::uint64_t bytes_max = kBytesMax) {
    return decode_delta_frame(frame, sample.base, Checksum::of(sample.text), bytes_max);
}

// ---- frames written by hand ----

std::string with_guard(std::string frame) {
    const auto guard = guard_of(frame);
    return frame.append(guard.data(), guard.size());
}

std::string delta(FrameKind kind, std::uint64_t text_bytes, const std::vector<std::uint64_t>& numbers,
                  std::string_view rest) {
    std::string frame;
    put_frame_header(frame, kind, text_bytes, FrameContent::kJson);
    for (const std::uint64_t number : numbers) put_varint(frame, number);
    return with_guard(frame.append(rest));
}

ErrorCode error_of(const std::string& frame, std::string_view base, std::uint64_t bytes_max = kBytesMax) {
    TextChain chain(base);
    const Status status = chain.apply(frame, bytes_max);
    EXPECT_FALSE(status) << "it decoded to " << chain.text_bytes() << " bytes";
    return status ? ErrorCode::kInternal : status.error().code;
}

// ---- damage ----

TEST(DeltaDamage, EveryFlippedBitIsAnError) {
    for (const Sample& sample : samples()) {
        ASSERT_TRUE(decode(sample, sample.frame).value() == sample.text) << sample.name;
        std::string frame = sample.frame;
        for (std::size_t bit = 0; bit < frame.size() * 8; ++bit) {
            const auto flip = [&] { frame[bit / 8] = static_cast<char>(frame[bit / 8] ^ (1 << (bit % 8))); };
            flip();
            const auto decoded = decode(sample, frame);
            ASSERT_FALSE(decoded) << sample.name << ", bit " << bit;
            ASSERT_TRUE(is_damage(decoded.error().code)) << sample.name << ": " << decoded.error().to_string();
            flip();
        }
    }
}

TEST(DeltaDamage, EveryFlippedBitBehindAFittingGuardIsNeverOtherText) {
    for (const Sample& sample : samples()) {
        const std::string body = sample.frame.substr(0, sample.frame.size() - kGuardBytes);
        for (std::size_t bit = 16; bit < body.size() * 8; ++bit) {
            std::string changed = body;
            changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << (bit % 8)));
            const auto decoded = decode(sample, with_guard(std::move(changed)));
            if (decoded) {
                ASSERT_TRUE(*decoded == sample.text) << sample.name << ", bit " << bit;
            } else {
                ASSERT_TRUE(is_damage(decoded.error().code)) << sample.name << ": " << decoded.error().to_string();
            }
        }
    }
}

TEST(DeltaDamage, EveryTruncationIsCorrupt) {
    for (const Sample& sample : samples()) {
        for (std::size_t bytes = 0; bytes < sample.frame.size(); ++bytes) {
            ASSERT_EQ(decode(sample, sample.frame.substr(0, bytes)).error().code, ErrorCode::kCorrupt);
            if (bytes < kGuardBytes) continue;
            const std::string cut = with_guard(sample.frame.substr(0, bytes - kGuardBytes));
            const auto decoded = decode(sample, cut);
            if (decoded) {
                EXPECT_TRUE(*decoded == sample.text) << sample.name << " cut to " << bytes;
            } else {
                EXPECT_TRUE(is_damage(decoded.error().code)) << sample.name << ": " << decoded.error().to_string();
            }
        }
    }
}

TEST(DeltaDamage, AWrongBaseIsCorrupt) {
    for (const Sample& sample : samples()) {
        if (sample.text.empty() || sample.base.empty()) continue;  // these frames use nothing of their base
        std::string kept_byte_changed = sample.base;
        kept_byte_changed[1] = static_cast<char>(kept_byte_changed[1] ^ 1);
        for (const std::string& wrong : {std::string(), sample.base.substr(1), kept_byte_changed}) {
            const auto decoded = decode_delta_frame(sample.frame, wrong, Checksum::of(sample.text), kBytesMax);
            ASSERT_FALSE(decoded) << sample.name;
            EXPECT_EQ(decoded.error().code, ErrorCode::kCorrupt) << sample.name;
        }
    }
}

TEST(DeltaDamage, AnotherSnapshotsRecordIsCorrupt) {
    for (const Sample& sample : samples()) {
        EXPECT_EQ(decode_delta_frame(sample.frame, sample.base, Checksum::of("other"), kBytesMax).error().code,
                  ErrorCode::kCorrupt);
    }
}

TEST(DeltaDamage, MutationsBehindAFittingGuardNeverDecodeToOtherText) {
    const std::vector<Sample> all = samples();
    const std::uint64_t first = test::seed();
    for (std::uint64_t seed = first; seed < first + 30'000; ++seed) {
        SCOPED_TRACE(test::replay_line(seed));
        Edits edits(seed);
        const Sample& sample = all[edits.below(all.size())];
        std::string body = sample.frame.substr(0, sample.frame.size() - kGuardBytes);
        for (std::size_t change = 0; change <= edits.below(4); ++change) {
            const std::size_t at = edits.below(std::min<std::size_t>(body.size() + 1, 40));
            switch (edits.below(3)) {
                case 0:
                    if (at < body.size()) body[at] = static_cast<char>(edits.below(256));
                    break;
                case 1:
                    body.erase(at, edits.below(8));
                    break;
                default:
                    body.insert(at, edits.below(8), static_cast<char>(edits.below(256)));
            }
        }
        const auto decoded = decode(sample, with_guard(std::move(body)), 1U << 20);
        if (decoded) {
            ASSERT_TRUE(*decoded == sample.text) << sample.name;
        } else {
            ASSERT_TRUE(is_damage(decoded.error().code)) << decoded.error().to_string();
        }
    }
}

// ---- lies ----

TEST(DeltaDamage, AnHonestFrameWrittenByHandDecodes) {
    const std::string base = "0123456789";
    const std::string frame = delta(FrameKind::kDeltaPlain, 9, {2, 1, 2, 1, 2 * 2, 3}, "ab");
    EXPECT_EQ(decode_delta_frame(frame, base, Checksum::of("01a456b9"), kBytesMax).error().code, ErrorCode::kCorrupt)
        << "its length says 9";
    const std::string honest = delta(FrameKind::kDeltaPlain, 8, {2, 1, 2, 1, 2 * 2, 3}, "ab");
    EXPECT_EQ(decode_delta_frame(honest, base, Checksum::of("01a456b9"), kBytesMax).value_or("unreadable"), "01a456b9");
}

TEST(DeltaDamage, RangesOutsideTheBaseAreCorrupt) {
    const std::string base = "0123456789";
    const auto plain = [](std::uint64_t text_bytes, const std::vector<std::uint64_t>& numbers) {
        return delta(FrameKind::kDeltaPlain, text_bytes, numbers, "");
    };
    for (const std::uint64_t big : {std::uint64_t{11}, std::uint64_t{1} << 32U, kNoLimit / 2, kNoLimit}) {
        EXPECT_EQ(error_of(plain(big, {big, 0, 0}), base, kNoLimit), ErrorCode::kCorrupt) << "prefix " << big;
        EXPECT_EQ(error_of(plain(big, {0, big, 0}), base, kNoLimit), ErrorCode::kCorrupt) << "suffix " << big;
        EXPECT_EQ(error_of(plain(5, {0, 0, 2, 0, big * 2, 5}), base), ErrorCode::kCorrupt) << "source " << big;
        EXPECT_EQ(error_of(plain(5, {0, 0, 2, 0, big * 2 - 1, 5}), base), ErrorCode::kCorrupt) << "back " << big;
        EXPECT_EQ(error_of(plain(big, {0, 0, 2, 0, 0, big}), base, kNoLimit), ErrorCode::kCorrupt) << "bytes " << big;
        EXPECT_EQ(error_of(plain(5, {0, 0, 2, big, 0, 5}), base), ErrorCode::kCorrupt) << "literals " << big;
    }
    EXPECT_EQ(error_of(plain(12, {8, 5, 0}), base), ErrorCode::kCorrupt) << "the text is shorter than its ends";
    EXPECT_EQ(error_of(plain(5, {0, 5, 1}), base), ErrorCode::kCorrupt) << "plain bytes have no block headers";
}

TEST(DeltaDamage, CountsWithoutSubstanceTakeNoMemory) {
    for (const std::uint64_t count : {std::uint64_t{8}, std::uint64_t{1} << 40U, kNoLimit}) {
        EXPECT_EQ(error_of(delta(FrameKind::kDeltaPlain, 5, {0, 0, count}, "abcde"), "0123456789"),
                  ErrorCode::kCorrupt);
    }
    for (const std::uint64_t text_bytes : {std::uint64_t{1} << 30U, std::uint64_t{1} << 62U, kNoLimit}) {
        for (const std::uint64_t form : {0U, 1U}) {
            EXPECT_EQ(error_of(delta(FrameKind::kDeltaZstdNear, text_bytes, {0, 0, form}, "abcde"), "{}", kNoLimit),
                      ErrorCode::kCorrupt);
        }
        EXPECT_EQ(error_of(delta(FrameKind::kDeltaPlain, text_bytes, {0, 0, 0}, "abcde"), "{}", kNoLimit),
                  ErrorCode::kCorrupt);
    }
}

// A text may repeat its base, so the frame's size does not bound the allocation; the limit does.
TEST(DeltaDamage, RepetitionIsBoundedByTheLimit) {
    const std::string base(100'000, 'x');
    std::vector<std::uint64_t> numbers{0, 0, 2 * 1000};
    for (int i = 0; i < 1000; ++i) {
        numbers.insert(numbers.end(), {0, i == 0 ? 0 : 2 * base.size() - 1, base.size()});
    }
    const std::string frame = delta(FrameKind::kDeltaPlain, 1000 * base.size(), numbers, "");
    EXPECT_EQ(error_of(frame, base), ErrorCode::kLimitExceeded);
    TextChain chain(base);
    EXPECT_TRUE(chain.apply(frame, 1000 * base.size())) << "no copy is made of it";
    EXPECT_EQ(chain.text_bytes(), 1000 * base.size());
}

TEST(DeltaDamage, ErrorsNeverHoldContent) {
    const std::string frame = delta(FrameKind::kDeltaPlain, 9, {0, 0, 0}, "swordfish");
    for (const auto& decoded : {decode_delta_frame(frame + "x", "{}", Checksum::of("swordfish"), kBytesMax),
                                decode_delta_frame(frame, "{}", Checksum::of("other"), kBytesMax)}) {
        ASSERT_FALSE(decoded);
        EXPECT_EQ(decoded.error().to_string().find("swordfish"), std::string::npos);
    }
}

}  // namespace
}  // namespace cairn
