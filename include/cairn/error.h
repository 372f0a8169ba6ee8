#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace cairn {

/// The kind of an error, chosen by what the caller can do next. Each code has one next step; `error_info()` gives it.
/// Numbers and names never change: new codes come at the end.
enum class ErrorCode : std::uint8_t {
    kInvalidArgument,   ///< A field of the call, or of what it read, is wrong: correct it.
    kInvalidState,      ///< The state is not one JSON object: correct it; the message names the place.
    kLimitExceeded,     ///< Too large or too deep: shrink it or raise the limit named in the message.
    kInvalidConfig,     ///< A setting cannot be read: correct it; the message names the variable and what it accepts.
    kNotFound,          ///< No such run, snapshot or file (or not under this owner).
    kConflict,          ///< Another writer moved the head; nothing applied: re-read the head, then decide.
    kAlreadyExists,     ///< The snapshot id is taken by another state in this run; nothing applied: use a new id.
    kCorrupt,           ///< Stored bytes are damaged and are not returned: recover the run from another snapshot.
    kUnavailable,       ///< The store could not be reached or stayed busy until the deadline; nothing applied: retry.
    kOutcomeUnknown,    ///< The commit may or may not have been applied: retry with the same snapshot id.
    kStorageFull,       ///< No space left; nothing applied: free space, then retry.
    kReadOnly,          ///< The store, its file or its folder cannot be written: change that or open another.
    kIncompatible,      ///< The file is not a cairn store, or a newer cairn wrote it: use another path or upgrade.
    kClosed,            ///< The store or service was closed: open a new one.
    kAgentFailed,       ///< An agent's own program failed, and says why: fix that, then go on from the last step.
    kInternal,          ///< A defect or an exhausted machine (memory): report it with the detail.
    kUnauthenticated,   ///< The store's server does not accept the caller's identity: correct the credentials.
    kPermissionDenied,  ///< The server knows the caller but does not permit this: ask for the right to.
    kCancelled          ///< The call was cancelled before it began; nothing applied: make it again if needed.
};

inline constexpr ErrorCode kLastErrorCode = ErrorCode::kCancelled;

/// Says whether the same call may be made again.
enum class Retry : std::uint8_t {
    kNo,             ///< The same call fails again.
    kYes,            ///< Nothing was applied: make the same call again, after a pause.
    kSameSnapshotId  ///< It may have been applied: a retry with the same snapshot id is safe, another id is not.
};

/// One row of the error table, which CLI, HTTP, Python, Node and the documentation all read.
struct ErrorInfo {
    ErrorCode code;
    std::string_view name;  ///< Stable, snake_case: the name in `--json` output, logs and metrics.
    Retry retry;
    int http_status;
    int exit_code;
    std::string_view python_exception;
    std::string_view node_code;
    std::string_view advice;  ///< The caller's next step, in one sentence.
};

/// Every error code once, in the order of the enumeration.
std::span<const ErrorInfo> error_table() noexcept;
const ErrorInfo& error_info(ErrorCode code) noexcept;

/// An error value. `message` names the field or place, the value, and what is accepted; never content of a state.
struct Error {
    ErrorCode code = ErrorCode::kInternal;
    std::string message;
    std::string detail = {};                       ///< The engine's own message ("SQLITE_FULL (13): …"); may be empty.
    std::shared_ptr<const Error> cause = nullptr;  ///< The error behind this one; may be null.
    std::string advice = {};                       ///< The next step in this particular case; empty: the code's.

    /// The caller's next step, in one sentence: `advice`, or that of the code's row.
    std::string_view next_step() const noexcept;

    /// "name: message [detail] <- cause. advice": one line for a person.
    std::string to_string() const;
};

template <class T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

/// Adds a next step to `error`, for when the code's general one does not fit.
inline Error advise(Error error, std::string advice) {
    error.advice = std::move(advice);
    return error;
}

/// For a `catch` block: returns the caught exception as an error. It is kInternal, or kUnavailable if the machine has
/// no thread left.
Error caught_error();

/// `return fail(ErrorCode::kNotFound, "…");` in a function that returns any `Result`.
inline std::unexpected<Error> fail(ErrorCode code, std::string message, std::string detail = {}) {
    return std::unexpected(Error{.code = code, .message = std::move(message), .detail = std::move(detail)});
}

}  // namespace cairn
