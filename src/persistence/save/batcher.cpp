#include "persistence/save/batcher.h"

#include "persistence/save/save_errors.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <iterator>
#include <new>
#include <utility>

namespace cairn {
namespace {

/// The time that a caller waits beyond its deadline while its save is being committed. The store answers at the
/// deadline, or a moment later.
constexpr std::chrono::milliseconds kAnswerGrace{500};

/// The time that a thread waits for memory before it tries again.
constexpr std::chrono::milliseconds kMemoryPause{10};

std::unexpected<Error> still_in_commit_error(const PendingSave& save) {
    return fail(ErrorCode::kOutcomeUnknown, fmt::format("the save of snapshot {} was still being committed at the "
                                                        "deadline",
                                                        save.job.becomes->info.snapshot_id));
}

std::unexpected<Error> still_shared_error(const PendingSave& save) {
    return fail(ErrorCode::kOutcomeUnknown,
                fmt::format("the save of snapshot {} was still queued at the deadline and stays so, because an equal "
                            "save relies on it",
                            save.job.becomes->info.snapshot_id));
}

std::unexpected<Error> runs_still_queued_error(std::size_t saves) {
    return fail(ErrorCode::kUnavailable, fmt::format("{} {} queued at the deadline", saves,
                                                     saves == 1 ? "run still has saves" : "runs still have saves"));
}

}  // namespace

bool Batcher::has_something_to_tell(const Save& save) {
    return !save->completions_.empty() || (save->is_acknowledged_ && !*save->attempt.result);
}

/// A caller that waits for a place in the queue.
struct Batcher::Newcomer {
    Newcomer(std::deque<Newcomer*>& its_queue, const PendingSave& its_save) : queue(its_queue), save(its_save) {
        queue.push_back(this);
    }
    ~Newcomer() { queue.erase(std::ranges::find(queue, this)); }
    Newcomer(const Newcomer&) = delete;
    Newcomer& operator=(const Newcomer&) = delete;

    std::deque<Newcomer*>& queue;
    const PendingSave& save;
    std::condition_variable may_try;
};

/// The completions of one batcher that a thread is calling. One of them may save and wait, and so make this thread
/// commit another batch. That batch's completions are called after these and not inside, so that the stack does not
/// grow without an end.
struct Batcher::Telling {
    const Batcher* const batcher;
    Telling* const outer;
    std::vector<Save> later = {};

    static thread_local Telling* innermost;
};
thread_local Batcher::Telling* Batcher::Telling::innermost = nullptr;

thread_local Batcher::InLane* Batcher::InLane::of_this_thread = nullptr;

Batcher::InLane::~InLane() {
    of_this_thread = nullptr;
    if (!has_left_untold_) return;
    Lock lock(batcher_.mutex_);
    if (!batcher_.untold_.empty() && !batcher_.wake_committer())
        batcher_.tell_batches(lock, std::exchange(batcher_.untold_, {}));
}

Result<bool> Batcher::submit(const Save& save, bool is_awaited, Deadline deadline) {
    Lock lock(mutex_);
    if (Status status = wait_for_room(lock, *save, deadline); !status) return std::unexpected(status.error());
    if (save->attempt.follows && save->attempt.follows->has_left_queue) return false;
    queue_.push(save);
    if (is_awaited) {
        save->waiters_ = 1;
    } else {
        // If there is no thread and no memory until the deadline, the save stays queued, and the next caller commits
        // it.
        const auto is_in_time = [&] { return std::chrono::steady_clock::now() < deadline; };
        while (can_lead() && queue_.is_ready() && !wake_committer() && is_in_time()) lead_patiently(lock, deadline);
    }
    return true;
}

bool Batcher::replace(const Save& older, const Save& newer) {
    const std::lock_guard lock(mutex_);
    if (is_closing_ || !queue_.replace(older, newer)) return false;
    older->settled_.notify_all();  // its waiters wait for the newer one now
    pass_on_the_lead();
    return true;
}

Status Batcher::wait_for_room(Lock& lock, const PendingSave& save, Deadline deadline) {
    const bool in_time = wait_in_line(lock, save, deadline);
    if (Newcomer* next = first_with_room()) next->may_try.notify_one();
    if (is_closing_) return fail(ErrorCode::kClosed, "the service was closed");
    if (in_time) return {};
    return fail(ErrorCode::kUnavailable,
                fmt::format("the queue was full until the deadline: {} saves with {} bytes wait to be committed",
                            queue_.size(), queue_.bytes()));
}

// Returns false when the deadline has passed.
bool Batcher::wait_in_line(Lock& lock, const PendingSave& save, Deadline deadline) {
    Newcomer self(newcomers_, save);
    while (!is_closing_ && first_with_room() != &self) {
        if (std::chrono::steady_clock::now() >= deadline) return false;
        if (make_way() && is_next_in_time(deadline)) {
            lead(lock, deadline);
        } else {
            self.may_try.wait_until(lock, deadline);
        }
    }
    return true;
}

// First come, first served, but a run that has its share of the queue keeps no other run waiting.
Batcher::Newcomer* Batcher::first_with_room() const {
    const auto found =
        std::ranges::find_if(newcomers_, [this](const Newcomer* one) { return queue_.has_room(one->save); });
    return found == newcomers_.end() ? nullptr : *found;
}

// Releases all saves, since a full queue holds none back. Returns whether there is a commit to make now.
bool Batcher::make_way() {
    queue_.release_all();
    return can_lead() && queue_.is_ready();
}

// A caller whose save is in flight, or behind one that is, does not commit the saves of others.
bool Batcher::should_lead_for(const PendingSave& save, Deadline deadline) {
    return can_lead() && queue_.is_ready() && (leading_ == 0 || !queue_.is_in_commit(save)) &&
           is_next_in_time(deadline);
}

// A save that is tried alone is tried until its own deadline. A caller with an earlier deadline leaves it to a
// background thread, unless none is free: the one that there is may be calling a completion that waits for this caller.
bool Batcher::is_next_in_time(Deadline deadline) {
    const PendingSave& next = queue_.next();
    if (!next.attempt.is_tried_alone() || next.attempt.deadline <= deadline) return true;
    return !wake_committer() || idle_committers_ == 0;
}

bool Batcher::share(const Save& save, bool is_acknowledged, Deadline deadline) {
    Lock lock(mutex_);
    if (save->stage_ == Stage::kCommitting || (save->stage_ == Stage::kQueued && save->attempt.was_tried)) {
        // It may be in the store already, and another writer may have saved since: the caller compares the head anew.
        Save ending = save;
        if (!wait_until_settled(lock, ending, deadline)) pass_on_the_lead();
        return false;
    }
    if (save->stage_ == Stage::kSettled || save->replaced_by_ != nullptr) return false;
    save->is_shared_ = true;
    ++save->callers_;
    save->is_acknowledged_ = save->is_acknowledged_ || is_acknowledged;
    save->attempt.deadline = std::max(save->attempt.deadline, deadline);
    return true;
}

Result<Receipt> Batcher::wait(Save save, Deadline deadline) {
    Lock lock(mutex_);
    --save->waiters_;  // `submit` has counted this waiter; from here on it counts while it sleeps
    return wait_as_one_of_many(lock, std::move(save), deadline);
}

Result<Receipt> Batcher::wait_for_other(Save save, Deadline deadline) {
    Lock lock(mutex_);
    return wait_as_one_of_many(lock, std::move(save), deadline);
}

// A caller that leaves before the save has ended gets "nothing was applied" only if nothing will be.
Result<Receipt> Batcher::wait_as_one_of_many(Lock& lock, Save save, Deadline deadline) {
    if (wait_until_settled(lock, save, deadline)) return *save->attempt.result;
    wait_until_committed(lock, save, deadline + kAnswerGrace);
    if (save->stage_ == Stage::kSettled) return *save->attempt.result;
    if (save->stage_ == Stage::kQueued) return give_up(*save);
    return still_in_commit_error(*save);
}

// Afterwards, the save may be back in the queue.
void Batcher::wait_until_committed(Lock& lock, const Save& save, Deadline deadline) {
    while (save->stage_ == Stage::kCommitting && wait_for_news(lock, save, deadline)) {
    }
}

// Returns false when the deadline has passed.
bool Batcher::wait_for_news(Lock& lock, const Save& save, Deadline deadline) {
    ++save->waiters_;
    const std::cv_status status = save->settled_.wait_until(lock, deadline);
    --save->waiters_;
    return status == std::cv_status::no_timeout;
}

// The save is queued.
Result<Receipt> Batcher::give_up(PendingSave& save) {
    if (--save.callers_ > 0) {
        pass_on_the_lead();
        return still_shared_error(save);
    }
    Result<Receipt> error = too_late_error(save);  // made before the save leaves, since it takes memory
    queue_.remove(save);
    save.ended_early_ = true;
    save.attempt.result = std::move(error);
    settle(save);
    save.settled_.notify_all();
    pass_on_the_lead();
    return *save.attempt.result;
}

void Batcher::tell(Save save, SaveCompletion done) {
    Lock lock(mutex_);
    while (save->replaced_by_ != nullptr) save = save->replaced_by_;
    if (save->stage_ != Stage::kSettled) {
        try {
            save->completions_.push_back(std::move(done));
            return;
        } catch (const std::bad_alloc&) {
            // There is no memory to keep the completion: the caller waits for the save.
            wait_until_settled(lock, save, Deadline::max());
        }
    }
    lock.unlock();
    cairn::tell<Receipt>(done, *save->attempt.result);
}

Save Batcher::newest(const std::string& run_id) const {
    const std::lock_guard lock(mutex_);
    return queue_.newest(run_id);
}

void Batcher::release(const std::string& run_id) {
    const std::lock_guard lock(mutex_);
    queue_.release(run_id);
    pass_on_the_lead();
}

// Follows a save that is replaced. Leads when no other thread does.
bool Batcher::wait_until_settled(Lock& lock, Save& save, Deadline deadline) {
    while (true) {
        while (save->replaced_by_ != nullptr) save = save->replaced_by_;
        if (save->stage_ == Stage::kSettled) return true;
        if (should_lead_for(*save, deadline) && std::chrono::steady_clock::now() < deadline) {
            lead_patiently(lock, deadline);
            continue;
        }
        const bool is_in_time = wait_for_news(lock, save, deadline);
        if (!is_in_time && save->stage_ != Stage::kSettled && !save->replaced_by_) return false;
    }
}

Status Batcher::drain(const std::string& run_id, Deadline deadline) {
    Lock lock(mutex_);
    return drain(lock, run_id, deadline);
}

Status Batcher::drain(Lock& lock, const std::string& run_id, Deadline deadline) {
    queue_.release(run_id);
    Save save = queue_.newest(run_id);
    return save ? drain(lock, {std::move(save)}, deadline) : Status();
}

Status Batcher::drain_thread(std::string_view thread_id, Deadline deadline) {
    Lock lock(mutex_);
    std::vector<Save> newest =
        queue_.newest_of([&](const PendingSave& save) { return save.job.request.thread_id == thread_id; });
    for (const Save& save : newest) queue_.release(save->job.request.run_id);
    pass_on_the_lead();
    return drain(lock, std::move(newest), deadline);
}

Status Batcher::drain_all(Lock& lock, Deadline deadline) {
    queue_.release_all();
    pass_on_the_lead();
    return drain(lock, queue_.newest_of([](const PendingSave&) { return true; }), deadline);
}

Status Batcher::drain(Lock& lock, std::vector<Save> newest, Deadline deadline) {
    for (std::size_t i = 0; i < newest.size(); ++i) {
        Save& save = newest[i];
        while (save != nullptr && wait_until_settled(lock, save, deadline)) {
            if (!save->ended_early_) {
                save = nullptr;
                break;
            }
            const std::string& run_id = save->job.request.run_id;
            queue_.release(run_id);
            save = queue_.newest(run_id);
        }
        if (save == nullptr) continue;
        pass_on_the_lead();
        return runs_still_queued_error(newest.size() - i);
    }
    return {};
}

Status Batcher::flush(const std::string& run_id, Deadline deadline) {
    Lock lock(mutex_);
    LostSaves::Flush flush(lost_, run_id);
    if (Status status = drain(lock, run_id, deadline); !status) return status;
    if (std::optional<Error> error = flush.take()) return std::unexpected(std::move(*error));
    return {};
}

Status Batcher::flush_all(Deadline deadline) {
    Lock lock(mutex_);
    LostSaves::Flush flush(lost_, std::nullopt);
    if (Status status = drain_all(lock, deadline); !status) return status;
    if (std::optional<Error> error = flush.take()) return std::unexpected(std::move(*error));
    return {};
}

void Batcher::refuse() {
    const std::lock_guard lock(mutex_);
    is_closing_ = true;
    for (Newcomer* newcomer : newcomers_) newcomer->may_try.notify_one();
}

Status Batcher::close() {
    refuse();
    // This ends, because saves have deadlines.
    Status status = flush_all(Deadline::max());
    std::vector<std::thread> ending;
    {
        Lock lock(mutex_);
        if (!untold_.empty()) tell_batches(lock, std::exchange(untold_, {}));
        told_.wait(lock, [this] { return telling_ == 0; });
        may_end_ = true;
        ending = std::move(committers_);
        work_.notify_all();
    }
    for (std::thread& committer : ending) committer.join();
    return status;
}

Batcher::Figures Batcher::figures() const {
    const std::lock_guard lock(mutex_);
    return {.size = queue_.size(), .bytes = queue_.bytes()};
}

// Commits one batch. The lock is not held during the commit; neither the lock nor a lane is held while completions run.
void Batcher::lead(Lock& lock, Deadline deadline) {
    std::list<Batch> own = make_batch();
    Batch& batch = own.front();
    queue_.take(batch);
    ++leading_;
    pass_on_the_lead();
    lock.unlock();
    commit_(batch, deadline);
    lock.lock();
    settle(batch);
    --leading_;
    InLane* const lane = InLane::of_this_thread;
    const bool is_told_later = lane != nullptr && std::ranges::any_of(batch, has_something_to_tell);
    if (is_told_later) {
        for (const Save& save : batch) save->settled_.notify_all();
        untold_.splice(untold_.end(), own);
        lane->has_left_untold_ = true;
    }
    wake_next();
    if (!is_told_later) tell_batches(lock, std::move(own));
}

// Returns one empty batch with all the memory that it may need: once saves are taken, nothing may fail.
std::list<Batcher::Batch> Batcher::make_batch() {
    std::list<Batch> own;
    if (spare_batches_.empty()) {
        own.emplace_back().reserve(std::max<std::size_t>(batch_saves_max_, 1));
    } else {
        own.splice(own.end(), spare_batches_, spare_batches_.begin());
    }
    return own;
}

// A caller must not get an error while its save stays queued. So if there is no memory for a batch, this pauses.
void Batcher::lead_patiently(Lock& lock, Deadline deadline) {
    try {
        lead(lock, deadline);
    } catch (const std::bad_alloc&) {
        // No save has been taken out of the queue.
        lock.unlock();
        std::this_thread::sleep_for(kMemoryPause);
        lock.lock();
    }
}

// The batch keeps the saves that have ended; the others are back in the queue.
void Batcher::settle(Batch& batch) {
    queue_.end(batch);
    for (const Save& save : batch) {
        save->attempt.result ? settle(*save) : save->settled_.notify_all();
    }
    std::erase_if(batch, [](const Save& save) { return !save->attempt.result; });
}

void Batcher::settle(PendingSave& save) {
    save.stage_ = Stage::kSettled;
    if (save.is_acknowledged_ && !*save.attempt.result)
        lost_.note(save.job.request.run_id, save.attempt.result->error());
}

void Batcher::report_lost(const PendingSave& save) noexcept {
    try {
        on_lost_(save.job, save.attempt.result->error());
    } catch (...) {  // NOLINT(bugprone-empty-catch): a failure to log must not end other saves
    }
}

// The saves are settled: no thread adds completions to them any more.
void Batcher::tell_batches(Lock& lock, std::list<Batch> batches) {
    ++telling_;
    lock.unlock();
    for (Batch& batch : batches) {
        for (const Save& save : batch) save->settled_.notify_all();  // the waiters need the lock
        tell(batch);
        batch.clear();
    }
    lock.lock();
    if (--telling_ == 0) told_.notify_all();
    spare_batches_.splice(spare_batches_.end(), batches);
}

void Batcher::tell(const Batch& batch) {
    if (tell_later(batch)) return;
    Telling self{.batcher = this, .outer = Telling::innermost};
    Telling::innermost = &self;
    tell_each(batch);
    while (!self.later.empty()) tell_each(std::exchange(self.later, {}));
    Telling::innermost = self.outer;
}

// Returns false if this thread is not calling completions, or if there is no memory to keep these.
bool Batcher::tell_later(const Batch& batch) {
    Telling* outer = Telling::innermost;
    while (outer != nullptr && outer->batcher != this) outer = outer->outer;
    if (outer == nullptr) return false;
    try {
        outer->later.reserve(outer->later.size() + batch.size());
    } catch (const std::bad_alloc&) {
        return false;
    }
    std::ranges::copy_if(batch, std::back_inserter(outer->later), has_something_to_tell);
    return true;
}

void Batcher::tell_each(const Batch& batch) {
    for (const Save& save : batch) {
        if (save->is_acknowledged_ && !*save->attempt.result) report_lost(*save);
        for (const SaveCompletion& done : save->completions_) cairn::tell<Receipt>(done, *save->attempt.result);
        save->completions_.clear();
    }
}

// A caller that stops waiting may have been the one that was notified to lead next.
void Batcher::pass_on_the_lead() {
    if (can_lead()) wake_next();
}

// Notifies a waiter of the next batch to lead it, or a background thread if it has no waiter. Then notifies the first
// caller that finds a place.
void Batcher::wake_next() {
    if (!untold_.empty()) wake_committer();
    if (queue_.is_ready()) {
        PendingSave& next = queue_.next();
        if (next.waiters_ > 0) {
            next.settled_.notify_all();
        } else {
            wake_committer();
        }
    }
    if (Newcomer* newcomer = first_with_room()) newcomer->may_try.notify_one();
}

// Returns false if the machine has no thread left. The next caller then commits the saves that have no waiter.
bool Batcher::wake_committer() {
    try {
        const bool needs_another = idle_committers_ == 0 && committers_.size() < commits_at_once_;
        if (needs_another && !may_end_) {
            committers_.emplace_back([this] { commit_in_background(); });
            ++idle_committers_;
        }
    } catch (const std::exception&) {
        if (committers_.empty()) return false;
    }
    work_.notify_one();
    return true;
}

void Batcher::commit_in_background() {
    Lock lock(mutex_);
    for (;; ++idle_committers_) {  // it is idle from its start
        work_.wait(lock, [this] { return may_end_ || !untold_.empty() || (can_lead() && queue_.is_ready()); });
        --idle_committers_;
        if (!untold_.empty()) {
            tell_batches(lock, std::exchange(untold_, {}));
        } else if (may_end_) {
            return;
        } else {
            lead_patiently(lock, Deadline::max());
        }
    }
}

}  // namespace cairn
