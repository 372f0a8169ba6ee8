#pragma once

#include <cairn/error.h>

#include <exception>
#include <new>
#include <system_error>

namespace cairn {

/// Calls `function`, which returns a Result, and turns what is thrown on the way (memory, an injected clock) into an
/// error: nothing is thrown across the public API.
template <class Function>
auto guarded(const Function& function) -> decltype(function()) {
    try {
        return function();
    } catch (const std::bad_alloc&) {
        return fail(ErrorCode::kInternal, "out of memory");
    } catch (const std::system_error& error) {
        const bool may_pass = error.code() == std::errc::resource_unavailable_try_again;
        return fail(may_pass ? ErrorCode::kUnavailable : ErrorCode::kInternal,
                    may_pass ? "the machine has no thread left: retry, or raise its limit" : "the system refused",
                    error.what());
    } catch (const std::exception& exception) {
        return fail(ErrorCode::kInternal, "unexpected exception", exception.what());
    }
}

}  // namespace cairn
