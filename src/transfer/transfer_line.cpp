#include "transfer/transfer_line.h"

#include "base/base64.h"
#include "persistence/save/request_rules.h"
#include "state/opaque_text.h"
#include "wire/record_json.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

namespace cairn {
namespace {

/// Reads the members of an object one after the other and remembers the error of the first wrong one.
class Members {
public:
    explicit Members(State object) : object_(std::move(object)) {}

    std::string text(std::string_view name) {
        const Json value = read(name);
        if (value.is_string()) return value.get<std::string>();
        complain(name, "a string");
        return {};
    }

    std::int64_t number(std::string_view name, std::int64_t min) {
        const Json value = read(name);
        const bool fits = value.is_number_unsigned() ? value.get<std::uint64_t>() <= std::uint64_t{kVersionMax}
                                                     : value.is_number_integer();
        if (fits && value.get<std::int64_t>() >= min) return value.get<std::int64_t>();
        complain(name, fmt::format("a whole number from {} to {}", min, kVersionMax));
        return min;
    }

    bool flag(std::string_view name) {
        const Json value = read(name);
        if (!value.is_boolean()) complain(name, "true or false");
        return value == true;
    }

    Timestamp time(std::string_view name) {
        const auto time = parse_timestamp(text(name));
        if (!time) complain(name, "a time, 2026-11-23T16:07:47.123456Z");
        return time.value_or(Timestamp{});
    }

    std::optional<Timestamp> time_or_null(std::string_view name) {
        if (object_.member(name) == "null") return std::nullopt;
        return time(name);
    }

    // The member as written; empty for null.
    std::string object_or_null(std::string_view name) {
        const std::string_view written = object_.member(name).value_or("");
        if (written == "null") return {};
        if (!written.starts_with('{')) complain(name, "an object or null");
        return std::string(written);
    }

    bool has(std::string_view name) const { return object_.member(name).has_value(); }

    const Status& status() const { return status_; }

private:
    // An object is never right here, and could have so many keys that building it takes hours.
    Json read(std::string_view name) const {
        const std::string_view written = object_.member(name).value_or("");
        return Json::parse(written.starts_with('{') || written.starts_with('[') ? "" : written, nullptr, false);
    }

    void complain(std::string_view name, std::string_view accepted) {
        if (status_) status_ = fail(ErrorCode::kInvalidArgument, fmt::format("\"{}\" is not {}", name, accepted));
    }

    State object_;
    Status status_;
};

SnapshotInfo read_info(Members& members) {
    return {.run_id = members.text("run_id"),
            .thread_id = members.text("thread_id"),
            .user_id = members.text("user_id"),
            .snapshot_id = members.text("snapshot_id"),
            .version = members.number("version", 1),
            .parent_version = members.number("parent_version", 0),
            .checkpoint_type = CheckpointType(members.text("checkpoint_type")),
            .agent_phase = AgentPhase(members.text("agent_phase")),
            .is_recovery_point = members.flag("is_recovery_point"),
            .created_at = members.time("created_at"),
            .expires_at = members.time_or_null("expires_at"),
            .state_bytes = static_cast<std::uint64_t>(members.number("state_bytes", 0)),
            .execution_context = members.object_or_null("execution_context"),
            .metadata = members.object_or_null("metadata")};
}

// The usual way of saving makes the same checks.
Status check(const SnapshotInfo& info, const State& state, const StateLimits& limits) {
    if (info.parent_version >= info.version) {
        return fail(ErrorCode::kInvalidArgument, "\"parent_version\" is not before \"version\"");
    }
    return check_save_request({.run_id = info.run_id,
                               .thread_id = info.thread_id,
                               .user_id = info.user_id,
                               .state_data = state,
                               .checkpoint_type = info.checkpoint_type,
                               .agent_phase = info.agent_phase,
                               .snapshot_id = info.snapshot_id},
                              limits);
}

// Separate from the state, which may be large, so that looking for the other members is cheap.
Members members_beside(const State& line, std::string_view state_text) {
    const auto from = static_cast<std::size_t>(state_text.data() - line.text().data());
    std::string rest(line.text().substr(0, from));
    rest.append("null").append(line.text().substr(from + state_text.size()));
    return Members(State::from_normal_text(std::move(rest)));
}

Result<State> json_state(std::string_view written) {
    if (!written.starts_with('{')) return fail(ErrorCode::kInvalidArgument, "\"state\" is not an object");
    return State::from_normal_text(std::string(written));
}

Result<State> opaque_state(std::string_view written, const std::string& type_tag, const StateLimits& limits) {
    const bool is_text = written.size() >= 2 && written.starts_with('"');
    std::optional<std::string> bytes =
        is_text ? from_base64(written.substr(1, written.size() - 2), kOpaqueTrailerBytesMax) : std::nullopt;
    if (!bytes) return fail(ErrorCode::kInvalidArgument, "\"state_base64\" is not a string of base64");
    Result<State> state = State::opaque(type_tag, *std::move(bytes), limits);
    if (!state && state.error().code == ErrorCode::kInvalidArgument) {
        state.error().message = "\"state_type\": " + state.error().message;
    }
    return state;
}

// Of the members beside "state".
Status check_is_json(const Members& members) {
    if (members.has("state_base64")) {
        return fail(ErrorCode::kInvalidArgument, "\"state\" and \"state_base64\" are both there: one is right");
    }
    if (!members.has("state_type")) return {};
    return fail(ErrorCode::kInvalidArgument, "\"state_type\" is there and \"state_base64\" is not");
}

Result<TransferLine> parse_snapshot(const State& line, std::string_view written, bool is_opaque,
                                    const StateLimits& limits) {
    Members members = members_beside(line, written);
    if (!is_opaque) {
        if (Status status = check_is_json(members); !status) return std::unexpected(std::move(status.error()));
    }
    SnapshotInfo info = read_info(members);
    const std::string checksum = members.text("checksum");
    const std::string type_tag = is_opaque ? members.text("state_type") : std::string();
    if (!members.status()) return std::unexpected(members.status().error());
    Result<State> read = is_opaque ? opaque_state(written, type_tag, limits) : json_state(written);
    if (!read) return std::unexpected(std::move(read.error()));
    State& state = *read;
    if (Status good = check(info, state, limits); !good) return std::unexpected(std::move(good.error()));
    info.state_type = state.type_tag();
    info.checksum = state.checksum();
    if (info.checksum.to_hex() == checksum && info.state_bytes == state.size_bytes()) {
        return LoadedState{.state = std::move(state), .info = std::move(info)};
    }
    return fail(ErrorCode::kCorrupt, fmt::format("the state of snapshot {} of run \"{}\" is not the one that its "
                                                 "checksum and length are of",
                                                 info.snapshot_id, info.run_id));
}

Result<TransferLine> parse_end(const State& line) {
    Members members(line);
    const TransferEnd end{.snapshots = static_cast<std::uint64_t>(members.number("snapshots", 0))};
    if (!members.status()) return std::unexpected(members.status().error());
    return end;
}

}  // namespace

std::string to_transfer_line(const LoadedState& snapshot) {
    return with_state(to_json(snapshot.info, Json::object()), snapshot.state);
}

std::string to_transfer_line(const TransferEnd& end) {
    return to_line({{"end", true}, {"snapshots", end.snapshots}});
}

// Allows a state, a context and metadata of that size, and the other members. In base64 the state is a third larger.
std::uint64_t transfer_line_bytes_max(const StateLimits& limits) {
    constexpr std::uint64_t kOthers = 64U << 10;
    const std::uint64_t bytes_max = std::min(limits.bytes_max, StateLimits::kBytesMaxUpper);
    return std::min(3 * bytes_max + bytes_max / 3 + kOthers, StateLimits::kBytesMaxUpper);
}

Result<TransferLine> parse_transfer_line(std::string&& line, const StateLimits& limits) {
    const StateLimits line_limits{.bytes_max = transfer_line_bytes_max(limits), .depth_max = limits.depth_max + 1};
    const auto parsed = State::parse(std::move(line), line_limits);
    if (!parsed) return std::unexpected(parsed.error());
    const auto state_text = parsed->member("state");
    if (state_text) return parse_snapshot(*parsed, *state_text, false, limits);
    if (const auto bytes = parsed->member("state_base64")) return parse_snapshot(*parsed, *bytes, true, limits);
    if (parsed->member("end") == "true") return parse_end(*parsed);
    return fail(ErrorCode::kInvalidArgument, "there is no \"state\": this is no line of a `cairn export`");
}

}  // namespace cairn
