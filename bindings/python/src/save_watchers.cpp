#include "save_watchers.h"

#include "calls.h"
#include "errors.h"
#include "store_handle.h"
#include "values.h"

#include <utility>

namespace cairn::python {

namespace py = pybind11;

void SaveWatcher::push(const SaveEvent& event, std::uint64_t sequence) {
    Tell waiting;
    {
        const MutexLock lock(mutex_);
        if (has_ended_) return;
        if (entries_.size() == queue_size_) {
            entries_.pop_front();
            ++dropped_;
        }
        entries_.push_back({sequence, event});
        waiting = std::exchange(waiting_, nullptr);
    }
    if (waiting) waiting(Status());
}

void SaveWatcher::end() {
    Tell waiting;
    {
        const MutexLock lock(mutex_);
        has_ended_ = true;
        waiting = std::exchange(waiting_, nullptr);
    }
    if (waiting) waiting(Status());
}

void SaveWatcher::wait(const Tell& tell) {
    Tell before;
    bool is_ready = false;
    {
        const MutexLock lock(mutex_);
        is_ready = has_ended_ || !entries_.empty();
        before = std::exchange(waiting_, is_ready ? nullptr : tell);
    }
    if (before) before(Status());
    if (is_ready) tell(Status());
}

bool SaveWatcher::pop(Entry& into, std::uint64_t& dropped, bool& has_ended) {
    const MutexLock lock(mutex_);
    has_ended = has_ended_;
    if (entries_.empty()) return false;
    into = std::move(entries_.front());
    entries_.pop_front();
    dropped = std::exchange(dropped_, 0);
    return true;
}

py::tuple SaveWatcher::take() {
    if (process_ != ::getpid()) raise(made_before_fork_error("the watcher", process_));
    Entry entry;
    std::uint64_t dropped = 0;
    bool has_ended = false;
    if (!pop(entry, dropped, has_ended)) return py::make_tuple(py::none(), has_ended);
    return py::make_tuple(tuple_of(entry.event) + py::make_tuple(entry.sequence, dropped), false);
}

std::shared_ptr<SaveWatcher> SaveWatchers::add(std::size_t queue_size) {
    if (process_ != ::getpid()) raise(made_before_fork_error("the store", process_));
    auto watcher = std::make_shared<SaveWatcher>(queue_size);
    const MutexLock lock(mutex_);
    watchers_.emplace_back(watcher);
    return watcher;
}

// In a forked child the lock may be held by a thread that is not there.
void SaveWatchers::tell(const SaveEvent& event) {
    if (process_ != ::getpid()) return;
    const MutexLock lock(mutex_);
    const auto watchers = held();
    if (watchers.empty()) return;
    ++sequence_;
    for (const auto& watcher : watchers) watcher->push(event, sequence_);
}

void SaveWatchers::end() {
    if (process_ != ::getpid()) return;
    const MutexLock lock(mutex_);
    for (const auto& watcher : held()) watcher->end();
    watchers_.clear();
}

std::size_t SaveWatchers::count() {
    const MutexLock lock(mutex_);
    return held().size();
}

std::vector<std::shared_ptr<SaveWatcher>> SaveWatchers::held() {
    std::erase_if(watchers_, [](const std::weak_ptr<SaveWatcher>& watcher) { return watcher.expired(); });
    std::vector<std::shared_ptr<SaveWatcher>> watchers;
    for (const auto& watcher : watchers_) {
        if (auto alive = watcher.lock()) watchers.push_back(std::move(alive));
    }
    return watchers;
}

void bind_save_watchers(py::module_& module) {
    py::class_<SaveWatcher, std::shared_ptr<SaveWatcher>>(module, "SaveWatcher")
        .def("take", &SaveWatcher::take)
        .def("end", &SaveWatcher::end)
        .def("wait", [](const std::shared_ptr<SaveWatcher>& watcher) {
            return Call(nullptr, [watcher](const Tell& tell) {
                watcher->wait(tell);
                return CallExecutor::Submitted();
            });
        });
}

}  // namespace cairn::python
