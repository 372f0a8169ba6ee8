#pragma once

// Cursors of the pages that `Store::runs` and `Store::threads` return: text that the store made and gets back.

#include <cairn/error.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace cairn {

/// The last run of a page, by the place that its store gave it when it was created.
std::string encode_run_cursor(std::int64_t created_sequence);

/// Errors: kInvalidArgument (not made by `encode_run_cursor`).
[[nodiscard]] Result<std::int64_t> decode_run_cursor(std::string_view cursor);

/// The last thread of a page.
struct ThreadCursor {
    std::string thread_id;
    std::string user_id;
};
std::string encode_thread_cursor(std::string_view thread_id, std::string_view user_id);

/// Errors: kInvalidArgument (not made by `encode_thread_cursor`).
[[nodiscard]] Result<ThreadCursor> decode_thread_cursor(std::string_view cursor);

}  // namespace cairn
