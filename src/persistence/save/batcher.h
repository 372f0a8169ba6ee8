#pragma once

// Saves that come at the same time are committed together. A thread that needs a commit while the store can take one
// becomes a leader: it commits all that is queued by then, and the other threads wait for it. There is no timer, so a
// lone save is committed at once by its own thread. Saves that no caller waits for are committed by background threads,
// which are started with the first of them. As many batches are in flight as the store takes at a time. No two of them
// have saves of the same run.

#include "persistence/save/lost_saves.h"
#include "persistence/save/save_queue.h"

#include <cairn/persistence.h>

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <list>
#include <mutex>
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
          batch_saves_max_(batch_limits.saves_max),
          queue_(batch_limits, limits) {}
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
    /// takes it out of the queue.
    /// Errors: kUnavailable (it was taken out: nothing was applied and nothing will be), kOutcomeUnknown (others still
    ///   rely on it, its commit is still under way, or an earlier try may have applied it).
    Result<Receipt> wait(Save save, Deadline deadline);
    /// Does the same for a save that was shared.
    Result<Receipt> wait_for_other(Save save, Deadline deadline);
    /// Calls `done` with the result of the save: now if it has ended, otherwise on the thread that commits it.
    void tell(Save save, SaveCompletion done);

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
    struct Telling;
    using Lock = std::unique_lock<std::mutex>;
    using Batch = std::vector<Save>;
    using Stage = PendingSave::Stage;

    Status wait_for_room(Lock& lock, const PendingSave& save, Deadline deadline);
    bool wait_in_line(Lock& lock, const PendingSave& save, Deadline deadline);
    Newcomer* first_with_room() const;
    bool make_way();
    bool can_lead() const { return leading_ < commits_at_once_; }
    bool should_lead_for(const PendingSave& save, Deadline deadline);
    bool is_next_in_time(Deadline deadline);
    Result<Receipt> wait_as_one_of_many(Lock& lock, Save save, Deadline deadline);
    Result<Receipt> give_up(PendingSave& save);
    bool wait_until_settled(Lock& lock, Save& save, Deadline deadline);
    void wait_until_committed(Lock& lock, const Save& save, Deadline deadline);
    static bool wait_for_news(Lock& lock, const Save& save, Deadline deadline);
    Status drain(Lock& lock, const std::string& run_id, Deadline deadline);
    Status drain_all(Lock& lock, Deadline deadline);
    Status drain(Lock& lock, std::vector<Save> newest, Deadline deadline);
    void lead(Lock& lock, Deadline deadline);
    void lead_patiently(Lock& lock, Deadline deadline);
    std::list<Batch> make_batch();
    static bool has_something_to_tell(const Save& save);
    void settle(Batch& batch);
    void settle(PendingSave& save);
    void report_lost(const PendingSave& save) noexcept;
    void tell(const Batch& batch);
    void tell_batches(Lock& lock, std::list<Batch> batches);
    bool tell_later(const Batch& batch);
    void tell_each(const Batch& batch);
    void pass_on_the_lead();
    void wake_next();
    bool wake_committer();
    void commit_in_background();

    const std::size_t commits_at_once_;
    const Commit commit_;
    const OnLost on_lost_;
    const std::size_t batch_saves_max_;

    mutable std::mutex mutex_;
    // Guarded by mutex_:
    SaveQueue queue_;
    std::list<Batch> spare_batches_;  // emptied batches, kept for their memory
    LostSaves lost_;
    std::deque<Newcomer*> newcomers_;  // callers that wait for a place, the first in front
    std::size_t leading_ = 0;          // the number of threads that are committing a batch
    int telling_ = 0;                  // the number of threads that are calling completions
    std::list<Batch> untold_;          // settled by threads that must not call completions
    bool is_closing_ = false;
    bool may_end_ = false;
    std::condition_variable work_;  // for background threads
    std::condition_variable told_;  // for `close`
    std::vector<std::thread> committers_;
    std::size_t idle_committers_ = 0;
};

}  // namespace cairn
