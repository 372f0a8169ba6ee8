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

std::unexpected<Error> runs_still_queued_error(std::size_t saves) {
    return fail(ErrorCode::kUnavailable, fmt::format("{} {} queued at the deadline", saves,
                                                     saves == 1 ? "run still has saves" : "runs still have saves"));
}

}  // namespace

bool Batcher::has_something_to_tell(const Save& save) {
    return !save->listeners_.empty() || (save->is_acknowledged_ && !*save->attempt.result);
}

/// A caller that waits for a place in the queue.
struct Batcher::Newcomer : WaitingLine<Newcomer>::Place {
    Newcomer(WaitingLine<Newcomer>& line, const PendingSave& its_save) : Place(line), save(its_save) {}

    const PendingSave& save;
    ConditionVariable may_try;
};

/// A caller that waits for news of a save.
struct Batcher::Sleeper : WaitingLine<Sleeper>::Place {
    Sleeper(WaitingLine<Sleeper>& line, PendingSave& its_save) : Place(line), save(its_save) {}

    PendingSave& save;
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
    const MutexLock lock(batcher_.mutex_);
    if (!batcher_.untold_.empty() && !batcher_.wake_committer())
        batcher_.tell_batches(std::exchange(batcher_.untold_, {}));
}

Result<bool> Batcher::submit(const Save& save, bool is_awaited, Deadline deadline) {
    const MutexLock lock(mutex_);
    if (Status status = wait_for_room(*save, deadline); !status) return std::unexpected(status.error());
    if (save->attempt.follows && save->attempt.follows->has_left_queue) return false;
    queue_.push(save);
    if (is_awaited) {
        save->waiters_ = 1;
    } else {
        // If there is no thread and no memory until the deadline, the save stays queued, and the next caller commits
        // it.
        const auto is_in_time = [deadline] { return std::chrono::steady_clock::now() < deadline; };
        while (can_lead() && queue_.is_ready() && !wake_committer() && is_in_time()) lead_patiently(deadline);
    }
    return true;
}

bool Batcher::replace(const Save& older, const Save& newer) {
    const MutexLock lock(mutex_);
    if (is_closing_ || !queue_.replace(older, newer)) return false;
    older->settled_.notify_all();  // its waiters wait for the newer one now
    pass_on();
    return true;
}

Status Batcher::wait_for_room(const PendingSave& save, Deadline deadline) {
    const bool in_time = wait_in_line(save, deadline);
    in_time ? wake_newcomer() : pass_on();
    if (is_closing_) return fail(ErrorCode::kClosed, "the service was closed");
    if (in_time) return {};
    return fail(ErrorCode::kUnavailable,
                fmt::format("the queue was full until the deadline: {} saves with {} bytes wait to be committed",
                            queue_.size(), queue_.bytes()));
}

// Returns false when the deadline has passed.
bool Batcher::wait_in_line(const PendingSave& save, Deadline deadline) {
    Newcomer self(newcomers_, save);
    while (!is_closing_ && first_with_room() != &self) {
        if (std::chrono::steady_clock::now() >= deadline) return false;
        if (make_way() && is_next_in_time(deadline)) {
            lead(deadline);
        } else {
            self.may_try.wait_until(mutex_, deadline);
        }
    }
    return true;
}

// First come, first served, but a run that has its share of the queue keeps no other run waiting.
Batcher::Newcomer* Batcher::first_with_room() const {
    Newcomer* one = newcomers_.front();
    while (one != nullptr && !queue_.has_room(one->save)) one = newcomers_.behind(*one);
    return one;
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
// background thread, even if that is busy: the caller must end in time.
bool Batcher::is_next_in_time(Deadline deadline) {
    const PendingSave& next = queue_.next();
    if (!next.attempt.is_tried_alone() || next.attempt.deadline <= deadline) return true;
    return !wake_committer();
}

bool Batcher::share(const Save& save, bool is_acknowledged, Deadline deadline) {
    const MutexLock lock(mutex_);
    if (save->stage_ == Stage::kCommitting || (save->stage_ == Stage::kQueued && save->attempt.was_tried)) {
        // It may be in the store already, and another writer may have saved since: the caller compares the head anew.
        Save ending = save;
        if (!wait_until_settled(ending, deadline)) pass_on();
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
    const MutexLock lock(mutex_);
    --save->waiters_;  // `submit` has counted this waiter; from here on it counts while it sleeps
    std::optional<Receipt> none;
    return wait_as_one_of_many(save, deadline) ? result_of(*save, none) : leave(*save);
}

Result<Receipt> Batcher::wait_for_other(Save save, Receipt own, Deadline deadline) {
    const MutexLock lock(mutex_);
    std::optional<Receipt> receipt = std::move(own);
    return wait_as_one_of_many(save, deadline) ? result_of(*save, receipt) : leave(*save);
}

// Returns false if the save has not ended by the deadline.
bool Batcher::wait_as_one_of_many(Save& save, Deadline deadline) {
    if (wait_until_settled(save, deadline)) return true;
    wait_until_committed(save, deadline + kAnswerGrace);
    return save->stage_ == Stage::kSettled;
}

// Takes the receipt along if `own` is none.
Result<Receipt> Batcher::result_of(PendingSave& save, std::optional<Receipt>& own) noexcept {
    Result<Receipt>& result = *save.attempt.result;
    if (!result) return std::unexpected(copy_of(result.error()));
    if (!own) return std::move(*result);
    own->version = result->version;
    return std::move(*own);
}

// Afterwards, the save may be back in the queue.
void Batcher::wait_until_committed(const Save& save, Deadline deadline) {
    while (save->stage_ == Stage::kCommitting && wait_for_news(save, deadline)) {
    }
}

// Returns false when the deadline has passed.
bool Batcher::wait_for_news(const Save& save, Deadline deadline) {
    const Sleeper self(sleepers_, *save);
    ++save->waiters_;
    const bool is_in_time = save->settled_.wait_until(mutex_, deadline);
    --save->waiters_;
    return is_in_time;
}

// A caller that leaves before the save has ended gets "nothing was applied" only if nothing will be.
Result<Receipt> Batcher::leave(PendingSave& save) {
    if (save.stage_ == Stage::kCommitting) return unknown_at_deadline_error(save, "being committed at the deadline");
    if (--save.callers_ > 0) {
        pass_on();
        return unknown_at_deadline_error(save,
                                         "queued at the deadline and stays so, because an equal save relies on it");
    }
    queue_.remove(save);
    save.ended_early_ = true;
    save.attempt.result = too_late_error(save);
    settle(save);
    save.settled_.notify_all();
    pass_on();
    return std::unexpected(copy_of(save.attempt.result->error()));
}

void Batcher::tell(Save save, SaveCompletion done, std::optional<Receipt> own) {
    PendingSave::Listener listener{.done = std::move(done), .own = std::move(own)};
    if (!listen(save, listener)) cairn::tell<Receipt>(listener.done, result_of(*save, listener.own));
}

// Returns false if the save has ended.
bool Batcher::listen(Save& save, PendingSave::Listener& listener) {
    const MutexLock lock(mutex_);
    while (save->replaced_by_ != nullptr) save = save->replaced_by_;
    if (save->stage_ == Stage::kSettled) return false;
    try {
        save->listeners_.push_back(std::move(listener));
        return true;
    } catch (const std::bad_alloc&) {
        // There is no memory to keep the completion: the caller waits for the save.
        wait_until_settled(save, Deadline::max());
        return false;
    }
}

Save Batcher::newest(const std::string& run_id) const {
    const MutexLock lock(mutex_);
    return queue_.newest(run_id);
}

void Batcher::release(const std::string& run_id) {
    const MutexLock lock(mutex_);
    queue_.release(run_id);
    pass_on();
}

// Follows a save that is replaced. Leads when no other thread does.
bool Batcher::wait_until_settled(Save& save, Deadline deadline) {
    while (true) {
        while (save->replaced_by_ != nullptr) save = save->replaced_by_;
        if (save->stage_ == Stage::kSettled) return true;
        if (should_lead_for(*save, deadline) && std::chrono::steady_clock::now() < deadline) {
            lead_patiently(deadline);
            continue;
        }
        const bool is_in_time = wait_for_news(save, deadline);
        if (!is_in_time && save->stage_ != Stage::kSettled && !save->replaced_by_) return false;
    }
}

Status Batcher::drain(const std::string& run_id, Deadline deadline) {
    const MutexLock lock(mutex_);
    return drain_run(run_id, deadline);
}

Status Batcher::drain_run(const std::string& run_id, Deadline deadline) {
    queue_.release(run_id);
    Save save = queue_.newest(run_id);
    return save ? drain_newest({std::move(save)}, deadline) : Status();
}

Status Batcher::drain_thread(std::string_view thread_id, Deadline deadline) {
    const MutexLock lock(mutex_);
    std::vector<Save> newest =
        queue_.newest_of([&](const PendingSave& save) { return save.job.request.thread_id == thread_id; });
    for (const Save& save : newest) queue_.release(save->job.request.run_id);
    pass_on();
    return drain_newest(std::move(newest), deadline);
}

Status Batcher::drain_all(Deadline deadline) {
    queue_.release_all();
    pass_on();
    return drain_newest(queue_.newest_of([](const PendingSave&) { return true; }), deadline);
}

Status Batcher::drain_newest(std::vector<Save> newest, Deadline deadline) {
    for (std::size_t i = 0; i < newest.size(); ++i) {
        Save& save = newest[i];
        while (save != nullptr && wait_until_settled(save, deadline)) {
            if (!save->ended_early_) {
                save = nullptr;
                break;
            }
            const std::string& run_id = save->job.request.run_id;
            queue_.release(run_id);
            save = queue_.newest(run_id);
        }
        if (save == nullptr) continue;
        pass_on();
        return runs_still_queued_error(newest.size() - i);
    }
    return {};
}

Status Batcher::flush(const std::string& run_id, Deadline deadline) {
    const MutexLock lock(mutex_);
    LostSaves::Flush flush(lost_, run_id);
    if (Status status = drain_run(run_id, deadline); !status) return status;
    if (std::optional<Error> error = flush.take()) return std::unexpected(std::move(*error));
    return {};
}

Status Batcher::flush_all(Deadline deadline) {
    const MutexLock lock(mutex_);
    LostSaves::Flush flush(lost_, std::nullopt);
    if (Status status = drain_all(deadline); !status) return status;
    if (std::optional<Error> error = flush.take()) return std::unexpected(std::move(*error));
    return {};
}

void Batcher::refuse() {
    const MutexLock lock(mutex_);
    is_closing_ = true;
    for (Newcomer* one = newcomers_.front(); one != nullptr; one = newcomers_.behind(*one)) one->may_try.notify_one();
}

// Takes no memory: the threads must end in any case.
Status Batcher::close() {
    refuse();
    Status status = drain_for_good();
    std::vector<std::thread> ending;
    {
        const MutexLock lock(mutex_);
        if (!untold_.empty()) tell_batches(std::exchange(untold_, {}));
        while (telling_ > 0) told_.wait(mutex_);
        may_end_ = true;
        ending = std::move(committers_);
        work_.notify_all();
    }
    for (std::thread& committer : ending) committer.join();
    return status;
}

// This ends, because saves have deadlines.
Status Batcher::drain_for_good() {
    const MutexLock lock(mutex_);
    LostSaves::Flush flush(lost_, std::nullopt);
    queue_.release_all();
    pass_on();
    while (Save save = queue_.any()) wait_until_settled(save, Deadline::max());
    if (std::optional<Error> error = flush.take()) return std::unexpected(std::move(*error));
    return {};
}

Batcher::Figures Batcher::figures() const {
    const MutexLock lock(mutex_);
    return {.size = queue_.size(), .bytes = queue_.bytes()};
}

// Commits one batch. The lock is not held during the commit; neither the lock nor a lane is held while completions run.
void Batcher::lead(Deadline deadline) {
    std::list<Batch> own = make_batch();
    Batch& batch = own.front();
    queue_.take(batch);
    ++leading_;
    pass_on();
    mutex_.unlock();
    commit_(batch, deadline);
    mutex_.lock();
    settle(batch);
    --leading_;
    InLane* const lane = InLane::of_this_thread;
    const bool is_told_later = lane != nullptr && std::ranges::any_of(batch, has_something_to_tell);
    if (is_told_later) {
        for (const Save& save : batch) save->settled_.notify_all();
        untold_.splice(untold_.end(), own);
        lane->has_left_untold_ = true;
    }
    pass_on();
    if (!is_told_later) tell_batches(std::move(own));
}

// Returns one empty batch with all the memory that it may need: once saves are taken, nothing may fail.
std::list<Batcher::Batch> Batcher::make_batch() {
    std::list<Batch> own;
    if (spare_batches_.empty()) {
        own.emplace_back().reserve(batch_saves_max_);
    } else {
        own.splice(own.end(), spare_batches_, spare_batches_.begin());
    }
    return own;
}

// A caller must not get an error while its save stays queued. So if there is no memory for a batch, this pauses.
void Batcher::lead_patiently(Deadline deadline) {
    try {
        lead(deadline);
    } catch (const std::bad_alloc&) {
        // No save has been taken out of the queue.
        mutex_.unlock();
        std::this_thread::sleep_for(kMemoryPause);
        mutex_.lock();
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
void Batcher::tell_batches(std::list<Batch> batches) {
    ++telling_;
    mutex_.unlock();
    for (Batch& batch : batches) {
        for (const Save& save : batch) save->settled_.notify_all();  // the waiters need the lock
        tell(batch);
        batch.clear();
    }
    mutex_.lock();
    if (--telling_ == 0) told_.notify_all();
    spare_batches_.splice(spare_batches_.end(), batches);
}

void Batcher::tell(const Batch& batch) noexcept {
    if (tell_later(batch)) return;
    Telling self{.batcher = this, .outer = Telling::innermost};
    Telling::innermost = &self;
    tell_each(batch);
    while (!self.later.empty()) tell_each(std::exchange(self.later, {}));
    Telling::innermost = self.outer;
}

// Returns false if this thread is not calling completions, or if there is no memory to keep these.
bool Batcher::tell_later(const Batch& batch) noexcept {
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

void Batcher::tell_each(const Batch& batch) noexcept {
    for (const Save& save : batch) {
        if (save->is_acknowledged_ && !*save->attempt.result) report_lost(*save);
        for (PendingSave::Listener& one : save->listeners_) cairn::tell<Receipt>(one.done, result_of(*save, one.own));
        save->listeners_.clear();
    }
}

// Notifies those who can go on now: a thread that leads the next commit, and the first caller that finds a place. A
// caller that stops waiting calls it too, since it may have been the one that was notified.
void Batcher::pass_on() {
    if (can_lead()) pass_on_the_lead();
    wake_newcomer();
}

void Batcher::wake_newcomer() {
    if (Newcomer* const newcomer = first_with_room()) newcomer->may_try.notify_one();
}

// Notifies a waiter of the next batch to lead it, or a background thread if it has no waiter. If no such thread is
// free, any other caller leads: the threads that there are may be calling completions that wait for this very caller.
void Batcher::pass_on_the_lead() {
    if (!untold_.empty()) wake_committer();
    if (!queue_.is_ready()) return;
    PendingSave& next = queue_.next();
    if (next.waiters_ > 0) return next.settled_.notify_all();
    if (wake_committer() && idle_committers_ > 0) return;
    // A sleeper whose save has ended only returns.
    Sleeper* sleeper = sleepers_.front();
    while (sleeper != nullptr &&
           (sleeper->save.stage_ == Stage::kSettled || (leading_ > 0 && queue_.is_in_commit(sleeper->save))))
        sleeper = sleepers_.behind(*sleeper);
    if (sleeper != nullptr) return sleeper->save.settled_.notify_all();
    if (Newcomer* const newcomer = newcomers_.front()) newcomer->may_try.notify_one();
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
    const MutexLock lock(mutex_);
    for (;; ++idle_committers_) {  // it is idle from its start
        while (!may_end_ && untold_.empty() && !(can_lead() && queue_.is_ready())) work_.wait(mutex_);
        --idle_committers_;
        if (!untold_.empty()) {
            std::list<Batch> batches = std::exchange(untold_, {});
            pass_on();  // this thread may have been notified for the sake of the next commit
            tell_batches(std::move(batches));
        } else if (may_end_) {
            return;
        } else {
            lead_patiently(Deadline::max());
        }
    }
}

}  // namespace cairn
