#pragma once

// The watchers of what is saved through one store: the engine's observer tells them, and event loops take the events.

#include "ended.h"

#include "base/mutex.h"
#include "base/thread_annotations.h"

#include <cairn/persistence.h>

#include <pybind11/pybind11.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

namespace cairn::python {

/// One watcher. At the limit of its queue the oldest event is dropped, and counted.
/// Threads: `push` and `end` from any, without the GIL; the rest with it.
class SaveWatcher {
public:
    explicit SaveWatcher(std::size_t queue_size) : queue_size_(queue_size) {}

    void push(const SaveEvent& event, std::uint64_t sequence);
    void end();

    /// The oldest event and what was dropped before it, or None; and whether there will be no more.
    pybind11::tuple take();
    /// Tells once, when there is something to take or the watcher has ended. Whoever waited before is told at once.
    void wait(const Tell& tell);

private:
    struct Entry {
        std::uint64_t sequence;
        SaveEvent event;
    };
    bool pop(Entry& into, std::uint64_t& dropped, bool& has_ended);

    const std::size_t queue_size_;
    const pid_t process_ = ::getpid();
    Mutex mutex_;
    std::deque<Entry> entries_ CAIRN_GUARDED_BY(mutex_);
    std::uint64_t dropped_ CAIRN_GUARDED_BY(mutex_) = 0;
    bool has_ended_ CAIRN_GUARDED_BY(mutex_) = false;
    Tell waiting_ CAIRN_GUARDED_BY(mutex_);  // null: nobody waits
};

/// All watchers of a store. A watcher that nobody holds any more is forgotten. Threads: safe to use concurrently.
class SaveWatchers {
public:
    std::shared_ptr<SaveWatcher> add(std::size_t queue_size);
    void tell(const SaveEvent& event);
    void end();
    std::size_t count();

private:
    std::vector<std::shared_ptr<SaveWatcher>> held() CAIRN_REQUIRES(mutex_);

    const pid_t process_ = ::getpid();
    Mutex mutex_;
    std::vector<std::weak_ptr<SaveWatcher>> watchers_ CAIRN_GUARDED_BY(mutex_);
    std::uint64_t sequence_ CAIRN_GUARDED_BY(mutex_) = 0;
};

void bind_save_watchers(pybind11::module_& module);

}  // namespace cairn::python
