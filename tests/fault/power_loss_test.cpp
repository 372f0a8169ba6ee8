// Goal: a save that was acknowledged as durable is there after power loss, at whatever moment it comes and whatever the
// disk makes of writes that were not synced. Any other save is there wholly or not at all, and a run loses only its
// end. Method: a VFS that knows what is synced. At chosen moments of a store's life it takes an image of the disk, with
// the promises made by then. Later each image is turned into folders as they could be found: a seed decides which
// sectors are applied, dropped, torn or garbled. Each folder is opened, checked against the promises, and saved to.
// CAIRN_SOAK_SECONDS=N: the store with many threads lives for so long.

#include "store/sqlite/sqlite_store.h"
#include "support/forced_synchronous.h"
#include "support/make.h"
#include "support/power_loss_vfs.h"
#include "support/save_ledger.h"
#include "support/seed.h"
#include "support/soak.h"
#include "support/temp_dir.h"

#include <cairn/persistence.h>
#include <cairn/retention.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace cairn::test {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kKeep = 4;
const std::string kPrunedRun = "pruned";

// A moment at which power is lost: the disk and the promises at that moment.
struct Crash {
    DiskImage disk;
    Promises promises;
    std::string where;
};

std::string describe(const PowerLossVfs::Moment& moment, std::size_t number) {
    static constexpr std::array<std::string_view, 9> kNames = {"open", "access", "read",   "write", "truncation",
                                                               "sync", "size",   "delete", "share"};
    return fmt::format("{} {} of \"{}\" (moment {})", moment.is_after ? "after" : "before",
                       kNames.at(static_cast<std::size_t>(moment.operation)), moment.file, number);
}

std::uint64_t count_durable(const Promises& promises) {
    std::uint64_t count = 0;
    for (const auto& [run_id, run] : promises) {
        count += static_cast<std::uint64_t>(std::ranges::count(run, Told::kDurable));
    }
    return count;
}

// One life of a store in one folder, and the crashes that could have ended it.
class Life {
public:
    using Wanted = std::function<bool(const PowerLossVfs::Moment&)>;

    explicit Life(const fs::path& folder, Promises promises = {}) : vfs_(folder), ledger_(std::move(promises)) {}

    PowerLossVfs& vfs() { return vfs_; }
    SaveLedger& ledger() { return ledger_; }

    void crash_at(Wanted wanted) {
        vfs_.watch([this, wanted = std::move(wanted)](const auto& moment, const auto& take) {
            ++moments_;
            if (!wanted(moment)) return;
            crashes_.push_back({.disk = take(), .promises = ledger_.promises(), .where = describe(moment, moments_)});
        });
    }
    std::vector<Crash> take_crashes() {
        vfs_.watch(nullptr);
        return std::move(crashes_);
    }

private:
    PowerLossVfs vfs_;
    SaveLedger ledger_;
    std::vector<Crash> crashes_;
    std::size_t moments_ = 0;
};

// Checks a folder that was found after power loss. Returns what is wrong with it, or nothing. Writes what is there to
// `found`.
std::string judge_folder(const fs::path& folder, const Promises& promises, Promises* found = nullptr) {
    const auto store = open_sqlite_store(folder / "cairn.db", {.create = count_durable(promises) == 0});
    if (!store) return "does not open: " + store.error().to_string();
    const Expectation expectation{.losses_are_a_suffix = true, .pruned_to = {{kPrunedRun, kKeep}}};
    Promises there;
    std::string problems = broken_promises(**store, promises, expectation, &there);

    SaveLedger ledger(std::move(there));
    OptimizedStatePersistence service(*store);
    const StatePersistenceRequest request = ledger.ask("after", CheckpointType::kManual);
    const Result<Receipt> receipt = service.save_agent_state(request);
    if (!receipt) return problems + "does not save: " + receipt.error().to_string();
    ledger.tell(request, receipt);
    if (found != nullptr) *found = ledger.promises();
    const auto loaded = service.load_agent_state({.run_id = "after"});
    if (!loaded || loaded->state.text() != request.state_data.text()) problems += "does not load what it saved after\n";
    return problems;
}

std::string judge(const Crash& crash, const DiskImage::Loss& loss) {
    const TempDir folder(memory_folder());
    crash.disk.write_survivor(folder.path(), loss);
    return judge_folder(folder.path(), crash.promises);
}

std::vector<DiskImage::Loss> losses(std::uint64_t seed, std::uint64_t count) {
    std::vector<DiskImage::Loss> all;
    all.reserve(count);
    for (std::uint64_t i = 0; i < count; ++i) {
        all.push_back({.seed = seed + i, .sector_bytes = i % 2 == 0 ? 512U : 4096U});
    }
    return all;
}

// Saves by both services in turn, in all modes. Every save must succeed, because the disk works.
class Saver {
public:
    Saver(std::shared_ptr<Store> store, SaveLedger& ledger)
        : ledger_(ledger), standard_(store), optimised_(std::move(store)) {}
    ~Saver() {
        const Status closed = optimised_.close();
        EXPECT_TRUE(closed.has_value()) << closed.error().to_string();
        for (const auto& [run_id, run] : ledger_.promises()) ledger_.tell_flushed(run_id, closed);
    }
    Saver(const Saver&) = delete;
    Saver& operator=(const Saver&) = delete;

    void save(const std::string& run_id, std::mt19937_64& random) {
        // The services do not know each other's queues.
        const bool by_standard = random() % 6 == 0;
        if (by_standard || random() % 8 == 0) flush(run_id);
        auto request = ledger_.ask(run_id, random() % 6 == 0 ? CheckpointType::kManual : CheckpointType::kAuto);
        if (by_standard) return tell(request, standard_.save_agent_state(request));
        request.durability = static_cast<Durability>(random() % 3);
        if (random() % 2 == 0) return tell(request, optimised_.save_agent_state(request));
        optimised_.save_async(request, [this, request](const Result<Receipt>& receipt) { tell(request, receipt); });
    }

private:
    void tell(const StatePersistenceRequest& request, const Result<Receipt>& receipt) {
        EXPECT_TRUE(receipt.has_value()) << receipt.error().to_string();
        ledger_.tell(request, receipt);
    }
    void flush(const std::string& run_id) {
        const Status flushed = optimised_.flush(run_id);
        EXPECT_TRUE(flushed.has_value()) << flushed.error().to_string();
        ledger_.tell_flushed(run_id, flushed);
    }

    SaveLedger& ledger_;
    StatePersistenceService standard_;
    OptimizedStatePersistence optimised_;
};

std::shared_ptr<Store> open(const fs::path& folder) {
    auto store = open_sqlite_store(folder / "cairn.db");
    EXPECT_TRUE(store.has_value()) << store.error().to_string();
    return store.value();
}

void prune_some(Store& store) {
    const auto report = prune(store, {.keep_last = kKeep, .run_id = kPrunedRun}, {.snapshots_per_commit = 3});
    EXPECT_TRUE(report.has_value()) << report.error().to_string();
}

// Opens the store twice. Each time it is saved to, checkpointed, pruned, shrunk and closed.
void live_alone(const fs::path& folder, SaveLedger& ledger, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    for (int opening = 0; opening < 2; ++opening) {
        const auto store = open(folder);
        Saver saver(store, ledger);
        for (int i = 0; i < 24; ++i) {
            saver.save(i % 2 == 0 ? "alone" : kPrunedRun, random);
            ASSERT_TRUE(i % 10 != 9 || store->stats(soon()).has_value());
        }
        prune_some(*store);
        saver.save("alone", random);
        ASSERT_TRUE(store->reclaim(soon()).has_value());
        saver.save("alone", random);
    }
}

void live_together(const fs::path& folder, SaveLedger& ledger, std::uint64_t seed) {
    const auto store = open(folder);
    Saver saver(store, ledger);
    std::vector<std::jthread> threads;
    for (const std::string run_id : {"first", "second", "third", kPrunedRun.c_str()}) {
        threads.emplace_back([&, run_id, random = std::mt19937_64(seed + threads.size())]() mutable {
            for (int i = 0; i < 10; ++i) saver.save(run_id, random);
        });
    }
    std::mt19937_64 random(seed);
    EXPECT_TRUE(random() % 2 == 0 || store->stats(soon()).has_value());
    prune_some(*store);
    EXPECT_TRUE(random() % 2 == 0 || store->reclaim(soon()).has_value());
}

class PowerLoss : public testing::Test {
protected:
    std::uint64_t seed_ = seed();
    testing::ScopedTrace trace_{__FILE__, __LINE__, replay_line(seed_)};
    std::mt19937_64 random_{seed_};
};

bool is_of_a_sync(const PowerLossVfs::Moment& moment) {
    return moment.operation == DiskOperation::kSync;
}

// The store is made and closed at once, and power is lost at every moment of that.
TEST_F(PowerLoss, WhileAStoreIsMadeLeavesAStoreThatWorksOrNone) {
    const TempDir dir(memory_folder());
    Life life(dir.path());
    life.crash_at([](const auto&) { return true; });
    Saver(open(dir.path()), life.ledger()).save("alone", random_);
    const auto crashes = life.take_crashes();
    EXPECT_GT(crashes.size(), 20U) << "fewer moments than making a store has: nothing was tested";
    for (const Crash& crash : crashes) {
        for (const DiskImage::Loss& loss : losses(random_(), 12)) ASSERT_EQ(judge(crash, loss), "") << crash.where;
    }
}

TEST_F(PowerLoss, AtEverySyncAndManyWritesOfALoneWriterBreaksNoPromise) {
    const TempDir dir(memory_folder());
    Life life(dir.path());
    life.crash_at([&](const auto& moment) { return is_of_a_sync(moment) || random_() % 4 == 0; });
    live_alone(dir.path(), life.ledger(), seed_);
    const auto crashes = life.take_crashes();
    EXPECT_GT(crashes.size(), 200U) << "fewer moments than such a life has: nothing was tested";
    for (const Crash& crash : crashes) {
        for (const DiskImage::Loss& loss : losses(random_(), 2)) ASSERT_EQ(judge(crash, loss), "") << crash.where;
    }
}

std::vector<Crash> crashes_of_a_life_together(const fs::path& folder, Promises promises, std::mt19937_64& random) {
    Life life(folder, std::move(promises));
    const std::uint64_t first_seed = random();
    life.crash_at([&](const auto& moment) { return random() % (is_of_a_sync(moment) ? 10 : 40) == 0; });
    live_together(folder, life.ledger(), first_seed);
    return life.take_crashes();
}

// Each life begins with the folder that the power loss at the end of the previous life has left.
TEST_F(PowerLoss, AgainAndAgainUnderManyThreadsBreaksNoPromise) {
    std::uint64_t acknowledged = 0;
    std::uint64_t judged = 0;
    Soak soak(40);
    auto folder = std::make_unique<TempDir>(memory_folder());
    Promises promises;
    while (soak.next()) {
        const auto crashes = crashes_of_a_life_together(folder->path(), promises, random_);
        for (const Crash& crash : crashes) {
            for (const DiskImage::Loss& loss : losses(random_(), 2)) ASSERT_EQ(judge(crash, loss), "") << crash.where;
            judged += 2;
            acknowledged += 2 * count_durable(crash.promises);
        }
        folder = std::make_unique<TempDir>(memory_folder());
        promises.clear();
        if (crashes.empty() || soak.rounds() % 6 == 0) continue;
        const Crash& last = crashes[random_() % crashes.size()];
        last.disk.write_survivor(folder->path(), {.seed = random_()});
        ASSERT_EQ(judge_folder(folder->path(), last.promises, &promises), "") << last.where;
    }
    std::cout << fmt::format("{} lives, {} power losses, {} acknowledgements checked\n", soak.rounds(), judged,
                             acknowledged);
}

// ---- the tests would notice ----

// Returns how many crashes of a lone writer break a promise.
std::size_t broken_crashes(Life& life, const fs::path& folder, std::mt19937_64& random) {
    life.crash_at([](const auto& moment) { return moment.operation == DiskOperation::kWrite; });
    {
        const auto store = open(folder);
        Saver saver(store, life.ledger());
        for (int i = 0; i < 10; ++i) saver.save("alone", random);
    }
    std::size_t broken = 0;
    for (const Crash& crash : life.take_crashes()) {
        for (const DiskImage::Loss& loss : losses(random(), 2)) {
            broken += judge(crash, loss).find("acknowledged as durable and is gone") != std::string::npos ? 1U : 0U;
        }
    }
    return broken;
}

TEST_F(PowerLoss, LosesAcknowledgedSavesIfTheEngineDoesNotSync) {
    for (const char* level : {"OFF", "NORMAL"}) {
        const TempDir dir(memory_folder());
        {
            const auto made_well = open(dir.path());
        }
        const ForcedSynchronous forced(level);
        Life life(dir.path());
        EXPECT_GT(broken_crashes(life, dir.path(), random_), 0U) << level;
    }
}

TEST_F(PowerLoss, LosesAcknowledgedSavesIfTheDiskOnlySaysThatItSyncs) {
    const TempDir dir(memory_folder());
    Life life(dir.path());
    {
        const auto made_well = open(dir.path());
    }
    life.vfs().ignore_syncs(true);
    EXPECT_GT(broken_crashes(life, dir.path(), random_), 0U);
}

}  // namespace
}  // namespace cairn::test
