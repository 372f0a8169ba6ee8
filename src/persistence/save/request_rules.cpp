#include "persistence/save/request_rules.h"

#include "base/counted.h"
#include "state/opaque_text.h"
#include "state/state_equality.h"
#include "state/utf8.h"

#include <fmt/format.h>

#include <algorithm>

namespace cairn {
namespace {

constexpr std::size_t kIdBytesMax = 255;
constexpr std::size_t kSnapshotIdBytesMax = 128;
constexpr std::size_t kNameBytesMax = 64;
constexpr std::size_t kReasonBytesMax = 4096;

bool is_control(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7F;
}

// The value as messages show it: bounded, and without bytes that would garble a terminal.
std::string shown(std::string_view value) {
    constexpr std::size_t kShownMax = 40;
    std::string text(value.substr(0, kShownMax));
    std::ranges::replace_if(text, [](char c) { return is_control(c) || static_cast<unsigned char>(c) > 0x7E; }, '?');
    return value.size() > kShownMax ? text + "…" : text;
}

Status check_snapshot_id(std::string_view field, std::string_view id) {
    const auto printable = [](char c) { return c > ' ' && c <= '~'; };
    if (!id.empty() && id.size() <= kSnapshotIdBytesMax && std::ranges::all_of(id, printable)) return {};
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} is \"{}\" ({}): give 1 to {} printable ASCII characters without spaces, or none "
                            "for a new UUID",
                            field, shown(id), counted(id.size(), "byte"), kSnapshotIdBytesMax));
}

Status check_owner_filter(const std::optional<std::string>& thread_id, const std::optional<std::string>& user_id) {
    if (thread_id) {
        if (Status status = check_id("thread_id", *thread_id); !status) return status;
    }
    return user_id ? check_id("user_id", *user_id) : Status{};
}

Status check_conflict_rule(const StatePersistenceRequest& request) {
    if (!request.expected_version) return {};
    if (request.on_conflict != OnConflict::kFail) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("expected_version is {} but on_conflict is \"rebase\": it only has a meaning with "
                                "on_conflict \"fail\"",
                                *request.expected_version));
    }
    if (*request.expected_version >= 0) return {};
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("expected_version is {}: give the head's version, or 0 for a run that does not exist yet",
                            *request.expected_version));
}

Status check_recovery_target(const StateRecoveryRequest& request) {
    if (request.recovery_type == RecoveryType::kRollback) {
        if (request.target_snapshot_id) return check_snapshot_id("target_snapshot_id", *request.target_snapshot_id);
        return fail(ErrorCode::kInvalidArgument,
                    "target_snapshot_id is missing: a rollback needs the snapshot to go back to");
    }
    if (!request.target_snapshot_id) return {};
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("target_snapshot_id is given: {} takes none, only rollback does",
                            to_string(request.recovery_type)));
}

Status check_size(const State& state, std::uint64_t bytes_max) {
    if (state.size_bytes() <= bytes_max) return {};
    return fail(
        ErrorCode::kLimitExceeded,
        fmt::format("state_data has {} bytes, the limit is {} (CAIRN_STATE_BYTES_MAX)", state.size_bytes(), bytes_max));
}

// Says whether the request has anything new beside its state. A member that was left out may be as it is in the head,
// except `expires_at`: leaving it out asks for a life without end.
bool adds_something(const StatePersistenceRequest& request, const SnapshotInfo& head) {
    const bool has_own_id = !request.snapshot_id.empty() && request.snapshot_id != head.snapshot_id;
    const bool is_fork = request.parent_snapshot_id && *request.parent_snapshot_id != head.snapshot_id;
    const bool has_phase = !request.agent_phase.name().empty() && request.agent_phase != head.agent_phase;
    const bool has_context =
        request.execution_context && request.execution_context->text() != std::string_view(head.execution_context);
    const bool completes = request.checkpoint_type == CheckpointType::kPipelineComplete &&
                           head.checkpoint_type != CheckpointType::kPipelineComplete;
    return has_own_id || is_fork || has_phase || has_context || completes || request.metadata ||
           request.expires_at != head.expires_at;
}

}  // namespace

Status check_id(std::string_view field, std::string_view id) {
    if (!id.empty() && id.size() <= kIdBytesMax && is_utf8(id) && std::ranges::none_of(id, is_control)) return {};
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} is \"{}\" ({}): give 1 to {} bytes of UTF-8 without control characters", field,
                            shown(id), counted(id.size(), "byte"), kIdBytesMax));
}

Status check_name(std::string_view field, std::string_view name, bool may_be_empty) {
    if (name.empty() && may_be_empty) return {};
    if (!name.empty() && name.size() <= kNameBytesMax && is_utf8(name) && std::ranges::none_of(name, is_control)) {
        return {};
    }
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} is \"{}\" ({}): give {} to {} bytes of UTF-8 without control characters", field,
                            shown(name), counted(name.size(), "byte"), may_be_empty ? 0 : 1, kNameBytesMax));
}

Status check_save_request(const StatePersistenceRequest& request, const StateLimits& limits) {
    if (Status status = check_id("run_id", request.run_id); !status) return status;
    if (Status status = check_id("thread_id", request.thread_id); !status) return status;
    if (Status status = check_id("user_id", request.user_id); !status) return status;
    if (Status status = check_name("checkpoint_type", request.checkpoint_type.name(), false); !status) return status;
    if (Status status = check_name("agent_phase", request.agent_phase.name(), true); !status) return status;
    if (!request.snapshot_id.empty()) {
        if (Status status = check_snapshot_id("snapshot_id", request.snapshot_id); !status) return status;
    }
    if (request.parent_snapshot_id) {
        if (Status status = check_snapshot_id("parent_snapshot_id", *request.parent_snapshot_id); !status) {
            return status;
        }
    }
    if (request.timeout && request.timeout->count() <= 0) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("timeout is {} ms: give at least 1 ms", request.timeout->count()));
    }
    if (Status status = check_conflict_rule(request); !status) return status;
    if (request.execution_context) {
        if (Status status = check_is_json(*request.execution_context, "execution_context"); !status) return status;
    }
    if (request.metadata) {
        if (Status status = check_is_json(*request.metadata, "metadata"); !status) return status;
    }
    return check_size(request.state_data, limits.bytes_max);
}

Status check_load_request(const LoadRequest& request) {
    if (Status status = check_id("run_id", request.run_id); !status) return status;
    if (request.snapshot_id) {
        if (Status status = check_snapshot_id("snapshot_id", *request.snapshot_id); !status) return status;
    }
    return check_owner_filter(request.thread_id, request.user_id);
}

Status check_recovery_request(const StateRecoveryRequest& request) {
    if (Status status = check_id("run_id", request.run_id); !status) return status;
    if (Status status = check_owner_filter(request.thread_id, request.user_id); !status) return status;
    if (request.failure_reason.size() > kReasonBytesMax || !is_utf8(request.failure_reason)) {
        return fail(ErrorCode::kInvalidArgument, fmt::format("failure_reason has {} bytes: give at most {} of UTF-8",
                                                             request.failure_reason.size(), kReasonBytesMax));
    }
    return check_recovery_target(request);
}

// The answer is the same for both, so that the caller learns nothing about the owner.
Status check_owner(const StatePersistenceRequest& request, const Head& head) {
    if (request.thread_id == head.thread_id && request.user_id == head.user_id) return {};
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("run \"{}\" belongs to another thread or user than \"{}\" and \"{}\": a run keeps those of "
                            "its first save",
                            shown(request.run_id), shown(request.thread_id), shown(request.user_id)));
}

Status check_can_grow(std::string_view run_id, std::int64_t head_version) {
    if (head_version < kVersionMax) return {};
    return fail(ErrorCode::kLimitExceeded,
                fmt::format("run \"{}\" is at version {}, the last one that there is: save under another run_id",
                            shown(run_id), head_version));
}

std::unexpected<Error> no_parent_error(const StatePersistenceRequest& request) {
    return fail(ErrorCode::kNotFound, fmt::format("parent_snapshot_id is \"{}\": run \"{}\" has no such snapshot",
                                                  request.parent_snapshot_id.value_or(""), request.run_id));
}

bool repeats(const StatePersistenceRequest& request, const SnapshotInfo& head, const State& state, SkipRule rule) {
    if (rule == SkipRule::kNever || request.is_critical() || adds_something(request, head)) return false;
    if (request.thread_id != head.thread_id || request.user_id != head.user_id) return false;
    if (state == request.state_data) return true;
    return rule == SkipRule::kSameJson && !state.is_opaque() && !request.state_data.is_opaque() &&
           json_equal(state.text(), request.state_data.text());
}

}  // namespace cairn
