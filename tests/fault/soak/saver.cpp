#include "fault/kill/report.h"
#include "fault/soak/roles.h"

#include <cairn/persistence.h>

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace cairn::test {
namespace {

constexpr int kThreads = 3;
constexpr int kRetriesMax = 3;

OptimizedOptions options_of(Dice& dice) {
    OptimizedOptions options;
    options.durability = Durability::kSync;
    options.batch_limits.saves_max = dice.percent(50) ? 256 : 4;
    options.chain_limits.frames_max = dice.percent(50) ? 24 : 4;
    options.queue_limits.saves_max = dice.percent(50) ? 10'000 : 12;
    if (dice.percent(25)) options.cache_max_size = 2;
    options.enable_deduplication = dice.percent(90);
    return options;
}

// The data and the calls that the threads of one process share.
class Saver {
public:
    Saver(Workplace& place, std::shared_ptr<Store> store, const OptimizedOptions& options)
        : place_(place), optimised_(store, options), standard_(store) {}

    void work(std::int32_t thread) {
        Dice dice(place_.seed * 64 + static_cast<std::uint64_t>(thread));
        for (std::int64_t step = 1;; ++step) {
            const std::string run = dice.percent(60)   ? dice.pick(kWholeRuns)
                                    : dice.percent(60) ? dice.pick(kPrunedRuns)
                                                       : dice.pick(kDoomedRuns);
            dice.percent(4) ? flush(run, dice) : save(run, thread, step, dice);
            dice.rest();
        }
    }

private:
    /// The author of a state. Other threads save equal states again while the first is still queued.
    struct Author {
        std::int32_t thread = 0;
        std::int64_t step = 0;
    };

    void save(const std::string& run, std::int32_t thread, std::int64_t step, Dice& dice) {
        const Author author = choose_author(run, {thread, step}, dice);
        StatePersistenceRequest request{.run_id = run, .thread_id = kSoakThread, .user_id = kSoakUser};
        request.state_data = state_of(run, place_.process, author.thread, author.step);
        request.timeout = dice.deadline();
        request.durability = dice.percent(80)   ? Durability::kSync
                             : dice.percent(75) ? Durability::kAsync
                                                : Durability::kExit;
        if (dice.percent(3)) request.checkpoint_type = CheckpointType::kManual;
        if (dice.percent(2)) request.is_recovery_point = true;
        if (dice.percent(60)) request.snapshot_id = fmt::format("p{}-t{}-s{}", place_.process, thread, step);
        if (dice.percent(5)) expect_some_head(request, dice);
        const bool is_standard = dice.percent(10);
        const Fields asked{{"run", run},
                           {"id", request.snapshot_id},
                           {"author", fmt::format("{}.{}.{}", place_.process, author.thread, author.step)},
                           {"durability", std::string(to_string(*request.durability))},
                           {"timeout", fmt::to_string(request.timeout->count())},
                           {"expected", request.expected_version ? fmt::to_string(*request.expected_version) : ""},
                           {"keep", request.is_recovery_point ? "1" : ""},
                           {"service", is_standard ? "standard" : "optimised"}};
        if (!is_standard && dice.percent(25)) return save_async(request, asked);
        StatePersistence& service = is_standard ? static_cast<StatePersistence&>(standard_) : optimised_;
        save_until_known(service, request, asked);
    }

    Author choose_author(const std::string& run, Author own, Dice& dice) {
        const std::lock_guard lock(mutex_);
        const auto newest = newest_.find(run);
        if (newest != newest_.end() && dice.percent(30)) return newest->second;
        newest_[run] = own;
        return own;
    }

    void expect_some_head(StatePersistenceRequest& request, Dice& dice) {
        request.on_conflict = OnConflict::kFail;
        const std::lock_guard lock(mutex_);
        const auto seen = versions_.find(request.run_id);
        request.expected_version = seen == versions_.end() || dice.percent(30) ? 1'000'000 : seen->second;
    }

    // Repeats a save of unknown outcome with the same id, which is safe.
    void save_until_known(StatePersistence& service, StatePersistenceRequest request, const Fields& asked) {
        for (int attempt = 0; attempt <= kRetriesMax; ++attempt) {
            const std::int64_t call = ++calls_;
            place_.ledger.begin(call, "save", asked);
            const Result<Receipt> receipt = service.save_agent_state(request);
            note(call, request.run_id, receipt);
            const bool is_unknown = !receipt && receipt.error().code == ErrorCode::kOutcomeUnknown;
            if (!is_unknown || request.snapshot_id.empty()) return;
            request.timeout = std::chrono::milliseconds(500);
        }
    }

    void save_async(const StatePersistenceRequest& request, const Fields& asked) {
        const std::int64_t call = ++calls_;
        place_.ledger.begin(call, "save", asked);
        optimised_.save_async(
            request, [this, call, run = request.run_id](const Result<Receipt>& receipt) { note(call, run, receipt); });
    }

    void note(std::int64_t call, const std::string& run, const Result<Receipt>& receipt) {
        if (!receipt) return place_.ledger.end(call, told_of(receipt.error()));
        place_.ledger.end(call, {{"outcome", std::string(to_string(receipt->outcome))},
                                 {"durability", std::string(to_string(receipt->durability))},
                                 {"id", receipt->snapshot_id},
                                 {"version", fmt::to_string(receipt->version)}});
        const std::lock_guard lock(mutex_);
        versions_[run] = receipt->version;
    }

    void flush(const std::string& run, Dice& dice) {
        const std::int64_t call = ++calls_;
        place_.ledger.begin(call, "flush", {{"run", run}});
        const Status flushed = optimised_.flush(run, dice.deadline());
        place_.ledger.end(call, flushed ? Fields{} : told_of(flushed.error()));
    }

    Workplace& place_;
    OptimizedStatePersistence optimised_;
    StatePersistenceService standard_;
    std::atomic<std::int64_t> calls_ = 0;
    std::mutex mutex_;
    std::map<std::string, Author> newest_;
    std::map<std::string, std::int64_t> versions_;
};

}  // namespace

void save_for_ever(Workplace& place) {
    Dice dice(place.seed);
    Saver saver(place, open_for_ever(place, false), options_of(dice));
    std::vector<std::thread> others;
    for (std::int32_t thread = 1; thread < kThreads; ++thread) {
        others.emplace_back([&saver, thread] { saver.work(thread); });
    }
    saver.work(0);
    std::unreachable();
}

}  // namespace cairn::test
