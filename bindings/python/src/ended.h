#pragma once

// The results of the engine's calls, as values of the engine. They become Python objects where Python waits for them.

#include <cairn/call_executor.h>
#include <cairn/error.h>
#include <cairn/persistence.h>
#include <cairn/retention.h>
#include <cairn/store.h>

#include <pybind11/pybind11.h>

#include <functional>
#include <utility>
#include <variant>
#include <vector>

namespace cairn::python {

/// The result of a call. It holds no Python object, so it may be made and dropped without the GIL.
using Ended =
    std::variant<Status, Result<Receipt>, Result<LoadedState>, Result<RecoveryResult>, Result<ThreadContext>,
                 Result<StoreStats>, Result<CheckReport>, Result<RetentionReport>, Result<std::vector<SnapshotInfo>>,
                 Result<Page<RunInfo>>, Result<Page<ThreadInfo>>, Result<std::vector<RecoveryRecord>>>;
using Tell = std::function<void(Ended)>;

/// Makes a completion that passes its result to `tell`.
template <class T>
Completion<T> told(const Tell& tell) {
    return [tell](Result<T> result) { tell(Ended(std::move(result))); };
}

/// Returns the value as a Python object, or raises the error. The GIL must be held.
pybind11::object to_python(const Ended& ended);

}  // namespace cairn::python
