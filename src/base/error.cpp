#include <cairn/error.h>

#include <fmt/format.h>

#include <array>
#include <exception>
#include <new>
#include <system_error>

namespace cairn {
namespace {

// In the order of the enumeration; a test fails on a gap. Exit code 1 is reserved for unexpected failures. Exit code 2
// is for usage errors of the command line, which are the caller's, like kInvalidArgument.
constexpr std::array kErrorTable{
    ErrorInfo{ErrorCode::kInvalidArgument, "invalid_argument", Retry::kNo, 400, 2, "InvalidArgumentError",
              "CAIRN_INVALID_ARGUMENT", "Correct what the message names."},
    ErrorInfo{ErrorCode::kInvalidState, "invalid_state", Retry::kNo, 422, 3, "InvalidStateError", "CAIRN_INVALID_STATE",
              "Give one JSON object in UTF-8; the message names the place."},
    ErrorInfo{ErrorCode::kLimitExceeded, "limit_exceeded", Retry::kNo, 413, 4, "LimitExceededError",
              "CAIRN_LIMIT_EXCEEDED", "Make the state smaller or raise the limit that the message names."},
    ErrorInfo{ErrorCode::kInvalidConfig, "invalid_config", Retry::kNo, 500, 5, "ConfigError", "CAIRN_INVALID_CONFIG",
              "Correct the setting that the message names."},
    ErrorInfo{ErrorCode::kNotFound, "not_found", Retry::kNo, 404, 6, "NotFoundError", "CAIRN_NOT_FOUND",
              "Check the name, or the id and its owner; `cairn runs` lists what there is."},
    ErrorInfo{ErrorCode::kConflict, "conflict", Retry::kNo, 409, 7, "ConflictError", "CAIRN_CONFLICT",
              "Load the run's new head and decide what to save on top of it; nothing was applied."},
    ErrorInfo{ErrorCode::kAlreadyExists, "already_exists", Retry::kNo, 409, 8, "AlreadyExistsError",
              "CAIRN_ALREADY_EXISTS", "Use a new snapshot id; nothing was applied."},
    ErrorInfo{ErrorCode::kCorrupt, "corrupt", Retry::kNo, 500, 9, "CorruptError", "CAIRN_CORRUPT",
              "Recover the run from an intact snapshot (`cairn recover --type resume`) and check the disk."},
    ErrorInfo{ErrorCode::kUnavailable, "unavailable", Retry::kYes, 503, 10, "UnavailableError", "CAIRN_UNAVAILABLE",
              "Try again after a pause; nothing was applied."},
    ErrorInfo{ErrorCode::kOutcomeUnknown, "outcome_unknown", Retry::kSameSnapshotId, 503, 11, "OutcomeUnknownError",
              "CAIRN_OUTCOME_UNKNOWN", "Try again with the same snapshot id, which never saves twice."},
    ErrorInfo{ErrorCode::kStorageFull, "storage_full", Retry::kYes, 507, 12, "StorageFullError", "CAIRN_STORAGE_FULL",
              "Free space where the message says, then try again; nothing was applied."},
    ErrorInfo{ErrorCode::kReadOnly, "read_only", Retry::kNo, 403, 13, "ReadOnlyError", "CAIRN_READ_ONLY",
              "Make what the message names writable, or use another store."},
    ErrorInfo{ErrorCode::kIncompatible, "incompatible", Retry::kNo, 500, 14, "IncompatibleError", "CAIRN_INCOMPATIBLE",
              "Use another store, or the cairn that wrote this one."},
    ErrorInfo{ErrorCode::kClosed, "closed", Retry::kNo, 503, 15, "ClosedError", "CAIRN_CLOSED",
              "Open a new store; this one was closed."},
    ErrorInfo{ErrorCode::kAgentFailed, "agent_failed", Retry::kNo, 500, 16, "AgentFailedError", "CAIRN_AGENT_FAILED",
              "Mend what the agent says, then go on from the last completed step with --resume."},
    ErrorInfo{ErrorCode::kInternal, "internal", Retry::kNo, 500, 70, "InternalError", "CAIRN_INTERNAL",
              "Report it with the detail, unless the machine ran out of memory."},
    ErrorInfo{ErrorCode::kUnauthenticated, "unauthenticated", Retry::kNo, 401, 17, "UnauthenticatedError",
              "CAIRN_UNAUTHENTICATED", "Correct the user or the credentials with which the store is opened."},
    ErrorInfo{ErrorCode::kPermissionDenied, "permission_denied", Retry::kNo, 403, 18, "PermissionDeniedError",
              "CAIRN_PERMISSION_DENIED", "Ask whoever runs the store for the right that the message names."},
    ErrorInfo{ErrorCode::kCancelled, "cancelled", Retry::kYes, 499, 19, "CallCancelledError", "CAIRN_CANCELLED",
              "Make the call again if it is still wanted; nothing was applied."},
};

}  // namespace

std::span<const ErrorInfo> error_table() noexcept {
    return kErrorTable;
}

const ErrorInfo& error_info(ErrorCode code) noexcept {
    return kErrorTable[static_cast<std::size_t>(code)];
}

Error caught_error() {
    try {
        throw;
    } catch (const std::bad_alloc&) {
        return {.code = ErrorCode::kInternal, .message = "out of memory"};
    } catch (const std::system_error& error) {
        const bool may_pass = error.code() == std::errc::resource_unavailable_try_again;
        return {
            .code = may_pass ? ErrorCode::kUnavailable : ErrorCode::kInternal,
            .message = may_pass ? "the machine has no thread left: retry, or raise its limit" : "the system refused",
            .detail = error.what()};
    } catch (const std::exception& exception) {
        return {.code = ErrorCode::kInternal, .message = "unexpected exception", .detail = exception.what()};
    } catch (...) {
        return {.code = ErrorCode::kInternal, .message = "unexpected exception"};
    }
}

std::string_view Error::next_step() const noexcept {
    return advice.empty() ? error_info(code).advice : std::string_view(advice);
}

std::string Error::to_string() const {
    const ErrorInfo& info = error_info(code);
    std::string text = fmt::format("{}: {}", info.name, message);
    if (!detail.empty()) text += fmt::format(" [{}]", detail);
    for (const Error* behind = cause.get(); behind != nullptr; behind = behind->cause.get()) {
        text += fmt::format(" <- {}: {}", error_info(behind->code).name, behind->message);
        if (!behind->detail.empty()) text += fmt::format(" [{}]", behind->detail);
    }
    return text + (text.ends_with('?') ? " " : ". ") + std::string(next_step());
}

}  // namespace cairn
