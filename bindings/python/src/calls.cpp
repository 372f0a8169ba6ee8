#include "calls.h"

#include "interruptible.h"

#include <pybind11/stl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <exception>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace cairn::python {

namespace py = pybind11;

CompletionQueue::CompletionQueue() : descriptor_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (descriptor_ < 0) throw std::system_error(errno, std::generic_category(), "cannot make an event descriptor");
}

CompletionQueue::~CompletionQueue() {
    ::close(descriptor_);
}

void CompletionQueue::push(std::uint64_t key, Ended ended) {
    const MutexLock lock(mutex_);
    completions_.push_back({key, std::move(ended)});
    if (completions_.size() > 1) return;  // it is readable already
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(descriptor_, &one, sizeof one);
}

bool CompletionQueue::pop(Completion& into) {
    const MutexLock lock(mutex_);
    if (completions_.empty()) return false;
    into = std::move(completions_.front());
    completions_.pop_front();
    if (completions_.empty()) {
        std::uint64_t count = 0;
        // It never blocks. NOLINTNEXTLINE(clang-analyzer-unix.BlockInCriticalSection)
        [[maybe_unused]] const ssize_t read = ::read(descriptor_, &count, sizeof count);
    }
    return true;
}

namespace {

py::object exception_of(const std::exception& error) {
    return py::module_::import("builtins").attr("RuntimeError")(error.what());
}

// A waiting thread needs a result, even if the engine throws although it promises not to.
Ended ended_of(const Call::Make& make) {
    try {
        return make();
    } catch (const std::exception&) {
        return Status(std::unexpected(caught_error()));
    }
}

}  // namespace

py::list CompletionQueue::drain(std::size_t count, double seconds) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    py::list ended;
    Completion completion;
    while (ended.size() < count && pop(completion)) {
        try {
            ended.append(py::make_tuple(completion.key, to_python(completion.ended), py::none()));
        } catch (py::error_already_set& error) {
            ended.append(py::make_tuple(completion.key, py::none(), error.value()));
        } catch (const std::exception& error) {
            ended.append(py::make_tuple(completion.key, py::none(), exception_of(error)));
        }
        if (std::chrono::steady_clock::now() >= until) break;
    }
    return ended;
}

void UntoldCalls::add(std::weak_ptr<const void> call) {
    if (calls_.size() > 2 * count_at_cleanup_ + 100) count_at_cleanup_ = count();
    calls_.push_back(std::move(call));
}

std::size_t UntoldCalls::count() {
    std::erase_if(calls_, [](const std::weak_ptr<const void>& call) { return call.expired(); });
    return calls_.size();
}

py::object Call::wait() {
    if (!begin_) throw std::logic_error("the call was made before");
    const Begin begin = std::exchange(begin_, nullptr);
    if (make_ && !is_main_thread()) {  // no signal reaches it
        const auto ended = [&] {
            const py::gil_scoped_release unlocked;
            return make_();
        }();
        return to_python(ended);
    }
    const auto awaited = std::make_shared<Awaited<Ended>>();
    const Tell bring = [awaited](Ended ended) { awaited->bring(std::move(ended)); };
    {
        const py::gil_scoped_release unlocked;  // if the machine has no thread left, the call is made here
        if (make_) {
            executor_->submit(run_id_, [bring, make = make_] { bring(ended_of(make)); });
        } else {
            begin(bring);
        }
    }
    if (const std::optional<Ended> ended = awaited->wait()) return to_python(*ended);
    if (saves_) saves_->add(awaited);
    throw py::error_already_set();
}

namespace {

// Makes the calls one after the other. Each begins when the one before has ended.
void begin_in_turn(const std::shared_ptr<std::deque<Call::Begin>>& calls) {
    if (calls->empty()) return;
    const Call::Begin next = std::move(calls->front());
    calls->pop_front();
    next([calls](const Ended&) { begin_in_turn(calls); });
}

}  // namespace

void Call::leave(const std::vector<Call*>& calls) {
    const auto begins = std::make_shared<std::deque<Begin>>();
    for (Call* const call : calls) begins->push_back(std::exchange(call->begin_, nullptr));
    begin_in_turn(begins);
}

CallExecutor::Submitted Call::start(const std::shared_ptr<CompletionQueue>& queue, std::uint64_t key) const {
    if (!begin_) throw std::logic_error("the call was made before");
    const auto under_way = std::make_shared<const bool>();
    if (saves_) saves_->add(under_way);
    return begin_([queue, key, under_way](Ended ended) { queue->push(key, std::move(ended)); });
}

void bind_calls(py::module_& module) {
    py::class_<CompletionQueue, std::shared_ptr<CompletionQueue>>(module, "CompletionQueue")
        .def(py::init<>())
        .def("fileno", &CompletionQueue::descriptor)
        .def("drain", &CompletionQueue::drain, py::arg("count"), py::arg("seconds"));
    py::class_<CallExecutor::Submitted>(module, "Submitted").def("cancel", &CallExecutor::Submitted::cancel);
    py::class_<Call>(module, "Call")
        .def("wait", &Call::wait)
        .def_static("leave", &Call::leave, py::arg("calls"))
        .def("start", &Call::start, py::arg("queue"), py::arg("key"));
}

}  // namespace cairn::python
