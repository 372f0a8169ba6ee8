// Goal: the optimised service is observably equal to the standard one. For any sequence of saves, duplicates, forks,
// loads, recoveries, prunes, reopenings, second writers and failing stores, both return the same states, byte for byte,
// and everything else that a caller gave is there. In a quarter of the sequences, the optimised service is told to
// ignore the order of keys; then the states are the same up to that order.
// A quarter of the new states are opaque.
// Method: plays one random sequence in two worlds, which differ only in the service, beside a model that is a map.
// After every step both worlds must show what the model shows. A caller whose save fails tries again, as callers do.
// There are thousands of sequences on the memory store, and dozens on SQLite, where reopening and a second connection
// are real.

#include <cairn/persistence.h>
#include <cairn/retention.h>

#include <cairn/faulty_store.h>
#include "state/state_equality.h"
#include "store/memory/memory_store.h"
#include "support/make.h"
#include "support/seed.h"
#include "support/temp_dir.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <map>
#include <optional>
#include <random>

namespace cairn {
namespace {

/// One service over one store, a second writer on the same store, and the ids that the saves returned.
class World {
public:
    using OpenStore = std::function<std::shared_ptr<Store>()>;

    World(bool is_optimised, OpenStore open, std::uint64_t seed, bool ignores_key_order)
        : is_optimised_(is_optimised),
          ignores_key_order_(is_optimised && ignores_key_order),
          open_(std::move(open)),
          seed_(seed) {
        reopen();
    }

    /// Opens the store anew. Everything in memory is lost; only what the store keeps remains.
    void reopen() {
        second_.reset();
        service_.reset();
        faulty_.reset();
        faulty_ = std::make_shared<FaultyStore>(open_());
        service_ = make_service(faulty_);
        second_ = make_service(open_());
    }

    bool are_equal(const State& loaded, const State& saved) const {
        if (loaded == saved) return true;
        return ignores_key_order_ && !loaded.is_opaque() && !saved.is_opaque() &&
               json_equal(loaded.text(), saved.text());
    }
    StatePersistence& service() { return *service_; }
    StatePersistence& second() { return *second_; }
    FaultyStore& store() { return *faulty_; }
    std::vector<std::string>& ids(const std::string& run_id) { return ids_[run_id]; }

    void configure(const OptimizationSettings& settings) {
        if (auto* optimised = dynamic_cast<OptimizedStatePersistence*>(service_.get())) {
            ASSERT_TRUE(optimised->configure(settings));
            if (!settings.enable_deduplication) optimised->clear_cache();
        }
    }
    std::uint64_t skips() const {
        const auto* optimised = dynamic_cast<const OptimizedStatePersistence*>(service_.get());
        return optimised == nullptr ? 0 : optimised->get_cache_stats().skips;
    }

private:
    std::unique_ptr<StatePersistence> make_service(std::shared_ptr<Store> store) {
        OptimizedOptions options;
        options.runtime = test::make_runtime(++seed_);
        options.cache_max_size = 2;  // small, so that entries are evicted; the limits of chains are small too
        options.chain_limits = {.frames_max = 4, .bytes_always = 2000};
        options.ignore_key_order = ignores_key_order_;
        if (is_optimised_) return std::make_unique<OptimizedStatePersistence>(std::move(store), options);
        return std::make_unique<StatePersistenceService>(std::move(store), options);
    }

    const bool is_optimised_;
    const bool ignores_key_order_;
    const OpenStore open_;
    std::uint64_t seed_;
    std::shared_ptr<FaultyStore> faulty_;
    std::unique_ptr<StatePersistence> service_;
    std::unique_ptr<StatePersistence> second_;
    std::map<std::string, std::vector<std::string>> ids_;
};

/// The states that a run must show, in the order in which they were saved, and its head.
struct ModelRun {
    std::vector<State> saved;  // one for each save, skipped or not; a world's ids have the same indexes
    State first;
    State head;
    bool is_pruned = false;  // some saved states may be gone, and not the same ones in both worlds
};

class Differential {
public:
    Differential(std::uint64_t seed, const World::OpenStore& open_standard, const World::OpenStore& open_optimised)
        : random_(seed),
          standard_(false, open_standard, seed, seed % 4 == 0),
          optimised_(true, open_optimised, seed, seed % 4 == 0) {}

    void play(int steps) {
        for (int step = 0; step < steps && !testing::Test::HasFatalFailure(); ++step) {
            SCOPED_TRACE(fmt::format("step {}", step));
            play_step();
        }
        if (!testing::Test::HasFatalFailure()) compare_everything();
    }

    static inline std::uint64_t skips_seen = 0;

private:
    std::size_t below(std::size_t limit) { return std::uniform_int_distribution<std::size_t>(0, limit - 1)(random_); }
    bool chance(double part) { return std::bernoulli_distribution(part)(random_); }
    std::string pick_run() { return fmt::format("run-{}", below(3)); }

    void play_step() {
        const std::size_t kind = below(100);
        if (kind < 55) return save(standard_.service(), optimised_.service(), std::nullopt);
        if (kind < 63) return save(standard_.second(), optimised_.second(), std::nullopt);
        if (kind < 75) return save(standard_.service(), optimised_.service(), pick_fault());
        if (kind < 83) return load_past();
        if (kind < 90) return recover();
        if (kind < 93) return refuse_other_owner();
        if (kind < 95) return prune_all();
        if (kind < 98) return configure();
        skips_seen += optimised_.skips();
        standard_.reopen();
        optimised_.reopen();
    }

    // Picks one of few states, so that equal neighbours, reordered keys and changes of the same length are common.
    State pick_state(const ModelRun* run) {
        if (run != nullptr && chance(0.35)) return run->head;
        const std::size_t n = below(4);
        if (chance(0.25)) return pick_opaque(n);
        switch (below(4)) {
            case 0:
                return State::parse(fmt::format(R"({{"n":{},"list":[1,1.0,"é"]}})", n)).value();
            case 1:
                return State::parse(fmt::format(R"({{"list":[1,1.0,"é"],"n":{}}})", n)).value();
            case 2:
                return State::parse(fmt::format(R"({{"text":"{}","n":{}}})", std::string(2000 + n, 'x'), n)).value();
            default:
                return State::parse(fmt::format(R"({{"a":"\u0000\ud800","big":12345678901234567890{}}})", n)).value();
        }
    }

    // Of few types; some have the bytes of a JSON state.
    State pick_opaque(std::size_t n) {
        constexpr std::array kTypes{"msgpack", "json", "msgpack+aes"};
        const std::string bytes = below(2) == 0
                                      ? fmt::format(R"({{"n":{},"list":[1,1.0,"é"]}})", n)
                                      : std::string(2000, '\xff') + static_cast<char>(n) + std::string(500, '\0');
        return State::opaque(kTypes[below(kTypes.size())], bytes).value();
    }

    State pick_label(std::string_view name) {
        return State::parse(fmt::format(R"({{"{}":{}}})", name, below(2))).value();
    }

    CheckpointType pick_type() {
        const std::array types{CheckpointType::kAuto,
                               CheckpointType::kIntermediate,
                               CheckpointType::kAuto,
                               CheckpointType::kPipelineComplete,
                               CheckpointType::kManual,
                               CheckpointType::kRecovery,
                               CheckpointType::kPhaseTransition,
                               CheckpointType("unheard_of")};
        return types[below(types.size())];
    }

    Fault pick_fault() {
        constexpr std::array kCalls{StoreCall::kCommit, StoreCall::kCommit, StoreCall::kHead, StoreCall::kGet};
        constexpr std::array kCodes{ErrorCode::kUnavailable, ErrorCode::kStorageFull, ErrorCode::kInternal};
        Fault fault{.call = kCalls[below(4)], .code = kCodes[below(3)], .nth = 1 + below(2), .for_good = chance(0.3)};
        if (fault.call == StoreCall::kCommit && chance(0.5)) {
            fault.code = ErrorCode::kOutcomeUnknown;
            fault.after_effect = chance(0.5);
        }
        return fault;
    }

    void save(StatePersistence& in_standard, StatePersistence& in_optimised, const std::optional<Fault>& fault) {
        const std::string run_id = pick_run();
        const auto known = model_.find(run_id);
        StatePersistenceRequest request;
        request.run_id = run_id;
        request.thread_id = "thread-of-" + run_id;
        request.user_id = "user";
        request.state_data = pick_state(known == model_.end() ? nullptr : &known->second);
        request.checkpoint_type = pick_type();
        request.is_recovery_point = chance(0.05);
        request.timeout = std::chrono::seconds(20);
        if (chance(0.4)) request.agent_phase = AgentPhase(chance(0.5) ? "triage" : "reporting");
        if (chance(0.2)) request.execution_context = pick_label("context");
        if (chance(0.1)) request.metadata = pick_label("label");
        if (chance(0.1)) request.expires_at = test::kEpoch + std::chrono::hours(1 + below(2));
        if (chance(0.3)) request.snapshot_id = fmt::format("own-{}", ++own_ids_);
        std::optional<std::size_t> parent;
        const bool may_fork = known != model_.end() && !known->second.is_pruned;
        if (may_fork && chance(0.15)) parent = below(known->second.saved.size());

        save_in(standard_, in_standard, request, fault, parent);
        save_in(optimised_, in_optimised, request, fault, parent);
        ModelRun& run = model_[run_id];
        if (run.saved.empty()) run.first = request.state_data;
        run.saved.push_back(request.state_data);
        run.head = request.state_data;
        compare_head(run_id);
    }

    // The caller tries a failed save again. A failure must leave the head as it was; only if the outcome was reported
    // as unknown may the head be the new one.
    void save_in(World& world, StatePersistence& service, StatePersistenceRequest request,
                 const std::optional<Fault>& fault, std::optional<std::size_t> parent) {
        if (parent) request.parent_snapshot_id = world.ids(request.run_id)[*parent];
        const bool is_critical = request.is_critical();
        if (fault) world.store().inject(*fault);
        Result<Receipt> receipt = service.save_agent_state(request);
        world.store().heal();
        if (!receipt) {
            ASSERT_TRUE(fault) << receipt.error().to_string();
            check_unharmed(world, request, receipt.error().code);
            receipt = service.save_agent_state(request);
            ASSERT_TRUE(receipt) << receipt.error().to_string();
        }
        if (is_critical || &world == &standard_) {
            ASSERT_NE(receipt->outcome, Outcome::kDeduplicated);
        }
        check_that_nothing_was_dropped(service, request, receipt->snapshot_id);
        ASSERT_EQ(receipt->durability, Durability::kSync);
        world.ids(request.run_id).push_back(receipt->snapshot_id);
    }

    void check_that_nothing_was_dropped(StatePersistence& service, const StatePersistenceRequest& request,
                                        const std::string& snapshot_id) {
        const Result<LoadedState> loaded =
            service.load_agent_state({.run_id = request.run_id, .snapshot_id = snapshot_id});
        ASSERT_TRUE(loaded) << loaded.error().to_string();
        const SnapshotInfo& info = loaded->info;
        ASSERT_TRUE(request.snapshot_id.empty() || snapshot_id == request.snapshot_id);
        ASSERT_TRUE(request.agent_phase.name().empty() || info.agent_phase == request.agent_phase);
        ASSERT_TRUE(!request.execution_context || info.execution_context == request.execution_context->text());
        ASSERT_TRUE(!request.metadata || info.metadata == request.metadata->text());
        ASSERT_TRUE(request.checkpoint_type != CheckpointType::kPipelineComplete ||
                    info.checkpoint_type == request.checkpoint_type);
        ASSERT_EQ(info.expires_at, request.expires_at);
    }

    void check_unharmed(World& world, const StatePersistenceRequest& request, ErrorCode code) {
        const auto run = model_.find(request.run_id);
        const Result<LoadedState> head = world.service().load_agent_state({.run_id = request.run_id});
        if (head && code == ErrorCode::kOutcomeUnknown && world.are_equal(head->state, request.state_data)) return;
        if (run == model_.end()) {
            ASSERT_FALSE(head);
            ASSERT_EQ(head.error().code, ErrorCode::kNotFound);
        } else {
            ASSERT_TRUE(head);
            ASSERT_TRUE(world.are_equal(head->state, run->second.head));
        }
    }

    void compare_head(const std::string& run_id) {
        for (World* world : {&standard_, &optimised_}) {
            for (StatePersistence* service : {&world->service(), &world->second()}) {
                const Result<LoadedState> head = service->load_agent_state({.run_id = run_id});
                ASSERT_TRUE(head) << head.error().to_string();
                ASSERT_TRUE(world->are_equal(head->state, model_[run_id].head));
            }
        }
    }

    void load_past() {
        const std::string run_id = pick_run();
        const auto run = model_.find(run_id);
        if (run == model_.end() || run->second.saved.empty()) {
            for (World* world : {&standard_, &optimised_}) {
                const Result<LoadedState> nothing = world->service().load_agent_state({.run_id = run_id});
                ASSERT_FALSE(nothing);
                ASSERT_EQ(nothing.error().code, ErrorCode::kNotFound);
            }
            return;
        }
        compare_past(run_id, below(run->second.saved.size()));
    }

    void prune_all() {
        const std::size_t keep_last = 1 + below(4);
        for (World* world : {&standard_, &optimised_}) {
            const Result<RetentionReport> report = prune(world->store(), {.keep_last = keep_last});
            ASSERT_TRUE(report) << report.error().to_string();
        }
        for (auto& [run_id, run] : model_) {
            run.is_pruned = true;
            compare_head_equal(run_id);
        }
    }

    void compare_past(const std::string& run_id, std::size_t index) {
        for (World* world : {&standard_, &optimised_}) {
            const Result<LoadedState> loaded =
                world->service().load_agent_state({.run_id = run_id, .snapshot_id = world->ids(run_id)[index]});
            const bool may_be_gone = model_[run_id].is_pruned && !loaded;
            if (may_be_gone) {
                ASSERT_EQ(loaded.error().code, ErrorCode::kNotFound) << loaded.error().to_string();
                continue;
            }
            ASSERT_TRUE(loaded) << loaded.error().to_string();
            ASSERT_TRUE(world->are_equal(loaded->state, model_[run_id].saved[index]));
        }
    }

    void recover() {
        const std::string run_id = pick_run();
        const auto run = model_.find(run_id);
        // After a prune, each world has a different first snapshot and different targets.
        const bool is_pruned = run != model_.end() && run->second.is_pruned;
        const auto type = is_pruned ? RecoveryType::kResume : static_cast<RecoveryType>(below(3));
        const std::size_t target = run == model_.end() ? 0 : below(run->second.saved.size());
        for (World* world : {&standard_, &optimised_}) {
            StateRecoveryRequest request{.run_id = run_id, .recovery_type = type, .failure_reason = "test"};
            if (type == RecoveryType::kRollback) {
                request.target_snapshot_id = run == model_.end() ? "none" : world->ids(run_id)[target];
            }
            const Result<RecoveryResult> recovered = world->service().recover_agent_state(request);
            if (run == model_.end()) {
                ASSERT_FALSE(recovered);
                ASSERT_EQ(recovered.error().code, ErrorCode::kNotFound);
                continue;
            }
            ASSERT_TRUE(recovered) << recovered.error().to_string();
            ASSERT_TRUE(world->are_equal(recovered->state, expected_after(run->second, type, target)));
        }
        if (run == model_.end()) return;
        run->second.head = expected_after(run->second, type, target);
        compare_head_equal(run_id);
    }

    static State expected_after(const ModelRun& run, RecoveryType type, std::size_t target) {
        if (type == RecoveryType::kRestart) return run.first;
        return type == RecoveryType::kRollback ? run.saved[target] : run.head;
    }

    void compare_head_equal(const std::string& run_id) {
        for (World* world : {&standard_, &optimised_}) {
            const Result<LoadedState> head = world->second().load_agent_state({.run_id = run_id});
            ASSERT_TRUE(head);
            ASSERT_TRUE(world->are_equal(head->state, model_[run_id].head));
        }
    }

    void refuse_other_owner() {
        if (model_.empty()) return;
        for (World* world : {&standard_, &optimised_}) {
            StatePersistenceRequest request = test::make_request(model_.begin()->first);
            const Result<Receipt> refused = world->service().save_agent_state(request);
            ASSERT_FALSE(refused);
            ASSERT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
            const Result<LoadedState> hidden =
                world->service().load_agent_state({.run_id = model_.begin()->first, .user_id = "intruder"});
            ASSERT_FALSE(hidden);
            ASSERT_EQ(hidden.error().code, ErrorCode::kNotFound);
        }
    }

    void configure() {
        optimised_.configure({.enable_deduplication = chance(0.8),
                              .enable_compression = chance(0.5),
                              .cache_max_size = 1 + below(3),
                              .cache_max_bytes = below(5000)});
    }

    void compare_everything() {
        skips_seen += optimised_.skips();
        for (const auto& [run_id, run] : model_) {
            for (std::size_t i = 0; i < run.saved.size(); ++i) compare_past(run_id, i);
            compare_head_equal(run_id);
            const auto context = [&](World& world) {
                return world.service().get_thread_context("thread-of-" + run_id).value();
            };
            ASSERT_EQ(context(standard_).runs.size(), context(optimised_).runs.size());
            ASSERT_GE(context(standard_).snapshots, context(optimised_).snapshots);
        }
        for (World* world : {&standard_, &optimised_}) {
            ASSERT_TRUE(check_deep(world->store(), Deadline::max()).value().findings.empty());
        }
    }

    std::mt19937_64 random_;
    World standard_;
    World optimised_;
    std::map<std::string, ModelRun> model_;
    std::uint64_t own_ids_ = 0;
};

TEST(Differential, ThousandsOfRandomSequencesShowTheSameStatesInBothServicesInMemory) {
    const std::uint64_t first_seed = test::seed();
    Differential::skips_seen = 0;
    for (std::uint64_t seed = first_seed; seed < first_seed + 5000 && !HasFatalFailure(); ++seed) {
        SCOPED_TRACE(test::replay_line(seed));
        const std::shared_ptr<Store> standard = make_memory_store();
        const std::shared_ptr<Store> optimised = make_memory_store();
        Differential(seed, [=] { return standard; }, [=] { return optimised; }).play(40);
    }
    EXPECT_GT(Differential::skips_seen, 1000U) << "the sequences hardly ever reached a skip";
}

TEST(Differential, RandomSequencesShowTheSameStatesInBothServicesOnSqlite) {
    const std::uint64_t first_seed = test::seed();
    for (std::uint64_t seed = first_seed; seed < first_seed + 60 && !HasFatalFailure(); ++seed) {
        SCOPED_TRACE(test::replay_line(seed));
        const test::TempDir folder;
        const auto open = [&](const char* name) {
            return [url = folder.sqlite_url(name)] { return open_store(url).value(); };
        };
        Differential(seed, open("standard.db"), open("optimised.db")).play(30);
    }
}

}  // namespace
}  // namespace cairn
