#include <cairn/state.h>

#include "state/json_check.h"
#include "state/normal_text.h"
#include "state/opaque_text.h"
#include "state/state_diagnosis.h"
#include "state/structural_index.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <limits>
#include <new>

namespace cairn {
namespace {

/// Memory for the work on one text, apart from the result.
struct Workspace {
    StructuralIndex index;
    std::string scratch;
};

/// Up to this size a thread keeps its workspace for the next state (5 bytes per byte); a larger one is freed at once.
constexpr std::size_t kKeptTextBytesMax = 1 << 20;

template <class Use>
auto with_workspace(std::size_t text_bytes, Use&& use) {
    if (text_bytes <= kKeptTextBytesMax) {
        thread_local Workspace kept;
        return use(kept);
    }
    Workspace workspace;
    return use(workspace);
}

Error out_of_memory_error(std::size_t text_bytes) {
    return {.message = fmt::format("out of memory for a state of {} bytes", text_bytes)};
}

Status check_size(std::size_t bytes, const StateLimits& limits) {
    const std::uint64_t bytes_max = std::min(limits.bytes_max, StateLimits::kBytesMaxUpper);
    if (bytes <= bytes_max) return {};
    return fail(ErrorCode::kLimitExceeded,
                fmt::format("the state has {} bytes, bytes_max is {} (CAIRN_STATE_BYTES_MAX)", bytes, bytes_max));
}

/// Returns the number of white space bytes to leave out.
Result<std::size_t> check(std::string_view text, const StateLimits& limits, StructuralIndex& index) {
    if (Status status = check_size(text.size(), limits); !status) return std::unexpected(std::move(status.error()));
    const JsonCheck checked = check_json(text, limits.depth_max, index);
    if (checked.outcome == JsonCheck::Outcome::kAccepted) return checked.white_space_bytes;
    if (checked.outcome == JsonCheck::Outcome::kOutOfMemory) return std::unexpected(out_of_memory_error(text.size()));
    if (auto error = diagnose(text, limits.depth_max)) return std::unexpected(std::move(*error));
    return fail(ErrorCode::kInternal, "a state was refused and the diagnosis finds no reason");
}

/// simdjson trusts its input to be JSON, which `check` has made sure of. It needs room behind its output. That is why
/// there is a scratch buffer, and then a copy of the text's size.
std::string without_white_space(std::string_view text, std::string& scratch) {
    scratch.resize_and_overwrite(text.size() + simdjson::SIMDJSON_PADDING, [&](char* out, std::size_t) {
        std::size_t bytes = 0;
        const auto error = simdjson::minify(text.data(), text.size(), out, bytes);
        return error == simdjson::SUCCESS ? bytes : 0;
    });
    return std::string(std::string_view(scratch));
}

/// `text` is the caller's string or a view of it: a string without white space is taken over as it is.
template <class Text>
Result<State> parse_text(Text&& text, const StateLimits& limits) try {
    return with_workspace(text.size(), [&](Workspace& workspace) -> Result<State> {
        const Result<std::size_t> white_space_bytes = check(text, limits, workspace.index);
        if (!white_space_bytes) return std::unexpected(white_space_bytes.error());
        if (*white_space_bytes == 0) return State::from_normal_text(std::string(std::forward<Text>(text)));
        std::string normal = without_white_space(text, workspace.scratch);
        if (normal.size() + *white_space_bytes == text.size()) return State::from_normal_text(std::move(normal));
        return fail(ErrorCode::kInternal, "two counts of a state's white space differ");
    });
} catch (const std::bad_alloc&) {
    return std::unexpected(out_of_memory_error(text.size()));
}

Status check_opaque(std::string_view type_tag, std::string_view bytes, const StateLimits& limits) {
    if (Status status = check_type_tag("the type tag of an opaque state", type_tag); !status) return status;
    return check_size(bytes.size(), limits);
}

}  // namespace

State::State() {
    static const auto empty_object = std::make_shared<const std::string>("{}");
    text_ = empty_object;
}

Result<State> State::parse(std::string_view text, const StateLimits& limits) {
    return parse_text(text, limits);
}

Result<State> State::parse(std::string&& text, const StateLimits& limits) {
    return parse_text(std::move(text), limits);
}

Result<State> State::opaque(std::string_view type_tag, std::string_view bytes, const StateLimits& limits) try {
    if (Status status = check_opaque(type_tag, bytes, limits); !status) {
        return std::unexpected(std::move(status.error()));
    }
    std::string stored_text;
    stored_text.reserve(bytes.size() + trailer_bytes_of(type_tag));
    stored_text += bytes;
    append_type_tag(stored_text, type_tag);
    return from_opaque_text(std::move(stored_text));
} catch (const std::bad_alloc&) {
    return std::unexpected(out_of_memory_error(bytes.size()));
}

// A buffer that is too small would grow to twice its size, and stay so as long as the state lives.
Result<State> State::opaque(std::string_view type_tag, std::string&& bytes, const StateLimits& limits) try {
    if (bytes.capacity() - bytes.size() < trailer_bytes_of(type_tag)) {
        return opaque(type_tag, std::string_view(bytes), limits);
    }
    if (Status status = check_opaque(type_tag, bytes, limits); !status) {
        return std::unexpected(std::move(status.error()));
    }
    append_type_tag(bytes, type_tag);
    return from_opaque_text(std::move(bytes));
} catch (const std::bad_alloc&) {
    return std::unexpected(out_of_memory_error(bytes.size()));
}

Status check_stored_text(std::string_view text) try {
    if (text.size() > StateLimits::kBytesMaxUpper) return fail(ErrorCode::kCorrupt, "a stored text is too long");
    return with_workspace(text.size(), [&](Workspace& workspace) -> Status {
        constexpr auto kAnyDepth = std::numeric_limits<std::uint32_t>::max();
        const JsonCheck checked = check_json(text, kAnyDepth, workspace.index);
        if (checked.outcome == JsonCheck::Outcome::kOutOfMemory)
            return std::unexpected(out_of_memory_error(text.size()));
        if (checked.outcome == JsonCheck::Outcome::kAccepted && checked.white_space_bytes == 0) return {};
        return fail(ErrorCode::kCorrupt, "its text is not one JSON object in normal text");
    });
} catch (const std::bad_alloc&) {
    return std::unexpected(out_of_memory_error(text.size()));
}

State State::from_normal_text(std::string&& text) {
    return State(std::make_shared<const std::string>(std::move(text)));
}

State State::from_opaque_text(std::string&& stored_text) {
    const std::size_t trailer_bytes = stored_text.size() - parts_of(stored_text).bytes.size();
    return State(std::make_shared<const std::string>(std::move(stored_text)), trailer_bytes);
}

}  // namespace cairn
