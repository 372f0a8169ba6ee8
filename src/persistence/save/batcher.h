#pragma once

// Saves that come at the same time are committed together. A thread that needs a commit while the store can take one
// becomes a leader: it commits all that is queued by then, and the other threads wait for it. There is no timer, so a
// lone save is committed at once by its own thread. Saves that no caller waits for are committed by background threads,
// which are started with the first of them. As many batches are in flight as the store takes at a time. No two of them
// have saves of the same run.

#include "base/mutex.h"
#include "base/thread_annotations.h"
#include "base/waiting_line.h"
#include "persistence/save/lost_saves.h"
#include "persistence/save/save_queue.h"

#include <cairn/persistence.h>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <list>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

namespace cairn {

/// Threads: safe to call concurrently.
class Batcher {
public:
    /// Commits saves and sets the result of each, except of those that are to be tried again: they go back to their
    /// places in the queue, where their callers may leave them. A first try ends by the deadline given, a later one of
    /// a single save by that save's deadline. Called by up to `commits_at_once` threads at a time; must not throw.
    using Commit = std::function<void(std::span<const Save>, Deadline)>;
    /// Called for a save that was acknowledged as queued and then failed.
    using OnLost = std::function<void(const SaveJob&, const Error&)>;

    Batcher(std::size_t commits_at_once, const BatchLimits& batch_limits, const QueueLimits& limits, Commit commit,
            OnLost on_lost)
        : commits_at_once_(commits_at_once),
          commit_(std::move(commit)),
          on_lost_(std::move(on_lost)),
          batch_saves_max_(std::max<std::size_t>(batch_limits.saves_max, 1)),
          queue_(batch_limits, limits) {
        spare_batches_.emplace_back().reserve(batch_saves_max_);  // one commit can always be made
    }
    /// Every save must have ended: call `close` first.
    ~Batcher() = default;
    Batcher(const Batcher&) = delete;
    Batcher& operator=(const Batcher&) = delete;

    /// Lives as long as its thread is inside a run's lane. A completion may save into that very run, so meanwhile
    /// another thread calls the completions. Where there is no other thread, this one calls them at the end; it must
    /// have left the lane by then.
    class InLane {
    public:
        explicit InLane(Batcher& batcher) : batcher_(batcher) { of_this_thread = this; }
        ~InLane();
        InLane(const InLane&) = delete;
        InLane& operator=(const InLane&) = delete;

    private:
        friend class Batcher;
        static thread_local InLane* of_this_thread;

        Batcher& batcher_;
        bool has_left_untold_ = false;
    };

    /// Queues a save behind the others of its run. Waits for a place until `deadline`. `is_awaited`: the caller calls
    /// `wait` next. Returns false, and does not queue the save, if the save that it was prepared on has left the queue
    /// meanwhile.
    /// Errors: kUnavailable (the queue stayed full), kClosed. The save is not queued.
    Result<bool> submit(const Save& save, bool is_awaited, Deadline deadline);
    /// Queues `newer` in the place of `older`. Returns false if the commit of `older` has begun, if others rely on it,
    /// if there is no room, or if the service is closing.
    bool replace(const Save& older, const Save& newer);

    /// Lets another caller rely on a save until `deadline`. `is_acknowledged`: that caller is told that it is queued.
    /// Returns false if the save has ended, or if its commit has begun; then this waits until its end or `deadline`.
    bool share(const Save& save, bool is_acknowledged, Deadline deadline);

    /// Waits for the end of the save, and returns its result. At its deadline, the last caller that relies on the save
    /// takes it out of the queue. The caller that has queued the save gets the very receipt, so that no memory is
    /// needed once the save is in the store. Errors: kUnavailable (it was taken out: nothing was applied and nothing
    /// will be), kOutcomeUnknown (others still
    ///   rely on it, its commit is still under way, or an earlier try may have applied it).
    Result<Receipt> wait(Save save, Deadline deadline);
    /// Does the same for a save that was shared. `own`: the receipt of this caller, which only lacks the version.
    Result<Receipt> wait_for_other(Save save, Receipt own, Deadline deadline);
    /// Calls `done` with the result of the save: now if it has ended, otherwise on the thread that commits it. `own`:
    /// the same, if the save was shared.
    void tell(Save save, SaveCompletion done, std::optional<Receipt> own);

    /// Returns the newest save of the run that has not ended; null if there is none.
    Save newest(const std::string& run_id) const;

    /// Releases the held saves of the run.
    void release(const std::string& run_id);

    /// Releases the held saves of the run, and waits until all that are queued now have ended. Errors: kUnavailable.
    Status drain(const std::string& run_id, Deadline deadline);
    /// Does the same for all runs of a thread.
    Status drain_thread(std::string_view thread_id, Deadline deadline);

    /// Errors: those of `drain`, or that of the first lost save that no flush had reported when this one began.
    Status flush(const std::string& run_id, Deadline deadline);
    Status flush_all(Deadline deadline);

    /// From now on `submit` returns kClosed.
    void refuse();
    /// Refuses new saves, and waits for the end of all queued saves, completions and threads. A completion must not
    /// call it.
    Status close();

    struct Figures {
        std::size_t size = 0;
        std::size_t bytes = 0;
    };
    Figures figures() const;

private:
    struct Newcomer;
    struct Sleeper;
    struct Telling;
    using Batch = std::vector<Save>;
    using Stage = PendingSave::Stage;

    Status wait_for_room(const PendingSave& save, Deadline deadline) CAIRN_REQUIRES(mutex_);
    bool wait_in_line(const PendingSave& save, Deadline deadline) CAIRN_REQUIRES(mutex_);
    Newcomer* first_with_room() const CAIRN_REQUIRES(mutex_);
    bool make_way() CAIRN_REQUIRES(mutex_);
    bool can_lead() const CAIRN_REQUIRES(mutex_) { return leading_ < commits_at_once_; }
    bool should_lead_for(const PendingSave& save, Deadline deadline) CAIRN_REQUIRES(mutex_);
    bool is_next_in_time(Deadline deadline) CAIRN_REQUIRES(mutex_);
    bool wait_as_one_of_many(Save& save, Deadline deadline) CAIRN_REQUIRES(mutex_);
    Result<Receipt> leave(PendingSave& save) CAIRN_REQUIRES(mutex_);
    static Result<Receipt> result_of(PendingSave& save, std::optional<Receipt>& own) noexcept;
    bool listen(Save& save, PendingSave::Listener& listener);
    bool wait_until_settled(Save& save, Deadline deadline) CAIRN_REQUIRES(mutex_);
    void wait_until_committed(const Save& save, Deadline deadline) CAIRN_REQUIRES(mutex_);
    bool wait_for_news(const Save& save, Deadline deadline) CAIRN_REQUIRES(mutex_);
    Status drain_run(const std::string& run_id, Deadline deadline) CAIRN_REQUIRES(mutex_);
    Status drain_all(Deadline deadline) CAIRN_REQUIRES(mutex_);
    Status drain_newest(std::vector<Save> newest, Deadline deadline) CAIRN_REQUIRES(mutex_);
    Status drain_for_good();
    void lead(Deadline deadline) CAIRN_REQUIRES(mutex_);
    void lead_patiently(Deadline deadline) CAIRN_REQUIRES(mutex_);
    std::list<Batch> make_batch() CAIRN_REQUIRES(mutex_);
    static bool has_something_to_tell(const Save& save);
    void settle(Batch& batch) CAIRN_REQUIRES(mutex_);
    void settle(PendingSave& save) CAIRN_REQUIRES(mutex_);
    void report_lost(const PendingSave& save) noexcept;
    void tell(const Batch& batch) noexcept;
    void tell_batches(std::list<Batch> batches) CAIRN_REQUIRES(mutex_);
    bool tell_later(const Batch& batch) noexcept;
    void tell_each(const Batch& batch) noexcept;
    void pass_on() CAIRN_REQUIRES(mutex_);
    void pass_on_the_lead() CAIRN_REQUIRES(mutex_);
    void wake_newcomer() CAIRN_REQUIRES(mutex_);
    bool wake_committer() CAIRN_REQUIRES(mutex_);
    void commit_in_background();

    const std::size_t commits_at_once_;
    const Commit commit_;
    const OnLost on_lost_;
    const std::size_t batch_saves_max_;

    mutable Mutex mutex_;
    SaveQueue queue_ CAIRN_GUARDED_BY(mutex_);
    std::list<Batch> spare_batches_ CAIRN_GUARDED_BY(mutex_);  // emptied batches, kept for their memory
    LostSaves lost_ CAIRN_GUARDED_BY(mutex_);
    WaitingLine<Newcomer> newcomers_ CAIRN_GUARDED_BY(mutex_);  // callers that wait for a place
    WaitingLine<Sleeper> sleepers_ CAIRN_GUARDED_BY(mutex_);    // callers that wait for news of a save
    std::size_t leading_ CAIRN_GUARDED_BY(mutex_) = 0;          // the number of threads that are committing a batch
    int telling_ CAIRN_GUARDED_BY(mutex_) = 0;                  // the number of threads that are calling completions
    std::list<Batch> untold_ CAIRN_GUARDED_BY(mutex_);          // settled by threads that must not call completions
    bool is_closing_ CAIRN_GUARDED_BY(mutex_) = false;
    bool may_end_ CAIRN_GUARDED_BY(mutex_) = false;
    ConditionVariable work_;  // for background threads
    ConditionVariable told_;  // for `close`
    std::vector<std::thread> committers_ CAIRN_GUARDED_BY(mutex_);
    std::size_t idle_committers_ CAIRN_GUARDED_BY(mutex_) = 0;
};

}  // namespace cairn
