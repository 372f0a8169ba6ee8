#pragma once

// The checks of a request, made before anything else is done with it.

#include <cairn/persistence.h>

#include <cstdint>

namespace cairn {

/// Errors: kInvalidArgument naming the field, the value and what is accepted; kLimitExceeded for the state.
Status check_save_request(const StatePersistenceRequest& request, const StateLimits& limits);
Status check_load_request(const LoadRequest& request);
Status check_recovery_request(const StateRecoveryRequest& request);
Status check_id(std::string_view field, std::string_view id);
/// Checks a checkpoint type or an agent phase.
Status check_name(std::string_view field, std::string_view name, bool may_be_empty);

/// Errors: kInvalidArgument if the run that `head` belongs to has another thread or user than `request` names.
Status check_owner(const StatePersistenceRequest& request, const Head& head);

/// The last version that a run can have. Any reader of JSON reads it exactly, so that an exported run can be imported.
inline constexpr std::int64_t kVersionMax = (std::int64_t{1} << 53U) - 1;

/// Checks that there is a version behind `head_version`. Errors: kLimitExceeded.
Status check_can_grow(std::string_view run_id, std::int64_t head_version);

/// The error for a parent that the run does not have.
std::unexpected<Error> no_parent_error(const StatePersistenceRequest& request);

/// The saves that may be skipped: none, those with the head's bytes, or also those that differ in the order of keys.
enum class SkipRule : std::uint8_t { kNever, kSameBytes, kSameJson };

/// Says whether saving the request on top of a head would add nothing: its state equals `state` as `rule` says, and all
/// else that the caller gave is as it is in `head`. Another owner's state is not even compared.
bool repeats(const StatePersistenceRequest& request, const SnapshotInfo& head, const State& state, SkipRule rule);

}  // namespace cairn
