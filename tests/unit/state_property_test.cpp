// Goal: the fast check and the diagnosis always agree, whatever is done to a text. Random states come out as a
// reference printer writes them. Method: seeded random JSON (CAIRN_TEST_SEED=n replays), and every truncation and every
// change of one byte of samples. The check is compared with the diagnosis and, where the grammars agree, with
// nlohmann::json.

#include <cairn/state.h>

#include "state/json_check.h"
#include "state/state_diagnosis.h"
#include "state/structural_index.h"
#include "unit/state_random.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <nlohmann/json.hpp>
#include <thread>

namespace cairn {
namespace {

using test::JsonNode;
using test::Random;

// A text on which nlohmann agrees with us, also after any change of one byte.
const std::string kCommonSample =
    "{\"id\":12, \"ok\" : [true,false,null],\n\"x\":{\"\":-0.5e1,\"n\":[[],{}]},\"t\":\"a\\n\\\"\\u00e9\\\\ "
    "é你😀\",\"e\":1E+2}\t";

const std::string kFullSample =
    "{\"big\":123456789012345678901234567890,\"e\":[1E400,-0.0,1e-9],\"lone\":\"\\ud800\\u0000\\\\\",\"k\":1,\"k\":2,"
    "\"long\":\"this string reaches over the end of a block of 64 bytes, \\\\ and its escapes do \\\\\\\\\\\\\\\"\"}";

bool fast_accepts(std::string_view text, std::uint32_t depth_max = 1024) {
    static StructuralIndex index;
    return check_json(text, depth_max, index).outcome == JsonCheck::Outcome::kAccepted;
}

/// Checks `text` with both, and expects that they agree. Returns whether it is accepted.
bool accepted_by_both(const std::string& text) {
    const bool fast = fast_accepts(text);
    const std::optional<Error> reason = diagnose(text, 1024);
    EXPECT_EQ(fast, !reason.has_value()) << text << "\n" << (reason ? reason->message : "no reason");
    return fast;
}

/// Returns whether nlohmann accepts the text as an object. nlohmann also accepts arrays and scalars, and takes a NUL
/// for the end of the text.
bool accepted_by_nlohmann(const std::string& text) {
    if (text.find('\0') != text.npos) return false;
    const std::size_t first = text.find_first_not_of(" \t\r\n");
    return first != text.npos && text[first] == '{' && nlohmann::json::accept(text);
}

template <class Use>
void for_each_change_of_one_byte(const std::string& sample, Use&& use) {
    for (std::size_t at = 0; at < sample.size(); ++at) {
        std::string text = sample;
        for (int byte = 0; byte < 256; ++byte) {
            text[at] = static_cast<char>(byte);
            use(text);
        }
    }
}

TEST(StateProperty, EveryTruncationIsRefusedWithThePlace) {
    for (const std::string& sample : {kCommonSample, kFullSample}) {
        const std::size_t end = sample.find_last_of('}');
        for (std::size_t size = 0; size <= end; ++size) {
            const Result<State> state = State::parse(sample.substr(0, size));
            ASSERT_FALSE(state.has_value()) << size;
            EXPECT_EQ(state.error().code, ErrorCode::kInvalidState) << size;
            EXPECT_FALSE(accepted_by_both(sample.substr(0, size)));
        }
        EXPECT_TRUE(State::parse(sample.substr(0, end + 1)).has_value());
    }
}

TEST(StateProperty, EveryChangeOfOneByteIsJudgedAsNlohmannDoes) {
    std::size_t accepted = 0;
    for_each_change_of_one_byte(kCommonSample, [&](const std::string& text) {
        ASSERT_EQ(accepted_by_both(text), accepted_by_nlohmann(text)) << text;
        if (fast_accepts(text)) ++accepted;
    });
    EXPECT_GT(accepted, kCommonSample.size());  // each byte unchanged, and the harmless changes
}

TEST(StateProperty, EveryChangeOfOneByteIsJudgedTheSameFastAndSlow) {
    for_each_change_of_one_byte(kFullSample, [](const std::string& text) { accepted_by_both(text); });
}

TEST(StateProperty, EveryByteInsertedOrTakenOutIsJudgedTheSameFastAndSlow) {
    for (std::size_t at = 0; at < kFullSample.size(); ++at) {
        accepted_by_both(std::string(kFullSample).erase(at, 1));
        for (int byte = 0; byte < 256; ++byte) {
            accepted_by_both(std::string(kFullSample).insert(at, 1, static_cast<char>(byte)));
        }
    }
}

TEST(StateProperty, RandomTokenSoupIsJudgedTheSameFastAndSlow) {
    const std::vector<std::string> pieces{
        "{",    "}",    "[", "]",  ",",  ":",   "\"a\"", "\"", "1",    "-",    "0", ".",    "e",
        "true", "null", " ", "\n", "\\", "\\n", "\\u00", "x",  "\x0C", "\x1A", "é", "\xE2", std::string(1, '\0')};
    for (std::uint64_t seed = test::first_seed(); seed < test::first_seed() + 20000; ++seed) {
        SCOPED_TRACE(fmt::format("CAIRN_TEST_SEED={}", seed));
        Random random(seed);
        std::string text = "{";
        for (std::size_t count = random.below(12); count > 0; --count) text += random.pick(pieces);
        accepted_by_both(text + (random.one_in(2) ? "}" : ""));
        if (testing::Test::HasFailure()) return;
    }
}

TEST(StateProperty, RandomStatesComeOutAsTheReferencePrintsThem) {
    for (std::uint64_t seed = test::first_seed(); seed < test::first_seed() + 3000; ++seed) {
        SCOPED_TRACE(fmt::format("CAIRN_TEST_SEED={}", seed));
        Random random(seed);
        const JsonNode node = test::random_state(random);
        const std::string normal = test::normal_text(node);
        const std::string spaced = test::spaced_text(node, random);
        const Result<State> of_normal = State::parse(normal);
        const Result<State> of_spaced = State::parse(spaced);
        ASSERT_TRUE(of_normal && of_spaced) << normal;
        ASSERT_EQ(of_normal->text(), normal);
        ASSERT_EQ(of_spaced->text(), normal);
        ASSERT_TRUE(accepted_by_both(spaced));
    }
}

TEST(StateProperty, RandomDamageToRandomStatesIsJudgedTheSameFastAndSlow) {
    for (std::uint64_t seed = test::first_seed(); seed < test::first_seed() + 3000; ++seed) {
        SCOPED_TRACE(fmt::format("CAIRN_TEST_SEED={}", seed));
        Random random(seed);
        std::string text = test::spaced_text(test::random_state(random), random);
        for (std::size_t count = 1 + random.below(3); count > 0; --count) {
            text[random.below(text.size())] = static_cast<char>(random.below(256));
        }
        accepted_by_both(text);
        if (testing::Test::HasFailure()) return;
    }
}

TEST(StateProperty, DepthIsJudgedTheSameFastAndSlow) {
    for (std::uint64_t seed = test::first_seed(); seed < test::first_seed() + 1000; ++seed) {
        Random random(seed);
        const std::string text = test::normal_text(test::random_state(random));
        for (std::uint32_t depth_max = 0; depth_max < 8; ++depth_max) {
            ASSERT_EQ(fast_accepts(text, depth_max), !diagnose(text, depth_max)) << "CAIRN_TEST_SEED=" << seed;
        }
    }
}

/// Memory whose last byte is followed by a page that must not be read.
class GuardedText {
public:
    explicit GuardedText(std::string_view text) : page_(static_cast<std::size_t>(sysconf(_SC_PAGESIZE))) {
        const std::size_t pages = text.size() / page_ + 1;
        bytes_ = (pages + 1) * page_;
        memory_ = static_cast<char*>(mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        char* guard = memory_ + pages * page_;
        EXPECT_EQ(mprotect(guard, page_, PROT_NONE), 0);
        text_ = {guard - text.size(), text.size()};
        std::memcpy(guard - text.size(), text.data(), text.size());
    }
    ~GuardedText() { munmap(memory_, bytes_); }
    GuardedText(const GuardedText&) = delete;
    GuardedText& operator=(const GuardedText&) = delete;

    std::string_view text() const { return text_; }

private:
    std::size_t page_;
    std::size_t bytes_ = 0;
    char* memory_ = nullptr;
    std::string_view text_;
};

TEST(StateProperty, NothingBeyondTheTextIsRead) {
    for (std::size_t length = 0; length < 200; ++length) {
        const std::string text = fmt::format("{{\"a\": \"{}\\\\\"}}", std::string(length, 'x'));
        const GuardedText guarded(text);
        ASSERT_TRUE(State::parse(guarded.text()).has_value());
        for (std::size_t size = 0; size < text.size(); ++size) {
            ASSERT_FALSE(fast_accepts(guarded.text().substr(text.size() - size)));  // it ends at the guard
        }
        const GuardedText truncated(text.substr(0, text.size() - 2));
        ASSERT_FALSE(State::parse(truncated.text()).has_value());
    }
}

TEST(StateProperty, ThreadsDoNotDisturbEachOther) {
    std::atomic<int> wrong = 0;
    const auto work = [&](std::uint64_t seed) {
        Random random(seed);
        for (int i = 0; i < 500; ++i) {
            const JsonNode node = test::random_state(random);
            const std::string spaced = test::spaced_text(node, random);
            const Result<State> state = State::parse(spaced);
            if (!state || state->text() != test::normal_text(node)) ++wrong;
            if (State::parse(spaced.substr(0, spaced.find_last_of('}')))) ++wrong;
        }
    };
    std::vector<std::jthread> threads;
    for (std::uint64_t thread = 0; thread < 4; ++thread) threads.emplace_back(work, test::first_seed() + thread);
    threads.clear();
    EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace cairn
