#include "base/system_error_code.h"

#include <cerrno>

namespace cairn {

ErrorCode code_of_system_error(int error_number, ErrorCode otherwise) {
    switch (error_number) {
        case ENOENT:
        case ENOTDIR:
            return ErrorCode::kNotFound;
        case EACCES:
        case EPERM:
        case EROFS:
            return ErrorCode::kReadOnly;
        case ENOSPC:
        case EDQUOT:
            return ErrorCode::kStorageFull;
        case EMFILE:
        case ENFILE:
        case ENOMEM:
            return ErrorCode::kUnavailable;
        default:
            return otherwise;
    }
}

}  // namespace cairn
