#include "execution.h"

#include "errors.h"
#include "log_queue.h"

#include <pybind11/stl.h>

#include <utility>

namespace cairn::python {

namespace py = pybind11;

namespace {

std::chrono::microseconds since(std::chrono::steady_clock::time_point begin) {
    return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin);
}

}  // namespace

Execution::Execution(std::string run_id, std::string thread_id, std::string user_id)
    : run_id_(std::move(run_id)),
      thread_id_(std::move(thread_id)),
      user_id_(std::move(user_id)),
      events_(
          [this](const PipelineEvent& event) {
              std::string text = to_json(event);
              const MutexLock lock(mutex_);
              told_.push_back(std::move(text));
          },
          {}, {.run_id = run_id_, .thread_id = thread_id_, .user_id = user_id_}) {}

// A lease that is still held is given up elsewhere: that takes as long as the store takes.
Execution::~Execution() {
    if (!lease_ || process_ != ::getpid()) return;
    try {
        executor_->submit(run_id_, [left = std::make_shared<RunLease>(std::move(*lease_))]() mutable { left.reset(); });
    } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): without memory it is given up here
    }
}

Call Execution::acquire(const StoreHandle& handle, std::int64_t timeout_ms) {
    const LeaseOptions options{.timeout = Milliseconds(timeout_ms),
                               .thread_id = thread_id_,
                               .user_id = user_id_,
                               .runtime = logging_runtime()};
    executor_ = handle.executor();
    return {executor_, [self = shared_from_this(), store = value_of(handle.store()), options](const Tell& tell) {
                const Deadline deadline = std::chrono::steady_clock::now() + options.timeout;
                const auto acquire = [self, store, deadline, options]() -> Status {
                    Result<RunLease> lease = RunLease::acquire(store, self->run_id_, deadline, options);
                    if (!lease) return std::unexpected(std::move(lease.error()));
                    const MutexLock lock(self->mutex_);
                    self->lease_ = std::move(*lease);
                    return {};
                };
                return self->executor_->call(self->run_id_, deadline, acquire, told<void>(tell));
            }};
}

Call Execution::release(std::int64_t timeout_ms) {
    return {executor_, [self = shared_from_this(), timeout = Milliseconds(timeout_ms)](const Tell& tell) {
                if (!self->lease()) {
                    tell(Status());
                    return CallExecutor::Submitted();
                }
                const auto release = [self, timeout]() -> Status {
                    std::optional<RunLease> lease = self->taken_lease();
                    return lease ? lease->release(std::chrono::steady_clock::now() + timeout) : Status();
                };
                return self->executor_->call(self->run_id_, Deadline::max(), release, told<void>(tell));
            }};
}

std::optional<RunLease> Execution::taken_lease() {
    const MutexLock lock(mutex_);
    return std::exchange(lease_, std::nullopt);
}

std::optional<Lease> Execution::lease() const {
    const MutexLock lock(mutex_);
    if (!lease_) return std::nullopt;
    return lease_->lease();
}

void Execution::tell_started() {
    events_.tell(PipelineEvent::Type::kStarted, [](PipelineEvent&) {});
}

void Execution::tell_saved(const SaveEvent& save) {
    {
        const MutexLock lock(mutex_);
        ++saves_;
    }
    events_.tell_saved(save);
}

void Execution::tell_completed(const std::string& status, const std::string& error) {
    events_.tell(PipelineEvent::Type::kCompleted, [&](PipelineEvent& event) {
        event.status = status;
        event.duration = since(made_at_);
        if (!error.empty()) event.error = Error{.code = ErrorCode::kAgentFailed, .message = error};
    });
}

void Execution::tell_unsaved(const std::string& checkpoint_type, const std::string& error) {
    tell_saved({.run_id = run_id_,
                .checkpoint_type = CheckpointType(checkpoint_type),
                .error = Error{.code = ErrorCode::kInvalidState, .message = error}});
}

std::uint64_t Execution::saves() const {
    const MutexLock lock(mutex_);
    return saves_;
}

py::list Execution::take() {
    std::vector<std::string> told;
    {
        const MutexLock lock(mutex_);
        told.swap(told_);
    }
    py::list texts;
    for (const std::string& text : told) texts.append(readable(text));
    return texts;
}

void bind_execution(py::module_& module) {
    py::class_<Execution, std::shared_ptr<Execution>>(module, "Execution")
        .def(py::init<std::string, std::string, std::string>(), py::arg("run_id"), py::arg("thread_id"),
             py::arg("user_id"))
        .def("acquire", &Execution::acquire, py::arg("store"), py::arg("timeout_ms"))
        .def("release", &Execution::release, py::arg("timeout_ms"))
        .def("tell_started", &Execution::tell_started)
        .def("tell_completed", &Execution::tell_completed, py::arg("status"), py::arg("error"))
        .def("tell_unsaved", &Execution::tell_unsaved, py::arg("checkpoint_type"), py::arg("error"))
        .def("saves", &Execution::saves)
        .def("take", &Execution::take);
}

}  // namespace cairn::python
