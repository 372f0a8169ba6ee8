#include "store/sqlite/sqlite_error.h"

#include "base/system_error_code.h"

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

Meaning meaning_of_full_storage(int system_error) {
    if (system_error != EFBIG) return {ErrorCode::kStorageFull, "no space is left"};
    return {ErrorCode::kStorageFull, "a file may not grow further (a limit of the process or of the file system)"};
}

Meaning meaning_of_io_error(int result_code, int system_error) {
    if (is_storage_full(system_error)) return meaning_of_full_storage(system_error);
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
            if (is_storage_full(system_error)) return meaning_of_full_storage(system_error);
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

// Each file of the connection keeps the number of its own last failed system call. The connection is closed after such
// an error, so the number belongs to it.
template <typename Predicate>
int file_error(sqlite3* database, Predicate matches) {
    for (const int which : {SQLITE_FCNTL_FILE_POINTER, SQLITE_FCNTL_JOURNAL_POINTER}) {
        sqlite3_file* file = nullptr;
        sqlite3_file_control(database, "main", which, static_cast<void*>(&file));
        int system_error = 0;
        if (file == nullptr || file->pMethods == nullptr) continue;
        file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &system_error);
        if (matches(system_error)) return system_error;
    }
    return 0;
}

// The engine reports a read that the system refused as damage, and forgets the reason (SQLITE_IOERR_CORRUPTFS becomes
// SQLITE_CORRUPT).
bool refuses_read(int system_error) {
    return system_error == EIO || system_error == ENXIO || system_error == ERANGE;
}

// The number of the failed system call behind `result_code`, 0 if none failed. The engine keeps the number of its last
// one, which does not belong to other failures, and forgets it when a COMMIT could not write.
int system_error_of(int result_code, sqlite3* database) {
    if (database == nullptr) return 0;
    if (primary(result_code) == SQLITE_CORRUPT) return file_error(database, refuses_read);
    if (!is_input_output(result_code)) return 0;
    const int last = sqlite3_system_errno(database);
    return last != 0 ? last : file_error(database, is_storage_full);
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
    const int system_error = system_error_of(result_code, database);
    if (primary(result_code) == SQLITE_CORRUPT && system_error != 0) result_code = SQLITE_IOERR_READ;
    const Meaning meaning = meaning_of(result_code, system_error);
    if (system_error != 0) detail += fmt::format(", {}", std::generic_category().message(system_error));
    return {.code = meaning.code, .message = fmt::format("{}: {}", path, meaning.message), .detail = std::move(detail)};
}

}  // namespace cairn::sqlite
