// Goal: metadata that only looks like a pipeline's gives an error and never leads beyond the pipeline's stages.
// Method: a pipeline fails. Then another caller saves the pipeline's state as a new head, with one member of the
// metadata changed to a value that no pipeline writes. Then the pipeline is to go on.

#include "pipeline/run/run_progress.h"
#include "support/pipeline_bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <limits>
#include <string>

namespace cairn::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Json = nlohmann::ordered_json;

class ForgedProgress : public testing::Test {
protected:
    ForgedProgress() {
        bench.add_breakable("breakable");
        static_cast<void>(bench.execute(pipeline));
        written = Json::parse(bench.history().back().metadata);
    }

    Result<PipelineResult> go_on_with(const Json& metadata) {
        StatePersistenceService service(bench.store);
        EXPECT_TRUE(service
                        .save_agent_state({.run_id = "run",
                                           .thread_id = "thread",
                                           .user_id = "user",
                                           .state_data = bench.input,
                                           .metadata = State::parse(metadata.dump()).value()})
                        .has_value());
        return bench.execute(pipeline);
    }

    PipelineBench bench;
    Pipeline pipeline{.name = "p", .stages = {alone("a"), alone("b", "breakable")}};
    Json written;
};

TEST_F(ForgedProgress, MoreStagesThanThePipelineHasAreCorruptAndNamed) {
    for (const std::int64_t stages : {3, 1'000, 1'000'000'000}) {
        written["stages_completed"] = stages;
        const Result<PipelineResult> result = go_on_with(written);
        ASSERT_FALSE(result.has_value());
        EXPECT_EQ(result.error().code, ErrorCode::kCorrupt);
        EXPECT_THAT(result.error().message,
                    AllOf(HasSubstr("run \"run\""), HasSubstr(std::to_string(stages)), HasSubstr("has 2")));
    }
}

TEST_F(ForgedProgress, ANumberThatNoPipelineWritesMakesItNoPipelines) {
    const std::vector<Json> values = {-1,
                                      1e300,
                                      0.5,
                                      "2",
                                      nullptr,
                                      true,
                                      Json::array(),
                                      std::numeric_limits<std::uint64_t>::max(),
                                      std::int64_t{1} << 40U};
    for (const char* member : {"stages_completed", "steps_completed", "steps_total"}) {
        for (const Json& value : values) {
            Json forged = written;
            forged[member] = value;
            EXPECT_FALSE(RunProgress::parse(forged.dump()).has_value()) << member << " " << value;
            const Result<PipelineResult> result = go_on_with(forged);
            ASSERT_FALSE(result.has_value()) << member << " " << value;
            EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument) << member << " " << value;
        }
    }
    for (const Json& value : {Json(-1), Json(std::int64_t{1} << 40U), Json(2.5)}) {
        written["attempts"] = {{"b", value}};
        EXPECT_FALSE(RunProgress::parse(written.dump()).has_value()) << value;
    }
}

TEST_F(ForgedProgress, AnEpochAndAttemptsAtTheEdgeOverflowNothing) {
    bench.is_broken = false;
    written["epoch"] = 0;
    written["attempts"] = {{"b", 1'000'000'000}};
    const Result<PipelineResult> result = go_on_with(written);
    ASSERT_TRUE(result.has_value()) << result.error().to_string();
    EXPECT_EQ(result->status, PipelineStatus::kCompleted);
}

TEST_F(ForgedProgress, ARunWhoseLeaseHasTheLastEpochCannotBeExecuted) {
    const auto held = bench.store->lease("run", soon()).value();
    const LeaseWrite last{.lease = {.owner = "", .epoch = std::numeric_limits<std::int64_t>::max()},
                          .heartbeat_at = kEpoch,
                          .expected = held ? held->lease : Lease{}};
    ASSERT_TRUE(commit_run(*bench.store, {.run_id = "run", .lease = last}, soon()).has_value());
    const Result<PipelineResult> result = bench.execute(pipeline);
    ASSERT_FALSE(result.has_value());
    EXPECT_EQ(result.error().code, ErrorCode::kLimitExceeded);
}

}  // namespace
}  // namespace cairn::test
