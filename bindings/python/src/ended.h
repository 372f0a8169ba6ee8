#pragma once

// How the calls of the engine end: values of the engine, as they are. Python objects are made of them where Python
// waits for them.

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

/// How a call ended. Holds no Python object, so that it may be made and dropped without the GIL.
using Ended =
    std::variant<Status, Result<Receipt>, Result<LoadedState>, Result<RecoveryResult>, Result<ThreadContext>,
                 Result<StoreStats>, Result<CheckReport>, Result<RetentionReport>, Result<std::vector<SnapshotInfo>>,
                 Result<Page<RunInfo>>, Result<Page<ThreadInfo>>, Result<std::vector<RecoveryRecord>>>;
using Tell = std::function<void(Ended)>;

/// A completion of the engine that passes on what it is told.
template <class T>
Completion<T> told(const Tell& tell) {
    return [tell](Result<T> result) { tell(Ended(std::move(result))); };
}

/// The value as a Python object, or the error raised. With the GIL.
pybind11::object to_python(const Ended& ended);

}  // namespace cairn::python
