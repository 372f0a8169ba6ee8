#include "comparison.h"

#include <cairn/state_json.h>

#include <algorithm>
#include <memory>
#include <system_error>
#include <utility>

namespace repo_analyst {
namespace {

namespace fs = std::filesystem;
using cairn::Result;
using cairn::Status;

std::unique_ptr<cairn::StatePersistence> make_service(Service service, const std::shared_ptr<cairn::Store>& store) {
    if (service == Service::kStandard) return std::make_unique<cairn::StatePersistenceService>(store);
    return std::make_unique<cairn::OptimizedStatePersistence>(store);
}

// Persists every state that it is given, and measures the time.
class Recorder {
public:
    Recorder(cairn::StatePersistence& persistence, const Progress& progress)
        : persistence_(persistence), progress_(progress) {}

    Status save(const Json& document, cairn::CheckpointType type, cairn::AgentPhase phase) {
        auto state = cairn::state_from_json(document);
        if (!state) return std::unexpected(state.error());
        last_ = *state;
        const cairn::StatePersistenceRequest request{.run_id = kRunId,
                                                     .thread_id = "repo-analyst",
                                                     .user_id = "example",
                                                     .state_data = *std::move(state),
                                                     .checkpoint_type = std::move(type),
                                                     .agent_phase = std::move(phase)};
        const auto begin = std::chrono::steady_clock::now();
        const auto receipt = persistence_.save_agent_state(request);
        durations_.push_back(std::chrono::steady_clock::now() - begin);
        if (!receipt) return std::unexpected(receipt.error());
        if (receipt->outcome == cairn::Outcome::kDeduplicated) ++skips_;
        state_bytes_ += request.state_data.size_bytes();
        progress_(durations_.size(), request.agent_phase.name());
        return {};
    }

    const cairn::State& last() const { return last_; }

    void report_to(Measurement& measurement) {
        measurement.saves = durations_.size();
        measurement.skips = skips_;
        measurement.state_bytes = state_bytes_;
        for (const auto duration : durations_) measurement.saving += duration;
        std::ranges::sort(durations_);
        if (!durations_.empty()) measurement.save_p50 = durations_[durations_.size() / 2];
    }

private:
    cairn::StatePersistence& persistence_;
    const Progress& progress_;
    cairn::State last_;
    std::vector<std::chrono::nanoseconds> durations_;
    std::uint64_t skips_ = 0;
    std::uint64_t state_bytes_ = 0;
};

Result<std::shared_ptr<cairn::Store>> open_fresh(const fs::path& database) {
    std::error_code problem;
    fs::create_directories(database.parent_path(), problem);
    for (const char* suffix : {"", "-wal", "-shm"}) fs::remove(database.string() + suffix, problem);
    return cairn::open_store("sqlite:" + database.string());
}

}  // namespace

Result<Measurement> run_agent(const SourceTree& tree, const std::string& tree_name, Service service,
                              const fs::path& database, const Progress& progress) {
    auto store = open_fresh(database);
    if (!store) return std::unexpected(store.error());
    const auto persistence = make_service(service, *store);
    Recorder recorder(*persistence, progress);

    Agent agent(tree, tree_name, [&](const Json& state, cairn::CheckpointType type, cairn::AgentPhase phase) {
        return recorder.save(state, std::move(type), std::move(phase));
    });
    auto state = agent.run();
    if (!state) return std::unexpected(state.error());

    Measurement measurement{.state = *std::move(state)};
    recorder.report_to(measurement);
    const auto loaded = persistence->load_agent_state({.run_id = kRunId});
    if (!loaded) return std::unexpected(loaded.error());
    measurement.loads_back_equal = loaded->state.text() == recorder.last().text();

    const auto stats = (*store)->stats(cairn::Deadline::max());
    if (!stats) return std::unexpected(stats.error());
    measurement.payload_bytes = stats->payload_bytes;
    measurement.store_bytes = stats->store_bytes;
    return measurement;
}

}  // namespace repo_analyst
