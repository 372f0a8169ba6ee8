#pragma once

#include <cairn/error.h>

namespace cairn {

/// The error code for a system call's errno about a file; `otherwise` if it is not one of the usual ones.
[[nodiscard]] ErrorCode code_of_system_error(int error_number, ErrorCode otherwise);

}  // namespace cairn
