#pragma once

// Runs pipelines of small agents over a memory store and keeps a journal of the steps that ran.

#include <cairn/faulty_store.h>
#include "store/memory/memory_store.h"
#include "support/make.h"

#include <cairn/pipeline.h>
#include <cairn/state_json.h>

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace cairn::test {

/// Records the steps that ran, with the numbers of their attempts.
class Journal {
public:
    void note(const AgentCall& call) {
        const std::lock_guard lock(mutex_);
        attempts_[call.step].push_back(call.attempt);
        order_.push_back(call.step);
    }
    std::vector<std::string> order() const {
        const std::lock_guard lock(mutex_);
        return order_;
    }
    std::vector<int> attempts(const std::string& step) const {
        const std::lock_guard lock(mutex_);
        const auto found = attempts_.find(step);
        return found == attempts_.end() ? std::vector<int>{} : found->second;
    }
    void clear() {
        const std::lock_guard lock(mutex_);
        attempts_.clear();
        order_.clear();
    }

private:
    mutable std::mutex mutex_;
    std::map<std::string, std::vector<int>> attempts_;
    std::vector<std::string> order_;
};

/// Records events in the order in which they arrive.
class EventRecorder final : public EventSink {
public:
    void on_event(const PipelineEvent& event) override {
        const std::lock_guard lock(mutex_);
        events_.push_back(event);
    }
    std::vector<PipelineEvent> events() const {
        const std::lock_guard lock(mutex_);
        return events_;
    }
    /// Returns a line for each event: "step_started a", "checkpoint intermediate", …
    std::vector<std::string> summary() const {
        std::vector<std::string> lines;
        const std::vector<PipelineEvent> all = events();
        for (const PipelineEvent& event : all) {
            std::string line(to_string(event.type));
            if (event.checkpoint_type) line += " " + event.checkpoint_type->name();
            if (!event.checkpoint_type && !event.step.empty()) line += " " + event.step;
            if (!event.status.empty()) line += " " + event.status;
            lines.push_back(std::move(line));
        }
        return lines;
    }

private:
    mutable std::mutex mutex_;
    std::vector<PipelineEvent> events_;
};

/// Returns the state with one member set to a JSON value.
inline State with_member(const State& state, const std::string& key, const nlohmann::ordered_json& value) {
    auto document = state_to_json<nlohmann::ordered_json>(state).value();
    document[key] = value;
    return state_from_json(document).value();
}

/// Makes a stage of one step.
inline Stage alone(std::string step, std::string agent = "note") {
    return {.steps = {{.name = std::move(step), .agent = std::move(agent)}}};
}

/// Makes a stage of several steps, which run at the same time.
inline Stage together(const std::vector<std::string>& steps, const std::string& agent = "note") {
    Stage stage;
    for (const std::string& step : steps) stage.steps.push_back({.name = step, .agent = agent});
    return stage;
}

class PipelineBench {
public:
    PipelineBench() {
        options.config.enable_optimized_persistence = true;
        add("note", [](const State& state, const AgentCall& call) -> Result<State> {
            return with_member(state, call.step, true);
        });
    }

    /// Adds an agent. Each call is noted in the journal before the agent does anything.
    void add(const std::string& name, Agent agent) {
        EXPECT_TRUE(
            engine->add_agent(name, [this, agent = std::move(agent)](const State& state, const AgentCall& call) {
                journal.note(call);
                return agent(state, call);
            }));
    }
    /// Adds an agent that fails as long as `is_broken`.
    void add_breakable(const std::string& name) {
        add(name, [this](const State& state, const AgentCall& call) -> Result<State> {
            if (is_broken) return fail(ErrorCode::kInvalidArgument, "broken on purpose");
            return with_member(state, call.step, true);
        });
    }

    /// Makes an executor with its own service and cache, as another process would have.
    std::unique_ptr<PipelineExecutor> executor(std::shared_ptr<EventSink> sink = nullptr) {
        return std::make_unique<PipelineExecutor>(engine, std::move(sink), store, options);
    }
    Result<PipelineResult> execute(const Pipeline& pipeline, const std::string& run_id = "run") {
        return executor()->execute_pipeline(pipeline, input, run_id, context);
    }
    /// Executes the pipeline. Expects that it begins, and that it ends without an error.
    PipelineResult complete(const Pipeline& pipeline, const std::string& run_id = "run") {
        Result<PipelineResult> result = execute(pipeline, run_id);
        if (!result) {
            ADD_FAILURE() << result.error().to_string();
            return {};
        }
        EXPECT_FALSE(result->error.has_value()) << result->error->to_string();
        EXPECT_EQ(result->status, PipelineStatus::kCompleted);
        return std::move(*result);
    }
    std::vector<SnapshotInfo> history(const std::string& run_id = "run") {
        return store->history({.run_id = run_id, .order = HistoryQuery::Order::kOldestFirst, .limit = 10'000}, soon())
            .value();
    }
    std::vector<std::string> types(const std::string& run_id = "run") {
        std::vector<std::string> names;
        for (const SnapshotInfo& info : history(run_id)) names.push_back(info.checkpoint_type.name());
        return names;
    }
    PipelineRunStatus status(const std::string& run_id = "run") {
        const Page<RunInfo> runs = store->runs({}, soon()).value();
        for (const RunInfo& run : runs.items) {
            if (run.run_id != run_id) continue;
            const auto status = pipeline_status(run, Runtime().with_defaults().clock->now(), options.silence);
            if (status) return *status;
        }
        ADD_FAILURE() << "no such run of a pipeline";
        return {};
    }

    Journal journal;
    std::atomic<bool> is_broken = true;
    std::shared_ptr<ExecutionEngine> engine = std::make_shared<ExecutionEngine>();
    std::shared_ptr<FaultyStore> store = std::make_shared<FaultyStore>(make_memory_store());
    ExecutorOptions options;
    PipelineContext context{.thread_id = "thread", .user_id = "user"};
    State input = State::parse(R"({"question":"why"})").value();
};

}  // namespace cairn::test
