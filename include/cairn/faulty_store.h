#pragma once

// A store that fails on demand, for tests of programs that save. Not part of cairn.h.

#include <cairn/store.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace cairn {

enum class StoreCall : std::uint8_t { kCommit, kHead, kGet, kHistory, kLease };

/// A failure to inject. With `{.call = StoreCall::kCommit, .code = ErrorCode::kOutcomeUnknown, .after_effect = true}`,
/// the next commit is applied and reported as unknown.
struct Fault {
    StoreCall call = StoreCall::kCommit;
    ErrorCode code = ErrorCode::kUnavailable;
    std::uint64_t nth = 1;      ///< 1: the next call of its kind, counted from `inject`.
    bool for_good = false;      ///< That call and all later ones fail, until `heal`; if false, only that call.
    bool after_effect = false;  ///< The call takes effect and then reports the error.
};

/// A store whose calls fail, or are slow, on demand. Threads: safe to use and to program from several threads.
class FaultyStore final : public ForwardingStore {
public:
    using CommitHook = std::function<void(std::span<const RunBatch>)>;

    explicit FaultyStore(std::shared_ptr<Store> next) : ForwardingStore(std::move(next)) {}

    /// Adds a fault. Several may be pending; the first injected that matches a call wins.
    void inject(const Fault& fault) {
        const std::lock_guard lock(mutex_);
        faults_.push_back({fault, calls_[index(fault.call)] + fault.nth});
    }
    /// Forgets all faults that are still pending.
    void heal() {
        const std::lock_guard lock(mutex_);
        faults_.clear();
    }
    /// Sets a hook that is called at the start of each commit, failing ones too, on the committing thread and under no
    /// lock. The hook may block, or use the store. It replaces the previous hook; null: none.
    void before_commit(CommitHook hook) {
        const std::lock_guard lock(mutex_);
        before_commit_ = std::move(hook);
    }
    /// The number of calls of a kind so far, including failed ones.
    std::uint64_t calls(StoreCall call) const {
        const std::lock_guard lock(mutex_);
        return calls_[index(call)];
    }
    /// The number of calls of a kind that failed because of a fault.
    std::uint64_t failures(StoreCall call) const {
        const std::lock_guard lock(mutex_);
        return failures_[index(call)];
    }

    /// From now on, each call of a kind waits for `duration` before it does anything. A call that does not begin by its
    /// deadline fails with kUnavailable at its deadline, and has done nothing.
    void delay(StoreCall call, std::chrono::milliseconds duration) {
        const std::lock_guard lock(mutex_);
        delays_[index(call)] = duration;
    }
    /// Sets how many commits the store says that it takes at the same time; 0: as many as the store behind it.
    void set_commits_at_once(std::size_t commits) { commits_at_once_ = commits; }

    std::size_t commits_at_once() const noexcept override {
        const std::size_t commits = commits_at_once_;
        return commits == 0 ? ForwardingStore::commits_at_once() : commits;
    }
    Result<std::vector<Status>> commit(std::span<const RunBatch> batches, Deadline deadline) override {
        if (const CommitHook hook = commit_hook()) hook(batches);
        return with_faults<Result<std::vector<Status>>>(StoreCall::kCommit, deadline,
                                                        [&] { return next().commit(batches, deadline); });
    }
    Result<std::optional<Head>> head(std::string_view run_id, Deadline deadline) override {
        return with_faults<Result<std::optional<Head>>>(StoreCall::kHead, deadline,
                                                        [&] { return next().head(run_id, deadline); });
    }
    Result<std::optional<LeaseInfo>> lease(std::string_view run_id, Deadline deadline) override {
        return with_faults<Result<std::optional<LeaseInfo>>>(StoreCall::kLease, deadline,
                                                             [&] { return next().lease(run_id, deadline); });
    }
    Result<std::optional<Snapshot>> get(std::string_view run_id, std::optional<std::string_view> snapshot_id,
                                        Deadline deadline, Reading reading = Reading::kUsual) override {
        return with_faults<Result<std::optional<Snapshot>>>(
            StoreCall::kGet, deadline, [&] { return next().get(run_id, snapshot_id, deadline, reading); });
    }
    Result<std::vector<SnapshotInfo>> history(const HistoryQuery& query, Deadline deadline,
                                              Reading reading = Reading::kUsual) override {
        return with_faults<Result<std::vector<SnapshotInfo>>>(StoreCall::kHistory, deadline,
                                                              [&] { return next().history(query, deadline, reading); });
    }

private:
    struct Pending {
        Fault fault;
        std::uint64_t due = 0;  // the number of the call that fails
    };
    static constexpr std::size_t kCalls = 5;

    static std::size_t index(StoreCall call) { return static_cast<std::size_t>(call); }

    CommitHook commit_hook() const {
        const std::lock_guard lock(mutex_);
        return before_commit_;
    }

    // Counts the call and returns the fault that is due for it, if any.
    std::optional<Fault> next_fault(StoreCall call) {
        const std::lock_guard lock(mutex_);
        const std::uint64_t number = ++calls_[index(call)];
        const auto due = std::ranges::find_if(faults_, [&](const Pending& pending) {
            return pending.fault.call == call &&
                   (pending.fault.for_good ? number >= pending.due : number == pending.due);
        });
        if (due == faults_.end()) return std::nullopt;
        ++failures_[index(call)];
        const Fault fault = due->fault;
        if (!fault.for_good) faults_.erase(due);
        return fault;
    }

    // Returns false if the deadline came first.
    bool wait_for_delay(StoreCall call, Deadline deadline) const {
        std::chrono::milliseconds duration{0};
        {
            const std::lock_guard lock(mutex_);
            duration = delays_[index(call)];
        }
        if (duration <= std::chrono::milliseconds::zero()) return true;
        const Deadline done = std::chrono::steady_clock::now() + duration;
        std::this_thread::sleep_until(std::min(done, deadline));
        return done <= deadline;
    }

    template <class Answer>
    static bool has_effect(const Answer& answer) {
        return answer.has_value();
    }
    static bool has_effect(const Result<std::vector<Status>>& answers) {
        return answers && (answers->empty() ||
                           std::ranges::any_of(*answers, [](const Status& answer) { return answer.has_value(); }));
    }

    template <class Answer, class Effect>
    Answer with_faults(StoreCall call, Deadline deadline, Effect effect) {
        const std::optional<Fault> fault = next_fault(call);
        if (!wait_for_delay(call, deadline)) return fail(ErrorCode::kUnavailable, "delayed by the test");
        if (!fault) return effect();
        if (fault->after_effect) {
            // An effect that failed by itself keeps its own error: nothing is in doubt then.
            if (Answer answer = effect(); !has_effect(answer)) return answer;
        }
        return fail(fault->code, "injected by the test");
    }

    mutable std::mutex mutex_;
    std::vector<Pending> faults_;
    CommitHook before_commit_;
    std::uint64_t calls_[kCalls] = {};
    std::uint64_t failures_[kCalls] = {};
    std::chrono::milliseconds delays_[kCalls] = {};
    std::atomic<std::size_t> commits_at_once_ = 0;
};

}  // namespace cairn
