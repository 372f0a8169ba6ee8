#pragma once

// The errors of saves that end without the store's answer.

#include <cairn/error.h>

#include <string>

namespace cairn {

class PendingSave;

/// Nothing was applied: the save was still waiting for its commit at the deadline.
std::unexpected<Error> still_queued_error(const std::string& run_id);

/// It is not known whether the save was applied. `cause`: the error that hides it.
std::unexpected<Error> in_doubt_error(const std::string& snapshot_id, Error cause);

/// The end of a save that waited in the queue until its deadline: in doubt if it was tried before and the store did
/// not know whether it had applied it.
std::unexpected<Error> too_late_error(const PendingSave& save);

}  // namespace cairn
