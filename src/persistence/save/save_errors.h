#pragma once

// The errors of saves that end without the store's answer. Without memory for its words, an error has its code: that a
// save may have been applied must be said in any case.

#include <cairn/error.h>

#include <memory>
#include <string>
#include <string_view>

namespace cairn {

class PendingSave;

Error copy_of(const Error& error) noexcept;

/// The error as the cause of another one. Null without memory.
std::shared_ptr<const Error> as_cause(Error error) noexcept;

/// Nothing was applied: the save was still waiting for its commit at the deadline.
std::unexpected<Error> still_queued_error(const std::string& run_id) noexcept;

/// It is not known whether the save was applied. `cause`: the error that hides it.
std::unexpected<Error> in_doubt_error(const std::string& snapshot_id, Error cause) noexcept;

/// The caller leaves at its deadline, but the save goes on. `reason` follows on "was still".
std::unexpected<Error> unknown_at_deadline_error(const PendingSave& save, std::string_view reason) noexcept;

/// The end of a save that waited in the queue until its deadline: in doubt if it was tried before and the store did
/// not know whether it had applied it.
std::unexpected<Error> too_late_error(const PendingSave& save) noexcept;

}  // namespace cairn
