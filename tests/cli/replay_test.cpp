// Goal: `cairn replay` saves a recording through the service that was asked for, counts it exactly, verifies it, leaves
// nothing behind in compare mode, and keeps the form of its JSON object.
// Method: runs the built program on small runs made here, whose duplicates and critical steps are known by
// construction. If the public trajectories are there, it also replays some of them; their own script counts the
// duplicates.

#include "support/built_program.h"
#include "support/paths.h"
#include "support/temp_dir.h"

#include <cairn/error.h>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace cairn {
namespace {

using Json = nlohmann::ordered_json;
using test::cairn_program;
using test::ProgramResult;
using test::source_dir;
using test::TempDir;
using testing::HasSubstr;

int exit_code(ErrorCode code) {
    return error_info(code).exit_code;
}

/// Makes a run of eight saves. Five of them save JSON that is equal to the state before. One of the five adds nothing
/// to it. The other four have a new phase, keys in another order, a critical type, or say that the pipeline is
/// complete.
std::string recorded_run(std::string_view run_id) {
    return fmt::format(
        R"({{"run_id":"{}","thread_id":"thread-1","user_id":"user-1","base_state":{{"a":1,"text":"{}"}},"steps":[)"
        R"({{"agent_phase":"triage","checkpoint_type":"auto","patch":[]}},)"
        R"({{"agent_phase":"triage","checkpoint_type":"intermediate","patch":[{{"op":"replace","path":"/a","value":1.50}}]}},)"
        R"({{"agent_phase":"triage","checkpoint_type":"auto","patch":[]}},)"
        R"({{"agent_phase":"triage","checkpoint_type":"auto","patch":[{{"op":"remove","path":"/a"}},{{"op":"add","path":"/a","value":1.50}}]}},)"
        R"({{"agent_phase":"triage","checkpoint_type":"phase_transition","patch":[]}},)"
        R"({{"agent_phase":"triage","checkpoint_type":"pipeline_complete","patch":[]}},)"
        R"({{"agent_phase":"triage","checkpoint_type":"manual","patch":[{{"op":"add","path":"/b","value":"\ud800"}}]}}],"n_steps":7}})"
        "\n",
        run_id, std::string(2000, 'x'));
}
constexpr int kSavesPerRun = 8;
constexpr int kSkipsPerRun = 1;
constexpr int kCriticalPerRun = 2;

struct Replay : testing::Test {
    TempDir folder;

    std::string write_runs(int count) const {
        std::ofstream file(folder / "runs.jsonl", std::ios::binary);
        for (int index = 0; index < count; ++index) file << recorded_run(fmt::format("run-{}", index));
        return (folder / "runs.jsonl").string();
    }

    ProgramResult replay(std::vector<std::string> arguments, const std::string& store = "cairn.db") const {
        arguments.insert(arguments.begin(), {"--store", folder.sqlite_url(store), "replay"});
        return test::run_cairn(arguments, {.working_folder = folder.path()});
    }

    /// Makes a replay that must succeed. Returns its figures.
    Json figures(std::vector<std::string> arguments, const std::string& store = "cairn.db") const {
        arguments.emplace_back("--json");
        const ProgramResult result = replay(arguments, store);
        EXPECT_EQ(result.exit_code, 0) << result.errors;
        return Json::parse(result.output);
    }

    std::vector<std::string> files_in_folder() const {
        std::vector<std::string> names;
        for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
            names.push_back(entry.path().filename().string());
        }
        return names;
    }
};

void expect_all_saved_and_verified(const Json& figures, int runs, int skips) {
    const int saves = runs * kSavesPerRun;
    EXPECT_EQ(figures["runs"], runs);
    EXPECT_EQ(figures["saves"], saves);
    EXPECT_EQ(figures["deduplicated"], skips);
    EXPECT_EQ(figures["persisted"], saves - skips);
    EXPECT_EQ(figures["critical"], runs * kCriticalPerRun);
    EXPECT_EQ(figures["fallbacks"], 0);
    EXPECT_EQ(figures["failed"], 0);
    EXPECT_EQ(figures["verified"], saves);
    EXPECT_EQ(figures["mismatches"], 0);
}

TEST_F(Replay, StandardModeWritesEveryStep) {
    const Json figures = this->figures({write_runs(3), "--mode", "standard", "--verify"});
    EXPECT_EQ(figures["mode"], "standard");
    EXPECT_EQ(figures["store"], folder.sqlite_url());
    expect_all_saved_and_verified(figures, 3, 0);
    EXPECT_GE(figures["payload_bytes"], figures["state_bytes"]) << "whole and uncompressed";
}

TEST_F(Replay, OptimizedModeSkipsEqualStepsThatAreNotCritical) {
    const Json figures = this->figures({write_runs(3), "--mode", "optimized", "--verify"});
    EXPECT_EQ(figures["mode"], "optimized");
    expect_all_saved_and_verified(figures, 3, 3 * kSkipsPerRun);
    EXPECT_LT(figures["payload_bytes"], figures["state_bytes"]);
}

TEST_F(Replay, ConcurrencyChangesNoCount) {
    const std::string runs = write_runs(20);
    for (const std::string mode : {"standard", "optimized"}) {
        const Json figures = this->figures({runs, "--mode", mode, "--concurrency", "4", "--verify"}, mode + ".db");
        expect_all_saved_and_verified(figures, 20, mode == "optimized" ? 20 * kSkipsPerRun : 0);
    }
}

TEST_F(Replay, CompareReplaysIntoFreshStoresAndRemovesThem) {
    const Json figures = this->figures({write_runs(2), "--verify"});
    EXPECT_EQ(figures.size(), 2U);
    expect_all_saved_and_verified(figures["standard"], 2, 0);
    expect_all_saved_and_verified(figures["optimized"], 2, 2 * kSkipsPerRun);
    EXPECT_EQ(figures["standard"]["state_bytes"], figures["optimized"]["state_bytes"]);
    EXPECT_THAT(files_in_folder(), testing::ElementsAre("runs.jsonl"));
}

TEST_F(Replay, JsonObjectHasItsFixedMembersInTheirOrder) {
    const Json figures = this->figures({write_runs(1), "--mode", "optimized"});
    std::vector<std::string> names;
    for (const auto& [name, value] : figures.items()) names.push_back(name);
    EXPECT_THAT(names, testing::ElementsAre("mode", "store", "runs", "saves", "persisted", "deduplicated", "critical",
                                            "fallbacks", "failed", "state_bytes", "payload_bytes", "store_bytes",
                                            "elapsed_s", "saves_per_s", "state_mb_per_s", "save_us", "skip_us",
                                            "load_us", "verified", "mismatches"));
    for (const char* quantiles : {"save_us", "skip_us", "load_us"}) {
        EXPECT_GT(figures[quantiles]["p50"], 0) << quantiles << ": loads are timed without --verify too";
        EXPECT_GE(figures[quantiles]["p99"], figures[quantiles]["p50"]);
    }
    EXPECT_EQ(figures["verified"], 0);
    EXPECT_GT(figures["store_bytes"], figures["payload_bytes"]);
}

TEST_F(Replay, StateBytesAreThoseOfTheNormalTexts) {
    std::ofstream(folder / "tiny.jsonl")
        << R"({"run_id":"r","thread_id":"t","user_id":"u","base_state":{ "a" : 1 },"steps":[)"
        << R"({"agent_phase":"p","patch":[{"op":"add","path":"/b","value":-0}]}]})" << '\n';
    const Json figures = this->figures({(folder / "tiny.jsonl").string(), "--mode", "standard"});
    EXPECT_EQ(figures["state_bytes"], std::string_view(R"({"a":1}{"a":1,"b":-0})").size());
}

TEST_F(Replay, StatesAreSavedAsOpaqueOnesOfTheTypeThatIsGiven) {
    const Json json = figures({write_runs(1), "--mode", "optimized", "--verify"});
    const Json opaque =
        figures({write_runs(1), "--mode", "optimized", "--verify", "--state-type", "text"}, "opaque.db");
    for (const char* same : {"saves", "persisted", "deduplicated", "state_bytes", "verified", "mismatches"}) {
        EXPECT_EQ(opaque[same], json[same]) << same;
    }
    const ProgramResult exported = test::run_cairn({"--store", folder.sqlite_url("opaque.db"), "export"}, {});
    EXPECT_THAT(exported.output, HasSubstr(R"("state_type":"text","state_base64":")"));
    EXPECT_THAT(replay({write_runs(1), "--state-type", "a b"}).errors, HasSubstr("type tag of an opaque state"));
}

TEST_F(Replay, ReplayedRunsAreInTheConfiguredStore) {
    ASSERT_EQ(replay({write_runs(2), "--mode", "optimized"}).exit_code, 0);
    const ProgramResult log = test::run_cairn({"--store", folder.sqlite_url(), "log", "--run", "run-1", "--json"});
    ASSERT_EQ(log.exit_code, 0) << log.errors;
    EXPECT_EQ(Json::parse(log.output).size(), static_cast<std::size_t>(kSavesPerRun - kSkipsPerRun));
    const ProgramResult state = test::run_cairn({"--store", folder.sqlite_url(), "load", "--run", "run-1"});
    EXPECT_THAT(state.output, HasSubstr(R"("a":1.50,"b":"\ud800"})"));
}

TEST_F(Replay, StoreThatHoldsRunsAlreadyIsNoted) {
    const std::string runs = write_runs(1);
    const ProgramResult first = replay({runs, "--mode", "standard"});
    EXPECT_EQ(first.errors, "");
    const ProgramResult second = replay({runs, "--mode", "standard"});
    EXPECT_EQ(second.exit_code, 0);
    EXPECT_THAT(second.errors, HasSubstr("already holds runs"));
}

TEST_F(Replay, LimitTakesTheFirstRuns) {
    EXPECT_EQ(figures({write_runs(5), "--mode", "standard", "--limit-runs", "2"})["saves"], 2 * kSavesPerRun);
}

TEST_F(Replay, TableNamesBothModesAndEveryFigure) {
    const ProgramResult result = replay({write_runs(1), "--verify"});
    ASSERT_EQ(result.exit_code, 0) << result.errors;
    for (const char* word : {"standard", "optimized", "deduplicated", "store on disk", "skip p99", "mismatches"}) {
        EXPECT_THAT(result.output, HasSubstr(word));
    }
    EXPECT_EQ(result.errors, "") << "no progress bar into a pipe";
}

TEST_F(Replay, FailedSavesAreCountedReportedAndDecideTheExitCode) {
    const std::string runs = write_runs(1);
    ASSERT_EQ(replay({runs, "--mode", "standard"}).exit_code, 0);
    std::ofstream(folder / "other.jsonl")
        << R"({"run_id":"run-0","thread_id":"another","user_id":"user-1","base_state":{},"steps":[]})" << '\n';
    const ProgramResult result = replay({(folder / "other.jsonl").string(), "--mode", "optimized", "--json"});
    EXPECT_EQ(result.exit_code, exit_code(ErrorCode::kInvalidArgument)) << "the run belongs to another thread";
    EXPECT_EQ(Json::parse(result.output)["failed"], 1);
    EXPECT_THAT(result.errors, HasSubstr("1 of 1 saves failed"));
}

TEST_F(Replay, InterruptedCompareRemovesItsStores) {
    const std::string runs = write_runs(3000);  // more than can be replayed before the signal comes
    const std::string script = fmt::format(
        "{} replay {} & "
        "until ls -d cairn-replay-*/standard.db >/dev/null 2>&1; do kill -0 $! || exit 1; done; "
        "kill -TERM $!; wait $!",
        test::cairn_program(), runs);
    const ProgramResult result = test::run_program("sh", {"-c", script}, {.working_folder = folder.path()});
    EXPECT_EQ(result.exit_code, 128 + SIGTERM) << result.errors;
    EXPECT_EQ(result.output, "");
    EXPECT_THAT(files_in_folder(), testing::ElementsAre("runs.jsonl"));
}

TEST_F(Replay, EverySaveIsOnDiskAndVerifiedInTheEndWhateverTheDurability) {
    const std::string runs = write_runs(3);
    for (const char* durability : {"sync", "async", "exit"}) {
        const ProgramResult result = replay({runs, "--durability", durability, "--verify"});
        EXPECT_EQ(result.exit_code, 0) << durability << result.errors;
    }
    EXPECT_EQ(replay({runs, "--durability", "later"}).exit_code, exit_code(ErrorCode::kInvalidArgument));
}

TEST_F(Replay, BrokenFileIsAnInvalidStateAndLeavesNoStore) {
    std::ofstream(folder / "runs.jsonl") << recorded_run("run-0") << R"({"run_id":)" << '\n';
    const ProgramResult result = replay({(folder / "runs.jsonl").string()});
    EXPECT_EQ(result.exit_code, exit_code(ErrorCode::kInvalidState));
    EXPECT_THAT(result.errors, HasSubstr("line 2"));
    EXPECT_THAT(files_in_folder(), testing::ElementsAre("runs.jsonl"));
}

TEST_F(Replay, PathThatIsNotThereIsNotFound) {
    EXPECT_EQ(replay({(folder / "none").string()}).exit_code, exit_code(ErrorCode::kNotFound));
}

TEST_F(Replay, RecordedRunsSkipExactlyTheStepsThatRepeatTheHead) {
    const auto trajectories = source_dir() / "../shared/trajectories";
    if (!std::filesystem::exists(trajectories)) GTEST_SKIP() << "no trajectories at " << trajectories;
    const std::string file = (trajectories / "reflexion.jsonl").string();
    constexpr auto kCountDuplicates =
        "import json, sys; sys.path.insert(0, sys.argv[1]); import expand\n"
        "duplicates = 0\n"
        "for run in expand.iter_runs(sys.argv[2:]):\n"
        "    state, phase, kind = None, None, None  # of the head\n"
        "    for record in expand.iter_states(run):\n"
        "        now = json.dumps(record['state'])\n"
        "        critical = record['checkpoint_type'] not in ('auto', 'intermediate', 'pipeline_complete')\n"
        "        completes = record['checkpoint_type'] == 'pipeline_complete' != kind\n"
        "        if now == state and record['agent_phase'] == phase and not critical and not completes:\n"
        "            duplicates += 1\n"
        "        else:\n"
        "            state, phase, kind = now, record['agent_phase'], record['checkpoint_type']\n"
        "print(duplicates)\n";
    const ProgramResult script = test::run_program("python3", {"-c", kCountDuplicates, trajectories.string(), file});
    ASSERT_EQ(script.exit_code, 0) << script.errors;

    const Json figures = this->figures({file, "--verify"});
    EXPECT_GT(std::stoi(script.output), 0);
    EXPECT_EQ(figures["standard"]["deduplicated"], 0);
    EXPECT_EQ(figures["optimized"]["deduplicated"], std::stoi(script.output));
    for (const char* mode : {"standard", "optimized"}) {
        EXPECT_EQ(figures[mode]["verified"], figures[mode]["saves"]);
        EXPECT_EQ(figures[mode]["mismatches"], 0);
        EXPECT_EQ(figures[mode]["failed"], 0);
        EXPECT_EQ(figures[mode]["fallbacks"], 0);
    }
}

TEST_F(Replay, TheRecordingsThatComeWithTheProjectLoadAsTheyWereSaved) {
    const Json both = figures({(test::source_dir() / "examples/recordings").string(), "--verify"});
    for (const char* mode : {"standard", "optimized"}) {
        const Json& one = both.at(mode);
        EXPECT_EQ(one.at("runs"), 16) << mode;
        EXPECT_EQ(one.at("failed"), 0) << mode;
        EXPECT_EQ(one.at("mismatches"), 0) << mode;
        EXPECT_EQ(one.at("verified"), one.at("saves")) << mode;
    }
    EXPECT_GT(both.at("optimized").at("deduplicated"), 10) << "an agent that asks again changes nothing";
    EXPECT_LT(both.at("optimized").at("payload_bytes").get<int>() * 5,
              both.at("standard").at("payload_bytes").get<int>());
}

}  // namespace
}  // namespace cairn
