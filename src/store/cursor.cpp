#include "store/cursor.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>

namespace cairn {
namespace {

constexpr std::string_view kRunPrefix = "run:";
constexpr std::string_view kThreadPrefix = "thread:";

// A whole number from 0 as `fmt` prints it: no sign, no leading zero.
template <class Integer>
std::optional<Integer> read_number(std::string_view text) {
    Integer value{};
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (problem != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    if (fmt::format("{}", value) != text || text.starts_with('-')) return std::nullopt;
    return value;
}

std::unexpected<Error> bad_cursor(std::string_view cursor) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("cursor \"{}\" is not one of this list: give a page's next_cursor, or none", cursor));
}

}  // namespace

std::string encode_run_cursor(std::int64_t created_sequence) {
    return fmt::format("{}{}", kRunPrefix, created_sequence);
}

Result<std::int64_t> decode_run_cursor(std::string_view cursor) {
    if (!cursor.starts_with(kRunPrefix)) return bad_cursor(cursor);
    const auto sequence = read_number<std::int64_t>(cursor.substr(kRunPrefix.size()));
    if (!sequence) return bad_cursor(cursor);
    return *sequence;
}

// thread:<bytes of the thread id>:<thread id><user id>
std::string encode_thread_cursor(std::string_view thread_id, std::string_view user_id) {
    return fmt::format("{}{}:{}{}", kThreadPrefix, thread_id.size(), thread_id, user_id);
}

Result<ThreadCursor> decode_thread_cursor(std::string_view cursor) {
    if (!cursor.starts_with(kThreadPrefix)) return bad_cursor(cursor);
    const std::string_view rest = cursor.substr(kThreadPrefix.size());
    const std::size_t colon = rest.find(':');
    if (colon == std::string_view::npos) return bad_cursor(cursor);
    const auto thread_bytes = read_number<std::size_t>(rest.substr(0, colon));
    const std::string_view ids = rest.substr(colon + 1);
    if (!thread_bytes || *thread_bytes > ids.size()) return bad_cursor(cursor);
    return ThreadCursor{.thread_id = std::string(ids.substr(0, *thread_bytes)),
                        .user_id = std::string(ids.substr(*thread_bytes))};
}

}  // namespace cairn
