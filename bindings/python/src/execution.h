#pragma once

// One execution of a run by an engine of the program's own, as the package holds it: the core's lease and events.

#include "calls.h"
#include "store_handle.h"

#include "base/mutex.h"
#include "base/thread_annotations.h"

#include <cairn/persistence.h>
#include <cairn/run_events.h>
#include <cairn/run_lease.h>

#include <pybind11/pybind11.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace cairn::python {

/// Threads: `tell_saved` and `lease` from any, without the GIL; the rest with it.
class Execution : public std::enable_shared_from_this<Execution> {
public:
    Execution(std::string run_id, std::string thread_id, std::string user_id);
    /// Does not wait for the store.
    ~Execution();
    Execution(const Execution&) = delete;
    Execution& operator=(const Execution&) = delete;

    /// Takes the run's lease. Errors: those of `RunLease::acquire`.
    Call acquire(const StoreHandle& store, std::int64_t timeout_ms);
    /// Releases the lease, if there is one.
    Call release(std::int64_t timeout_ms);
    std::optional<Lease> lease() const;

    void tell_started();
    void tell_saved(const SaveEvent& save);
    /// `error`: empty if there is none.
    void tell_completed(const std::string& status, const std::string& error);
    /// Reports a save that failed before the engine had it.
    void tell_unsaved(const std::string& checkpoint_type, const std::string& error);

    /// The number of saves that were reported.
    std::uint64_t saves() const;
    /// The events since the last time, as JSON texts.
    pybind11::list take();

private:
    using Milliseconds = std::chrono::milliseconds;
    std::optional<RunLease> taken_lease();

    const std::string run_id_;
    const std::string thread_id_;
    const std::string user_id_;
    const pid_t process_ = ::getpid();
    const std::chrono::steady_clock::time_point made_at_ = std::chrono::steady_clock::now();
    mutable Mutex mutex_;
    std::vector<std::string> told_ CAIRN_GUARDED_BY(mutex_);
    std::uint64_t saves_ CAIRN_GUARDED_BY(mutex_) = 0;
    std::optional<RunLease> lease_ CAIRN_GUARDED_BY(mutex_);
    std::shared_ptr<CallExecutor> executor_;  // of the store whose lease it is; null: none was asked for
    RunEvents events_;                        // last: it uses the members above
};

void bind_execution(pybind11::module_& module);

}  // namespace cairn::python
