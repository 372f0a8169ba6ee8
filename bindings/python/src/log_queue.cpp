#include "log_queue.h"

#include "errors.h"

#include "base/per_process.h"

#include <fmt/format.h>

namespace cairn::python {

namespace py = pybind11;

std::shared_ptr<LogQueue> LogQueue::of_this_process() {
    struct Shared {
        std::shared_ptr<LogQueue> queue = std::make_shared<LogQueue>();
    };
    return cairn::of_this_process<Shared>().queue;
}

void LogQueue::push(const LogRecord& record) {
    Entry entry{.level = record.level, .event = std::string(record.event), .message = record.message, .fields = {}};
    for (const auto& [name, value] : record.fields) entry.fields.emplace_back(name, value);
    const MutexLock lock(mutex_);
    if (entries_.size() == kEntriesMax) {
        ++dropped_;
        return;
    }
    entries_.push_back(std::move(entry));
    woken_.notify_all();
}

py::tuple LogQueue::to_python(const Entry& entry) {
    const py::dict fields;
    for (const auto& [name, value] : entry.fields) fields[py::str(name)] = readable(value);
    return py::make_tuple(to_string(entry.level), entry.event, readable(entry.message), fields);
}

py::object LogQueue::take() {
    std::deque<Entry> entries;
    {
        const py::gil_scoped_release unlocked;
        const MutexLock lock(mutex_);
        is_awaited_ = true;
        woken_.notify_all();
        while (!is_closed_ && entries_.empty()) woken_.wait(mutex_);
        is_awaited_ = false;
        entries.swap(entries_);
        if (const std::uint64_t dropped = std::exchange(dropped_, 0); dropped > 0) {
            entries.push_back({.level = LogLevel::kWarning,
                               .event = "log_overflow",
                               .message = fmt::format("{} log records were dropped: they came too fast", dropped),
                               .fields = {}});
        }
    }
    if (entries.empty()) return py::none();
    py::list records;
    for (const Entry& entry : entries) records.append(to_python(entry));
    return records;
}

void LogQueue::settle() {
    const py::gil_scoped_release unlocked;
    const MutexLock lock(mutex_);
    while (!is_closed_ && !(is_awaited_ && entries_.empty())) woken_.wait(mutex_);
}

void LogQueue::close() {
    const MutexLock lock(mutex_);
    is_closed_ = true;
    woken_.notify_all();
}

Runtime logging_runtime() {
    Runtime runtime;
    runtime.log = [queue = LogQueue::of_this_process()](const LogRecord& record) { queue->push(record); };
    return runtime;
}

void bind_log(py::module_& module) {
    py::class_<LogQueue, std::shared_ptr<LogQueue>>(module, "LogQueue")
        .def_static("of_this_process", &LogQueue::of_this_process)
        .def("take", &LogQueue::take)
        .def("settle", &LogQueue::settle)
        .def("close", &LogQueue::close);
}

}  // namespace cairn::python
