// Goal: the parts around the engines keep their promises: the table of schemes, and the pauses between tries.
// Method: a table of the test's own and the process's table; a clock that records pauses instead of making them.

#include "base/backoff.h"
#include "store/scheme_table.h"

#include "support/make.h"

#include <cairn/store.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace cairn::test {
namespace {

using namespace std::chrono_literals;

// ---- schemes ----

StoreScheme scheme_of(std::string name, std::string usage) {
    return {.name = std::move(name), .usage = std::move(usage), .open = [](std::string_view, const OpenOptions&) {
                return open_store("memory:");
            }};
}

TEST(Schemes, AnEngineOfSomebodyElsesIsOpenedByItsScheme) {
    std::string opened;
    const auto open = [&](std::string_view url, const OpenOptions&) {
        opened = url;
        return open_store("memory:");
    };
    ASSERT_TRUE(register_store_scheme({.name = "example", .usage = "example:NAME", .open = open}));
    const auto store = open_store("example:here");
    ASSERT_TRUE(store) << store.error().to_string();
    EXPECT_EQ(opened, "example:here");
    EXPECT_TRUE((*store)->head("run", soon()));
    const auto unknown = open_store("other:here");
    ASSERT_FALSE(unknown);
    EXPECT_EQ(unknown.error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(unknown.error().message,
              "store URL of scheme \"other:\" is unknown in this build: give sqlite:PATH, memory: or example:NAME");
    EXPECT_EQ(register_store_scheme(scheme_of("example", "example:NAME")).error().code, ErrorCode::kAlreadyExists);
}

TEST(Schemes, TheLibrarysOwnAreNotReplaced) {
    for (const std::string name : {"sqlite", "memory"}) {
        EXPECT_EQ(register_store_scheme(scheme_of(name, name)).error().code, ErrorCode::kAlreadyExists);
    }
}

TEST(Schemes, AnUnknownSchemeNamesThoseThatAreThereAndNoPassword) {
    SchemeTable table;
    ASSERT_TRUE(table.add(scheme_of("one", "one:PATH")));
    EXPECT_EQ(table.find("one:x")->name, "one");
    const auto unknown = table.find("postgresql://me:secret@host/d");
    ASSERT_FALSE(unknown);
    EXPECT_EQ(unknown.error().message, "store URL of scheme \"postgresql:\" is unknown in this build: give one:PATH");
    EXPECT_EQ(table.find("no scheme").error().message, "store URL \"no scheme\": give one:PATH");
    ASSERT_TRUE(table.add(scheme_of("two", "two:")));
    EXPECT_NE(table.find("x:").error().message.find("one:PATH or two:"), std::string::npos);
}

TEST(Schemes, ASchemeHasANameAndAnOpenFunction) {
    SchemeTable table;
    for (const std::string name : {"", "Sqlite", "1st", "with space", "with:colon", "-x"}) {
        EXPECT_EQ(table.add(scheme_of(name, "x")).error().code, ErrorCode::kInvalidArgument) << name;
    }
    EXPECT_TRUE(table.add(scheme_of("postgresql+tls.2-x", "x")));
    EXPECT_EQ(table.add({.name = "no-open", .usage = "x"}).error().code, ErrorCode::kInvalidArgument);
}

TEST(Schemes, AUrlIsCheckedWithoutOpeningTheStore) {
    EXPECT_TRUE(check_store_url("memory:"));
    EXPECT_TRUE(check_store_url("sqlite:cairn.db"));
    EXPECT_EQ(check_store_url("memory:x").error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(check_store_url("sqlite:no/such/folder/cairn.db").error().code, ErrorCode::kNotFound);
}

// ---- pauses ----

class NotingClock final : public Clock {
public:
    Timestamp now() override { return kEpoch; }
    void pause(std::chrono::microseconds duration) override { pauses.push_back(duration); }

    std::vector<std::chrono::microseconds> pauses;
};

TEST(Backoff, PausesAtRandomUpToABoundThatDoubles) {
    std::vector<std::vector<std::chrono::microseconds>> by_seed;
    for (const std::uint64_t seed : {1U, 2U}) {
        const auto clock = std::make_shared<NotingClock>();
        const Runtime runtime{.clock = clock, .random = std::make_shared<SeededRandom>(seed)};
        Backoff backoff(runtime, Deadline::max());
        for (int i = 0; i < 200; ++i) ASSERT_TRUE(backoff.pause());
        std::chrono::microseconds bound = 1ms;
        for (const auto pause : clock->pauses) {
            EXPECT_GE(pause, 0us);
            EXPECT_LE(pause, bound);
            bound = std::min<std::chrono::microseconds>(bound * 2, 128ms);
        }
        EXPECT_GT(std::ranges::max(clock->pauses), 64ms) << "the bound has grown";
        by_seed.push_back(clock->pauses);
    }
    EXPECT_NE(by_seed[0], by_seed[1]);
}

TEST(Backoff, EndsWithTheDeadlineAndNeverPausesBeyondIt) {
    const auto clock = std::make_shared<NotingClock>();
    const Runtime runtime{.clock = clock, .random = std::make_shared<SeededRandom>()};
    Backoff late(runtime, std::chrono::steady_clock::now() - 1ms);
    EXPECT_FALSE(late.pause());
    EXPECT_TRUE(clock->pauses.empty());
    Backoff brief(runtime, std::chrono::steady_clock::now() + 50ms);
    while (brief.pause()) continue;
    EXPECT_LE(std::ranges::max(clock->pauses), 51ms);
}

}  // namespace
}  // namespace cairn::test
