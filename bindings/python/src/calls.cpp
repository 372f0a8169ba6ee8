#include "calls.h"

#include "interruptible.h"

#include <pybind11/stl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <exception>
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

void CompletionQueue::push(std::uint64_t key, Answer answer) {
    const std::lock_guard lock(mutex_);
    completions_.push_back({key, std::move(answer)});
    if (completions_.size() > 1) return;  // it is readable already
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(descriptor_, &one, sizeof one);
}

bool CompletionQueue::pop(Completion& into) {
    const std::lock_guard lock(mutex_);
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

// What the engine promises not to throw could still be thrown by what stands between it and the loop.
Answer answer_of(const std::function<Answer()>& run) {
    try {
        return run();
    } catch (const std::exception& error) {
        return [what = std::string(error.what())]() -> py::object { throw std::runtime_error(what); };
    }
}

}  // namespace

py::list CompletionQueue::drain(std::size_t count, double seconds) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    py::list ended;
    Completion completion;
    while (ended.size() < count && pop(completion)) {
        try {
            ended.append(py::make_tuple(completion.key, completion.answer(), py::none()));
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
    if (!run_) throw std::logic_error("the call was made before");
    const auto answer = std::make_shared<Answer>();
    const auto work = [answer, run = std::exchange(run_, nullptr)] { *answer = answer_of(run); };
    const Waited waited = do_interruptibly(saves_ ? key_ : "", work);
    if (waited == Waited::kToTheEnd) return (*answer)();
    if (saves_) saves_->add(answer);
    throw py::error_already_set();
}

void Call::leave(const std::vector<Call*>& calls) {
    std::vector<std::function<Answer()>> runs;
    runs.reserve(calls.size());
    for (Call* const call : calls) runs.push_back(std::exchange(call->run_, nullptr));
    do_unattended([runs = std::move(runs)] {
        for (const auto& run : runs) answer_of(run);
    });
}

void Call::start(const std::shared_ptr<CompletionQueue>& queue, std::uint64_t key) const {
    const auto under_way = std::make_shared<const bool>();
    if (saves_) saves_->add(under_way);
    const Done done = [queue, key, under_way](Answer answer) { queue->push(key, std::move(answer)); };
    if (begin_) {
        executor_->submit(key_, [begin = begin_, done] { begin(done); });
    } else {
        executor_->submit(key_, [run = run_, done] { done(answer_of(run)); });
    }
}

void bind_calls(py::module_& module) {
    py::class_<CompletionQueue, std::shared_ptr<CompletionQueue>>(module, "CompletionQueue")
        .def(py::init<>())
        .def("fileno", &CompletionQueue::descriptor)
        .def("drain", &CompletionQueue::drain, py::arg("count"), py::arg("seconds"));
    py::class_<Call>(module, "Call")
        .def("wait", &Call::wait)
        .def_static("leave", &Call::leave, py::arg("calls"))
        .def("start", &Call::start, py::arg("queue"), py::arg("key"));
}

}  // namespace cairn::python
