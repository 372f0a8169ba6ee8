#pragma once

// Frames behind the end of the log. A writer writes its frames first and then publishes them, by moving the log's end
// in the shared index. If it dies between the two, or its sync fails, its frames stay there. The next writer would
// write over the first of them. What is left of several such writers looks like a damaged log that lost commits: whole
// commits behind a frame that does not continue the one before it. So a writer cuts leftovers off before it writes.

#include "store/sqlite/live_files.h"

struct sqlite3_file;

namespace cairn::sqlite {

/// Cuts the log off at its end if frames of this same log follow. (Those of an older log do no harm: a log that starts
/// again is not cut off.) The caller must hold the write lock, and must not have written yet. Two commits or more are
/// left as they are: no writer leaves them, so they are commits behind damage, which may not have been kept yet.
/// Returns the engine's result code.
[[nodiscard]] int cut_off_leftovers(sqlite3_file& log, const LogIndex& index);

}  // namespace cairn::sqlite
