#pragma once

// The saves that wait to be committed, and the choice of the next batch.

#include "persistence/save/pending_save.h"

#include <cairn/persistence.h>

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace cairn {

/// Saves by run. The saves of one run are committed in the order in which they came. Runs take turns, so that a busy
/// one does not keep the others waiting. A save that goes alone has precedence, with the saves of its run before it,
/// but two such saves do not follow each other while others wait. Several batches may be in flight at a time: the next
/// saves of a run wait until those before them have ended. Threads: one at a time (the batcher's mutex).
class SaveQueue {
public:
    SaveQueue(const BatchLimits& batch_limits, const QueueLimits& limits)
        : batch_limits_(batch_limits), limits_(limits) {}

    /// Adds a save behind all saves of its run. Releases those before it, unless it is held itself. If memory runs out,
    /// nothing has changed. No other member takes memory.
    void push(const Save& save);
    /// Puts `newer` in the place of `older`, the newest of its run, and releases it unless it is held itself. Returns
    /// false, and does nothing, if the commit of `older` has begun, if others rely on it, or if `newer` is larger and
    /// there is no room for the difference.
    bool replace(const Save& older, const Save& newer);
    /// Takes a save out. It must be released, and not in a commit.
    void remove(PendingSave& save);

    /// Releases the held saves of one run, or of all.
    void release(const std::string& run_id);
    void release_all();

    /// Says whether a save is in a commit, or waits for one of its run that is.
    bool is_in_commit(const PendingSave& save) const;

    /// Says whether there is a save to commit.
    bool is_ready() const { return !urgent_.empty() || !ready_.empty(); }
    /// Returns the first save of the next batch. There must be one.
    PendingSave& next() const { return *(urgent_.empty() ? ready_ : urgent_).front()->waiting.front(); }
    /// Takes the next batch. The saves of a run stand together, in their order.
    void take(std::vector<Save>& batch);
    /// Ends a batch that was taken: forgets the saves that have a result, and puts the others back to their places.
    void end(const std::vector<Save>& batch);

    /// Returns the newest save of the run, waiting or in a commit; null if there is none.
    Save newest(const std::string& run_id) const;
    /// Returns the newest save of each run, if `wanted` accepts it.
    template <class Wanted>
    std::vector<Save> newest_of(const Wanted& wanted) const {
        std::vector<Save> saves;
        for (const auto& [run_id, run] : runs_) {
            if (wanted(*run.newest())) saves.push_back(run.newest());
        }
        return saves;
    }

    /// Says whether a save may come in. One run gets no more than half of the places, so that others find one.
    bool has_room(const PendingSave& save) const;
    std::size_t size() const { return size_; }
    std::uint64_t bytes() const { return bytes_; }

private:
    struct Run {
        std::list<Save> waiting;
        std::list<Save>::iterator first_held = waiting.end();  // the saves before it may be committed
        std::size_t alone = 0;                                 // the number of waiting saves that go alone
        std::uint64_t bytes = 0;                               // of all waiting saves
        std::list<Save> taken;                                 // the saves in a commit
        std::list<Run*> unlisted = {this};                     // the run itself, unless it is in a list of the queue
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
    std::map<std::string, Run> runs_;  // the runs that have saves
    std::list<Run*> ready_;            // runs with released saves; the next one in front
    std::list<Run*> urgent_;           // those of them with a save that goes alone
    bool took_alone_ = false;          // the last batch was a save that goes alone
    std::size_t held_ = 0;             // the number of saves that are not released
    std::uint64_t frame_bytes_ = 0;    // of the batch that is being taken
    std::size_t size_ = 0;             // like `bytes_`, this counts the saves in a commit too
    std::uint64_t bytes_ = 0;
};

}  // namespace cairn
