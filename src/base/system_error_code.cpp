#include "base/system_error_code.h"

#include <cerrno>

namespace cairn {

bool is_storage_full(int error_number) {
    return error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG;
}

ErrorCode code_of_system_error(int error_number, ErrorCode otherwise) {
    if (is_storage_full(error_number)) return ErrorCode::kStorageFull;
    switch (error_number) {
        case ENOENT:
        case ENOTDIR:
            return ErrorCode::kNotFound;
        case EACCES:
        case EPERM:
        case EROFS:
            return ErrorCode::kReadOnly;
        case EMFILE:
        case ENFILE:
        case ENOMEM:
            return ErrorCode::kUnavailable;
        default:
            return otherwise;
    }
}

}  // namespace cairn
