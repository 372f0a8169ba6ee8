#pragma once

#include <cairn/error.h>

#include <exception>

namespace cairn {

/// Calls `function`, which returns a Result, and turns an exception (memory, an injected clock) into an error, so that
/// none is thrown across the public API.
template <class Function>
auto guarded(const Function& function) -> decltype(function()) {
    try {
        return function();
    } catch (const std::exception&) {
        return std::unexpected(caught_error());
    }
}

}  // namespace cairn
