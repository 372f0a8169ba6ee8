#pragma once

// A store as the package holds it.

#include <cairn/async_store.h>
#include <cairn/call_executor.h>
#include <cairn/error.h>
#include <cairn/store.h>

#include <pybind11/pybind11.h>
#include <unistd.h>

#include <memory>
#include <string>

namespace cairn::python {

class SaveWatchers;

class StoreHandle {
public:
    StoreHandle(std::shared_ptr<Store> store, std::shared_ptr<CallExecutor> executor);

    /// Errors: kClosed (this is a forked child of the process that opened it).
    Result<std::shared_ptr<Store>> store() const;
    std::shared_ptr<CallExecutor> executor() const { return executor_; }
    /// Receive the saves of this store's services.
    const std::shared_ptr<SaveWatchers>& watchers() const { return watchers_; }
    /// Raises in a forked child of the process that opened the store.
    AsyncStore async() const;
    pid_t process() const { return process_; }

private:
    std::shared_ptr<Store> store_;
    std::shared_ptr<CallExecutor> executor_;
    std::shared_ptr<SaveWatchers> watchers_;
    pid_t process_ = ::getpid();
};

/// The error for a forked child.
Error made_before_fork_error(const std::string& what, pid_t process);

void bind_store(pybind11::module_& module);

}  // namespace cairn::python
