#pragma once

// The engine's log records, on their way to Python's `logging`.

#include "base/mutex.h"
#include "base/thread_annotations.h"

#include <cairn/runtime.h>

#include <pybind11/pybind11.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace cairn::python {

/// Records wait here for a thread of Python, so that the engine's threads never wait for the GIL. At the limit the
/// newest record is dropped and counted.
/// Threads: safe to call concurrently.
class LogQueue {
public:
    /// Returns the queue of this process; a forked child has its own.
    static std::shared_ptr<LogQueue> of_this_process();

    void push(const LogRecord& record);
    /// Waits for records and returns them, each as (level, event, message, fields). Returns None when the queue is
    /// closed and empty. The GIL must be held, and is released meanwhile.
    pybind11::object take();
    /// Waits until the reader has finished with all records that were pushed before.
    void settle();
    void close();

private:
    struct Entry {
        LogLevel level;
        std::string event;
        std::string message;
        std::vector<std::pair<std::string, std::string>> fields;
    };
    static pybind11::tuple to_python(const Entry& entry);

    static constexpr std::size_t kEntriesMax = 10'000;
    Mutex mutex_;
    ConditionVariable woken_;
    std::deque<Entry> entries_ CAIRN_GUARDED_BY(mutex_);
    std::uint64_t dropped_ CAIRN_GUARDED_BY(mutex_) = 0;
    bool is_awaited_ CAIRN_GUARDED_BY(mutex_) = false;  // the reader waits for more
    bool is_closed_ CAIRN_GUARDED_BY(mutex_) = false;
};

/// A runtime whose log goes to this process's queue.
Runtime logging_runtime();

void bind_log(pybind11::module_& module);

}  // namespace cairn::python
