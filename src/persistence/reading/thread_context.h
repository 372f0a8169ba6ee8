#pragma once

#include <cairn/persistence.h>

namespace cairn {

/// Does what `StatePersistence::get_thread_context` promises.
Result<ThreadContext> read_thread_context(Store& store, std::string_view thread_id,
                                          std::optional<std::string_view> user_id, Deadline deadline);

}  // namespace cairn
