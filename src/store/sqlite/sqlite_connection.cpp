#include "store/sqlite/sqlite_connection.h"

#include "store/sqlite/file_locks.h"
#include "store/sqlite/log_file.h"
#include "store/sqlite/log_leftovers.h"
#include "store/sqlite/sqlite_error.h"
#include "store/sqlite/sqlite_schema.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <new>
#include <thread>
#include <utility>

namespace cairn::sqlite {
namespace {

constexpr char kCommit[] = "COMMIT";
constexpr char kRollback[] = "ROLLBACK";
constexpr char kUserVersion[] = "PRAGMA user_version";
constexpr char kReadFirstPage[] = "PRAGMA application_id";
constexpr char kWriteFirstPage[] = "PRAGMA application_id = 1129467441";
static_assert(kApplicationId == 1129467441);
constexpr char kJournalMode[] = "PRAGMA journal_mode";
constexpr char kPageSize[] = "PRAGMA page_size";

// An empty view may have a null address, which the engine takes for NULL.
const char* address_of(std::string_view bytes) {
    return bytes.empty() ? "" : bytes.data();
}

// "Immutable" can only be said in a URI. Every byte of the path that could have a meaning there is escaped.
std::string immutable_uri(const std::filesystem::path& path) {
    std::string uri = "file://";
    for (const char character : path.native()) {
        const auto byte = static_cast<unsigned char>(character);
        const bool plain = std::isalnum(byte) != 0 || character == '/' || character == '_' || character == '.';
        plain ? uri.push_back(character) : static_cast<void>(uri += fmt::format("%{:02X}", byte));
    }
    return uri + "?immutable=1";
}

int flags_for(Access access) {
    // No mutex: the pool gives a connection to one thread at a time.
    const int common = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_PRIVATECACHE;
    switch (access) {
        case Access::kCreate:
            return common | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
        case Access::kWrite:
            return common | SQLITE_OPEN_READWRITE;
        case Access::kRead:
            return common | SQLITE_OPEN_READONLY;
        case Access::kImmutable:
            return common | SQLITE_OPEN_READONLY | SQLITE_OPEN_URI;
    }
    return common;
}

// This many of the engine's steps take a millisecond or less.
constexpr int kStepsBetweenLooks = 10'000;

int on_progress(void* connection) {
    return static_cast<const Connection*>(connection)->is_overdue() ? 1 : 0;
}

// A file's content must be data only: no trigger or view in it is obeyed (our temporary views are), and no SQL can
// break the file.
void distrust(sqlite3* database) {
    sqlite3_db_config(database, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
    sqlite3_db_config(database, SQLITE_DBCONFIG_ENABLE_VIEW, 0, nullptr);
    sqlite3_db_config(database, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
}

int on_busy(void* connection, int attempt) {
    return static_cast<Connection*>(connection)->wait_for_lock(attempt) ? 1 : 0;
}

}  // namespace

// ---- Cursor ----

Cursor::~Cursor() {
    if (statement_ == nullptr) return;
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
}

void Cursor::keep(int result_code) {
    if (result_code_ == SQLITE_OK) result_code_ = result_code;
}

void Cursor::bind_one(int index, std::int64_t value) {
    if (statement_ != nullptr) keep(sqlite3_bind_int64(statement_, index, value));
}

void Cursor::bind_one(int index, std::string_view value) {
    if (statement_ == nullptr) return;
    keep(sqlite3_bind_text64(statement_, index, address_of(value), value.size(), SQLITE_STATIC, SQLITE_UTF8));
}

void Cursor::bind_one(int index, Blob value) {
    if (statement_ == nullptr) return;
    keep(sqlite3_bind_blob64(statement_, index, address_of(value.bytes), value.bytes.size(), SQLITE_STATIC));
}

// The engine gives up on some locks without calling the busy handler, so we wait here too. We do so only before the
// first row, when a restart changes nothing.
int Cursor::step_once() {
    if (result_code_ != SQLITE_OK) return result_code_;
    int result_code = sqlite3_step(statement_);
    for (int attempt = 0; !started_ && is_busy(result_code) && connection_.wait_for_lock(attempt); ++attempt) {
        sqlite3_reset(statement_);
        result_code = sqlite3_step(statement_);
    }
    started_ = true;
    return result_code;
}

Result<bool> Cursor::step() {
    const int result_code = step_once();
    if (result_code == SQLITE_ROW) return true;
    if (result_code == SQLITE_DONE) return false;
    return std::unexpected(connection_.error(result_code));
}

Status Cursor::run() {
    const int result_code = run_for_code();
    if (result_code == SQLITE_OK) return {};
    return std::unexpected(connection_.error(result_code));
}

int Cursor::run_for_code() {
    int result_code = step_once();
    while (result_code == SQLITE_ROW) result_code = sqlite3_step(statement_);
    return result_code == SQLITE_DONE ? SQLITE_OK : result_code;
}

bool Cursor::is_null(int column) const {
    return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

std::int64_t Cursor::integer(int column) const {
    return sqlite3_column_int64(statement_, column);
}

std::string_view Cursor::text(int column) const {
    const unsigned char* bytes = sqlite3_column_text(statement_, column);
    const int count = sqlite3_column_bytes(statement_, column);
    return bytes == nullptr ? std::string_view()
                            : std::string_view(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(count));
}

std::string_view Cursor::blob(int column) const {
    const void* bytes = sqlite3_column_blob(statement_, column);
    const int count = sqlite3_column_bytes(statement_, column);
    return bytes == nullptr ? std::string_view()
                            : std::string_view(static_cast<const char*>(bytes), static_cast<std::size_t>(count));
}

bool Cursor::is_blob(int column) const {
    return sqlite3_column_type(statement_, column) == SQLITE_BLOB;
}

// ---- Connection ----

void Connection::Finalize::operator()(sqlite3_stmt* statement) const noexcept {
    sqlite3_finalize(statement);
}

Result<std::unique_ptr<Connection>> Connection::open(const std::filesystem::path& path, Access access) {
    const std::string name = access == Access::kImmutable ? immutable_uri(path) : path.native();
    // First, so that the engine's handle has an owner. The engine gives a handle even when it fails, unless memory is
    // short.
    std::unique_ptr<Connection> connection(new Connection(path));
    const int result_code = sqlite3_open_v2(name.c_str(), &connection->database_, flags_for(access), nullptr);
    if (result_code != SQLITE_OK) return std::unexpected(connection->error(result_code));
    sqlite3* const database = connection->database_;
    distrust(database);
    sqlite3_busy_handler(database, on_busy, connection.get());
    sqlite3_progress_handler(database, kStepsBetweenLooks, on_progress, connection.get());
    // Only a writer moves a log; a reader could be led to delete a log that it cannot read.
    if (access == Access::kRead) connection->checkpoint_on_close(false);
    connection->jitter_ = static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(database) >> 4U) | 1U;
    return connection;
}

Connection::~Connection() {
    leave_other_files_alone();
    statements_.clear();
    sqlite3_close(database_);
}

sqlite3_stmt* Connection::prepare(const char* sql, int& result_code) {
    OwnedStatement& kept = statements_[sql];
    if (kept == nullptr) {
        sqlite3_stmt* statement = nullptr;
        for (int attempt = 0;; ++attempt) {
            result_code = sqlite3_prepare_v3(database_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
            if (!is_busy(result_code) || !wait_for_lock(attempt)) break;
        }
        kept.reset(statement);
    }
    return kept.get();
}

Cursor Connection::use(const char* sql) {
    int result_code = SQLITE_OK;
    sqlite3_stmt* statement = prepare(sql, result_code);
    return {*this, statement, result_code};
}

Status Connection::execute(const std::string& sql) {
    int result_code = SQLITE_OK;
    for (int attempt = 0;; ++attempt) {
        result_code = sqlite3_exec(database_, sql.c_str(), nullptr, nullptr, nullptr);
        if (!is_busy(result_code) || in_transaction() || !wait_for_lock(attempt)) break;
    }
    if (result_code == SQLITE_OK) return {};
    return std::unexpected(error(result_code));
}

Result<std::int64_t> Connection::query_integer(const char* sql) {
    Cursor cursor = use(sql);
    const Result<bool> row = cursor.step();
    if (!row) return std::unexpected(row.error());
    return *row ? cursor.integer(0) : 0;
}

Result<std::string> Connection::query_text(const char* sql) {
    Cursor cursor = use(sql);
    const Result<bool> row = cursor.step();
    if (!row) return std::unexpected(row.error());
    return *row ? std::string(cursor.text(0)) : std::string();
}

// Uses the engine's own file: if we opened and closed the file ourselves, other connections of this process would lose
// their locks on it (POSIX locks belong to the process).
Result<std::string> Connection::peek(std::size_t bytes, std::uint64_t offset) {
    sqlite3_file* file = nullptr;
    int result_code = sqlite3_file_control(database_, "main", SQLITE_FCNTL_FILE_POINTER, static_cast<void*>(&file));
    std::string content(bytes, '\0');
    if (result_code == SQLITE_OK) {
        result_code =
            file->pMethods->xRead(file, content.data(), static_cast<int>(bytes), static_cast<sqlite3_int64>(offset));
    }
    if (result_code == SQLITE_IOERR_SHORT_READ) {
        sqlite3_int64 size = 0;
        result_code = file->pMethods->xFileSize(file, &size);
        const auto behind = std::max<std::int64_t>(size - static_cast<std::int64_t>(offset), 0);
        content.resize(std::min(bytes, static_cast<std::size_t>(behind)));
    }
    if (result_code != SQLITE_OK) return std::unexpected(error(result_code));
    return content;
}

bool Connection::has_lock() const {
    int level = SQLITE_LOCK_NONE;
    sqlite3_file_control(database_, "main", SQLITE_FCNTL_LOCKSTATE, &level);
    return level != SQLITE_LOCK_NONE;
}

int Connection::lock_alone() {
    sqlite3_file* file = nullptr;
    int result_code = sqlite3_file_control(database_, "main", SQLITE_FCNTL_FILE_POINTER, static_cast<void*>(&file));
    if (result_code == SQLITE_OK) result_code = file->pMethods->xLock(file, SQLITE_LOCK_SHARED);
    if (result_code == SQLITE_OK) result_code = file->pMethods->xLock(file, SQLITE_LOCK_EXCLUSIVE);
    return result_code;
}

void Connection::unlock() {
    sqlite3_file* file = nullptr;
    if (sqlite3_file_control(database_, "main", SQLITE_FCNTL_FILE_POINTER, static_cast<void*>(&file)) == SQLITE_OK) {
        file->pMethods->xUnlock(file, SQLITE_LOCK_NONE);
    }
}

// The index must not be asked for before the engine uses it, because asking makes one. A reader that may not use it has
// none.
const void* Connection::shared_index() {
    constexpr int kFirstPartBytes = 32'768;
    sqlite3_file* file = nullptr;
    void volatile* index = nullptr;
    if (sqlite3_file_control(database_, "main", SQLITE_FCNTL_FILE_POINTER, static_cast<void*>(&file)) == SQLITE_OK) {
        file->pMethods->xShmMap(file, 0, kFirstPartBytes, 0, &index);
    }
    return const_cast<const void*>(index);
}

// Null if the engine has no log open. (Before a transaction writes, it has no other journal open either.)
sqlite3_file* Connection::log() {
    sqlite3_file* log = nullptr;
    sqlite3_file_control(database_, "main", SQLITE_FCNTL_JOURNAL_POINTER, static_cast<void*>(&log));
    return log != nullptr && log->pMethods != nullptr ? log : nullptr;
}

Result<LiveFiles> Connection::note_files() {
    const void* const index = shared_index();
    LiveFiles files(path_, index);
    if (index == nullptr) return files;
    const Result<std::string> header = peek(kDatabaseHeaderBytes);
    if (!header) return std::unexpected(header.error());
    if (Status status = files.remember(*header, deadline_); !status) return std::unexpected(status.error());
    return files;
}

Status Connection::watch_files() {
    if (const Result<std::int64_t> read = query_integer(kReadFirstPage); !read) return std::unexpected(read.error());
    const Result<std::string> mode = query_text(kJournalMode);
    if (!mode) return std::unexpected(mode.error());
    if (*mode != "wal") return {};
    Result<LiveFiles> files = note_files();
    if (!files) {
        checkpoint_on_close(false);
        return std::unexpected(std::move(files.error()));
    }
    if (files->has_index()) files_ = std::move(*files);
    return {};
}

std::optional<Error> Connection::find_files_error() {
    if (!file_locks::others_on(path_).on_database.value_or(true)) return std::nullopt;
    const Result<LiveFiles> files = note_files();
    release_unused_index();
    if (files) return std::nullopt;
    checkpoint_on_close(false);
    return files.error();
}

// The engine releases the index with the log. If it has not come to open the log, it would keep what `note_files` has
// asked for, and the lock on it, until the process ends.
void Connection::release_unused_index() {
    sqlite3_file* file = nullptr;
    if (log() != nullptr) return;
    if (sqlite3_file_control(database_, "main", SQLITE_FCNTL_FILE_POINTER, static_cast<void*>(&file)) == SQLITE_OK) {
        file->pMethods->xShmUnmap(file, 0);
    }
}

// The first page is read again if it was being written.
LiveFiles::Finding Connection::look_at_files() {
    constexpr int kLooks = 3;
    LiveFiles::Finding finding;
    for (int look = 0; look < kLooks; ++look) {
        const Result<std::string> header = peek(kDatabaseHeaderBytes);
        finding = files_->look(header ? std::string_view(*header) : std::string_view());
        if (finding.state == LiveFiles::State::kSound) break;
    }
    return finding;
}

Status Connection::check_files() {
    return files_ ? act_on(look_at_files()) : Status();
}

Status Connection::check_files_at_times() {
    constexpr std::chrono::milliseconds kPause(50);
    if (patient_since_ - looked_at_files_ < kPause) return {};
    looked_at_files_ = patient_since_;
    return check_files();
}

std::optional<IndexHeader> Connection::moment() const {
    if (!files_ || sqlite3_txn_state(database_, "main") != SQLITE_TXN_NONE) return std::nullopt;
    return files_->index_header();
}

Status Connection::begin_writing() {
    if (Status status = use(Transaction::kWrite).run(); !status) return status;
    if (Status status = check_files(); !status) return status;
    return clean_behind_log();
}

Status Connection::clean_behind_log() {
    sqlite3_file* const file = log();
    if (file == nullptr) return {};
    if (page_size_ == 0) {
        const Result<std::int64_t> page_size = query_integer(kPageSize);
        if (!page_size) return std::unexpected(page_size.error());
        page_size_ = static_cast<std::uint32_t>(*page_size);
    }
    const void* const memory = shared_index();
    if (memory == nullptr) return std::unexpected(error(SQLITE_IOERR_SHMMAP));
    const LogIndex index = read_index_as_writer(memory);
    const Look look = has_looked_behind_log_ ? Look::kNearby : Look::kEverywhere;
    const BehindLog behind = look_behind(*file, index, page_size_, look);
    if (behind.result_code != SQLITE_OK) return std::unexpected(error(behind.result_code));
    if (behind.may_have_lost_commits && keep_lost_commits_) {
        if (Status status = keep_lost_commits_(); !status) return status;
    }
    if (behind.has_leftovers) {
        if (const int result_code = cut_off_leftovers(*file, index); result_code != SQLITE_OK) {
            return std::unexpected(error(result_code));
        }
    }
    has_looked_behind_log_ = log_is_judged_ = true;
    return {};
}

// The engine empties or deletes a log without a look at what it cannot read of it. Nobody has looked yet if others had
// the log open before this connection, and it has not written.
bool Connection::may_give_up_log() {
    if (log_is_judged_ || !keep_lost_commits_ || log() == nullptr) return true;
    if (in_transaction() || broken_) return false;
    const Deadline patience = std::exchange(deadline_, Deadline::min());
    const bool is_clean = begin_writing().has_value();
    deadline_ = patience;
    return (!in_transaction() || end_transaction(kRollback) == SQLITE_OK) && is_clean;
}

Status Connection::check_log() {
    return files_ ? act_on(files_->look_at_log()) : Status();
}

Status Connection::act_on(const LiveFiles::Finding& finding) {
    if (finding.state == LiveFiles::State::kSound) return {};
    lost_files_ = true;
    broken_ = true;
    auto error = changed_files_error(path_, finding.what);
    if (finding.state == LiveFiles::State::kLost) loss_ = error.error();
    return error;
}

// The engine would delete whatever has the log's name, and would move a log into a database that it does not belong to.
// A log whose name is gone is moved into its database while it can still be read.
void Connection::leave_other_files_alone() {
    if (!files_) return;
    try {
        if (is_read_only()) checkpoint_on_close(files_->log_is_empty());  // so that reading leaves no files behind
        const LiveFiles::State state = look_at_files().state;
        if (state == LiveFiles::State::kSound && may_give_up_log()) return;
        const bool log_is_ours = state == LiveFiles::State::kLogRemoved || state == LiveFiles::State::kMoved;
        if (log_is_ours && !in_transaction()) {
            deadline_ = Deadline::min();
            sqlite3_wal_checkpoint_v2(database_, "main", SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
        }
    } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): then they count as changed
    }
    checkpoint_on_close(false);
}

bool Connection::log_may_begin_anew() const {
    if (!files_) return false;
    const std::optional<LogIndex> index = files_->index();
    return index && index->may_begin_anew();
}

void Connection::forget_pages() {
    sqlite3_db_release_memory(database_);
}

std::int64_t Connection::last_row_key() const {
    return sqlite3_last_insert_rowid(database_);
}

bool Connection::in_transaction() const {
    return sqlite3_get_autocommit(database_) == 0;
}

bool Connection::is_read_only() const {
    return sqlite3_db_readonly(database_, "main") == 1;
}

bool Connection::file_moved() const {
    int moved = 0;
    return sqlite3_file_control(database_, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved != 0;
}

int Connection::checkpoint(bool truncate) {
    if (!check_files()) return SQLITE_IOERR;
    if (truncate && !may_give_up_log()) return SQLITE_BUSY;
    const Deadline patience = std::exchange(deadline_, Deadline::min());
    const int mode = truncate ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE;
    const int result_code = sqlite3_wal_checkpoint_v2(database_, "main", mode, nullptr, nullptr);
    deadline_ = patience;
    return result_code;
}

void Connection::checkpoint_on_close(bool wanted) {
    sqlite3_db_config(database_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, wanted ? 0 : 1, nullptr);
}

// Not by `query_integer`, whose own failure would be explained by `error`.
bool Connection::was_migrated() {
    int result_code = SQLITE_OK;
    sqlite3_stmt* const version = prepare(kUserVersion, result_code);
    const bool is_read = version != nullptr && sqlite3_step(version) == SQLITE_ROW;
    const bool is_another = schema_ && is_read && sqlite3_column_int64(version, 0) != *schema_;
    sqlite3_reset(version);
    return is_another;
}

Error Connection::error(int result_code) {
    if (breaks_connection(result_code)) broken_ = true;
    Error error = to_error(result_code, database_, path_.native());
    if (is_refused_statement(result_code) && was_migrated()) {
        is_outdated_ = true;
        error.code = ErrorCode::kUnavailable;
        error.message = path_.native() + ": another program has migrated the file meanwhile; nothing was applied";
    }
    if (is_busy(result_code)) {
        const auto waited = std::chrono::steady_clock::now() - patient_since_;
        error.message += fmt::format(", for {} ms, until the deadline; nothing was applied",
                                     std::chrono::duration_cast<std::chrono::milliseconds>(waited).count());
    }
    return error;
}

void Connection::set_deadline(Deadline deadline) {
    constexpr std::chrono::milliseconds kWorkAlways(100);
    deadline_ = deadline;
    patient_since_ = std::chrono::steady_clock::now();
    overdue_at_ = std::max(deadline, patient_since_ + kWorkAlways);
}

void Connection::allow_work_on_all(Deadline limit) {
    constexpr std::uint64_t kBytesASecond = 1U << 20U;  // slower than any disk
    constexpr std::uint64_t kSecondsMax = 1'000'000;
    const std::chrono::seconds more(std::min(file_bytes() / kBytesASecond, kSecondsMax));
    const Deadline justified = overdue_at_ > Deadline::max() - more ? Deadline::max() : overdue_at_ + more;
    overdue_at_ = std::max(overdue_at_, std::min(justified, limit));
}

std::uint64_t Connection::file_bytes() const {
    sqlite3_file* file = nullptr;
    sqlite3_int64 bytes = 0;
    sqlite3_file_control(database_, "main", SQLITE_FCNTL_FILE_POINTER, static_cast<void*>(&file));
    if (file != nullptr && file->pMethods != nullptr) {  // a database in memory has no methods
        file->pMethods->xFileSize(file, &bytes);
    }
    return static_cast<std::uint64_t>(bytes);
}

bool Connection::is_overdue() const {
    return std::chrono::steady_clock::now() >= overdue_at_;
}

int Connection::end_transaction(const char* sql) {
    const Deadline overdue_at = std::exchange(overdue_at_, Deadline::max());
    const int result_code = use(sql).run_for_code();
    overdue_at_ = overdue_at;
    return result_code;
}

// The pause starts at 0.05 ms and doubles up to 6.4 ms. Each pause is between half and all of that, so that writers of
// several processes do not wake at the same time.
bool Connection::wait_for_lock(int attempt) {
    const auto now = std::chrono::steady_clock::now();
    if (now >= deadline_) return false;
    jitter_ = jitter_ * 1664525U + 1013904223U;
    const auto longest = std::chrono::microseconds(50) * (1 << std::min(attempt, 7));
    const auto pause = longest / 2 + longest / 2 * (jitter_ >> 16U) / 65536;
    std::this_thread::sleep_for(std::min<Deadline::duration>(pause, deadline_ - now));
    return true;
}

// ---- Transaction ----

Status Transaction::begin(std::string_view kind) {
    return kind == kWrite ? begin_writing() : connection_.use(kRead).run();
}

// The engine increments the counter of the first page as it last read it, so that page is read anew.
Status Transaction::begin_writing() {
    for (bool has_forgotten = false;; has_forgotten = true) {
        if (Status status = connection_.begin_writing(); !status) return status;
        if (!connection_.log_may_begin_anew()) return {};
        if (has_forgotten) return connection_.use(kWriteFirstPage).run();
        rollback();
        connection_.forget_pages();
    }
}

int Transaction::commit() {
    return connection_.end_transaction(kCommit);
}

void Transaction::rollback() noexcept {
    // Some failures roll back by themselves. A rollback that fails leaves a connection that nobody may use.
    try {
        const bool open = connection_.in_transaction();
        if (open && connection_.end_transaction(kRollback) != SQLITE_OK) connection_.mark_broken();
    } catch (const std::bad_alloc&) {
        connection_.mark_broken();
    }
}

}  // namespace cairn::sqlite
