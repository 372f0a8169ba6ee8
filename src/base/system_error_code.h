#pragma once

#include <cairn/error.h>

namespace cairn {

/// What a system call's errno about a file means to the caller; `otherwise` if it is none of the usual ones.
[[nodiscard]] ErrorCode code_of_system_error(int error_number, ErrorCode otherwise);

}  // namespace cairn
