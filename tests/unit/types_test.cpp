// Goal: the names, times and rules of cairn/types.h are those of the documentation and the stored format.
// Method: compares every constant with its text. Tests times by round trips, by known instants and by texts that must
// be refused.

#include <cairn/types.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace cairn {
namespace {

using namespace std::chrono_literals;

Timestamp at(std::chrono::year_month_day date, std::chrono::microseconds time = 0us) {
    return std::chrono::sys_days(date) + time;
}

TEST(CheckpointType, DocumentedNamesAreTheStoredOnes) {
    EXPECT_EQ(CheckpointType::kManual.name(), "manual");
    EXPECT_EQ(CheckpointType::kRecovery.name(), "recovery");
    EXPECT_EQ(CheckpointType::kPhaseTransition.name(), "phase_transition");
    EXPECT_EQ(CheckpointType::kAuto.name(), "auto");
    EXPECT_EQ(CheckpointType::kIntermediate.name(), "intermediate");
    EXPECT_EQ(CheckpointType::kPipelineComplete.name(), "pipeline_complete");
}

TEST(CheckpointType, OnlyTheThreeRoutineTypesAreNotCritical) {
    EXPECT_FALSE(CheckpointType::kAuto.is_critical());
    EXPECT_FALSE(CheckpointType::kIntermediate.is_critical());
    EXPECT_FALSE(CheckpointType::kPipelineComplete.is_critical());
    EXPECT_TRUE(CheckpointType::kManual.is_critical());
    EXPECT_TRUE(CheckpointType::kRecovery.is_critical());
    EXPECT_TRUE(CheckpointType::kPhaseTransition.is_critical());
}

TEST(CheckpointType, UnknownTypesAreCritical) {
    for (const std::string name : {"", "AUTO", "auto ", "automatic", "nightly", "pipeline-complete"}) {
        EXPECT_TRUE(CheckpointType(name).is_critical()) << '"' << name << '"';
    }
}

TEST(CheckpointType, DefaultIsAuto) {
    EXPECT_EQ(CheckpointType(), CheckpointType::kAuto);
    EXPECT_NE(CheckpointType(), CheckpointType::kManual);
}

TEST(AgentPhase, DocumentedNamesAreTheStoredOnesAndAnyOtherIsAsGood) {
    EXPECT_EQ(AgentPhase::kInitialization.name(), "initialization");
    EXPECT_EQ(AgentPhase::kTriage.name(), "triage");
    EXPECT_EQ(AgentPhase::kDataAnalysis.name(), "data_analysis");
    EXPECT_EQ(AgentPhase::kOptimization.name(), "optimization");
    EXPECT_EQ(AgentPhase::kActionPlanning.name(), "action_planning");
    EXPECT_EQ(AgentPhase::kReporting.name(), "reporting");
    EXPECT_EQ(AgentPhase::kCompletion.name(), "completion");
    EXPECT_EQ(AgentPhase().name(), "");
    EXPECT_EQ(AgentPhase("negotiation").name(), "negotiation");
}

TEST(Names, EveryOutcomeHasItsWord) {
    EXPECT_EQ(to_string(Outcome::kPersisted), "persisted");
    EXPECT_EQ(to_string(Outcome::kDeduplicated), "deduplicated");
    EXPECT_EQ(to_string(Outcome::kFallback), "fallback");
    EXPECT_EQ(to_string(Outcome::kQueued), "queued");
    EXPECT_EQ(to_string(Outcome::kFailed), "failed");
}

TEST(Names, PrintedWordsAreReadBack) {
    for (const auto durability : {Durability::kSync, Durability::kAsync, Durability::kExit}) {
        EXPECT_EQ(parse_durability(to_string(durability)), durability);
    }
    for (const auto on_conflict : {OnConflict::kRebase, OnConflict::kFail}) {
        EXPECT_EQ(parse_on_conflict(to_string(on_conflict)), on_conflict);
    }
    for (const auto type : {RecoveryType::kRestart, RecoveryType::kResume, RecoveryType::kRollback}) {
        EXPECT_EQ(parse_recovery_type(to_string(type)), type);
    }
    EXPECT_EQ(to_string(Durability::kSync), "sync");
    EXPECT_EQ(to_string(OnConflict::kFail), "fail");
    EXPECT_EQ(to_string(RecoveryType::kRollback), "rollback");
}

TEST(Names, OtherWordsAreNotRead) {
    for (const std::string word : {"", "SYNC", "sync ", "exits"}) EXPECT_FALSE(parse_durability(word));
    for (const std::string word : {"", "Rebase", "fail!"}) EXPECT_FALSE(parse_on_conflict(word));
    for (const std::string word : {"", "Resume", "roll_back"}) EXPECT_FALSE(parse_recovery_type(word));
}

TEST(Timestamp, PrintsAsUtcWithMicroseconds) {
    EXPECT_EQ(format_timestamp(at(2026y / 11 / 23, 16h + 7min + 47s + 123456us)), "2026-11-23T16:07:47.123456Z");
    EXPECT_EQ(format_timestamp(at(1970y / 1 / 1)), "1970-01-01T00:00:00.000000Z");
    EXPECT_EQ(format_timestamp(at(1969y / 12 / 31, 23h + 59min + 59s + 1us)), "1969-12-31T23:59:59.000001Z");
}

TEST(Timestamp, PrintedTimesAreReadBack) {
    constexpr std::uint64_t kSeed = 20260102;
    std::mt19937_64 engine(kSeed);
    const auto first = at(0y / 1 / 1).time_since_epoch().count();
    const auto last = at(9999y / 12 / 31, 24h - 1us).time_since_epoch().count();
    std::uniform_int_distribution<std::int64_t> micros(first, last);
    std::vector<std::int64_t> samples{first, last, -1, 0, 1, -1'000'000, 999'999};
    for (int i = 0; i < 10'000; ++i) samples.push_back(micros(engine));
    for (const std::int64_t sample : samples) {
        const Timestamp time{std::chrono::microseconds(sample)};
        const Result<Timestamp> read = parse_timestamp(format_timestamp(time));
        ASSERT_TRUE(read) << "seed " << kSeed << ", " << sample << " us: " << format_timestamp(time);
        EXPECT_EQ(*read, time);
    }
}

TEST(Timestamp, ShorterFormsAreRead) {
    EXPECT_EQ(parse_timestamp("2026-11-23").value(), at(2026y / 11 / 23));
    EXPECT_EQ(parse_timestamp("2026-11-23T16:07:47Z").value(), at(2026y / 11 / 23, 16h + 7min + 47s));
    EXPECT_EQ(parse_timestamp("2026-11-23T16:07:47.5Z").value(), at(2026y / 11 / 23, 16h + 7min + 47s + 500ms));
    EXPECT_EQ(parse_timestamp("2024-02-29").value(), at(2024y / 2 / 29));
}

TEST(Timestamp, AnythingElseIsRefusedAndQuoted) {
    for (const std::string text : {"",
                                   "now",
                                   "2026",
                                   "2026-11",
                                   "2026-11-23T",
                                   "2026-11-23T16:07Z",
                                   "2026-11-23T16:07:47",
                                   "2026-13-01",
                                   "2026-00-01",
                                   "2026-02-29",
                                   "2026-04-31",
                                   "2026-11-23T24:00:00Z",
                                   "2026-11-23T16:60:00Z",
                                   "2026-11-23T16:07:60Z",
                                   "2026-11-23T16:07:47.Z",
                                   "2026-11-23T16:07:47.1234567Z",
                                   "2026-11-23 16:07:47Z",
                                   "2026-11-23T16:07:47+01:00",
                                   "2026-11-23T16:07:47Z ",
                                   " 2026-11-23",
                                   "26-11-23",
                                   "2026-1-23",
                                   "+2026-11-23",
                                   "2026-11-23T16:07:-7Z",
                                   "12026-11-23"}) {
        const Result<Timestamp> read = parse_timestamp(text);
        ASSERT_FALSE(read) << text;
        EXPECT_EQ(read.error().code, ErrorCode::kInvalidArgument);
        EXPECT_NE(read.error().message.find(fmt::format("\"{}\"", text)), std::string::npos);
    }
}

}  // namespace
}  // namespace cairn
