#pragma once

// Objects of the engine belong to the process that made them.

#include <pybind11/pybind11.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <utility>

namespace cairn::python {

/// Shares `object`. In a forked child its threads and connections do not exist, so it is not destroyed there.
/// Destruction may take a while, so the GIL is released meanwhile.
template <class T>
std::shared_ptr<T> bound_to_process(std::shared_ptr<T> object) {
    T* const address = object.get();
    return std::shared_ptr<T>(address, [object = std::move(object), made_in = ::getpid()](T*) mutable {
        if (::getpid() != made_in) {
            new std::shared_ptr<T>(std::move(object));
            return;
        }
        std::optional<pybind11::gil_scoped_release> unlocked;
        if (Py_IsInitialized() != 0 && PyGILState_Check() == 1) unlocked.emplace();
        object.reset();
    });
}

}  // namespace cairn::python
