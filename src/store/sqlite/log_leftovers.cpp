#include "store/sqlite/log_leftovers.h"

#include "store/sqlite/log_file.h"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace cairn::sqlite {
namespace {

using FrameHeader = std::array<char, kFrameHeaderBytes>;

bool is_of(const LogIndex& log, const FrameHeader& frame) {
    return std::equal(log.salts.begin(), log.salts.end(), frame.begin() + 8);
}

bool ends_commit(const FrameHeader& frame) {
    return std::any_of(frame.begin() + 4, frame.begin() + 8, [](char byte) { return byte != 0; });
}

int read(sqlite3_file& log, FrameHeader& bytes, std::uint64_t offset) {
    return log.pMethods->xRead(&log, bytes.data(), static_cast<int>(bytes.size()), static_cast<sqlite3_int64>(offset));
}

// A transaction that was given up leaves frames without a commit. Counts no further than needed.
BehindLog look_at_all_from(std::uint64_t offset, sqlite3_file& log, const LogIndex& index, std::uint32_t page_size) {
    BehindLog behind;
    std::uint64_t commits = 0;
    FrameHeader frame{};
    while (commits < kCommitsOfDamage) {
        behind.result_code = read(log, frame, offset);
        if (behind.result_code != SQLITE_OK) break;
        offset += kFrameHeaderBytes + page_size;
        if (!is_of(index, frame)) continue;
        behind.has_leftovers = true;
        if (ends_commit(frame)) ++commits;
    }
    behind.may_have_lost_commits = commits == kCommitsOfDamage;
    if (behind.result_code == SQLITE_IOERR_SHORT_READ) behind.result_code = SQLITE_OK;
    return behind;
}

}  // namespace

// If the engine has found nothing in a log that has frames, even the log's salts may be unknown.
BehindLog look_behind(sqlite3_file& log, const LogIndex& index, std::uint32_t page_size, Look look) {
    const std::uint64_t end = std::max<std::uint64_t>(index.bytes_of_log(), kLogHeaderBytes);
    FrameHeader first{};
    const int result_code = read(log, first, end);
    if (result_code == SQLITE_IOERR_SHORT_READ) return {};
    if (result_code != SQLITE_OK) return {.result_code = result_code};
    if (look == Look::kNearby && !is_of(index, first)) return {};
    BehindLog behind = look_at_all_from(end, log, index, page_size);
    if (look == Look::kEverywhere && index.frames == 0) behind.may_have_lost_commits = true;
    return behind;
}

// The cut is synced, so that no power cut mixes the leftovers with what is written next.
int cut_off_leftovers(sqlite3_file& log, const LogIndex& index) {
    const int result_code = log.pMethods->xTruncate(&log, static_cast<sqlite3_int64>(index.bytes_of_log()));
    return result_code == SQLITE_OK ? log.pMethods->xSync(&log, SQLITE_SYNC_NORMAL) : result_code;
}

}  // namespace cairn::sqlite
