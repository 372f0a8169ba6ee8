#pragma once

// What a request must look like before anything is done with it.

#include <cairn/persistence.h>

namespace cairn {

/// Errors: kInvalidArgument naming the field, the value and what is accepted; kLimitExceeded for the state.
Status check_save_request(const StatePersistenceRequest& request, const StateLimits& limits);
Status check_load_request(const LoadRequest& request);
Status check_recovery_request(const StateRecoveryRequest& request);
Status check_id(std::string_view field, std::string_view id);
/// Of a checkpoint type or an agent phase.
Status check_name(std::string_view field, std::string_view name, bool may_be_empty);

/// Errors: kInvalidArgument if the run that `head` belongs to has another thread or user than `request` names.
Status check_owner(const StatePersistenceRequest& request, const Head& head);

/// Whether there is a version behind `head_version`. Errors: kLimitExceeded.
Status check_can_grow(std::string_view run_id, std::int64_t head_version);

/// The error for a parent that the run does not have.
std::unexpected<Error> no_such_parent(const StatePersistenceRequest& request);

/// Whether a save that equals `head` may be skipped: not if labels, a fork or a longer life would be lost.
bool may_be_skipped(const StatePersistenceRequest& request, const Head& head);

}  // namespace cairn
