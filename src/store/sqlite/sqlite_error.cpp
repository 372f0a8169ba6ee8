#include "store/sqlite/sqlite_error.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <cerrno>
#include <string>
#include <system_error>

namespace cairn::sqlite {
namespace {

struct Meaning {
    ErrorCode code;
    std::string_view message;
};

int primary(int result_code) {
    return result_code & 0xff;
}

bool is_input_output(int result_code) {
    return primary(result_code) == SQLITE_IOERR || primary(result_code) == SQLITE_CANTOPEN;
}

Meaning meaning_of_io_error(int result_code, int system_error) {
    if (system_error == ENOSPC || system_error == EDQUOT) return {ErrorCode::kStorageFull, "no space is left"};
    if (result_code == SQLITE_IOERR_NOMEM) return {ErrorCode::kInternal, "no memory is left"};
    if (result_code == SQLITE_IOERR_DATA || result_code == SQLITE_IOERR_SHORT_READ) {
        return {ErrorCode::kCorrupt, "the file is damaged"};
    }
    return {ErrorCode::kUnavailable, "the disk or the file system failed"};
}

Meaning meaning_of(int result_code, int system_error) {
    switch (primary(result_code)) {
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
        case SQLITE_PROTOCOL:
            return {ErrorCode::kUnavailable, "another connection kept the database locked"};
        case SQLITE_INTERRUPT:
            return {ErrorCode::kUnavailable, "the deadline passed before the work was done; nothing was applied"};
        case SQLITE_FULL:
            return {ErrorCode::kStorageFull, "no space is left"};
        case SQLITE_IOERR:
            return meaning_of_io_error(result_code, system_error);
        case SQLITE_CANTOPEN:
            if (system_error == ENOSPC || system_error == EDQUOT) return {ErrorCode::kStorageFull, "no space is left"};
            return {ErrorCode::kUnavailable, "the file or one of its log files cannot be opened"};
        case SQLITE_READONLY:
        case SQLITE_PERM:
            return {ErrorCode::kReadOnly, "the file or its folder cannot be written"};
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
            return {ErrorCode::kCorrupt, "the file is damaged"};
        case SQLITE_ERROR:
            // Our statements are constants, which a sound schema compiles and runs.
            return {ErrorCode::kCorrupt, "its schema is damaged"};
        case SQLITE_TOOBIG:
            return {ErrorCode::kLimitExceeded, "a value is larger than the engine can store (1 GB)"};
        case SQLITE_NOMEM:
            return {ErrorCode::kInternal, "no memory is left"};
        default:
            return {ErrorCode::kInternal, "the engine failed"};
    }
}

// The engine reports a read that the system refused as damage, and forgets the reason (SQLITE_IOERR_CORRUPTFS becomes
// SQLITE_CORRUPT). The files of the connection remember it; the connection is closed after the first such error.
int refused_read(sqlite3* database) {
    for (const int which : {SQLITE_FCNTL_FILE_POINTER, SQLITE_FCNTL_JOURNAL_POINTER}) {
        sqlite3_file* file = nullptr;
        sqlite3_file_control(database, "main", which, static_cast<void*>(&file));
        int system_error = 0;
        if (file == nullptr || file->pMethods == nullptr) continue;
        file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &system_error);
        if (system_error == EIO || system_error == ENXIO || system_error == ERANGE) return system_error;
    }
    return 0;
}

}  // namespace

bool is_busy(int result_code) noexcept {
    // PROTOCOL: a reader lost the race for the log's index a hundred times in a row.
    return primary(result_code) == SQLITE_BUSY || primary(result_code) == SQLITE_PROTOCOL;
}

bool breaks_connection(int result_code) noexcept {
    const int code = primary(result_code);
    return code == SQLITE_IOERR || code == SQLITE_CORRUPT || code == SQLITE_NOTADB || code == SQLITE_CANTOPEN;
}

bool is_refused_statement(int result_code) noexcept {
    return primary(result_code) == SQLITE_ERROR;
}

Error to_error(int result_code, sqlite3* database, std::string_view path) {
    const bool is_last = database != nullptr && sqlite3_extended_errcode(database) == result_code;
    const char* said = is_last ? sqlite3_errmsg(database) : sqlite3_errstr(result_code);
    std::string detail = fmt::format("SQLite {}: {}", result_code, said);
    // The engine keeps the number of its last failed system call, which does not belong to other failures.
    int system_error = is_input_output(result_code) && database != nullptr ? sqlite3_system_errno(database) : 0;
    if (primary(result_code) == SQLITE_CORRUPT && database != nullptr) {
        system_error = refused_read(database);
        if (system_error != 0) result_code = SQLITE_IOERR_READ;
    }
    const Meaning meaning = meaning_of(result_code, system_error);
    if (system_error != 0) detail += fmt::format(", {}", std::generic_category().message(system_error));
    return {.code = meaning.code, .message = fmt::format("{}: {}", path, meaning.message), .detail = std::move(detail)};
}

}  // namespace cairn::sqlite
