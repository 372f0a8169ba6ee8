#include "files/file_error.h"

#include "base/system_error_code.h"

#include <fmt/format.h>

#include <cerrno>
#include <system_error>

namespace cairn {
namespace {

ErrorCode code_of(int error_number, ErrorCode otherwise) {
    if (is_storage_full(error_number)) return ErrorCode::kStorageFull;
    switch (error_number) {
        case ENOENT:
        case ENOTDIR:
            return ErrorCode::kNotFound;
        case EISDIR:
            return ErrorCode::kInvalidArgument;
        default:
            return otherwise;
    }
}

// The advice in the error table is about runs and stores; this is about files.
std::string next_step(int error_number, ErrorCode code) {
    const bool is_forbidden = error_number == EACCES || error_number == EPERM;
    if (is_forbidden && code != ErrorCode::kReadOnly) return "Let your user read the file and enter its folder.";
    switch (code) {
        case ErrorCode::kNotFound:
            return "Check the path.";
        case ErrorCode::kReadOnly:
            return "Make the file and its folder writable, or give another path.";
        case ErrorCode::kStorageFull:
            return "Free space on the disk, then try again.";
        case ErrorCode::kUnavailable:
            return "Try again after a pause.";
        default:
            return "";
    }
}

}  // namespace

std::unexpected<Error> file_error(std::string_view what, const std::string& name, ErrorCode otherwise) {
    const int error_number = errno;
    const ErrorCode code = code_of(error_number, otherwise);
    return std::unexpected(advise({.code = code,
                                   .message = fmt::format("{} cannot be {}", name, what),
                                   .detail = std::generic_category().message(error_number)},
                                  next_step(error_number, code)));
}

}  // namespace cairn
