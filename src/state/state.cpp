#include <cairn/state.h>

#include "state/json_check.h"
#include "state/state_diagnosis.h"
#include "state/structural_index.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <new>

namespace cairn {
namespace {

/// Up to here a thread keeps its memory for the next state (4 bytes for each byte); more is returned at once.
constexpr std::size_t kKeptTextBytesMax = 1 << 20;

JsonCheck check_on_this_thread(std::string_view text, std::uint32_t depth_max) {
    if (text.size() <= kKeptTextBytesMax) {
        thread_local StructuralIndex kept;
        return check_json(text, depth_max, kept);
    }
    StructuralIndex index;
    return check_json(text, depth_max, index);
}

Error out_of_memory(std::string_view text) {
    return {.message = fmt::format("out of memory for a state of {} bytes", text.size())};
}

/// The number of white space bytes to leave out.
Result<std::size_t> check(std::string_view text, const StateLimits& limits) {
    const std::uint64_t bytes_max = std::min(limits.bytes_max, StateLimits::kBytesMaxUpper);
    if (text.size() > bytes_max) {
        return fail(
            ErrorCode::kLimitExceeded,
            fmt::format("the state has {} bytes, bytes_max is {} (CAIRN_STATE_BYTES_MAX)", text.size(), bytes_max));
    }
    const JsonCheck checked = check_on_this_thread(text, limits.depth_max);
    if (checked.outcome == JsonCheck::Outcome::kAccepted) return checked.white_space_bytes;
    if (checked.outcome == JsonCheck::Outcome::kOutOfMemory) return std::unexpected(out_of_memory(text));
    if (auto error = diagnose(text, limits.depth_max)) return std::unexpected(std::move(*error));
    return fail(ErrorCode::kInternal, "a state was refused and the diagnosis finds no reason");
}

/// simdjson trusts its input to be JSON, which `check` has made sure of.
std::string without_white_space(std::string_view text) {
    std::string normal;
    normal.resize_and_overwrite(text.size() + simdjson::SIMDJSON_PADDING, [&](char* out, std::size_t) {
        std::size_t bytes = 0;
        const auto error = simdjson::minify(text.data(), text.size(), out, bytes);
        return error == simdjson::SUCCESS ? bytes : 0;
    });
    normal.shrink_to_fit();
    return normal;
}

/// `text` is the caller's string or a view on it: what has no white space is taken as it is.
template <class Text>
Result<State> parse_text(Text&& text, const StateLimits& limits) try {
    const Result<std::size_t> white_space_bytes = check(text, limits);
    if (!white_space_bytes) return std::unexpected(white_space_bytes.error());
    if (*white_space_bytes == 0) return State::from_normal_text(std::string(std::forward<Text>(text)));
    std::string normal = without_white_space(text);
    if (normal.size() + *white_space_bytes == text.size()) return State::from_normal_text(std::move(normal));
    return fail(ErrorCode::kInternal, "two counts of a state's white space differ");
} catch (const std::bad_alloc&) {
    return std::unexpected(out_of_memory(text));
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

State State::from_normal_text(std::string&& text) {
    return State(std::make_shared<const std::string>(std::move(text)));
}

}  // namespace cairn
