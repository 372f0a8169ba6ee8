#pragma once

#include <cairn/error.h>

namespace cairn {

/// Says whether a write found no room: on the volume, in the user's quota, or in the size that a file may have (a limit
/// of the process or of the file system).
[[nodiscard]] bool is_storage_full(int error_number);

/// The error code for a system call's errno about a file; `otherwise` if it is not one of the usual ones.
[[nodiscard]] ErrorCode code_of_system_error(int error_number, ErrorCode otherwise);

}  // namespace cairn
