#pragma once

// One connection to a database file, its prepared statements and its patience with locks. Nothing here knows cairn's
// schema.

#include "store/sqlite/live_files.h"

#include <cairn/error.h>
#include <cairn/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>

struct sqlite3;
struct sqlite3_stmt;

namespace cairn::sqlite {

/// How a file is opened.
enum class Access : std::uint8_t {
    kCreate,    ///< Read and write; the file is made if it is missing.
    kWrite,     ///< Read and write a file that is there.
    kRead,      ///< Read only, beside writers.
    kImmutable  ///< Read only, without locks: right only for a file that nobody can write.
};

/// Bytes to bind as a BLOB (a bare string_view is bound as TEXT).
struct Blob {
    std::string_view bytes;
};

class Connection;

/// One execution of a prepared statement: bind, step through the rows, reset at the end. What is bound, and what
/// `text` and `blob` return, is not copied: the one must outlive the cursor, the other lasts until the next step.
class Cursor {
public:
    Cursor(Connection& connection, sqlite3_stmt* statement, int result_code)
        : connection_(connection), statement_(statement), result_code_(result_code) {}
    ~Cursor();
    Cursor(const Cursor&) = delete;
    Cursor& operator=(const Cursor&) = delete;

    /// All parameters, in order. A failure is kept and returned by the first `step`.
    template <class... Values>
    Cursor& bind(const Values&... values) {
        int index = 0;
        (bind_one(++index, values), ...);
        return *this;
    }

    /// Whether there is a row. Waits for locks until the connection's deadline.
    [[nodiscard]] Result<bool> step();
    /// To the end.
    [[nodiscard]] Status run();
    /// As `run`, but the engine's own result code, for who must tell one failure from another.
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

/// Not for use by two threads at a time, and not in a process that was forked off after it was opened: not even to be
/// destroyed there, since the engine would give up locks that it does not hold.
class Connection {
public:
    /// Opens without touching the file's content yet. `path` must be absolute.
    [[nodiscard]] static Result<std::unique_ptr<Connection>> open(const std::filesystem::path& path, Access access);
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    /// Until when calls wait for other connections' locks, and may work: a statement that is not done by then (but a
    /// tenth of a second at the least) is given up, whatever the file holds.
    void set_deadline(Deadline deadline);
    Deadline deadline() const { return deadline_; }
    /// Statements that read all of the file, or rewrite it, may take until `limit`, as far as its size justifies that.
    void allow_work_on_all(Deadline limit = Deadline::max());

    /// `sql` is compiled at its first use on this connection and then kept: pass constants only (they are found again
    /// by their address).
    Cursor use(const char* sql);
    /// Runs statements that are not worth keeping.
    [[nodiscard]] Status execute(const std::string& sql);
    /// The first column of the first row.
    [[nodiscard]] Result<std::int64_t> query_integer(const char* sql);
    [[nodiscard]] Result<std::string> query_text(const char* sql);

    /// The first bytes of the file as they are, without a lock and without recovering anything.
    [[nodiscard]] Result<std::string> peek(std::size_t bytes, std::uint64_t offset = 0);

    /// Of the database's file, without its log.
    std::uint64_t file_bytes() const;

    std::int64_t last_row_key() const;
    bool in_transaction() const;
    bool is_read_only() const;
    /// Whether the path now names another file or none.
    bool file_moved() const;
    /// The engine reported damage or a failing disk: close it and open another.
    bool broken() const { return broken_; }
    void mark_broken() { broken_ = true; }

    /// Whether it has a lock already, as after its first reading (which a program's own extensions may do at opening).
    bool has_lock() const;
    /// The lock that shuts out every other connection, for one that has not read yet. The engine's result code;
    /// `unlock` gives it up in any case.
    int lock_alone();
    void unlock();

    /// From now on `check_files` compares the files with those of now. For a store that is complete.
    /// Errors: kUnavailable (they do not fit together: some were removed or replaced under others who have it open).
    [[nodiscard]] Status watch_files();
    /// That error, if it is why another one was met while others have the database open.
    std::optional<Error> files_do_not_fit();
    /// Before a commit. Errors: kUnavailable (the path names other files now, or their content was exchanged; this
    /// connection, and all others to the path, must be closed).
    [[nodiscard]] Status check_files();
    /// So, unless they were looked at a moment ago. Before a read, for which they take too long each time.
    [[nodiscard]] Status check_files_at_times();
    /// So, whether what was just committed is in the log that others find, before it is acknowledged.
    [[nodiscard]] Status check_log();
    bool lost_files() const { return lost_files_; }
    /// That error, if what was acknowledged may be gone.
    const std::optional<Error>& loss() const { return loss_; }

    /// For whoever has begun to write: whether that may begin the log anew.
    bool log_may_begin_anew() const;
    /// The next transaction reads every page again.
    void forget_pages();

    /// Moves what it can of the log into the database; `truncate` also gives the log's space back. Never waits.
    int checkpoint(bool truncate);

    /// Whether the last connection to a file moves the log into the database when it is closed (by default it does).
    void checkpoint_on_close(bool wanted);

    /// Runs COMMIT or ROLLBACK, which are never given up half-way. The engine's result code.
    int end_transaction(const char* sql);
    /// Whether the statement under way is to be given up.
    bool is_overdue() const;

    /// What a failure that has just happened means.
    Error error(int result_code);
    /// Sleeps a little, unless the deadline has passed. `attempt` counts from 0.
    bool wait_for_lock(int attempt);

private:
    explicit Connection(std::filesystem::path path) : path_(std::move(path)) {}
    sqlite3_stmt* prepare(const char* sql, int& result_code);
    [[nodiscard]] Result<LiveFiles> note_files();
    void release_unused_index();
    LiveFiles::Finding look_at_files();
    [[nodiscard]] Status act_on(const LiveFiles::Finding& finding);
    void leave_other_files_alone();

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
    std::optional<LiveFiles> files_;  // of a connection that uses the log
    std::chrono::steady_clock::time_point looked_at_files_;
    bool lost_files_ = false;
    std::optional<Error> loss_;
};

/// A transaction that is rolled back unless it was committed.
/// The first that writes to a new log also writes the database's first page, whose counter the engine then raises: so a
/// log says which state of the database it continues (log_file.h).
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
    /// The engine's result code: what a failure means depends on what was written.
    int commit();
    void rollback() noexcept;

private:
    [[nodiscard]] Status begin_writing();

    Connection& connection_;
};

}  // namespace cairn::sqlite
