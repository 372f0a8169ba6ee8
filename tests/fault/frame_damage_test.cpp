// Goal: a damaged or lying frame is an error of a known code. It never gives other text, the same text by luck, a
// crash, or an allocation that the frame's size does not justify.
// Method: flips every bit of sample frames; tries every truncation and extension; writes lying headers and zip bombs by
// hand; makes seeded random mutations. For memory, a child process has a limited address space, in which an allocation
// of the claimed size fails.

#include "frame/frame.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace cairn {
namespace {

constexpr std::uint64_t kBytesMax = 64ULL << 20;
constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint64_t kTwoGigabytes = 2ULL << 30;

std::string messages_text(std::size_t bytes) {
    std::string text = R"({"messages":[)";
    for (int i = 0; text.size() < bytes; ++i) text += fmt::format(R"({{"role":"tool","content":"step {}"}},)", i);
    return text + "0]}";
}

std::string encode(std::string_view text, const FrameOptions& options = {}) {
    return encode_full_frame(text, Checksum::of(text), options).value();
}

struct Sample {
    std::string name;
    std::string text;
    std::string frame;
};

std::vector<Sample> samples() {
    std::vector<Sample> made;
    const auto add = [&made](std::string name, const std::string& text, const FrameOptions& options) {
        made.push_back({std::move(name), text, encode(text, options)});
    };
    add("empty text", "", {});
    add("empty object", "{}", {});
    add("plain", messages_text(300), {});
    add("plain, two length bytes", messages_text(20'000).substr(0, 2000), {.compression = false});
    add("zstd", messages_text(1100), {});
    add("zstd, many sequences", messages_text(20'000), {});
    add("zstd, one repeated byte", std::string(200'000, ' '), {});
    add("zstd, high level", messages_text(8000), {.zstd_level = 19});
    add("opaque, plain", messages_text(300), {.content = FrameContent::kOpaque});
    add("opaque, zstd", messages_text(1100), {.content = FrameContent::kOpaque});
    return made;
}

bool is_damage(ErrorCode code) {
    return code == ErrorCode::kCorrupt || code == ErrorCode::kIncompatible || code == ErrorCode::kLimitExceeded;
}

// ---- frames written by hand ----

std::string varint(std::uint64_t value) {
    std::string bytes;
    for (; value >= 0x80; value >>= 7U) bytes += static_cast<char>(value | 0x80U);
    return bytes + static_cast<char>(value);
}

std::string header(FrameKind kind, const std::string& length, std::string_view text) {
    const auto checksum = Checksum::of(text).to_bytes();
    return std::string{'\x01', static_cast<char>(kind)} + length + std::string(checksum.begin(), checksum.end());
}

std::string plain_frame(const std::string& length, const std::string& text) {
    return header(FrameKind::kFullPlain, length, text) + text;
}

// Makes a frame with a valid check, so that its lie reaches the code behind the check.
std::string zstd_frame(std::uint64_t claimed, std::string_view text, const std::string& body) {
    std::uint64_t hash = XXH3_64bits(body.data(), body.size());
    std::string check;
    for (int i = 0; i < 4; ++i, hash >>= 8U) check += static_cast<char>(hash & 0xFFU);
    return header(FrameKind::kFullZstd, varint(claimed), text) + check + body;
}

std::string zstd_compress(std::string_view text) {
    std::string body(ZSTD_compressBound(text.size()), '\0');
    body.resize(ZSTD_compress(body.data(), body.size(), text.data(), text.size(), 1));
    return body;
}

// Makes a zstd frame by hand, as RFC 8878 describes it. It states `claimed` bytes of content (8 byte field, single
// segment), and each of its `blocks` blocks repeats one byte 131,072 times.
std::string repeating_zstd_body(std::uint64_t claimed, int blocks) {
    constexpr std::uint32_t kBlockBytes = 128U << 10;
    std::string body("\x28\xB5\x2F\xFD\xE0", 5);
    for (int i = 0; i < 8; ++i) body += static_cast<char>((claimed >> (8 * i)) & 0xFFU);
    for (int i = 0; i < blocks; ++i) {
        const std::uint32_t block = (kBlockBytes << 3U) | (1U << 1U) | (i == blocks - 1 ? 1U : 0U);
        for (int byte = 0; byte < 3; ++byte) body += static_cast<char>((block >> (8 * byte)) & 0xFFU);
        body += ' ';
    }
    return body;
}

ErrorCode decode_error(const std::string& frame, std::uint64_t bytes_max = kBytesMax) {
    const Result<std::string> decoded = decode_full_frame(frame, bytes_max);
    EXPECT_FALSE(decoded) << "decoded to " << decoded->size() << " bytes";
    return decoded ? ErrorCode::kInternal : decoded.error().code;
}

// ---- damage ----

TEST(FrameDamage, EveryFlippedBitIsAnError) {
    for (const Sample& sample : samples()) {
        ASSERT_EQ(decode_full_frame(sample.frame, kBytesMax).value(), sample.text) << sample.name;
        std::string frame = sample.frame;
        for (std::size_t bit = 0; bit < frame.size() * 8; ++bit) {
            const auto flip = [&] { frame[bit / 8] = static_cast<char>(frame[bit / 8] ^ (1 << (bit % 8))); };
            flip();
            const Result<std::string> decoded = decode_full_frame(frame, kBytesMax);
            ASSERT_FALSE(decoded) << sample.name << ", bit " << bit << ": "
                                  << (*decoded == sample.text ? "unnoticed" : "decoded to other text");
            ASSERT_TRUE(is_damage(decoded.error().code))
                << sample.name << ", bit " << bit << ": " << decoded.error().to_string();
            flip();
        }
    }
}

TEST(FrameDamage, AFlippedVersionIsIncompatible) {
    for (const Sample& sample : samples()) {
        for (int bit = 0; bit < 8; ++bit) {
            std::string frame = sample.frame;
            frame[0] = static_cast<char>(frame[0] ^ (1 << bit));
            EXPECT_EQ(decode_error(frame), ErrorCode::kIncompatible) << sample.name << ", bit " << bit;
        }
    }
}

// The kinds of JSON and of opaque states differ by 5, which is more than one bit. The text is the same under both, and
// the snapshot's record tells which it is (recorded_state_test).
TEST(FrameDamage, EveryOtherKindIsAnErrorButThatOfTheOtherContent) {
    for (const Sample& sample : samples()) {
        for (int kind = 0; kind < 256; ++kind) {
            std::string frame = sample.frame;
            const int apart = std::abs(kind - frame[1]);
            if (apart == 0) continue;
            frame[1] = static_cast<char>(kind);
            if (apart == 5 && kind <= 10) {
                EXPECT_EQ(decode_full_frame(frame, kBytesMax).value_or("unreadable"), sample.text);
                continue;
            }
            const bool is_known = kind >= 1 && kind <= 10;
            EXPECT_EQ(decode_error(frame), is_known ? ErrorCode::kCorrupt : ErrorCode::kIncompatible) << kind;
        }
    }
}

TEST(FrameDamage, EveryTruncationIsCorrupt) {
    for (const Sample& sample : samples()) {
        for (std::size_t bytes = 0; bytes < sample.frame.size(); ++bytes) {
            ASSERT_EQ(decode_error(sample.frame.substr(0, bytes)), ErrorCode::kCorrupt)
                << sample.name << " cut to " << bytes;
        }
    }
}

TEST(FrameDamage, TrailingBytesAreCorrupt) {
    for (const Sample& sample : samples()) {
        for (const std::string& tail : {std::string(1, '\0'), std::string("x"), sample.frame, zstd_compress("more")}) {
            EXPECT_EQ(decode_error(sample.frame + tail), ErrorCode::kCorrupt) << sample.name;
        }
    }
}

TEST(FrameDamage, MutationsNeverDecodeToOtherText) {
    constexpr std::uint64_t kSeed = 20260102;
    const std::vector<Sample> all = samples();
    for (std::uint64_t seed = kSeed; seed < kSeed + 50'000; ++seed) {
        SCOPED_TRACE(fmt::format("seed {}", seed));  // replays this one mutation
        std::mt19937_64 random(seed);
        const auto below = [&random](std::size_t limit) { return static_cast<std::size_t>(random() % limit); };
        const Sample& sample = all[below(all.size())];
        std::string frame = sample.frame;
        for (std::size_t change = 0; change <= below(4); ++change) {
            const std::size_t at = below(frame.size() + 1);
            const std::size_t length = below(16);
            switch (below(4)) {
                case 0:
                    if (at < frame.size()) frame[at] = static_cast<char>(random());
                    break;
                case 1:
                    frame.erase(at, length);
                    break;
                case 2:
                    frame.insert(at, length, static_cast<char>(random()));
                    break;
                default:
                    frame.insert(at, all[below(all.size())].frame.substr(0, length));
            }
            if (frame.empty()) break;
        }
        const Result<std::string> decoded = decode_full_frame(frame, kBytesMax);
        if (decoded) {
            ASSERT_EQ(frame, sample.frame) << "a changed frame decoded";
        } else {
            ASSERT_TRUE(is_damage(decoded.error().code)) << decoded.error().to_string();
        }
    }
}

// ---- lies ----

TEST(FrameDamage, LyingLengthsAreErrors) {
    const std::string text = "{}";
    for (const std::uint64_t claimed :
         std::initializer_list<std::uint64_t>{0, 1, 3, 127, 128, kTwoGigabytes, 1ULL << 62, 1ULL << 63, kNoLimit}) {
        const std::string frame = plain_frame(varint(claimed), text);
        EXPECT_EQ(decode_error(frame, kNoLimit), ErrorCode::kCorrupt) << claimed;
        EXPECT_EQ(decode_error(frame), ErrorCode::kCorrupt) << claimed << ": that is damage, and no limit";
    }
    EXPECT_EQ(decode_full_frame(plain_frame(varint(2), text), kBytesMax).value(), text) << "an honest one decodes";
}

TEST(FrameDamage, LyingLengthsOfZstdFramesAreErrors) {
    const std::string text = messages_text(3000);
    const std::string body = zstd_compress(text);
    EXPECT_EQ(decode_full_frame(zstd_frame(text.size(), text, body), kBytesMax).value(), text)
        << "an honest one decodes";
    for (const std::uint64_t claimed : std::initializer_list<std::uint64_t>{
             0, 1, text.size() - 1, text.size() + 1, kTwoGigabytes, 1ULL << 63, kNoLimit - 1, kNoLimit}) {
        EXPECT_EQ(decode_error(zstd_frame(claimed, text, body), kNoLimit), ErrorCode::kCorrupt) << claimed;
        EXPECT_EQ(decode_error(zstd_frame(claimed, text, body)), ErrorCode::kCorrupt) << claimed;
    }
}

TEST(FrameDamage, OnlyAnHonestLengthIsBeyondALimit) {
    const std::string text = messages_text(3000);
    for (const bool compression : {false, true}) {
        const std::string frame = encode_full_frame(text, Checksum::of(text), {.compression = compression}).value();
        EXPECT_EQ(decode_error(frame, text.size() - 1), ErrorCode::kLimitExceeded);
        EXPECT_EQ(decode_full_frame(frame, text.size()).value(), text);
    }
}

TEST(FrameDamage, LengthsThatAreNotTheShortestOrOverflowAreCorrupt) {
    const std::string text = "{}";
    for (const std::string& length :
         {std::string("\x82\x00", 2), std::string("\x82\x80\x00", 3), std::string(9, '\xFF') + '\x02',
          std::string(9, '\xFF') + '\x81', std::string(10, '\xFF') + '\x01', std::string(40, '\x80')}) {
        EXPECT_EQ(decode_error(plain_frame(length, text), kNoLimit), ErrorCode::kCorrupt);
        EXPECT_EQ(read_frame_header(plain_frame(length, text)).error().code, ErrorCode::kCorrupt);
    }
}

TEST(FrameDamage, AZstdFrameThatDoesNotStateItsLengthIsCorrupt) {
    const std::string text = messages_text(3000);
    std::string body(ZSTD_compressBound(text.size()), '\0');
    ZSTD_CCtx* context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
    body.resize(ZSTD_compress2(context, body.data(), body.size(), text.data(), text.size()));
    ZSTD_freeCCtx(context);
    EXPECT_EQ(decode_error(zstd_frame(text.size(), text, body)), ErrorCode::kCorrupt);
}

TEST(FrameDamage, ABodyOfSeveralZstdFramesIsCorrupt) {
    const std::string text = messages_text(3000);
    const std::string halves = zstd_compress(text.substr(0, 1000)) + zstd_compress(text.substr(1000));
    EXPECT_EQ(decode_error(zstd_frame(text.size(), text, halves)), ErrorCode::kCorrupt);
    const std::string skippable("\x50\x2A\x4D\x18\x00\x00\x00\x00", 8);
    EXPECT_EQ(decode_error(zstd_frame(text.size(), text, skippable + zstd_compress(text))), ErrorCode::kCorrupt);
    EXPECT_EQ(decode_error(zstd_frame(text.size(), text, zstd_compress(text) + skippable)), ErrorCode::kCorrupt);
}

TEST(FrameDamage, AZstdBombThatExpandsBeyondItsClaimIsCorrupt) {
    const std::string spaces(128U << 10, ' ');
    const std::string honest = zstd_frame(spaces.size(), spaces, repeating_zstd_body(spaces.size(), 1));
    ASSERT_EQ(decode_full_frame(honest, kBytesMax).value(), spaces) << "the bodies made here are not zstd's";
    const std::string bomb = repeating_zstd_body(spaces.size(), 4096);  // 512 MiB behind a claim of 128 KiB
    EXPECT_EQ(decode_error(zstd_frame(spaces.size(), spaces, bomb)), ErrorCode::kCorrupt);
}

// ---- memory ----

std::uint64_t address_space_in_use() {
    std::ifstream statm("/proc/self/statm");
    std::uint64_t pages = 0;
    statm >> pages;
    return pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

// Sanitizers reserve terabytes of addresses, so the limit below does not work with them.
constexpr bool kAddressSpaceCanBeLimited =
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    false;
#elif defined(__has_feature)
    !(__has_feature(address_sanitizer) || __has_feature(thread_sanitizer));
#else
    true;
#endif

// Runs `action` in a child that can allocate at most `more_bytes` more. Returns the child's answer.
int run_with_little_memory(std::uint64_t more_bytes, const std::function<int()>& action) {
    const pid_t child = fork();
    if (child == 0) {
        const rlimit limit{.rlim_cur = address_space_in_use() + more_bytes, .rlim_max = RLIM_INFINITY};
        if (setrlimit(RLIMIT_AS, &limit) != 0) _exit(101);
        _exit(action());
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) return 102;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 103;
}

int exit_code_of(const std::string& frame) {
    const Result<std::string> decoded = decode_full_frame(frame, 4ULL << 30);
    return decoded ? 0 : error_info(decoded.error().code).exit_code;
}

TEST(FrameMemory, ClaimsWithoutSubstanceTakeNoMemory) {
    if (!kAddressSpaceCanBeLimited) GTEST_SKIP() << "a sanitizer reserves all addresses";
    const std::string text = "{}";
    const int corrupt = error_info(ErrorCode::kCorrupt).exit_code;
    const std::vector<std::string> liars{
        plain_frame(varint(kTwoGigabytes), text), zstd_frame(kTwoGigabytes, text, zstd_compress(text)),
        zstd_frame(kTwoGigabytes, text, repeating_zstd_body(kTwoGigabytes, 20)),  // its body claims 2 GB too
    };
    for (const std::string& frame : liars) {
        EXPECT_EQ(run_with_little_memory(64U << 20, [&] { return exit_code_of(frame); }), corrupt);
    }
}

TEST(FrameMemory, AMachineWithoutMemoryIsAnErrorValue) {
    if (!kAddressSpaceCanBeLimited) GTEST_SKIP() << "a sanitizer reserves all addresses";
    const std::string text(128U << 20, ' ');  // an honest 128 MiB in a few KiB of frame
    const std::string frame = encode(text);
    const int internal = error_info(ErrorCode::kInternal).exit_code;
    EXPECT_EQ(run_with_little_memory(64U << 20, [&] { return exit_code_of(frame); }), internal);
    EXPECT_EQ(run_with_little_memory(1ULL << 30, [&] { return exit_code_of(frame); }), 0);
    EXPECT_EQ(run_with_little_memory(64U << 20,
                                     [&] {
                                         const auto encoded = encode_full_frame(text, Checksum{}, {});
                                         return encoded ? 0 : error_info(encoded.error().code).exit_code;
                                     }),
              internal);
}

}  // namespace
}  // namespace cairn
