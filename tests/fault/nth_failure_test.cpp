// Goal: if a disk operation or an allocation fails, once or for good, a program that uses cairn gets an error value of
// a kind that says what to do. Every save that was acknowledged, before or after, is there. None is there in part,
// twice, or although it was refused. Once the fault is over, everything works again.
// Method: one session does everything (opening, saves of several runs and kinds by both services and in all modes,
// loads, a recovery, a prune, closing). It runs again and again with its 1st, 2nd, 3rd … disk operation or allocation
// failing, until a session ends before reaching it. Then the store is reopened without faults and checked against the
// promises. Not every allocation of the thousands fails in a session of its own: CAIRN_TEST_SEED chooses among the
// later ones. With CAIRN_SOAK_SECONDS, every one does.

#include "store/memory/memory_store.h"
#include "store/sqlite/sqlite_store.h"
#include "support/allocation_faults.h"
#include "support/fault_vfs.h"
#include "support/make.h"
#include "support/queue_bench.h"
#include "support/save_ledger.h"
#include "support/seed.h"
#include "support/soak.h"
#include "support/temp_dir.h"

#include <cairn/persistence.h>
#include <cairn/retention.h>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <future>
#include <initializer_list>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <utility>

namespace cairn::test {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kKeep = 2;
constexpr char kPrunedRun[] = "pruned";
constexpr std::chrono::milliseconds kPatience{300};  // the library tries a failing call again for so long

// The errors that calls may return when the disk fails, and when memory runs out.
const std::set<ErrorCode> kDiskErrors = {ErrorCode::kUnavailable, ErrorCode::kStorageFull, ErrorCode::kReadOnly,
                                         ErrorCode::kOutcomeUnknown};
const std::set<ErrorCode> kMemoryErrors = {ErrorCode::kInternal, ErrorCode::kUnavailable, ErrorCode::kOutcomeUnknown};

// One program's use of a store. It goes on until a call that the rest needs fails.
class Session {
public:
    Session(fs::path path, SaveLedger& ledger, const std::set<ErrorCode>& expected)
        : path_(std::move(path)), ledger_(ledger), expected_(expected) {}

    void run() {
        const auto store = call([&] { return open_sqlite_store(path_); });
        if (!look_at("opening", store)) return;
        store_ = *store;
        {
            OptimizedStatePersistence optimised(store_, {PersistenceOptions{.timeout = kPatience}});
            StatePersistenceService standard(store_, {.timeout = kPatience});
            save_all(optimised, standard);
            load_all(optimised);
            look_after(optimised);
            close(optimised);
        }
        look_at("closing the store", call([&] { return store_->close(); }));
    }

private:
    // Makes a call of the library. Its allocations count, and it must not throw.
    template <class Work>
    auto call(const Work& work) -> decltype(work()) {
        try {
            const AllocationFaults::Counting counting;
            return work();
        } catch (const std::exception& thrown) {
            ADD_FAILURE() << "thrown out of the library: " << thrown.what();
            return fail(ErrorCode::kInternal, "thrown");
        }
    }

    template <class T>
    bool look_at(const std::string& what, const Result<T>& result) {
        if (result) return true;
        EXPECT_TRUE(expected_.contains(result.error().code)) << what << ": " << result.error().to_string();
        return false;
    }

    void save(StatePersistence& service, const std::string& run_id, std::optional<Durability> durability = {},
              CheckpointType type = {}) {
        auto request = ledger_.ask(run_id, std::move(type));
        request.durability = durability;
        const auto receipt = call([&] { return service.save_agent_state(request); });
        look_at(request.snapshot_id, receipt);
        ledger_.tell(request, receipt);
    }

    // Begins a call with a completion, and waits. Returns the completion's result, or nothing if it was never called.
    template <class T, class Begin>
    std::optional<Result<T>> end_of(const std::string& what, const Begin& begin) {
        const auto told = std::make_shared<std::promise<Result<T>>>();
        auto future = told->get_future();
        Completion<T> done = [told](Result<T> result) { told->set_value(std::move(result)); };
        look_at(what, call([&]() -> Status {
                    begin(std::move(done));
                    return {};
                }));
        if (future.wait_for(kPatience + std::chrono::seconds(60)) == std::future_status::ready) return future.get();
        ADD_FAILURE() << what << ": its completion is never called";
        return std::nullopt;
    }

    template <class Begin>
    void save_later(const std::string& run_id, const Begin& begin) {
        const auto request = ledger_.ask(run_id);
        const auto receipt =
            end_of<Receipt>(request.snapshot_id, [&](SaveCompletion done) { begin(request, std::move(done)); });
        if (!receipt) return;
        look_at(request.snapshot_id, *receipt);
        ledger_.tell(request, *receipt);
    }
    void save_later(StatePersistence& service, const std::string& run_id) {
        save_later(run_id, [&](const StatePersistenceRequest& request, SaveCompletion done) {
            service.save_agent_state_async(request, std::move(done));
        });
    }

    void load_later(StatePersistence& service, const std::string& run_id) {
        const auto loaded = end_of<LoadedState>("loading", [&](Completion<LoadedState> done) {
            service.load_agent_state_async({.run_id = run_id}, std::move(done));
        });
        const bool none = loaded && !*loaded && loaded->error().code == ErrorCode::kNotFound;
        if (loaded && !(none && !has_durable(run_id))) look_at("loading", *loaded);
    }

    void save_all(OptimizedStatePersistence& optimised, StatePersistenceService& standard) {
        save(optimised, "mixed");
        save(standard, "plain");
        save(optimised, "mixed");
        save(optimised, "mixed", {}, CheckpointType::kManual);
        for (int i = 0; i < 4; ++i) save(optimised, kPrunedRun, Durability::kAsync);
        save_later("mixed", [&](const StatePersistenceRequest& request, SaveCompletion done) {
            optimised.save_async(request, std::move(done));
        });
        save_later(optimised, "mixed");
        save_later(standard, "plain");
        load_later(optimised, "mixed");
        save(optimised, "late", Durability::kExit);
        save(optimised, "mixed");
        flush(optimised, kPrunedRun);
        save(standard, "plain", {}, CheckpointType::kManual);
        save(optimised, "mixed");
        save(optimised, "mixed");  // the same state once more
    }

    void flush(OptimizedStatePersistence& service, const std::string& run_id) {
        const Status flushed = call([&] { return service.flush(run_id); });
        look_at("flushing", flushed);
        ledger_.tell_flushed(run_id, flushed);
    }

    void load_all(OptimizedStatePersistence& service) {
        for (const std::string run_id : {"mixed", "plain"}) {
            const auto loaded = call([&] { return service.load_agent_state({.run_id = run_id}); });
            const bool none = !loaded && loaded.error().code == ErrorCode::kNotFound;
            if (none && !has_durable(run_id)) continue;
            look_at("loading", loaded);
        }
        look_at("statistics", call([&] { return store_->stats(soon()); }));
    }
    bool has_durable(const std::string& run_id) {
        const Promises promises = ledger_.promises();
        return std::ranges::find(promises.at(run_id), Told::kDurable) != promises.at(run_id).end();
    }

    void look_after(OptimizedStatePersistence& service) {
        const RetentionPolicy policy{.keep_last = kKeep, .run_id = kPrunedRun};
        look_at("pruning", call([&] { return prune(*store_, policy, {.snapshots_per_commit = 1}); }));
        look_at("reclaiming", call([&] { return store_->reclaim(soon()); }));
        save(service, "mixed");
    }

    void close(OptimizedStatePersistence& service) {
        const Status closed = call([&] { return service.close(); });
        look_at("closing the service", closed);
        for (const auto& [run_id, run] : ledger_.promises()) ledger_.tell_flushed(run_id, closed);
    }

    const fs::path path_;
    SaveLedger& ledger_;
    const std::set<ErrorCode>& expected_;
    std::shared_ptr<Store> store_;
};

// Expects that without faults the promises hold and everything works.
void expect_recovered(const fs::path& path, SaveLedger& ledger) {
    const auto store = open_sqlite_store(path);
    ASSERT_TRUE(store.has_value()) << store.error().to_string();
    const Expectation expectation{.losses_are_a_suffix = false, .pruned_to = {{kPrunedRun, kKeep}}};
    ASSERT_EQ(broken_promises(**store, ledger.promises(), expectation), "");
    OptimizedStatePersistence service(*store);
    for (const std::string run_id : {"mixed", "plain"}) {
        const auto request = ledger.ask(run_id, CheckpointType::kManual);
        const auto receipt = service.save_agent_state(request);
        ASSERT_TRUE(receipt.has_value()) << receipt.error().to_string();
        const auto loaded = service.load_agent_state({.run_id = run_id});
        ASSERT_TRUE(loaded.has_value()) << loaded.error().to_string();
        ASSERT_EQ(loaded->state.text(), request.state_data.text());
    }
}

// ---- the disk ----

class NthDiskOperation : public testing::Test {
protected:
    // Runs a session with the fault, then checks the store. Returns whether the fault struck.
    static bool survive(const FaultVfs::Fault& fault) {
        const TempDir dir(memory_folder());
        SaveLedger ledger;
        FaultVfs vfs;
        vfs.arm(fault);
        Session(dir / "cairn.db", ledger, kDiskErrors).run();
        const bool struck = vfs.struck();
        vfs.disarm();
        expect_recovered(dir / "cairn.db", ledger);
        EXPECT_EQ(sqlite3_memory_used(), 0) << "a connection or a file was never closed";
        return struck;
    }

    static void survive_each(bool for_good, bool after_effect) {
        FaultVfs::Fault fault{.for_good = for_good, .after_effect = after_effect};
        while (true) {
            SCOPED_TRACE(fmt::format("disk operation {} fails {}, {} its effect", fault.nth,
                                     for_good ? "for good" : "once", after_effect ? "after" : "before"));
            const bool struck = survive(fault);
            if (HasFailure() || !struck) break;
            ++fault.nth;
        }
        EXPECT_GT(fault.nth, 200) << "fewer operations than a session has: nothing was tested";
        std::cout << fault.nth - 1 << " disk operations failed\n";
    }
};

TEST_F(NthDiskOperation, MayFailOnce) {
    survive_each(false, false);
}

TEST_F(NthDiskOperation, MayFailOnceAfterItsEffect) {
    survive_each(false, true);
}

TEST_F(NthDiskOperation, MayFailForGood) {
    survive_each(true, false);
}

TEST_F(NthDiskOperation, MayFailForGoodAfterItsEffect) {
    survive_each(true, true);
}

// ---- memory ----

class NthAllocation : public testing::Test {
protected:
    using Where = AllocationFaults::Where;

    static void SetUpTestSuite() { AllocationFaults::install_in_engine(); }

    static bool survive(const AllocationFaults::Fault& fault) {
        const TempDir dir(memory_folder());
        SaveLedger ledger;
        const FaultVfs quick;  // it syncs nothing
        AllocationFaults::arm(fault);
        Session(dir / "cairn.db", ledger, kMemoryErrors).run();
        AllocationFaults::disarm();
        const bool struck = AllocationFaults::struck();
        expect_recovered(dir / "cairn.db", ledger);
        EXPECT_EQ(sqlite3_memory_used(), 0) << "a connection or a file was never closed";
        return struck;
    }

    // Fails each of the first 500 allocations, and some of the later ones, in a session of its own.
    static void survive_each(Where where, bool for_good, int at_least) {
        if (where != Where::kEngine && !AllocationFaults::kNewCanFail) {
            GTEST_SKIP() << "ThreadSanitizer has an operator new of its own, which never fails";
        }
        const std::uint64_t first_seed = seed();
        SCOPED_TRACE(replay_line(first_seed));
        std::mt19937_64 random(first_seed);
        const bool all = Soak(0).is_soaking();
        AllocationFaults::Fault fault{.where = where, .for_good = for_good};
        int sessions = 0;
        while (true) {
            SCOPED_TRACE(fmt::format("allocation {} fails {}", fault.nth, for_good ? "for good" : "once"));
            const bool struck = survive(fault);
            if (HasFailure() || !struck) break;
            ++sessions;
            const int stride = all ? 1 : 1 + fault.nth / 500;
            fault.nth += stride == 1 ? 1 : 1 + static_cast<int>(random() % static_cast<unsigned>(2 * stride));
        }
        EXPECT_GT(fault.nth, at_least) << "fewer allocations than a session has: nothing was tested";
        std::cout << sessions << " of about " << fault.nth << " allocations failed\n";
    }
};

// Commits a batch of a lease, two saves and a recovery directly, without the services, which could hide an error.
TEST_F(NthAllocation, LeavesABatchWholeOrNotAppliedAtAllInEachStore) {
    if (!AllocationFaults::kNewCanFail) GTEST_SKIP() << "ThreadSanitizer has an operator new of its own";
    const TempDir dir(memory_folder());
    for (const auto& store : {make_memory_store(), open_sqlite_store(dir / "cairn.db").value()}) {
        int failures = 0;
        for (int nth = 1;; ++nth) {
            SCOPED_TRACE(fmt::format("allocation {} fails", nth));
            const std::string run_id = fmt::format("a run with a name that takes memory, {}", nth);
            RunBatch batch = make_batch(make_snapshot(run_id, 1, R"({"step":1})"));
            batch.writes.push_back(make_write(make_snapshot(run_id, 2, R"({"step":2})")));
            batch.lease = LeaseWrite{.lease = {.owner = "an owner with a long name", .epoch = 1}};
            batch.recoveries.push_back({.run_id = run_id, .recovery_type = RecoveryType::kResume, .result = "done"});
            AllocationFaults::arm({.nth = nth});
            std::optional<Result<std::vector<Status>>> answers;
            {
                const AllocationFaults::Counting counting;
                answers = store->commit({&batch, 1}, soon());
            }
            AllocationFaults::disarm();
            const bool is_applied = *answers && answers->value().front();
            const auto head = store->head(run_id, soon()).value();
            EXPECT_EQ(head ? head->version : 0, is_applied ? 2 : 0);
            EXPECT_EQ(store->lease(run_id, soon()).value().has_value(), is_applied);
            EXPECT_EQ(store->recovery_log(run_id, 9, soon()).value().size(), is_applied ? 1U : 0U);
            failures += is_applied ? 0 : 1;
            if (!AllocationFaults::struck() || HasFailure()) break;
        }
        EXPECT_GT(failures, 3);
    }
}

TEST_F(NthAllocation, MayFailOnce) {
    survive_each(Where::kNew, false, 200);
}

TEST_F(NthAllocation, MayFailForGood) {
    survive_each(Where::kNew, true, 200);
}

TEST_F(NthAllocation, OfAThreadOfTheServiceMayFailOnce) {
    survive_each(Where::kNewOnOtherThreads, false, 5);
}

TEST_F(NthAllocation, OfAThreadOfTheServiceMayFailForGood) {
    survive_each(Where::kNewOnOtherThreads, true, 5);
}

// A thread that commits while it has a run's turn leaves the completions to another one, which may have told those of
// others meanwhile. With no memory left, it must still leave them, and let others commit after it.
TEST_F(NthAllocation, OfAThreadThatCommitsInARunsTurnLosesNoCompletion) {
    if (!AllocationFaults::kNewCanFail) GTEST_SKIP() << "ThreadSanitizer has an operator new of its own";
    QueueBench bench;
    std::map<std::string, Gate> gates;
    for (const char* run : {"first", "second", "run", "other"}) gates[run].open();
    std::map<std::string, std::thread::id> committed_by;
    std::mutex mutex;
    bench.store->before_commit([&](std::span<const RunBatch> batch) {
        const std::string& run = batch.front().run_id;
        {
            const std::lock_guard lock(mutex);
            committed_by[run] = std::this_thread::get_id();
        }
        gates.at(run).pass(batch);
    });
    bench.store->set_commits_at_once(2);
    bench.options.batch_limits.saves_max = 1;
    std::map<std::string, std::string> parents;
    for (const char* run : {"run", "other"}) {
        parents[run] = bench.service().save_agent_state(make_step(run, 0)).value().snapshot_id;
    }
    for (auto& [run, gate] : gates) gate.close();
    auto first = bench.in_background(make_step("first", 1, Durability::kSync));
    gates["first"].await(1);
    auto second = bench.in_background(make_step("second", 1, Durability::kSync));
    gates["second"].await(1);
    std::map<std::string, std::promise<void>> told;
    for (const char* run : {"run", "other"}) {
        bench.service().save_async(make_step(run, 1), [&told, run](const Result<Receipt>&) { told[run].set_value(); });
    }
    // A fork waits in its run's turn for the save before it.
    const auto fork = [&](const std::string& run, bool counts) {
        StatePersistenceRequest request = make_step(run, 9, Durability::kSync);
        request.parent_snapshot_id = parents[run];
        return std::async(std::launch::async, [&bench, request, counts] {
            std::optional<AllocationFaults::Counting> counting;
            if (counts) counting.emplace();
            return std::pair(std::this_thread::get_id(), bench.service().save_agent_state(request));
        });
    };
    auto of_run = fork("run", true);
    auto of_other = fork("other", false);
    std::this_thread::sleep_for(std::chrono::milliseconds(100));  // for them to wait there
    gates["first"].open();
    gates["run"].await(1);
    gates["second"].open();
    gates["other"].await(1);
    const std::thread::id committer = committed_by["run"];
    gates["other"].open();
    const auto is_told = [&](const char* run) {
        return told[run].get_future().wait_for(std::chrono::seconds(60)) == std::future_status::ready;
    };
    EXPECT_TRUE(is_told("other"));
    AllocationFaults::arm({.for_good = true});
    gates["run"].open();
    const auto [thread, receipt] = of_run.get();
    AllocationFaults::disarm();
    EXPECT_TRUE(is_told("run"));
    EXPECT_TRUE(of_other.get().second.has_value());
    for (const char* run : {"first", "second"}) gates[run].close();
    auto third = bench.in_background(make_step("first", 2, Durability::kSync));
    auto fourth = bench.in_background(make_step("second", 2, Durability::kSync));
    for (const char* run : {"first", "second"}) gates[run].await(1);
    for (const char* run : {"first", "second"}) gates[run].open();
    for (auto* answer : {&first, &second, &third, &fourth}) EXPECT_TRUE(answer->get().has_value());
    if (committer != thread) GTEST_SKIP() << "another thread committed the save: the machine is too busy for this test";
    EXPECT_EQ(code_of(receipt), ErrorCode::kInternal);
}

TEST_F(NthAllocation, OfTheEngineMayFailOnce) {
    survive_each(Where::kEngine, false, 500);
}

TEST_F(NthAllocation, OfTheEngineMayFailForGood) {
    survive_each(Where::kEngine, true, 500);
}

}  // namespace
}  // namespace cairn::test
