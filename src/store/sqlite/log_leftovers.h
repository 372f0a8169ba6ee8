#pragma once

// Frames behind the end of the log. A writer writes its frames first and then publishes them, by moving the log's end
// in the shared index. If it dies between the two, its sync fails or the power goes, its frames stay there. The next
// writer would write over the first of them. What is left of several such writers looks like a damaged log that lost
// commits: whole commits behind a frame that does not continue the one before it. So a writer cuts leftovers off before
// it writes. Commits behind real damage lie there too, and must be kept first.

#include "store/sqlite/live_files.h"

#include <cstdint>

struct sqlite3_file;  // NOLINT(readability-identifier-naming): the engine's

namespace cairn::sqlite {

enum class Look : std::uint8_t {
    kEverywhere,  ///< At all frames. A power cut, or damage, can hide the first ones.
    kNearby       ///< At all frames if the first one is of this log. That is enough after a look everywhere.
};

struct BehindLog {
    int result_code = 0;                 // the engine's
    bool has_leftovers = false;          // frames of this same log
    bool may_have_lost_commits = false;  // more of them than one writer leaves, or a log that the engine cannot read
};

/// Looks behind the log's end. Frames of an older log do no harm: a log that starts again is not cut off. The caller
/// must hold the write lock, and must not have written yet.
[[nodiscard]] BehindLog look_behind(sqlite3_file& log, const LogIndex& index, std::uint32_t page_size, Look look);

/// Cuts the log off at its end, under the same conditions. Returns the engine's result code.
[[nodiscard]] int cut_off_leftovers(sqlite3_file& log, const LogIndex& index);

}  // namespace cairn::sqlite
