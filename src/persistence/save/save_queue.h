#pragma once

// Which saves wait to be committed, and which of them go next.

#include "persistence/save/pending_save.h"

#include <cairn/persistence.h>

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace cairn {

using Save = std::shared_ptr<PendingSave>;

/// Saves by run. Those of one run are committed in the order in which they came; runs take turns, so that a busy one
/// does not keep the others waiting. A save that goes alone has precedence, with those of its run before it, but two
/// of them do not follow each other while others wait. Several batches may be under way at a time: the next saves of a
/// run wait until those before them have ended. Threads: one at a time (the batcher's mutex).
class SaveQueue {
public:
    SaveQueue(const BatchLimits& batch_limits, const QueueLimits& limits)
        : batch_limits_(batch_limits), limits_(limits) {}

    /// Behind all saves of its run; releases those before it unless it is held itself. If memory runs out nothing has
    /// changed; nothing below takes any.
    void push(const Save& save);
    /// Puts `newer` in the place of `older`, the newest of its run, and releases it unless it is held itself; not if
    /// `older` is being committed already or others rely on it, or if there is no room for what `newer` is larger.
    bool replace(const Save& older, const Save& newer);
    /// Takes a save out that was released and is not being committed.
    void remove(PendingSave& save);

    /// Lets what is held go, of one run or of all.
    void release(const std::string& run_id);
    void release_all();

    /// Whether a save is being committed, or waits for one of its run that is.
    bool is_in_commit(const PendingSave& save) const;

    /// Whether there is something to commit.
    bool is_ready() const { return !urgent_.empty() || !ready_.empty(); }
    /// The first save of the next batch; only if there is one.
    PendingSave& next() const { return *(urgent_.empty() ? ready_ : urgent_).front()->waiting.front(); }
    /// The next batch, in the order of its runs' saves.
    void take(std::vector<Save>& batch);
    /// Ends a batch that was taken: forgets the saves that have a result, and puts the others back to their places.
    void end(const std::vector<Save>& batch);

    /// The newest save of the run, waiting or being committed; null if there is none.
    Save newest(const std::string& run_id) const;
    /// The newest save of every run that `wanted` wants.
    template <class Wanted>
    std::vector<Save> newest_of(const Wanted& wanted) const {
        std::vector<Save> saves;
        for (const auto& [run_id, run] : runs_) {
            if (wanted(*run.newest())) saves.push_back(run.newest());
        }
        return saves;
    }

    /// Whether a save may come in. One run gets no more than half of the places, so that others find one.
    bool has_room(const PendingSave& save) const;
    std::size_t size() const { return size_; }
    std::uint64_t bytes() const { return bytes_; }

private:
    struct Run {
        std::list<Save> waiting;
        std::list<Save>::iterator first_held = waiting.end();  // those before it may be committed
        std::size_t alone = 0;                                 // so many of them go alone
        std::uint64_t bytes = 0;                               // of them all
        std::list<Save> taken;                                 // those being committed
        std::list<Run*> unlisted = {this};                     // itself, unless it is in one of the queue's lists
        std::list<Run*>* list = &unlisted;
        std::list<Run*>::iterator place = unlisted.begin();

        Run() = default;
        ~Run() = default;
        Run(const Run&) = delete;
        Run& operator=(const Run&) = delete;

        bool has_released() const { return !waiting.empty() && first_held != waiting.begin(); }
        bool is_ready() const { return taken.empty() && has_released(); }
        bool is_empty() const { return waiting.empty() && taken.empty(); }
        const Save& newest() const { return waiting.empty() ? taken.back() : waiting.back(); }
    };

    void release(Run& run);
    void list_anew(Run& run);
    void take_one(Run& run, std::vector<Save>& batch);
    void take_urgent(std::vector<Save>& batch);
    void take_in_turn(std::vector<Save>& batch);
    bool fits(const PendingSave& save, const std::vector<Save>& batch) const;
    void put_back(Run& run);
    void forget(const PendingSave& save);

    const BatchLimits batch_limits_;
    const QueueLimits limits_;
    std::map<std::string, Run> runs_;  // those with saves
    std::list<Run*> ready_;            // with released saves; whose turn it is in front
    std::list<Run*> urgent_;           // so, with one among them that goes alone
    bool took_alone_ = false;          // the last batch was a save that goes alone
    std::size_t held_ = 0;             // saves that are not released, of all runs
    std::uint64_t frame_bytes_ = 0;    // of the batch that is being put together
    std::size_t size_ = 0;             // with those being committed; so `bytes_`
    std::uint64_t bytes_ = 0;
};

}  // namespace cairn
