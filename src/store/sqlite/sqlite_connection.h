#pragma once

// One connection to a database file, with its prepared statements and its waiting for locks. Nothing here knows cairn's
// schema.

#include "store/sqlite/known_heads.h"
#include "store/sqlite/live_files.h"

#include <cairn/error.h>
#include <cairn/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>

struct sqlite3;
struct sqlite3_file;  // NOLINT(readability-identifier-naming): the engine's
struct sqlite3_stmt;

namespace cairn::sqlite {

/// The way in which a file is opened.
enum class Access : std::uint8_t {
    kCreate,    ///< Read and write; a missing file is made.
    kWrite,     ///< Read and write an existing file.
    kRead,      ///< Read only, beside writers.
    kImmutable  ///< Read only, without locks: only for a file that nobody can write.
};

/// Bytes to bind as a BLOB (a bare string_view is bound as TEXT).
struct Blob {
    std::string_view bytes;
};

class Connection;

/// One execution of a prepared statement: bind, step through the rows, reset at the end. Nothing is copied: bound
/// values must outlive the cursor, and the results of `text` and `blob` are valid until the next step.
class Cursor {
public:
    Cursor(Connection& connection, sqlite3_stmt* statement, int result_code)
        : connection_(connection), statement_(statement), result_code_(result_code) {}
    ~Cursor();
    Cursor(const Cursor&) = delete;
    Cursor& operator=(const Cursor&) = delete;

    /// Binds all parameters, in order. A failure is kept and returned by the first `step`.
    template <class... Values>
    Cursor& bind(const Values&... values) {
        int index = 0;
        (bind_one(++index, values), ...);
        return *this;
    }

    /// Returns whether there is a row. Waits for locks until the connection's deadline.
    [[nodiscard]] Result<bool> step();
    /// Steps to the end.
    [[nodiscard]] Status run();
    /// Like `run`, but returns the engine's own result code, for callers that must distinguish failures.
    int run_for_code();

    bool is_null(int column) const;
    std::int64_t integer(int column) const;
    std::string_view text(int column) const;
    std::string_view blob(int column) const;
    bool is_blob(int column) const;

private:
    void bind_one(int index, std::int64_t value);
    void bind_one(int index, std::string_view value);
    void bind_one(int index, Blob value);
    template <class... Values>
    void bind_one(int index, const std::variant<Values...>& value) {
        std::visit([&](const auto& alternative) { bind_one(index, alternative); }, value);
    }
    template <class Value>
    void bind_one(int index, const std::optional<Value>& value) {
        if (value) bind_one(index, *value);
    }
    void keep(int result_code);
    int step_once();

    Connection& connection_;
    sqlite3_stmt* statement_;
    int result_code_;
    bool started_ = false;
};

/// Must not be used by two threads at a time, nor in a process that was forked after it was opened. It must not even be
/// destroyed there, since the engine would give up locks that it does not hold.
class Connection {
public:
    /// Opens without touching the file's content yet. `path` must be absolute.
    [[nodiscard]] static Result<std::unique_ptr<Connection>> open(const std::filesystem::path& path, Access access);
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    /// Sets how long calls wait for other connections' locks, and how long they may work: a statement that is not done
    /// by then is given up, whatever the file holds. Every statement has at least a tenth of a second.
    void set_deadline(Deadline deadline);
    Deadline deadline() const { return deadline_; }
    /// Statements that read or rewrite the whole file may then take until `limit`, as far as the file's size justifies
    /// that.
    void allow_work_on_all(Deadline limit = Deadline::max());

    /// `sql` is compiled at its first use on this connection and then kept. Pass only constants: they are found again
    /// by address.
    Cursor use(const char* sql);
    /// Runs statements that are not worth keeping.
    [[nodiscard]] Status execute(const std::string& sql);
    /// The first column of the first row.
    [[nodiscard]] Result<std::int64_t> query_integer(const char* sql);
    [[nodiscard]] Result<std::string> query_text(const char* sql);

    /// The first bytes of the file as they are, without a lock and without recovery.
    [[nodiscard]] Result<std::string> peek(std::size_t bytes, std::uint64_t offset = 0);

    /// Size of the database file, without its log.
    std::uint64_t file_bytes() const;

    std::int64_t last_row_key() const;
    bool in_transaction() const;
    bool is_read_only() const;
    /// Says whether the path now names another file or none.
    bool file_moved() const;
    /// The engine has reported damage or a failing disk: close this connection and open another.
    bool broken() const { return broken_; }
    void mark_broken() { broken_ = true; }

    /// Notes the version of the schema (`user_version`) that the statements are for.
    void note_schema(std::int64_t version) { schema_ = version; }
    /// A statement has failed because another program has migrated the file to another version since: close this
    /// connection and open another. The error was kUnavailable.
    bool is_outdated() const { return is_outdated_; }

    /// Says whether the connection has a lock already, as it does after its first read (a program's own extensions may
    /// read at opening).
    bool has_lock() const;
    /// Takes the lock that excludes every other connection, on a connection that has not read yet. Returns the engine's
    /// result code; `unlock` releases the lock in any case.
    int lock_alone();
    void unlock();

    /// From now on, `check_files` compares the files with those of now. The store must be complete.
    /// Errors: kUnavailable (they do not fit together: some were removed or replaced under others who have it open).
    [[nodiscard]] Status watch_files();
    /// That error, if it is the reason for another one that occurred while others have the database open.
    std::optional<Error> find_files_error();
    /// Call it before a commit. Errors: kUnavailable (the path names other files now, or their content was exchanged;
    /// this connection, and all others to the path, must be closed).
    [[nodiscard]] Status check_files();
    /// Does the same, unless the files were checked a moment ago. Call it before a read, for which the check takes too
    /// long each time.
    [[nodiscard]] Status check_files_at_times();
    /// The header of the log's index, which every commit changes: what is read from now on is as of then or later.
    /// Nothing inside a transaction, which sees an earlier moment or its own changes, on a connection that does not use
    /// the log, and while the header is being changed. Makes no system call.
    std::optional<IndexHeader> moment() const;
    KnownHeads& known_heads() { return known_heads_; }
    /// Checks, before a commit is acknowledged, that it is in the log that others find.
    [[nodiscard]] Status check_log();
    bool lost_files() const { return lost_files_; }
    /// That error, if acknowledged commits may be gone.
    const std::optional<Error>& loss() const { return loss_; }

    /// Begins to write: takes the write lock, checks the files, and leaves nothing behind the log's end that the next
    /// commit would write over (see log_leftovers.h). Errors: kUnavailable (nothing was written), those of the keeper.
    [[nodiscard]] Status begin_writing();
    /// Keeps commits that lie behind damage in the log, where the engine does not find them, before they are written
    /// over or deleted. It runs under the write lock.
    using LostCommitsKeeper = std::function<Status()>;
    void keep_lost_commits_by(LostCommitsKeeper keeper) { keep_lost_commits_ = std::move(keeper); }
    /// Call it when the log has been examined as a whole while nobody else could use it.
    void note_log_is_judged() { log_is_judged_ = true; }
    /// Says whether a write may start the log anew. The caller must have begun to write.
    bool log_may_begin_anew() const;
    /// Makes the next transaction read every page again.
    void forget_pages();

    /// Moves as much of the log as possible into the database; `truncate` also gives the log's space back. Never waits.
    /// "Busy" also means that the log has commits behind damage that could not be kept.
    int checkpoint(bool truncate);

    /// Sets whether the last connection to a file moves the log into the database when it is closed (it does by
    /// default).
    void checkpoint_on_close(bool wanted);

    /// Runs COMMIT or ROLLBACK, which are never given up half-way. Returns the engine's result code.
    int end_transaction(const char* sql);
    /// Says whether the running statement must be given up.
    bool is_overdue() const;

    /// Explains a failure that has just happened.
    Error error(int result_code);
    /// Sleeps a little, unless the deadline has passed. `attempt` counts from 0.
    bool wait_for_lock(int attempt);

private:
    explicit Connection(std::filesystem::path path) : path_(std::move(path)) {}
    sqlite3_stmt* prepare(const char* sql, int& result_code);
    bool was_migrated();
    const void* shared_index();
    sqlite3_file* log();
    [[nodiscard]] Result<LiveFiles> note_files();
    void release_unused_index();
    LiveFiles::Finding look_at_files();
    [[nodiscard]] Status act_on(const LiveFiles::Finding& finding);
    void leave_other_files_alone();
    [[nodiscard]] Status clean_behind_log();
    bool may_give_up_log();

    struct Finalize {
        void operator()(sqlite3_stmt* statement) const noexcept;
    };
    using OwnedStatement = std::unique_ptr<sqlite3_stmt, Finalize>;

    sqlite3* database_ = nullptr;
    std::filesystem::path path_;
    std::unordered_map<const char*, OwnedStatement> statements_;
    Deadline deadline_ = Deadline::min();
    Deadline overdue_at_ = Deadline::max();
    std::chrono::steady_clock::time_point patient_since_;
    std::uint32_t jitter_ = 1;
    bool broken_ = false;
    std::optional<LiveFiles> files_;  // only for a connection that uses the log
    KnownHeads known_heads_;
    std::chrono::steady_clock::time_point looked_at_files_;
    bool lost_files_ = false;
    std::optional<Error> loss_;
    LostCommitsKeeper keep_lost_commits_;
    bool log_is_judged_ = false;
    bool has_looked_behind_log_ = false;
    std::uint32_t page_size_ = 0;  // 0: not known yet
    std::optional<std::int64_t> schema_;
    bool is_outdated_ = false;
};

/// A transaction that is rolled back unless it was committed. The first one that writes to a new log also writes the
/// database's first page, whose counter the engine then raises. So a log says which state of the database it continues
/// (log_file.h).
class Transaction {
public:
    static constexpr char kRead[] = "BEGIN";
    static constexpr char kWrite[] = "BEGIN IMMEDIATE";

    explicit Transaction(Connection& connection) : connection_(connection) {}
    ~Transaction() { rollback(); }
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;

    /// Errors of `kWrite`: kUnavailable (also if the files are no longer those that were opened).
    [[nodiscard]] Status begin(std::string_view kind);
    /// Returns the engine's result code: the meaning of a failure depends on what was written.
    int commit();
    void rollback() noexcept;

private:
    [[nodiscard]] Status begin_writing();

    Connection& connection_;
};

}  // namespace cairn::sqlite
