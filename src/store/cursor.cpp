#include "store/cursor.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdint>
#include <optional>

namespace cairn {
namespace {

constexpr std::string_view kNewestRunPrefix = "run:";
constexpr std::string_view kRunByIdPrefix = "run-id:";
constexpr std::string_view kThreadPrefix = "thread:";

// A whole number as `fmt` prints it: no plus sign, no leading zero.
template <class Integer>
std::optional<Integer> read_number(std::string_view text) {
    Integer value{};
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (problem != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    if (fmt::format("{}", value) != text) return std::nullopt;
    return value;
}

std::unexpected<Error> invalid_cursor_error(std::string_view cursor) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("cursor \"{}\" is not one of this list: give a page's next_cursor, or none", cursor));
}

}  // namespace

// run:<microseconds>:<run id>, or run-id:<run id>
std::string encode_run_cursor(RunQuery::Order order, std::int64_t created_at, std::string_view run_id) {
    if (order == RunQuery::Order::kById) return fmt::format("{}{}", kRunByIdPrefix, run_id);
    return fmt::format("{}{}:{}", kNewestRunPrefix, created_at, run_id);
}

Result<RunCursor> decode_run_cursor(RunQuery::Order order, std::string_view cursor) {
    const bool is_by_id = order == RunQuery::Order::kById;
    const std::string_view prefix = is_by_id ? kRunByIdPrefix : kNewestRunPrefix;
    if (!cursor.starts_with(prefix)) return invalid_cursor_error(cursor);
    const std::string_view rest = cursor.substr(prefix.size());
    if (is_by_id) return RunCursor{.run_id = std::string(rest)};
    const std::size_t colon = rest.find(':');
    if (colon == std::string_view::npos) return invalid_cursor_error(cursor);
    const auto microseconds = read_number<std::int64_t>(rest.substr(0, colon));
    if (!microseconds) return invalid_cursor_error(cursor);
    return RunCursor{.created_at = *microseconds, .run_id = std::string(rest.substr(colon + 1))};
}

// thread:<bytes of the thread id>:<thread id><user id>
std::string encode_thread_cursor(std::string_view thread_id, std::string_view user_id) {
    return fmt::format("{}{}:{}{}", kThreadPrefix, thread_id.size(), thread_id, user_id);
}

Result<ThreadCursor> decode_thread_cursor(std::string_view cursor) {
    if (!cursor.starts_with(kThreadPrefix)) return invalid_cursor_error(cursor);
    const std::string_view rest = cursor.substr(kThreadPrefix.size());
    const std::size_t colon = rest.find(':');
    if (colon == std::string_view::npos) return invalid_cursor_error(cursor);
    const auto thread_bytes = read_number<std::size_t>(rest.substr(0, colon));
    const std::string_view ids = rest.substr(colon + 1);
    if (!thread_bytes || *thread_bytes > ids.size()) return invalid_cursor_error(cursor);
    return ThreadCursor{.thread_id = std::string(ids.substr(0, *thread_bytes)),
                        .user_id = std::string(ids.substr(*thread_bytes))};
}

}  // namespace cairn
