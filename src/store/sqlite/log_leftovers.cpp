#include "store/sqlite/log_leftovers.h"

#include "store/sqlite/log_file.h"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <cstdint>

namespace cairn::sqlite {
namespace {

using FrameHeader = std::array<char, kFrameHeaderBytes>;

// Two commits or more behind the end are no leftovers of one writer.
constexpr int kCommitsOfDamage = 2;

bool is_of(const LogIndex& log, const FrameHeader& frame) {
    return std::equal(log.salts.begin(), log.salts.end(), frame.begin() + 8);
}

bool ends_commit(const FrameHeader& frame) {
    return std::any_of(frame.begin() + 4, frame.begin() + 8, [](char byte) { return byte != 0; });
}

int read(sqlite3_file& log, FrameHeader& frame, std::uint64_t offset) {
    return log.pMethods->xRead(&log, frame.data(), static_cast<int>(frame.size()), static_cast<sqlite3_int64>(offset));
}

// Damage may also hide the salts of frames, so all frames up to the end of the file are looked at.
int count_commits_from(std::uint64_t offset, sqlite3_file& log, const LogIndex& index, int& commits) {
    FrameHeader frame{};
    for (commits = 0; commits < kCommitsOfDamage; offset += kFrameHeaderBytes + index.page_size) {
        const int result_code = read(log, frame, offset);
        if (result_code == SQLITE_IOERR_SHORT_READ) return SQLITE_OK;
        if (result_code != SQLITE_OK) return result_code;
        if (is_of(index, frame) && ends_commit(frame)) ++commits;
    }
    return SQLITE_OK;
}

}  // namespace

// The cut is synced, so that no power cut mixes the leftovers with what is written next.
int cut_off_leftovers(sqlite3_file& log, const LogIndex& index) {
    const std::uint64_t end = std::max<std::uint64_t>(index.bytes_of_log(), kLogHeaderBytes);
    FrameHeader first{};
    int result_code = read(log, first, end);
    if (result_code == SQLITE_IOERR_SHORT_READ) return SQLITE_OK;
    if (result_code != SQLITE_OK || !is_of(index, first)) return result_code;
    int commits = 0;
    result_code = count_commits_from(end, log, index, commits);
    if (result_code != SQLITE_OK || commits >= kCommitsOfDamage) return result_code;
    result_code = log.pMethods->xTruncate(&log, static_cast<sqlite3_int64>(index.bytes_of_log()));
    return result_code == SQLITE_OK ? log.pMethods->xSync(&log, SQLITE_SYNC_NORMAL) : result_code;
}

}  // namespace cairn::sqlite
