// The programs of docs/guide.md in one: it contains every C++ block of the guide, and a test runs it.

#include <cairn/cairn.h>
#include <cairn/state_json.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <future>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace {

// A real program would handle each error as docs/reference.md describes.
template <class T>
T value_or_exit(cairn::Result<T> result) {
    if (result) return *std::move(result);
    std::cerr << result.error().to_string() << '\n';
    std::exit(cairn::error_info(result.error().code).exit_code);
}

cairn::State state_of_step(int step) {
    const nlohmann::ordered_json document{{"step", step}, {"messages", {"a question", "an answer"}}};
    return value_or_exit(cairn::state_from_json(document));
}

std::string save(cairn::StatePersistence& persistence, const cairn::State& state) {
    auto receipt = persistence.save_agent_state({
        .run_id = "run-1",
        .thread_id = "thread-1",
        .user_id = "user-1",
        .state_data = state,
        .checkpoint_type = cairn::CheckpointType::kAuto,
        .agent_phase = cairn::AgentPhase::kDataAnalysis,
    });
    if (!receipt) {
        std::cerr << receipt.error().to_string() << '\n';
        return {};
    }
    std::cout << receipt->snapshot_id << ": " << to_string(receipt->outcome) << '\n';
    return receipt->snapshot_id;
}

void save_bytes(cairn::StatePersistence& persistence, std::string_view bytes) {
    auto state = cairn::State::opaque("msgpack", bytes);
    if (!state) return;
    const auto receipt = persistence.save_agent_state(
        {.run_id = "run-bytes", .thread_id = "thread-2", .user_id = "user-1", .state_data = *std::move(state)});
    const auto loaded = persistence.load_agent_state({.run_id = "run-bytes"});
    if (receipt && loaded) std::cout << loaded->state.type_tag() << ": " << loaded->state.text().size() << " bytes\n";
}

void save_before_something_risky(cairn::StatePersistence& persistence, const cairn::State& state) {
    auto receipt = persistence.save_agent_state({
        .run_id = "run-1",
        .thread_id = "thread-1",
        .user_id = "user-1",
        .state_data = state,
        .checkpoint_type = cairn::CheckpointType::kManual,
        .is_recovery_point = true,
    });
    if (!receipt) std::cerr << receipt.error().to_string() << '\n';
}

void save_unless_somebody_else_did(cairn::StatePersistence& persistence, const cairn::State& state,
                                   std::int64_t version_seen) {
    auto receipt = persistence.save_agent_state({
        .run_id = "run-1",
        .thread_id = "thread-1",
        .user_id = "user-1",
        .state_data = state,
        .on_conflict = cairn::OnConflict::kFail,
        .expected_version = version_seen,
    });
    if (!receipt && receipt.error().code == cairn::ErrorCode::kConflict) {
        std::cout << "somebody else has saved since: load the new head, then decide\n";
    }
}

void save_as_the_only_executor(cairn::StatePersistence& persistence, const std::shared_ptr<cairn::Store>& store,
                               const cairn::State& state, cairn::Deadline deadline) {
    auto lease = cairn::RunLease::acquire(store, "run-1", deadline);
    if (!lease) {
        std::cout << lease.error().to_string() << '\n';  // who executes the run, and since when it is silent
        return;
    }

    auto receipt = persistence.save_agent_state({
        .run_id = "run-1",
        .thread_id = "thread-1",
        .user_id = "user-1",
        .state_data = state,
        .lease = lease->lease(),
    });
    if (!receipt && receipt.error().code == cairn::ErrorCode::kConflict) {
        std::cout << "another executes the run now: stop\n";
    }
}

void load(cairn::StatePersistence& persistence, const std::string& snapshot_id) {
    auto newest = persistence.load_agent_state({.run_id = "run-1"});
    auto earlier = persistence.load_agent_state({.run_id = "run-1", .snapshot_id = snapshot_id, .user_id = "user-1"});
    if (!newest || !earlier) return;

    std::cout << "version " << newest->info.version << ": " << newest->state.text() << '\n';
    auto document = cairn::state_to_json<nlohmann::ordered_json>(earlier->state);
    if (document) std::cout << "step " << (*document)["step"] << '\n';
}

void list_history(cairn::Store& store, cairn::Deadline deadline) {
    cairn::HistoryQuery query{.run_id = "run-1", .agent_phase = cairn::AgentPhase::kDataAnalysis, .limit = 2};
    for (auto page = store.history(query, deadline); page && !page->empty(); page = store.history(query, deadline)) {
        for (const cairn::SnapshotInfo& info : *page) {
            std::cout << info.version << ' ' << info.checkpoint_type.name() << ' ' << info.state_bytes << " bytes\n";
        }
        query.after_version = page->back().version;
    }
}

void try_another_way(cairn::StatePersistence& persistence, cairn::Store& store, const std::string& snapshot_id,
                     cairn::Deadline deadline) {
    auto fork = persistence.save_agent_state({
        .run_id = "run-1",
        .thread_id = "thread-1",
        .user_id = "user-1",
        .state_data = state_of_step(7),
        .parent_snapshot_id = snapshot_id,
        .metadata = value_or_exit(cairn::State::parse(R"({"branch":"b","attempt":2})")),
    });
    if (!fork) std::cerr << fork.error().to_string() << '\n';

    auto branch = store.history({.run_id = "run-1", .metadata = {{"branch", "\"b\""}, {"attempt", "2"}}}, deadline);
    if (branch) std::cout << "snapshots on the branch: " << branch->size() << '\n';
}

void prune(cairn::Store& store) {
    const cairn::RetentionPolicy policy{.keep_last = 3, .expired = true, .thread_id = "thread-1"};
    auto rehearsal = cairn::prune(store, policy, {.dry_run = true});
    auto done = cairn::prune(store, policy);
    if (rehearsal && done) std::cout << "snapshots deleted: " << done->snapshots_deleted << '\n';
}

void recover(cairn::StatePersistence& persistence, const std::string& snapshot_id) {
    auto recovered = persistence.recover_agent_state({
        .run_id = "run-1",
        .recovery_type = cairn::RecoveryType::kRollback,
        .target_snapshot_id = snapshot_id,
        .failure_reason = "the analysis went the wrong way",
    });
    if (recovered) std::cout << "the head is now version " << recovered->version << '\n';
}

void show_thread(cairn::StatePersistence& persistence) {
    auto context = persistence.get_thread_context("thread-1");
    if (!context) return;
    std::cout << context->runs.size() << " runs, " << context->snapshots << " snapshots, newest "
              << context->newest_snapshot_id << '\n';
}

void save_without_waiting(cairn::OptimizedStatePersistence& persistence, const cairn::State& state) {
    cairn::StatePersistenceRequest request{
        .run_id = "run-1", .thread_id = "thread-1", .user_id = "user-1", .state_data = state};
    request.durability = cairn::Durability::kAsync;
    auto queued = persistence.save_agent_state(request);       // outcome "queued"
    const cairn::Status flushed = persistence.flush("run-1");  // now it is on disk, or this says what was lost
    if (!queued || !flushed) return;
    std::cout << to_string(queued->outcome) << ", then flushed\n";
}

void save_with_a_completion(cairn::OptimizedStatePersistence& persistence,
                            const cairn::StatePersistenceRequest& request) {
    std::future<cairn::Result<cairn::Receipt>> later = persistence.save_async(request);
    persistence.save_async(request, [](const cairn::Result<cairn::Receipt>& receipt) {
        if (!receipt) std::cerr << receipt.error().to_string() << '\n';
    });
    if (later.get()) std::cout << "saved without waiting\n";
}

void serve_an_event_loop(const std::shared_ptr<cairn::Store>& store, cairn::Deadline deadline) {
    const auto executor = std::make_shared<cairn::CallExecutor>();
    cairn::OptimizedOptions options;
    options.executor = executor;
    cairn::OptimizedStatePersistence persistence(store, options);
    auto call = persistence.load_agent_state_async({.run_id = "run-1"}, [](cairn::Result<cairn::LoadedState> loaded) {
        if (loaded) std::cout << "loaded on another thread: hand it to the loop\n";
    });
    call.cancel();  // whoever asked has gone: it is not made any more unless it has begun

    const cairn::AsyncStore async(store, executor);
    async.check(deadline, [](cairn::Result<cairn::CheckReport> report) {
        if (report) std::cout << report->findings.size() << " findings\n";
    });
}

void tune(cairn::OptimizedStatePersistence& persistence) {
    auto done = persistence.configure({.enable_compression = true, .cache_max_size = 500});
    if (!done) std::cerr << done.error().to_string() << '\n';

    const cairn::CacheStats stats = persistence.get_cache_stats();
    std::cout << stats.skips << " of " << stats.hits + stats.misses << " saves skipped, " << stats.bytes_saved
              << " bytes saved\n";
}

/// Counts saves, as a program's own metrics do.
class Metrics {
public:
    void count(cairn::Outcome outcome, std::uint64_t bytes, std::chrono::microseconds duration) {
        const std::lock_guard lock(mutex_);
        ++saves_[outcome];
        bytes_ += bytes;
        longest_ = std::max(longest_, duration);
    }
    void print() const {
        for (const auto& [outcome, saves] : saves_) std::cout << saves << " saves " << to_string(outcome) << '\n';
        std::cout << bytes_ << " bytes, at most " << longest_.count() << " us a save\n";
    }

private:
    std::mutex mutex_;
    std::map<cairn::Outcome, std::uint64_t> saves_;
    std::uint64_t bytes_ = 0;
    std::chrono::microseconds longest_{0};
};

void count_saves(const std::shared_ptr<cairn::Store>& store) {
    Metrics metrics;
    cairn::OptimizedOptions options;
    options.observer = [&metrics](const cairn::SaveEvent& save) {
        metrics.count(save.outcome(), save.receipt ? save.receipt->frame_bytes : 0, save.duration);
    };
    cairn::OptimizedStatePersistence watched(store, options);
    save(watched, state_of_step(6));
    save(watched, state_of_step(6));
    metrics.print();
}

/// Prints how each step ends.
class StepPrinter final : public cairn::EventSink {
public:
    void on_event(const cairn::PipelineEvent& event) override {
        if (event.type == cairn::PipelineEvent::Type::kStepCompleted) std::cout << event.step << " completed\n";
    }
};

void run_a_pipeline(const std::shared_ptr<cairn::Store>& store, const cairn::Config& config) {
    auto engine = std::make_shared<cairn::ExecutionEngine>();
    auto plan = [](const cairn::State&, const cairn::AgentCall&) { return cairn::State::parse(R"({"plan":"ask"})"); };
    auto added = engine->add_agent("plan", plan);
    auto also_added =
        engine->add_agent("ask", cairn::command_agent({.command = {"sh", "-c", "echo '{\"answer\":42}'"},
                                                       .output = cairn::CommandOptions::Output::kMergePatch}));
    if (!added || !also_added) return;

    const cairn::Pipeline pipeline{
        .name = "answers",
        .stages = {{.steps = {{.name = "plan", .agent = "plan"}}}, {.steps = {{.name = "ask", .agent = "ask"}}}}};
    cairn::PipelineExecutor executor(engine, std::make_shared<StepPrinter>(), store, {.config = config});
    auto result =
        executor.execute_pipeline(pipeline, cairn::State(), "run-2", {.thread_id = "thread-1", .user_id = "user-1"});
    if (result && !result->error) std::cout << result->state.text() << '\n';
}

std::unique_ptr<cairn::StatePersistence> choose_by_configuration() {
    auto loaded = cairn::load_config();  // the environment, then .env
    if (!loaded) return nullptr;
    auto store = cairn::open_store(loaded->config.store_url);
    if (!store) return nullptr;
    return cairn::make_persistence(loaded->config, *store);
}

}  // namespace

int main() {
    const auto store = value_or_exit(cairn::open_store("sqlite:guide.db"));
    cairn::OptimizedStatePersistence persistence(store);
    const std::string first = save(persistence, state_of_step(1));
    save(persistence, state_of_step(1));  // skipped: equal to the head
    save(persistence, state_of_step(2));
    save_before_something_risky(persistence, state_of_step(2));
    save_unless_somebody_else_did(persistence, state_of_step(3), 1);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    save_as_the_only_executor(persistence, store, state_of_step(2), deadline);
    save_bytes(persistence, "\x81\xa4step\x01");
    load(persistence, first);
    list_history(*store, deadline);
    recover(persistence, first);
    try_another_way(persistence, *store, first, deadline);
    prune(*store);
    show_thread(persistence);
    save_without_waiting(persistence, state_of_step(4));
    save_with_a_completion(
        persistence, {.run_id = "run-1", .thread_id = "thread-1", .user_id = "user-1", .state_data = state_of_step(5)});
    serve_an_event_loop(store, deadline);
    tune(persistence);
    count_saves(store);
    run_a_pipeline(store, {.enable_optimized_persistence = true});
    return choose_by_configuration() == nullptr ? 1 : 0;
}
