#pragma once

// Results of the engine as answers to calls.

#include "calls.h"
#include "errors.h"
#include "values.h"

#include <memory>
#include <utility>

namespace cairn::python {

/// What `result` is for Python: `to_python` makes an object of its value, an error is raised.
template <class T, class ToPython>
Answer answer(Result<T> result, ToPython to_python) {
    auto shared = std::make_shared<Result<T>>(std::move(result));
    return [shared, to_python]() -> pybind11::object {
        if (!*shared) raise(shared->error());
        return to_python(**shared);
    };
}

inline Answer answer(Status status) {
    return [status = std::move(status)]() -> pybind11::object {
        if (!status) raise(status.error());
        return pybind11::none();
    };
}

inline constexpr auto kTuple = [](const auto& value) -> pybind11::object { return tuple_of(value); };
inline constexpr auto kDict = [](const auto& value) -> pybind11::object { return dict_of(value); };

}  // namespace cairn::python
