#pragma once

// Cursors of the pages that `Store::runs` and `Store::threads` return. A cursor is text that the store made.

#include <cairn/error.h>
#include <cairn/store.h>
#include <cairn/types.h>

#include <string>
#include <string_view>

namespace cairn {

/// The last run of a page: only what the order of its list needs.
struct RunCursor {
    std::int64_t created_at = 0;  ///< Microseconds, in a list by creation; in a list by id, the same for all runs.
    std::string run_id = {};
};
std::string encode_run_cursor(RunQuery::Order order, std::int64_t created_at, std::string_view run_id);

/// Errors: kInvalidArgument (not made by `encode_run_cursor` for a list of this order).
[[nodiscard]] Result<RunCursor> decode_run_cursor(RunQuery::Order order, std::string_view cursor);

/// The last thread of a page.
struct ThreadCursor {
    std::string thread_id;
    std::string user_id;
};
std::string encode_thread_cursor(std::string_view thread_id, std::string_view user_id);

/// Errors: kInvalidArgument (not made by `encode_thread_cursor`).
[[nodiscard]] Result<ThreadCursor> decode_thread_cursor(std::string_view cursor);

}  // namespace cairn
