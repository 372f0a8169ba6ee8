#include "persistence/save/save_errors.h"

#include "persistence/save/pending_save.h"

#include <fmt/format.h>

#include <exception>
#include <memory>
#include <utility>

namespace cairn {
namespace {

// Calls `make`, which returns an error of this code.
template <class Make>
std::unexpected<Error> error_of(ErrorCode code, const Make& make) noexcept {
    try {
        return std::unexpected<Error>(make());
    } catch (const std::exception&) {
        return std::unexpected(Error{.code = code, .message = {}});
    }
}

}  // namespace

Error copy_of(const Error& error) noexcept {
    return error_of(error.code, [&] { return error; }).error();
}

std::shared_ptr<const Error> as_cause(Error error) noexcept {
    try {
        return std::make_shared<const Error>(std::move(error));
    } catch (const std::exception&) {
        return nullptr;
    }
}

std::unexpected<Error> still_queued_error(const std::string& run_id) noexcept {
    return error_of(ErrorCode::kUnavailable, [&] {
        return Error{.code = ErrorCode::kUnavailable,
                     .message = fmt::format("the save of run \"{}\" was still queued at the deadline", run_id)};
    });
}

std::unexpected<Error> in_doubt_error(const std::string& snapshot_id, Error cause) noexcept {
    return error_of(ErrorCode::kOutcomeUnknown, [&] {
        return Error{.code = ErrorCode::kOutcomeUnknown,
                     .message = fmt::format("the save of snapshot {} may or may not have been applied", snapshot_id),
                     .cause = as_cause(std::move(cause))};
    });
}

std::unexpected<Error> unknown_at_deadline_error(const PendingSave& save, std::string_view reason) noexcept {
    return error_of(ErrorCode::kOutcomeUnknown, [&] {
        return Error{
            .code = ErrorCode::kOutcomeUnknown,
            .message = fmt::format("the save of snapshot {} was still {}", save.job.becomes->info.snapshot_id, reason)};
    });
}

std::unexpected<Error> too_late_error(const PendingSave& save) noexcept {
    const std::optional<Error>& answer = save.attempt.answer;
    if (save.attempt.may_be_applied()) return in_doubt_error(save.job.becomes->info.snapshot_id, copy_of(*answer));
    std::unexpected<Error> error = still_queued_error(save.job.request.run_id);
    if (answer) error.error().cause = as_cause(copy_of(*answer));
    return error;
}

}  // namespace cairn
