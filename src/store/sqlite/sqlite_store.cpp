#include "store/sqlite/sqlite_store.h"

#include "store/batch_rules.h"
#include "store/sqlite/connection_pool.h"
#include "store/sqlite/database_file.h"
#include "store/sqlite/fork_guard.h"
#include "store/sqlite/inspection.h"
#include "store/sqlite/label_sweep.h"
#include "store/sqlite/pruner.h"
#include "store/sqlite/reader.h"
#include "store/sqlite/sqlite_error.h"
#include "store/sqlite/sqlite_schema.h"
#include "store/sqlite/writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <mutex>
#include <new>
#include <shared_mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace cairn {
namespace {

using sqlite::Connection;
using sqlite::ConnectionPool;
using sqlite::DatabaseFile;
using sqlite::ForkGuard;
using sqlite::Loan;

constexpr std::chrono::milliseconds kLogPatience(1000);

bool is_empty(const Batch& batch) {
    return batch.leases.empty() && batch.writes.empty() && batch.recoveries.empty() && batch.rewrites.empty() &&
           batch.deletions.empty() && batch.run_deletions.empty();
}

// Nothing but what makes room in the end.
bool makes_room(const Batch& batch) {
    return batch.leases.empty() && batch.writes.empty() && batch.recoveries.empty();
}

bool is_full(const Error& error) {
    return error.code == ErrorCode::kStorageFull;
}

Deadline after(std::chrono::milliseconds patience) {
    return std::chrono::steady_clock::now() + patience;
}

// The file and the connections to it: one to write (the engine allows one writer at a time, so callers queue up here
// and not at its lock), several to read.
struct Engine {
    Engine(DatabaseFile opened, std::size_t readers_max, const LogSink& log)
        : file(std::move(opened)),
          writer(
              1, [this](Deadline deadline) { return file.connect(deadline); }, log),
          readers(readers_max, [this](Deadline deadline) { return file.connect(deadline); }, log) {}

    DatabaseFile file;
    ConnectionPool writer;
    ConnectionPool readers;
};

class SqliteStore final : public Store {
public:
    SqliteStore(DatabaseFile::Opened opened, const SqliteSettings& settings, const LogSink& log)
        : guard_(std::move(opened.guard)),
          engine_(std::make_unique<Engine>(std::move(opened.file), settings.readers_max, log)),
          read_only_(engine_->file.read_only()),
          patience_(settings.patience),
          migrations_(settings.migrations) {
        (read_only_ ? engine_->readers : engine_->writer).adopt(std::move(opened.connection));
    }
    ~SqliteStore() override;
    SqliteStore(const SqliteStore&) = delete;
    SqliteStore& operator=(const SqliteStore&) = delete;

    Status commit(const Batch& batch, Deadline deadline) override;
    Result<std::optional<Head>> head(std::string_view run_id) override;
    Result<std::optional<LeaseInfo>> lease(std::string_view run_id) override;
    Result<std::optional<Snapshot>> get(std::string_view run_id, std::optional<std::string_view> snapshot_id) override;
    Result<std::vector<BaseFrame>> frames(std::string_view run_id, std::span<const std::int64_t> versions) override;
    void read_afresh() override;
    Result<std::vector<SnapshotInfo>> history(const HistoryQuery& query) override;
    Result<Page<RunInfo>> runs(const RunQuery& query) override;
    Result<Page<ThreadInfo>> threads(const ThreadQuery& query) override;
    Result<std::vector<RecoveryRecord>> recovery_log(std::string_view run_id, std::size_t limit) override;
    Result<StoreStats> stats() override;
    Result<CheckReport> check() override;
    Result<std::uint64_t> reclaim(Deadline deadline) override;
    Result<int> migrate() override;
    Status close() override;

private:
    // `work` while the store is open, and its answer as a value even if memory runs out.
    template <class T, class Work>
    Result<T> while_open(Work work) {
        if (guard_.forked()) return closed("was opened by the process that this one was forked from");
        if (closed_) return closed("was closed");
        const std::shared_lock lock(open_);
        if (closed_) return closed("was closed");
        if (has_lost_) return std::unexpected(*loss_);
        try {
            return work();
        } catch (const std::bad_alloc&) {
            return fail(ErrorCode::kInternal, "out of memory");
        }
    }

    // `work` on a connection of `pool`, which waits for locks until `deadline`.
    template <class T, class Work>
    Result<T> with_connection(ConnectionPool Engine::* pool, Deadline deadline, Work work) {
        return while_open<T>([&]() -> Result<T> {
            const Result<Loan> connection = ((*engine_).*pool).acquire(deadline);
            if (!connection) return std::unexpected(connection.error());
            Result<T> answer = work(**connection);
            if ((*connection)->lost_files()) discard_connections(**connection);
            return answer;
        });
    }

    template <class T, class Work>
    Result<T> read(Work work) {
        return with_connection<T>(&Engine::readers, after(patience_), [&](Connection& connection) -> Result<T> {
            if (Status status = connection.check_files_at_times(); !status) return std::unexpected(status.error());
            return work(connection);
        });
    }

    std::unexpected<Error> closed(std::string_view how) const {
        return fail(ErrorCode::kClosed, fmt::format("the store {}", how));
    }
    static std::unexpected<Error> read_only() { return fail(ErrorCode::kReadOnly, "the store was opened read-only"); }
    void discard_connections(const Connection& found);
    Status commit_once(const Batch& batch, Deadline deadline);
    bool is_nearly_full() const;
    Status empty_log_on_full_volume(Deadline deadline);
    bool shrink_log();
    Status sweep_labels(Deadline deadline);
    Result<std::uint64_t> give_back_pages(Deadline deadline);
    Status empty_log(Deadline deadline);

    ForkGuard guard_;
    std::unique_ptr<Engine> engine_;  // released by `close`
    const bool read_only_;
    const std::chrono::milliseconds patience_;
    const std::span<const sqlite::Migration> migrations_;
    std::shared_mutex open_;  // shared by the calls under way
    std::atomic<bool> closed_ = false;
    std::once_flag loss_noted_;
    std::optional<Error> loss_;  // written before `has_lost_`
    std::atomic<bool> has_lost_ = false;
};

SqliteStore::~SqliteStore() {
    if (guard_.forked()) {
        // Closing would give up locks that this process does not hold, and could delete the log under its parent.
        [[maybe_unused]] const Engine* left_to_the_parent = engine_.release();
    }
    [[maybe_unused]] const Status closed = close();
}

Status SqliteStore::close() {
    if (guard_.forked()) return {};
    closed_ = true;  // first, so that calls which come now do not delay the end
    const std::unique_lock lock(open_);
    if (engine_ == nullptr) return {};
    engine_->readers.close();
    engine_->writer.close();  // last: it moves the log into the database
    engine_.reset();
    guard_.leave();
    return {};
}

// One of them has found that the path names other files now. After a loss, nothing goes on as if it had not been: what
// comes next would be acknowledged, and nobody would be told of what is gone.
void SqliteStore::discard_connections(const Connection& found) {
    if (found.loss()) {
        std::call_once(loss_noted_, [&] {
            loss_ = found.loss();
            has_lost_ = true;
        });
    }
    engine_->readers.discard();
    engine_->writer.discard();
}

Status SqliteStore::commit(const Batch& batch, Deadline deadline) {
    if (Status status = check_batch(batch); !status) return status;
    if (read_only_) {
        return while_open<void>([] { return Status(read_only()); });
    }
    const bool is_to_make_room = makes_room(batch) && !is_empty(batch);
    if (is_to_make_room) {
        const Result<bool> is_tight = while_open<bool>([&] { return Result<bool>(is_nearly_full()); });
        if (!is_tight) return std::unexpected(is_tight.error());
        if (*is_tight) {
            if (Status emptied = empty_log_on_full_volume(deadline); !emptied) return emptied;
        }
    }
    Status committed = commit_once(batch, deadline);
    if (committed || !is_full(committed.error()) || !is_to_make_room) return committed;
    if (Status emptied = empty_log_on_full_volume(deadline); !emptied) return emptied;
    return commit_once(batch, deadline);
}

Status SqliteStore::commit_once(const Batch& batch, Deadline deadline) {
    return with_connection<void>(&Engine::writer, deadline, [&](Connection& connection) -> Status {
        if (is_empty(batch)) return {};
        return sqlite::commit(connection, batch);
    });
}

bool SqliteStore::is_nearly_full() const {
    constexpr std::uintmax_t kBytesEnough = 64U << 20;
    std::error_code unknown;
    const auto space = std::filesystem::space(engine_->file.path(), unknown);
    return !unknown && space.available < kBytesEnough;
}

// To delete is to write, into the log. On a volume that is full the log's own space is used again, once all that it
// holds is in the database. That comes first: a transaction that does not fit leaves the log larger than it was.
Status SqliteStore::empty_log_on_full_volume(Deadline deadline) {
    return with_connection<void>(&Engine::writer, deadline, [](Connection& connection) -> Status {
        const int result_code = connection.checkpoint(true);
        if (result_code == 0 || sqlite::is_busy(result_code)) return {};
        Error error = connection.error(result_code);
        if (!is_full(error)) return std::unexpected(std::move(error));
        const Result<std::uint64_t> needed = sqlite::bytes_missing_for_log(connection);
        if (!needed) return std::unexpected(std::move(error));
        error.message += fmt::format(
            ", and to delete needs a little for a moment: free {} bytes on this volume (what the log holds has to fit "
            "into the database first), then delete again",
            *needed);
        return std::unexpected(std::move(error));
    });
}

Result<std::optional<Head>> SqliteStore::head(std::string_view run_id) {
    return read<std::optional<Head>>([&](Connection& connection) { return sqlite::head(connection, run_id); });
}

Result<std::optional<LeaseInfo>> SqliteStore::lease(std::string_view run_id) {
    return read<std::optional<LeaseInfo>>([&](Connection& connection) { return sqlite::lease(connection, run_id); });
}

Result<std::optional<Snapshot>> SqliteStore::get(std::string_view run_id, std::optional<std::string_view> snapshot_id) {
    return read<std::optional<Snapshot>>(
        [&](Connection& connection) { return sqlite::get(connection, run_id, snapshot_id); });
}

Result<std::vector<BaseFrame>> SqliteStore::frames(std::string_view run_id, std::span<const std::int64_t> versions) {
    return read<std::vector<BaseFrame>>(
        [&](Connection& connection) { return sqlite::frames(connection, run_id, versions); });
}

void SqliteStore::read_afresh() {
    [[maybe_unused]] const Status renewed = while_open<void>([&]() -> Status {
        engine_->readers.discard();
        return {};
    });
}

Result<std::vector<SnapshotInfo>> SqliteStore::history(const HistoryQuery& query) {
    return read<std::vector<SnapshotInfo>>([&](Connection& connection) { return sqlite::history(connection, query); });
}

Result<Page<RunInfo>> SqliteStore::runs(const RunQuery& query) {
    return read<Page<RunInfo>>([&](Connection& connection) { return sqlite::runs(connection, query); });
}

Result<Page<ThreadInfo>> SqliteStore::threads(const ThreadQuery& query) {
    return read<Page<ThreadInfo>>([&](Connection& connection) { return sqlite::threads(connection, query); });
}

Result<std::vector<RecoveryRecord>> SqliteStore::recovery_log(std::string_view run_id, std::size_t limit) {
    return read<std::vector<RecoveryRecord>>(
        [&](Connection& connection) { return sqlite::recovery_log(connection, run_id, limit); });
}

// False: readers or writers of other processes are in the way, which is no error, and later they may not be. A disk
// that fails is no error here either, but there is nothing to wait for.
bool SqliteStore::shrink_log() {
    const Result<Loan> writer = engine_->writer.acquire(after(std::chrono::milliseconds(100)));
    return !writer || !sqlite::is_busy((*writer)->checkpoint(true));
}

Result<StoreStats> SqliteStore::stats() {
    return read<StoreStats>([&](Connection& connection) -> Result<StoreStats> {
        connection.allow_work_on_all();
        if (!read_only_) static_cast<void>(shrink_log());
        Result<StoreStats> stats = sqlite::count_rows(connection);
        if (!stats) return stats;
        const Result<std::uint64_t> chain_frames_max = sqlite::chain_frames_max(connection);
        if (!chain_frames_max) return std::unexpected(chain_frames_max.error());
        stats->chain_frames_max = *chain_frames_max;
        stats->store_bytes = sqlite::bytes_on_disk(engine_->file.path());
        return stats;
    });
}

Result<CheckReport> SqliteStore::check() {
    return read<CheckReport>([&](Connection& connection) {
        connection.allow_work_on_all();
        return sqlite::inspect(connection, engine_->file.path());
    });
}

// What is not done by the deadline is for the next time.
Status SqliteStore::sweep_labels(Deadline deadline) {
    sqlite::LabelSweep sweep;
    while (!sweep.has_looked_at_all()) {
        if (std::chrono::steady_clock::now() >= deadline) return {};
        const Status looked = with_connection<void>(&Engine::readers, deadline,
                                                    [&](Connection& connection) { return sweep.look_on(connection); });
        if (!looked) return looked;
    }
    while (!sweep.has_removed_all()) {
        const Status removed = with_connection<void>(
            &Engine::writer, deadline, [&](Connection& connection) { return sweep.remove_some(connection); });
        if (!removed) return removed;
    }
    return {};
}

// Each step is a transaction of its own, and a pause as long as it follows, in which writers take their turn.
Result<std::uint64_t> SqliteStore::give_back_pages(Deadline deadline) {
    std::uint64_t bytes = 0;
    bool has_been_full = false;
    while (true) {
        const Deadline started = std::chrono::steady_clock::now();
        const Result<std::uint64_t> given = with_connection<std::uint64_t>(
            &Engine::writer, deadline, [](Connection& connection) { return sqlite::give_back_pages(connection); });
        if (!given && given.error().code == ErrorCode::kUnavailable) return bytes;  // others were busy all the time
        if (!given && is_full(given.error())) {
            if (std::exchange(has_been_full, true) || !shrink_log())
                return bytes;  // new saves use the room all the same
            continue;
        }
        if (!given) return given;
        bytes += *given;
        const Deadline now = std::chrono::steady_clock::now();
        if (*given == 0 || now >= deadline) return bytes;
        std::this_thread::sleep_for(std::min(now - started, deadline - now));
    }
}

// The log holds pages as they were before a deletion. Readers are in the way for a moment only.
Status SqliteStore::empty_log(Deadline deadline) {
    constexpr std::chrono::milliseconds kPause(10);
    while (true) {
        const Result<bool> emptied = while_open<bool>([&] { return shrink_log(); });
        if (!emptied) return std::unexpected(emptied.error());
        if (*emptied || std::chrono::steady_clock::now() + kPause >= deadline) return {};
        std::this_thread::sleep_for(kPause);
    }
}

Result<std::uint64_t> SqliteStore::reclaim(Deadline deadline) {
    if (read_only_) return while_open<std::uint64_t>([] { return Result<std::uint64_t>(read_only()); });
    Status swept = sweep_labels(deadline);
    const bool is_for_later = !swept && (swept.error().code == ErrorCode::kUnavailable || is_full(swept.error()));
    if (!swept && !is_for_later) return std::unexpected(std::move(swept.error()));
    const Result<std::uint64_t> bytes = give_back_pages(deadline);
    if (!bytes) return bytes;
    if (Status status = empty_log(std::min(deadline, after(kLogPatience))); !status) {
        return std::unexpected(std::move(status.error()));
    }
    return bytes;
}

Result<int> SqliteStore::migrate() {
    const auto pool = read_only_ ? &Engine::readers : &Engine::writer;
    return with_connection<int>(pool, after(patience_), [&](Connection& connection) {
        return sqlite::bring_up_to_date(connection, migrations_);
    });
}

}  // namespace

Result<std::shared_ptr<Store>> open_sqlite_store(const std::filesystem::path& path, const OpenOptions& options,
                                                 const SqliteSettings& settings) try {
    SqliteSettings used = settings;
    if (used.migrations.empty()) used.migrations = sqlite::migrations();
    const LogSink log = options.runtime.with_defaults().log;
    Result<DatabaseFile::Opened> opened = DatabaseFile::open(path, options, used.migrations, log, after(used.patience));
    if (!opened) return std::unexpected(std::move(opened.error()));
    return std::make_shared<SqliteStore>(std::move(*opened), used, log);
} catch (const std::bad_alloc&) {
    return fail(ErrorCode::kInternal, "out of memory");
}

}  // namespace cairn
