#include "persistence/save/save_queue.h"

#include "persistence/save/landing.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace cairn {

void SaveQueue::push(const Save& save) {
    std::list<Save> entry = {save};
    Run& run = runs_[save->job.request.run_id];
    const bool is_first_held = run.first_held == run.waiting.end();
    run.waiting.splice(run.waiting.end(), entry);
    if (is_first_held) run.first_held = std::prev(run.waiting.end());
    run.alone += save->attempt.is_alone ? 1U : 0U;
    run.bytes += save->job.bytes;
    ++held_;
    ++size_;
    bytes_ += save->job.bytes;
    if (!save->job.is_held) release(run);
}

bool SaveQueue::replace(const Save& older, const Save& newer) {
    if (older->stage_ != PendingSave::Stage::kQueued || older->is_shared_ || older->attempt.was_tried) return false;
    Run& run = runs_.at(older->job.request.run_id);
    if (run.waiting.back() != older) return false;
    if (newer->job.bytes > older->job.bytes && bytes_ + newer->job.bytes - older->job.bytes > limits_.bytes_max)
        return false;
    newer->released_at_ = older->released_at_;
    newer->attempt.deadline = std::max(newer->attempt.deadline, older->attempt.deadline);
    newer->attempt.follows = older->attempt.follows;
    newer->attempt.dropped_before = older->attempt.dropped_before;
    run.bytes += newer->job.bytes - older->job.bytes;
    bytes_ += newer->job.bytes - older->job.bytes;
    run.waiting.back() = newer;
    older->replaced_by_ = newer;
    if (!newer->job.is_held) release(run);
    return true;
}

void SaveQueue::remove(PendingSave& save) {
    const auto found = runs_.find(save.job.request.run_id);
    Run& run = found->second;
    const auto place = std::ranges::find(run.waiting, &save, [](const Save& one) { return one.get(); });
    run.alone -= save.attempt.is_alone ? 1U : 0U;
    run.bytes -= save.job.bytes;
    save.attempt.landing->has_left_queue = true;
    if (std::next(place) != run.waiting.end()) hand_over(save, **std::next(place));
    forget(save);
    run.waiting.erase(place);
    list_anew(run);
    if (run.is_empty()) runs_.erase(found);
}

void SaveQueue::release(const std::string& run_id) {
    if (const auto found = runs_.find(run_id); found != runs_.end()) release(found->second);
}

void SaveQueue::release_all() {
    if (held_ == 0) return;  // there may be many runs
    for (auto& [run_id, run] : runs_) release(run);
}

void SaveQueue::release(Run& run) {
    for (; run.first_held != run.waiting.end(); ++run.first_held, --held_) {
        PendingSave& save = **run.first_held;
        save.released_at_ = PendingSave::Clock::now();
        if (!save.job.is_held) continue;
        save.attempt.deadline = std::max(save.attempt.deadline, save.released_at_ + save.job.patience);
    }
    const bool keeps_its_turn = run.list == (run.alone > 0 ? &urgent_ : &ready_);
    if (!keeps_its_turn) list_anew(run);
}

// Moves the run to the end of the list that it belongs to now.
void SaveQueue::list_anew(Run& run) {
    std::list<Run*>* list = &run.unlisted;
    if (run.is_ready()) list = run.alone > 0 ? &urgent_ : &ready_;
    list->splice(list->end(), *run.list, run.place);
    run.list = list;
}

void SaveQueue::take(std::vector<Save>& batch) {
    frame_bytes_ = 0;
    const bool lets_others_go = took_alone_ && !ready_.empty();
    took_alone_ = false;
    if (!urgent_.empty() && !lets_others_go) take_urgent(batch);
    if (!took_alone_) take_in_turn(batch);
}

// Takes the save that goes alone, or first the saves of its run before it.
void SaveQueue::take_urgent(std::vector<Save>& batch) {
    Run& run = *urgent_.front();
    took_alone_ = run.waiting.front()->attempt.is_alone;
    do {
        take_one(run, batch);
    } while (!took_alone_ && !run.waiting.front()->attempt.is_alone && fits(*run.waiting.front(), batch));
    list_anew(run);
}

void SaveQueue::take_in_turn(std::vector<Save>& batch) {
    for (std::size_t runs = ready_.size(); runs > 0; --runs) {
        Run& run = *ready_.front();
        if (!fits(*run.waiting.front(), batch)) return;  // it stays in front
        std::size_t taken = 0;
        do {
            take_one(run, batch);
        } while (++taken < batch_limits_.run_saves_max && run.has_released() && fits(*run.waiting.front(), batch));
        list_anew(run);
    }
}

bool SaveQueue::fits(const PendingSave& save, const std::vector<Save>& batch) const {
    if (batch.empty()) return true;
    return batch.size() < batch_limits_.saves_max &&
           frame_bytes_ + save.attempt.write.write.snapshot.frame.size() <= batch_limits_.bytes_max;
}

void SaveQueue::take_one(Run& run, std::vector<Save>& batch) {
    const Save& save = batch.emplace_back(run.waiting.front());
    run.taken.splice(run.taken.end(), run.waiting, run.waiting.begin());
    run.alone -= save->attempt.is_alone ? 1U : 0U;
    run.bytes -= save->job.bytes;
    frame_bytes_ += save->attempt.write.write.snapshot.frame.size();
    save->stage_ = PendingSave::Stage::kCommitting;
    // A caller that was told that it is queued has its id.
    if (save->is_acknowledged_ || save->is_shared_) save->attempt.write.skip = SkipRule::kNever;
}

void SaveQueue::end(const std::vector<Save>& batch) {
    for (const Save& save : batch) {
        const auto found = runs_.find(save->job.request.run_id);
        if (found == runs_.end() || found->second.taken.empty())
            continue;  // already done with an earlier save of the run
        Run& run = found->second;
        bool is_any_open = false;
        std::erase_if(run.taken, [&](const Save& taken) {
            is_any_open = is_any_open || !taken->attempt.result;
            if (!taken->attempt.result) return false;
            taken->ended_early_ = is_any_open;
            forget(*taken);
            return true;
        });
        put_back(run);
        run.is_empty() ? static_cast<void>(runs_.erase(found)) : list_anew(run);
    }
}

// Puts the saves that were taken in front of those that came meanwhile.
void SaveQueue::put_back(Run& run) {
    for (const Save& save : run.taken) {
        save->stage_ = PendingSave::Stage::kQueued;
        save->attempt.was_tried = true;
        run.alone += save->attempt.is_alone ? 1U : 0U;
        run.bytes += save->job.bytes;
    }
    run.waiting.splice(run.waiting.begin(), run.taken);
}

void SaveQueue::forget(const PendingSave& save) {
    --size_;
    bytes_ -= save.job.bytes;
}

bool SaveQueue::is_in_commit(const PendingSave& save) const {
    if (save.stage_ == PendingSave::Stage::kCommitting) return true;
    const auto found = runs_.find(save.job.request.run_id);
    return found != runs_.end() && !found->second.taken.empty();
}

Save SaveQueue::newest(const std::string& run_id) const {
    const auto found = runs_.find(run_id);
    return found == runs_.end() ? nullptr : found->second.newest();
}

bool SaveQueue::has_room(const PendingSave& save) const {
    if (size_ == 0) return true;
    if (size_ >= limits_.saves_max || bytes_ + save.job.bytes > limits_.bytes_max) return false;
    const auto found = runs_.find(save.job.request.run_id);
    if (found == runs_.end() || found->second.waiting.empty()) return true;
    const Run& run = found->second;
    const bool is_released = run.has_released();
    const auto age = PendingSave::Clock::now() - run.waiting.front()->released_at_;
    const bool is_old = is_released && age >= limits_.age_max;
    return !is_old && run.waiting.size() < (limits_.saves_max + 1) / 2 && run.bytes <= limits_.bytes_max / 2;
}

}  // namespace cairn
