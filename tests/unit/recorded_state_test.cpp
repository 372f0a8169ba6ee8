// Goal: a snapshot loads only if its frame is of the content, the size and the type that its record says, exactly. What
// loads can be exported and imported again.
// Method: records beside sound frames of both contents, whole and as deltas, in which one thing is wrong by little.

#include "frame/delta_frame.h"
#include "frame/frame.h"
#include "store/memory/memory_store.h"
#include "support/make.h"

#include <cairn/persistence.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace cairn::test {
namespace {

using testing::HasSubstr;

struct Sample {
    std::string name;
    State base;
    State state;
};

std::vector<Sample> samples() {
    const std::string pad(3000, 'p');
    const auto json = [&](int step) {
        return State::parse(fmt::format(R"({{"pad":"{}","s":{}}})", pad, step)).value();
    };
    const auto opaque = [&](int step, std::string_view type) {
        return State::opaque(type, fmt::format("{}{}", pad, step)).value();
    };
    return {{"JSON", json(1), json(2)},
            {"opaque", opaque(1, "msgpack"), opaque(2, "msgpack")},
            {"opaque with the longest type", opaque(1, std::string(64, 't')), opaque(2, std::string(64, 't'))},
            {"opaque after JSON", json(1), opaque(2, "msgpack")},
            {"JSON after opaque", opaque(1, "msgpack"), json(2)}};
}

FrameContent content_of(const State& state) {
    return state.is_opaque() ? FrameContent::kOpaque : FrameContent::kJson;
}

Snapshot snapshot_of(const State& state, std::int64_t version) {
    Snapshot snapshot = make_snapshot("run", version, state.stored_text());
    snapshot.info.state_bytes = state.size_bytes();
    snapshot.info.state_type = state.type_tag();
    snapshot.frame =
        encode_full_frame(state.stored_text(), snapshot.info.checksum, {.content = content_of(state)}).value();
    return snapshot;
}

Snapshot delta_of(const Sample& sample) {
    Snapshot snapshot = snapshot_of(sample.state, 2);
    snapshot.info.base_version = 1;
    snapshot.frame = encode_delta_frame(sample.base.stored_text(), sample.state.stored_text(),
                                        {.content = content_of(sample.state)}, 10'000)
                         .value()
                         .value();
    return snapshot;
}

/// Stores the sample, with a change of its record or frame.
std::shared_ptr<Store> store_with(const Sample& sample, bool is_delta, const std::function<void(Snapshot&)>& change) {
    std::shared_ptr<Store> store = make_memory_store();
    Snapshot snapshot = is_delta ? delta_of(sample) : snapshot_of(sample.state, 2);
    change(snapshot);
    EXPECT_TRUE(commit_run(*store, make_batch(snapshot_of(sample.base, 1)), soon()));
    EXPECT_TRUE(commit_run(*store, make_batch(std::move(snapshot)), soon()));
    return store;
}

void expect_corrupt(const std::shared_ptr<Store>& store, std::string_view why) {
    StatePersistenceService service(store);
    const auto loaded = service.load_agent_state({.run_id = "run"});
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error().code, ErrorCode::kCorrupt);
    EXPECT_THAT(loaded.error().message, HasSubstr(why));
    const CheckReport report = check_deep(*store, Deadline::max()).value();
    ASSERT_EQ(report.findings.size(), 1U);
    EXPECT_THAT(report.findings[0].problem, HasSubstr(why));
}

void for_each_sample(const std::function<void(const Sample&, bool is_delta)>& test) {
    for (const Sample& sample : samples()) {
        for (const bool is_delta : {false, true}) {
            SCOPED_TRACE(sample.name + (is_delta ? ", delta" : ", full"));
            test(sample, is_delta);
        }
    }
}

TEST(RecordedState, ThatIsRightLoads) {
    for_each_sample([](const Sample& sample, bool is_delta) {
        const auto store = store_with(sample, is_delta, [](Snapshot&) {});
        StatePersistenceService service(store);
        const auto loaded = service.load_agent_state({.run_id = "run"});
        ASSERT_TRUE(loaded) << loaded.error().to_string();
        EXPECT_EQ(loaded->state, sample.state);
        EXPECT_TRUE(check_deep(*store, Deadline::max()).value().findings.empty());
    });
}

// An export has the record's size, and an import refuses a line whose size is wrong.
TEST(RecordedState, OfAnotherSizeIsCorrupt) {
    for_each_sample([](const Sample& sample, bool is_delta) {
        for (const std::int64_t off : {-65, -8, -1, 1, 8}) {
            const auto store = store_with(sample, is_delta, [&](Snapshot& snapshot) {
                snapshot.info.state_bytes += static_cast<std::uint64_t>(off);
            });
            expect_corrupt(store, "its frame is not the one that its record describes");
        }
    });
}

TEST(RecordedState, OfTheOtherContentIsCorrupt) {
    for_each_sample([](const Sample& sample, bool is_delta) {
        const auto store = store_with(sample, is_delta, [&](Snapshot& snapshot) {
            snapshot.info.state_type = sample.state.is_opaque() ? "" : "msgpack";
        });
        expect_corrupt(store, "its state is not of the type that its record says");
    });
}

TEST(RecordedState, OfAnotherTypeOfTheSameLengthIsCorrupt) {
    for_each_sample([](const Sample& sample, bool is_delta) {
        if (!sample.state.is_opaque()) return;
        const auto store =
            store_with(sample, is_delta, [&](Snapshot& snapshot) { snapshot.info.state_type.back() = 'x'; });
        expect_corrupt(store, "its state is not of the type that its record says");
    });
}

// The kinds of the two contents differ by 5.
TEST(RecordedState, WhoseFrameHasAKindOfTheOtherContentIsCorrupt) {
    for_each_sample([](const Sample& sample, bool is_delta) {
        const auto store = store_with(sample, is_delta, [&](Snapshot& snapshot) {
            snapshot.frame[1] = static_cast<char>(snapshot.frame[1] + (sample.state.is_opaque() ? -5 : 5));
        });
        StatePersistenceService service(store);
        const auto loaded = service.load_agent_state({.run_id = "run"});
        ASSERT_FALSE(loaded);
        EXPECT_EQ(loaded.error().code, ErrorCode::kCorrupt);
        EXPECT_EQ(check_deep(*store, Deadline::max()).value().findings.size(), 1U);
    });
}

}  // namespace
}  // namespace cairn::test
