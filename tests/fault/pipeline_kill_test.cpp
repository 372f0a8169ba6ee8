// Goal: a pipeline's process may be killed at any moment, and another one goes on with the run. The final state is that
// of a run that was never killed, and no step whose result was saved runs again.
// Method: a child process executes a pipeline of twelve steps, alone and in groups, on a SQLite file. Each step appends
// a line to its own file when it runs. The child kills itself with SIGKILL before or after its n-th commit (every
// boundary between steps, and inside groups), or in its n-th call of an agent, or its parent kills it at a random
// moment. From the metadata in the file, the parent reads which steps were saved. Then it lets a new child go on, over
// and over until one completes the run.

#include "pipeline/run/run_progress.h"
#include "support/child_process.h"
#include "support/seed.h"
#include "support/soak.h"
#include "support/temp_dir.h"

#include <cairn/pipeline.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <string>
#include <thread>

namespace cairn::test {
namespace {

namespace fs = std::filesystem;

/// The moment at which the process kills itself.
struct Plan {
    enum class At : std::uint8_t { kNever, kBeforeCommit, kAfterCommit, kAgentBegins, kAgentEnds };
    At at = At::kNever;
    int nth = 0;
};

class Killer {
public:
    explicit Killer(Plan plan) : plan_(plan) {}
    void pass(Plan::At at, int& count) {
        const std::lock_guard lock(mutex_);
        if (++count == plan_.nth && at == plan_.at) ::kill(::getpid(), SIGKILL);
    }
    int commits_begun = 0, commits_ended = 0, agents_begun = 0, agents_ended = 0;

private:
    const Plan plan_;
    std::mutex mutex_;
};

/// Kills the process before or after a commit that writes snapshots. Commits for the lease alone do not count.
class KillingStore final : public ForwardingStore {
public:
    KillingStore(std::shared_ptr<Store> next, Killer& killer) : ForwardingStore(std::move(next)), killer_(killer) {}
    Result<std::vector<Status>> commit(std::span<const RunBatch> batches, Deadline deadline) override {
        const bool is_save = std::ranges::any_of(batches, [](const RunBatch& batch) { return !batch.writes.empty(); });
        if (is_save) killer_.pass(Plan::At::kBeforeCommit, killer_.commits_begun);
        Result<std::vector<Status>> answers = next().commit(batches, deadline);
        if (is_save) killer_.pass(Plan::At::kAfterCommit, killer_.commits_ended);
        return answers;
    }

private:
    Killer& killer_;
};

Stage stage_of(const std::vector<std::string>& names) {
    Stage stage;
    for (const std::string& name : names) stage.steps.push_back({.name = name, .agent = "work"});
    return stage;
}

Pipeline twelve_steps() {
    Pipeline pipeline{.name = "twelve",
                      .stages = {stage_of({"s1"}), stage_of({"s2"}), stage_of({"g1", "g2", "g3"}), stage_of({"s3"}),
                                 stage_of({"s4"}), stage_of({"h1", "h2", "h3"}), stage_of({"s5"}), stage_of({"s6"})}};
    pipeline.stages[1].steps[0].phase = AgentPhase::kDataAnalysis;
    pipeline.stages[4].steps[0].phase = AgentPhase::kReporting;
    return pipeline;
}

Pipeline with_approval() {
    return {.name = "approval",
            .stages = {stage_of({"s1"}),
                       {.steps = {{.name = "ok", .agent = {}, .needs_approval = true}}},
                       stage_of({"g1", "g2"}),
                       stage_of({"s2"})}};
}

// The exit codes of a child.
constexpr int kThrough = 0;
constexpr int kNotThrough = 1;
constexpr int kPaused = 3;
constexpr int kDecidedAlready = 4;

/// A run in a folder: its store, and a file for each step.
struct Scene {
    explicit Scene(std::uint64_t seed_of_pauses) : pauses(seed_of_pauses) {}

    TempDir folder{memory_folder()};
    std::uint64_t pauses;
    Config config{.enable_optimized_persistence = true};
    PipelineContext context{.thread_id = "thread", .user_id = "user"};
    Pipeline pipeline = twelve_steps();

    fs::path journal(const std::string& step) const { return folder / (step + ".lines"); }
    int lines(const std::string& step) const {
        std::ifstream file(journal(step));
        int count = 0;
        for (std::string line; std::getline(file, line);) ++count;
        return count;
    }

    // The agent of every step. Its result depends only on the state that it is given, and on its step.
    Result<State> work(const State& state, const AgentCall& call, Killer& killer) const {
        killer.pass(Plan::At::kAgentBegins, killer.agents_begun);
        std::ofstream(journal(call.step), std::ios::app) << call.attempt << std::endl;
        std::this_thread::sleep_for(std::chrono::microseconds(std::hash<std::string>{}(call.step) * pauses % 300));
        std::string text(state.text());
        text.pop_back();
        text += ",\"" + call.step + "\":{\"saw\":" + std::to_string(state.checksum().to_bytes()[0] % 97) + "}}";
        killer.pass(Plan::At::kAgentEnds, killer.agents_ended);
        return State::parse(text);
    }

    /// Executes the run; call it in a child process. Returns kThrough if the run is completed.
    int execute(Plan plan) const {
        Killer killer(plan);
        auto engine = std::make_shared<ExecutionEngine>();
        const Status added = engine->add_agent(
            "work", [&](const State& state, const AgentCall& call) { return work(state, call, killer); });
        auto opened = open_store(folder.sqlite_url());
        if (!added || !opened) return 2;
        PipelineExecutor executor(engine, nullptr, std::make_shared<KillingStore>(*opened, killer), {.config = config});
        const auto result =
            executor.execute_pipeline(pipeline, State::parse(R"({"task":"x"})").value(), "run", context);
        if (!result) return kNotThrough;
        if (result->status == PipelineStatus::kPaused) return kPaused;
        return result->status == PipelineStatus::kCompleted ? kThrough : kNotThrough;
    }

    /// Approves the step, as a person does from another process.
    int approve(Plan plan) const {
        Killer killer(plan);
        auto opened = open_store(folder.sqlite_url());
        if (!opened) return kNotThrough;
        const auto service = make_persistence(config, std::make_shared<KillingStore>(*opened, killer));
        const auto decided = decide_approval(*service, {.run_id = "run", .step = "ok", .by = "ann"});
        if (decided) return kThrough;
        return decided.error().code == ErrorCode::kConflict ? kDecidedAlready : kNotThrough;
    }

    /// Returns the steps whose results are saved.
    std::set<std::string> finished() const {
        std::set<std::string> steps;
        const auto store = open_store(folder.sqlite_url(), {.create = false});
        if (!store) return steps;
        const auto snapshot = (*store)->get("run", std::nullopt, Deadline::max()).value();
        if (!snapshot) return steps;
        const auto progress = RunProgress::parse(snapshot->info.metadata).value();
        for (std::size_t i = 0; i < progress.stages_completed; ++i) {
            for (const Step& step : pipeline.stages[i].steps) steps.insert(step.name);
        }
        for (const auto& [step, id] : progress.group_finished) steps.insert(step);
        return steps;
    }
    std::string final_state() const {
        StatePersistenceService service(open_store(folder.sqlite_url()).value());
        const auto loaded = service.load_agent_state({.run_id = "run"});
        return loaded ? std::string(loaded->state.text()) : loaded.error().to_string();
    }
    std::string problems() const {
        const auto store = open_store(folder.sqlite_url()).value();
        const auto report = check_deep(*store, Deadline::max()).value();
        return report.findings.empty() ? "" : report.findings.front().problem;
    }
};

int run_child(const Scene& scene, Plan plan) {
    return ChildProcess([&](const Channel&) { return scene.execute(plan); }).wait();
}

std::string undisturbed() {
    static const std::string kState = [] {
        const Scene scene(1);
        EXPECT_EQ(run_child(scene, {}), 0);
        return scene.final_state();
    }();
    return kState;
}

/// Goes on with a run that was killed, and checks it against the goal.
void expect_goes_on(const Scene& scene) {
    const std::set<std::string> finished = scene.finished();
    std::map<std::string, int> lines;
    for (const std::string& step : finished) lines[step] = scene.lines(step);
    ASSERT_EQ(run_child(scene, {}), 0);
    EXPECT_EQ(scene.final_state(), undisturbed());
    EXPECT_EQ(scene.problems(), "");
    for (const std::string& step : finished) {
        EXPECT_EQ(scene.lines(step), lines[step]) << step << " was finished, and ran again";
        EXPECT_EQ(lines[step], 1) << step << " was never interrupted";
    }
    EXPECT_EQ(scene.finished().size(), 12U);
}

class PipelineKill : public testing::TestWithParam<bool> {
protected:
    // Kills the process at the first, the second … such moment, until the run is completed before that moment.
    void kill_at_every(Plan::At at, int at_least) {
        int kills = 0;
        for (Plan plan{.at = at, .nth = 1};; ++plan.nth, ++kills) {
            SCOPED_TRACE(testing::Message() << "killed at number " << plan.nth);
            Scene scene(static_cast<std::uint64_t>(plan.nth));
            scene.config.enable_optimized_persistence = GetParam();
            const int ending = run_child(scene, plan);
            if (ending == 0) break;
            ASSERT_EQ(ending, -SIGKILL);
            expect_goes_on(scene);
        }
        EXPECT_GE(kills, at_least);
    }
};

INSTANTIATE_TEST_SUITE_P(Services, PipelineKill, testing::Bool(),
                         [](const auto& parameter) { return parameter.param ? "Optimized" : "Standard"; });

// There are at least 13 saves: the input, six single steps, and three for each of the two groups.
TEST_P(PipelineKill, MayComeBeforeAnyCheckpoint) {
    kill_at_every(Plan::At::kBeforeCommit, 13);
}

TEST_P(PipelineKill, MayComeAfterAnyCheckpoint) {
    kill_at_every(Plan::At::kAfterCommit, 13);
}

TEST_P(PipelineKill, MayComeBeforeAnyStep) {
    kill_at_every(Plan::At::kAgentBegins, 12);
}

TEST_P(PipelineKill, MayComeInsideAnyStep) {
    kill_at_every(Plan::At::kAgentEnds, 12);
}

// The execution is killed at each of its commits, and the decision at its own. Then both are made again.
TEST_P(PipelineKill, MayComeAroundThePauseAndTheDecision) {
    const auto scene_of = [](std::uint64_t pauses) {
        auto scene = std::make_unique<Scene>(pauses);
        scene->config.enable_optimized_persistence = GetParam();
        scene->pipeline = with_approval();
        return scene;
    };
    const auto approve = [](const Scene& scene, Plan plan) {
        return ChildProcess([&](const Channel&) { return scene.approve(plan); }).wait();
    };
    int kills = 0;
    for (const Plan::At at : {Plan::At::kBeforeCommit, Plan::At::kAfterCommit}) {
        for (int nth = 1, ending = -SIGKILL; ending == -SIGKILL; ++nth) {
            SCOPED_TRACE(testing::Message() << "killed at number " << nth);
            const auto scene = scene_of(static_cast<std::uint64_t>(nth));
            ending = run_child(*scene, {.at = at, .nth = nth});
            kills += ending == -SIGKILL ? 1 : 0;
            ASSERT_EQ(run_child(*scene, {}), kPaused);
            EXPECT_FALSE(fs::exists(scene->journal("g1"))) << "nobody has approved";
            ASSERT_EQ(approve(*scene, {.at = at, .nth = 1}), -SIGKILL);
            EXPECT_EQ(approve(*scene, {}), at == Plan::At::kBeforeCommit ? kThrough : kDecidedAlready);
            EXPECT_EQ(approve(*scene, {}), kDecidedAlready);
            run_child(*scene, {.at = at, .nth = nth});
            ASSERT_EQ(run_child(*scene, {}), kThrough);
            EXPECT_EQ(scene->problems(), "");
            EXPECT_EQ(scene->finished().size(), 5U);
            EXPECT_NE(scene->final_state().find("\"s2\""), std::string::npos);
        }
    }
    EXPECT_GE(kills, 6);  // the input, the first step, the pause; before and after
}

TEST(PipelineKills, MayComeAtRandomMomentsUntilTheRunIsCompleted) {
    const std::uint64_t first_seed = seed();
    SCOPED_TRACE(replay_line(first_seed));
    std::mt19937_64 random(first_seed);
    std::uint64_t kills = 0;
    Soak soak(60);
    while (soak.next()) {
        Scene scene(random());
        scene.config.enable_optimized_persistence = random() % 4 != 0;
        scene.config.durability = random() % 3 == 0 ? Durability::kAsync : Durability::kSync;
        std::map<std::string, int> lines;
        std::uint64_t longest_us = 5'000;  // it grows after each kill, so that a slow machine gets through too
        for (bool is_through = false; !is_through; longest_us += 500) {
            ChildProcess child([&](const Channel&) { return scene.execute({}); });
            std::this_thread::sleep_for(std::chrono::microseconds(random() % longest_us));
            const int ending = child.kill();
            is_through = ending == 0;
            ASSERT_TRUE(is_through || ending == -SIGKILL) << ending;
            kills += is_through ? 0 : 1;
            for (const auto& [step, before] : lines) EXPECT_EQ(scene.lines(step), before) << step << " ran again";
            for (const std::string& step : scene.finished()) lines.emplace(step, scene.lines(step));
        }
        EXPECT_EQ(scene.final_state(), undisturbed());
        EXPECT_EQ(scene.problems(), "");
    }
    std::cout << soak.rounds() << " runs, killed " << kills << " times\n";
    EXPECT_GE(kills, soak.is_soaking() ? 1U : 100U);
}

TEST(PipelineKills, OfTwoExecutorsAtTheSameTimeOneWinsAndNothingIsInterleaved) {
    for (std::uint64_t round = 0; round < 10; ++round) {
        const Scene scene(round + 1);
        ChildProcess one([&](const Channel&) { return scene.execute({}); });
        ChildProcess other([&](const Channel&) { return scene.execute({}); });
        const int first = one.wait();
        const int second = other.wait();
        EXPECT_EQ(std::min(first, second), kThrough);
        EXPECT_LE(std::max(first, second), kNotThrough);
        EXPECT_EQ(scene.final_state(), undisturbed());
        EXPECT_EQ(scene.problems(), "");
        for (const std::string& step : scene.finished()) EXPECT_EQ(scene.lines(step), 1) << step;
    }
}

// Three executors take the run over from each other. Then another one, alone, completes it.
TEST(PipelineKills, ExecutorsThatTakeTheRunFromEachOtherLeaveOneHistory) {
    for (std::uint64_t round = 0; round < 10; ++round) {
        Scene scene(round + 1);
        scene.context.take_over = true;
        const auto body = [&](const Channel&) { return scene.execute({}); };
        ChildProcess one(body);
        ChildProcess two(body);
        ChildProcess three(body);
        for (ChildProcess* child : {&one, &two, &three}) EXPECT_GE(child->wait(), 0);
        ASSERT_EQ(run_child(scene, {}), 0);
        EXPECT_EQ(scene.final_state(), undisturbed());
        EXPECT_EQ(scene.problems(), "");
    }
}

}  // namespace
}  // namespace cairn::test
