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

// Two commits or more behind the end are no leftovers of one writer.
constexpr int kCommitsOfDamage = 2;

bool is_of(const LogIndex& log, const FrameHeader& frame) {
    return std::equal(log.salts.begin(), log.salts.end(), frame.begin() + 8);
}

bool ends_commit(const FrameHeader& frame) {
    return std::any_of(frame.begin() + 4, frame.begin() + 8, [](char byte) { return byte != 0; });
}

template <std::size_t count>
int read(sqlite3_file& log, std::array<char, count>& bytes, std::uint64_t offset) {
    return log.pMethods->xRead(&log, bytes.data(), static_cast<int>(count), static_cast<sqlite3_int64>(offset));
}

// From the log's own header: the index does not say it before the log's first commit.
int read_page_size(sqlite3_file& log, std::uint32_t& page_size) {
    constexpr std::uint64_t kPageSizeOffset = 8;
    std::array<char, 4> bytes{};
    const int result_code = read(log, bytes, kPageSizeOffset);
    for (const char byte : bytes) page_size = page_size << 8U | static_cast<unsigned char>(byte);
    return result_code;
}

// Counts no further than needed. Damage may also hide the salts of frames, so all frames up to the end of the file are
// looked at.
int count_commits_from(std::uint64_t offset, sqlite3_file& log, const LogIndex& index, int& commits) {
    constexpr std::uint32_t kPageSizeMin = 512;
    std::uint32_t page_size = 0;
    int result_code = read_page_size(log, page_size);
    if (page_size < kPageSizeMin) commits = kCommitsOfDamage;  // nobody can tell
    FrameHeader frame{};
    for (; result_code == SQLITE_OK && commits < kCommitsOfDamage; offset += kFrameHeaderBytes + page_size) {
        result_code = read(log, frame, offset);
        if (result_code == SQLITE_OK && is_of(index, frame) && ends_commit(frame)) ++commits;
    }
    return result_code == SQLITE_IOERR_SHORT_READ ? SQLITE_OK : result_code;
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
