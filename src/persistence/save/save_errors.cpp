#include "persistence/save/save_errors.h"

#include "persistence/save/pending_save.h"

#include <fmt/format.h>

#include <memory>
#include <utility>

namespace cairn {

std::unexpected<Error> still_queued_error(const std::string& run_id) {
    return fail(ErrorCode::kUnavailable,
                fmt::format("the save of run \"{}\" was still queued at the deadline", run_id));
}

std::unexpected<Error> in_doubt_error(const std::string& snapshot_id, Error cause) {
    return std::unexpected(
        Error{.code = ErrorCode::kOutcomeUnknown,
              .message = fmt::format("the save of snapshot {} may or may not have been applied", snapshot_id),
              .cause = std::make_shared<const Error>(std::move(cause))});
}

std::unexpected<Error> too_late_error(const PendingSave& save) {
    if (save.attempt.may_be_applied()) return in_doubt_error(save.job.becomes->info.snapshot_id, *save.attempt.answer);
    std::unexpected<Error> error = still_queued_error(save.job.request.run_id);
    if (save.attempt.answer) error.error().cause = std::make_shared<const Error>(*save.attempt.answer);
    return error;
}

}  // namespace cairn
