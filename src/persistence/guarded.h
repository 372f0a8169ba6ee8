#pragma once

#include <cairn/error.h>

#include <exception>
#include <new>

namespace cairn {

/// Calls `function`, which returns a Result, and turns what is thrown on the way (memory, an injected clock) into an
/// error: nothing is thrown across the public API.
template <class Function>
auto guarded(const Function& function) -> decltype(function()) {
    try {
        return function();
    } catch (const std::bad_alloc&) {
        return fail(ErrorCode::kInternal, "out of memory");
    } catch (const std::exception& exception) {
        return fail(ErrorCode::kInternal, "unexpected exception", exception.what());
    }
}

}  // namespace cairn
