#include "pipeline/lease/lease_keeper.h"

#include "base/mutex.h"
#include "base/per_process.h"
#include "base/thread_annotations.h"
#include "persistence/guarded.h"
#include "persistence/timeouts.h"

#include <fmt/format.h>

#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <thread>
#include <utility>
#include <vector>

namespace cairn {
namespace {

using SteadyClock = std::chrono::steady_clock;
using Time = SteadyClock::time_point;

/// Pause before a round is retried that had no memory to begin with.
constexpr std::chrono::milliseconds kPauseWithoutMemory{100};

}  // namespace

struct LeaseEntry {
    explicit LeaseEntry(KeptLease&& lease) : kept(std::move(lease)) {}

    const KeptLease kept;
    // Guarded by the keeper's mutex:
    Time renewed = SteadyClock::now();  ///< Taking the lease was the first renewal.
    Time due = {};
    bool is_kept = false;        ///< False again once the lease is lost or no longer wanted.
    bool is_superseded = false;  ///< Superseded by another lease of this process on the same run.
};

/// The state that the thread and the handles share, so that the thread may outlive the handles.
class LeaseKeeper {
public:
    /// Errors: std::system_error.
    explicit LeaseKeeper(std::shared_ptr<Store> store);
    ~LeaseKeeper();
    LeaseKeeper(const LeaseKeeper&) = delete;
    LeaseKeeper& operator=(const LeaseKeeper&) = delete;

    void add(const std::shared_ptr<LeaseEntry>& entry) { rounds_->add(entry); }
    void remove(LeaseEntry& entry) noexcept { rounds_->remove(entry); }
    bool is_of_this_process() const { return process_ == ::getpid(); }

private:
    using Entries = std::vector<std::shared_ptr<LeaseEntry>>;

    /// The leases to renew in a round, and the leases whose loss is reported afterwards.
    struct Round {
        Entries renewed;
        Entries lost;
    };
    using Answers = Result<std::vector<Status>>;

    struct Rounds {
        explicit Rounds(std::shared_ptr<Store> the_store) : store(std::move(the_store)) {}

        void add(const std::shared_ptr<LeaseEntry>& entry);
        void remove(LeaseEntry& entry) noexcept;
        void end() noexcept;
        void run() noexcept;

        /// Returns false if nothing is to be renewed any more.
        bool wait_until_due() CAIRN_REQUIRES(mutex);
        Time next_due() const CAIRN_REQUIRES(mutex);
        Result<Round> collect() CAIRN_REQUIRES(mutex);
        Answers renew(const Entries& entries) const;
        void judge(Round& round, const Answers& answers) noexcept CAIRN_REQUIRES(mutex);
        void erase(LeaseEntry& entry) noexcept CAIRN_REQUIRES(mutex);
        void log_outage(const Round& round, const Answers& answers) noexcept;

        const std::shared_ptr<Store> store;
        bool is_failing = false;  ///< Used only by the thread.
        Mutex mutex;
        ConditionVariable changed;
        Entries entries CAIRN_GUARDED_BY(mutex);
        bool is_ending CAIRN_GUARDED_BY(mutex) = false;
    };

    const pid_t process_ = ::getpid();
    const std::shared_ptr<Rounds> rounds_;
    std::unique_ptr<std::thread> thread_;
};

// ---- the thread ----

void LeaseKeeper::Rounds::run() noexcept {
    const MutexLock lock(mutex);
    while (wait_until_due()) {
        Result<Round> round = collect();
        if (!round) {
            changed.wait_until(mutex, SteadyClock::now() + kPauseWithoutMemory);
            continue;
        }
        mutex.unlock();
        const Answers answers = guarded([&] { return renew(round->renewed); });
        mutex.lock();
        judge(*round, answers);
        mutex.unlock();
        log_outage(*round, answers);
        for (const auto& entry : round->lost) entry->kept.lost.request_stop();
        round = Round{};  // may destroy the last owner of an entry
        mutex.lock();
    }
}

bool LeaseKeeper::Rounds::wait_until_due() {
    while (!is_ending) {
        if (entries.empty()) {
            changed.wait(mutex);
            continue;
        }
        const Time due = next_due();
        if (due <= SteadyClock::now()) return true;
        changed.wait_until(mutex, due);
    }
    return false;
}

Time LeaseKeeper::Rounds::next_due() const {
    Time first = Time::max();
    for (const auto& entry : entries) first = std::min(first, entry->is_superseded ? Time::min() : entry->due);
    return first;
}

// Leases that are due within half a heartbeat are renewed, too. So two leases with the same heartbeat meet in one
// round, and stay together from then on.
Result<LeaseKeeper::Round> LeaseKeeper::Rounds::collect() try {
    Round round;
    round.renewed.reserve(entries.size());
    round.lost.reserve(entries.size());
    const Time now = SteadyClock::now();
    for (const auto& entry : entries) {
        if (entry->is_superseded) {
            round.lost.push_back(entry);
        } else if (entry->due <= now + entry->kept.heartbeat / 2) {
            round.renewed.push_back(entry);
        }
    }
    for (const auto& entry : round.lost) erase(*entry);
    return round;
} catch (const std::exception&) {
    return std::unexpected(caught_error());
}

LeaseKeeper::Answers LeaseKeeper::Rounds::renew(const Entries& renewed) const {
    if (renewed.empty()) return std::vector<Status>{};
    std::vector<RunBatch> batches;
    batches.reserve(renewed.size());
    std::chrono::milliseconds wait{0};
    for (const auto& entry : renewed) {
        const KeptLease& kept = entry->kept;
        wait = std::max(wait, kept.wait_max);  // a short wait of one must not make the others fail
        const LeaseWrite renewal{
            .lease = kept.lease, .heartbeat_at = kept.runtime.clock->now(), .expected = kept.lease};
        batches.push_back({.run_id = kept.run_id, .lease = renewal});
    }
    return store->commit(batches, SteadyClock::now() + wait);
}

// Only a run's own answer shows that its lease is another's. Any other failure may pass, so the renewal is tried again.
void LeaseKeeper::Rounds::judge(Round& round, const Answers& answers) noexcept {
    const Time now = SteadyClock::now();
    for (std::size_t i = 0; i < round.renewed.size(); ++i) {
        LeaseEntry& entry = *round.renewed[i];
        if (!entry.is_kept) continue;
        entry.due = now + entry.kept.heartbeat;
        const Status* answer = answers && i < answers->size() ? &(*answers)[i] : nullptr;
        const bool is_renewed = answer != nullptr && answer->has_value();
        const bool is_taken = answer != nullptr && !is_renewed && answer->error().code == ErrorCode::kConflict;
        const bool is_too_old = entry.kept.patience && now - entry.renewed > *entry.kept.patience;
        if (is_renewed) {
            entry.renewed = now;
        } else if (is_taken || is_too_old) {
            erase(entry);
            round.lost.push_back(round.renewed[i]);  // room was reserved
        }
    }
}

void LeaseKeeper::Rounds::log_outage(const Round& round, const Answers& answers) noexcept {
    if (round.renewed.empty()) return;
    const bool was_failing = std::exchange(is_failing, !answers.has_value());
    if (was_failing || answers) return;
    [[maybe_unused]] const Status logged = guarded([&]() -> Status {
        round.renewed.front()->kept.runtime.log(
            {.level = LogLevel::kWarning,
             .event = "leases_not_renewed",
             .message = fmt::format("leases of runs could not be renewed, and are tried again: {}",
                                    answers.error().to_string()),
             .fields = {{"leases", fmt::to_string(round.renewed.size())}}});
        return {};
    });
}

// ---- the leases to renew ----

// The first renewal comes with the next round, if that has not begun.
void LeaseKeeper::Rounds::add(const std::shared_ptr<LeaseEntry>& entry) {
    const MutexLock lock(mutex);
    const Time now = SteadyClock::now();
    entry->due = now + entry->kept.heartbeat;
    for (const auto& other : entries) {
        if (other->due > now) entry->due = std::min(entry->due, other->due);
    }
    entries.push_back(entry);
    entry->is_kept = true;
    for (const auto& other : entries) {
        if (other == entry || other->kept.run_id != entry->kept.run_id) continue;
        LeaseEntry& older = other->kept.lease.epoch < entry->kept.lease.epoch ? *other : *entry;
        older.is_superseded = true;
    }
    changed.notify_one();
}

void LeaseKeeper::Rounds::remove(LeaseEntry& entry) noexcept {
    const MutexLock lock(mutex);
    erase(entry);
}

void LeaseKeeper::Rounds::erase(LeaseEntry& entry) noexcept {
    entry.is_kept = false;
    std::erase_if(entries, [&](const auto& other) { return other.get() == &entry; });
}

void LeaseKeeper::Rounds::end() noexcept {
    const MutexLock lock(mutex);
    is_ending = true;
    changed.notify_one();
}

LeaseKeeper::LeaseKeeper(std::shared_ptr<Store> store)
    : rounds_(std::make_shared<Rounds>(std::move(store))),
      thread_(std::make_unique<std::thread>([rounds = rounds_] { rounds->run(); })) {}

// In a forked child the thread does not exist, and its lock may be held for ever: nothing is touched.
LeaseKeeper::~LeaseKeeper() {
    if (!is_of_this_process()) {
        [[maybe_unused]] std::thread* const of_parent = thread_.release();
        return;
    }
    rounds_->end();
    thread_->get_id() == std::this_thread::get_id() ? thread_->detach() : thread_->join();
}

// ---- handles ----

namespace {

/// The keepers of this process.
struct Keepers {
    Mutex mutex;
    std::map<const Store*, std::weak_ptr<LeaseKeeper>> by_store CAIRN_GUARDED_BY(mutex);
};

std::shared_ptr<LeaseKeeper> keeper_of(std::shared_ptr<Store> store) {
    Keepers& keepers = of_this_process<Keepers>();
    const MutexLock lock(keepers.mutex);
    std::erase_if(keepers.by_store, [](const auto& keeper) { return keeper.second.expired(); });
    std::weak_ptr<LeaseKeeper>& known = keepers.by_store[store.get()];
    std::shared_ptr<LeaseKeeper> keeper = known.lock();
    if (!keeper) known = keeper = std::make_shared<LeaseKeeper>(std::move(store));
    return keeper;
}

}  // namespace

LeaseRenewal::LeaseRenewal(std::shared_ptr<Store> store, KeptLease lease)
    : entry_(std::make_shared<LeaseEntry>(std::move(lease))) {
    keeper_ = keeper_of(std::move(store));
    keeper_->add(entry_);
}

LeaseRenewal& LeaseRenewal::operator=(LeaseRenewal&& other) noexcept {
    const LeaseRenewal before = std::move(*this);
    keeper_ = std::move(other.keeper_);
    entry_ = std::move(other.entry_);
    return *this;
}

void LeaseRenewal::stop() noexcept {
    if (!keeper_) return;
    if (keeper_->is_of_this_process()) keeper_->remove(*entry_);
    keeper_.reset();
    entry_.reset();
}

}  // namespace cairn
