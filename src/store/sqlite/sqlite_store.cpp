#include "store/sqlite/sqlite_store.h"

#include "base/default_deadline.h"
#include "base/mutex.h"
#include "base/thread_annotations.h"
#include "store/batch_rules.h"
#include "store/sqlite/connection_pool.h"
#include "store/sqlite/database_file.h"
#include "store/sqlite/fork_guard.h"
#include "store/sqlite/inspection.h"
#include "store/sqlite/label_sweep.h"
#include "store/sqlite/pruner.h"
#include "store/sqlite/reader.h"
#include "store/sqlite/run_salvage.h"
#include "store/sqlite/sqlite_error.h"
#include "store/sqlite/sqlite_schema.h"
#include "store/sqlite/writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <mutex>
#include <new>
#include <span>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace cairn {
namespace {

using sqlite::Connection;
using sqlite::ConnectionPool;
using sqlite::DatabaseFile;
using sqlite::ForkGuard;
using sqlite::Loan;

constexpr std::chrono::milliseconds kLogPatience(1000);

// True if the batches contain only deletions, which make room in the end.
bool makes_room(std::span<const RunBatch> batches) {
    const auto only_deletes = [](const RunBatch& batch) {
        return !batch.lease && batch.writes.empty() && batch.recoveries.empty() && !batch.is_empty();
    };
    return !batches.empty() && std::ranges::all_of(batches, only_deletes);
}

bool is_full(const Error& error) {
    return error.code == ErrorCode::kStorageFull;
}

bool is_nearly_full(const std::filesystem::path& path) {
    constexpr std::uintmax_t kBytesEnough = 64U << 20;
    std::error_code unknown;
    const auto space = std::filesystem::space(path, unknown);
    return !unknown && space.available < kBytesEnough;
}

// The time is bounded, so that "for ever" can be added to a time.
Deadline after(std::chrono::milliseconds patience) {
    constexpr std::chrono::hours kLongest{24 * 365};
    return std::chrono::steady_clock::now() + std::min<std::chrono::milliseconds>(patience, kLongest);
}

// The file and the connections to it: one to write (the engine allows one writer at a time, so callers queue here and
// not at its lock), and several to read.
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

// Returns false if readers or writers of other processes are in the way. That is no error, and later they may be gone.
// A failing disk is no error here either, but waiting does not help then.
bool shrink_log(Engine& engine, Deadline deadline) {
    constexpr std::chrono::milliseconds kLongest(100);
    const Result<Loan> writer = engine.writer.acquire(std::min(deadline, after(kLongest)));
    return !writer || !sqlite::is_busy((*writer)->checkpoint(true));
}

class SqliteStore final : public Store {
public:
    SqliteStore(DatabaseFile::Opened opened, const SqliteSettings& settings, const LogSink& log)
        : guard_(std::move(opened.guard)),
          engine_(std::make_unique<Engine>(std::move(opened.file), settings.readers_max, log)),
          read_only_(engine_->file.read_only()) {
        (read_only_ ? engine_->readers : engine_->writer).adopt(std::move(opened.connection));
    }
    ~SqliteStore() override;
    SqliteStore(const SqliteStore&) = delete;
    SqliteStore& operator=(const SqliteStore&) = delete;

    std::size_t commits_at_once() const noexcept override { return 1; }  // the engine has one writer at a time
    Result<std::vector<Status>> commit(std::span<const RunBatch> batches, Deadline deadline) override;
    Result<std::optional<Head>> head(std::string_view run_id, Deadline deadline) override;
    Result<std::optional<LeaseInfo>> lease(std::string_view run_id, Deadline deadline) override;
    Result<std::optional<Snapshot>> get(std::string_view run_id, std::optional<std::string_view> snapshot_id,
                                        Deadline deadline, Reading reading) override;
    Result<std::vector<BaseFrame>> frames(std::string_view run_id, std::span<const std::int64_t> versions,
                                          Deadline deadline, Reading reading) override;
    Result<std::vector<SnapshotInfo>> history(const HistoryQuery& query, Deadline deadline, Reading reading) override;
    Result<Page<RunInfo>> runs(const RunQuery& query, Deadline deadline) override;
    Result<Page<ThreadInfo>> threads(const ThreadQuery& query, Deadline deadline) override;
    Result<std::vector<RecoveryRecord>> recovery_log(std::string_view run_id, std::size_t limit,
                                                     Deadline deadline) override;
    Result<StoreStats> stats(Deadline deadline) override;
    Result<CheckReport> check(Deadline deadline) override;
    Result<std::uint64_t> reclaim(Deadline deadline) override;
    Status close() override;

private:
    // Calls `work` with the engine, while the store is open. Its result is a value even if memory runs out.
    template <class T, class Work>
    Result<T> while_open(Work work) {
        if (guard_.forked()) return closed_store_error("was opened by the process that this one was forked from");
        if (closed_) return closed_store_error("was closed");
        const ReaderLock lock(open_);
        if (closed_) return closed_store_error("was closed");
        if (has_lost_) return std::unexpected(*loss_);
        try {
            return work(*engine_);
        } catch (const std::bad_alloc&) {
            return fail(ErrorCode::kInternal, "out of memory");
        }
    }

    // Calls `work` on a connection of `pool`, which waits for locks until `deadline`. If the file was migrated under
    // that connection, nothing was applied, and another one says more.
    template <class T, class Work>
    Result<T> on_connection(Engine& engine, ConnectionPool Engine::* pool, Deadline deadline, Work work) {
        for (bool is_retry = false;; is_retry = true) {
            const Result<Loan> connection = (engine.*pool).acquire(deadline);
            if (!connection) return std::unexpected(connection.error());
            Result<T> answer = work(**connection);
            const bool is_outdated = (*connection)->is_outdated();
            if ((*connection)->lost_files() || is_outdated) discard_connections(engine, **connection);
            const bool is_final = answer || answer.error().code != ErrorCode::kUnavailable;
            if (is_final || !is_outdated || is_retry) return answer;
        }
    }

    // Does both.
    template <class T, class Work>
    Result<T> with_connection(ConnectionPool Engine::* pool, Deadline deadline, Work work) {
        return while_open<T>([&](Engine& engine) { return on_connection<T>(engine, pool, deadline, work); });
    }

    [[nodiscard]] Status prepare(Reading reading);

    template <class T, class Work>
    Result<T> read(Deadline deadline, Work work) {
        return while_open<T>([&](Engine& engine) { return read_with<T>(engine, deadline, work); });
    }
    template <class T, class Work>
    Result<T> read_with(Engine& engine, Deadline deadline, Work work) {
        return on_connection<T>(engine, &Engine::readers, deadline, [&](Connection& connection) -> Result<T> {
            if (Status status = connection.check_files_at_times(); !status) return std::unexpected(status.error());
            return work(connection);
        });
    }
    // Does the same for work that reads the whole file. `work` is called with the engine, too.
    template <class T, class Work>
    Result<T> read_all(Deadline deadline, Work work) {
        return while_open<T>([&](Engine& engine) {
            return read_with<T>(engine, reading_deadline(deadline), [&](Connection& connection) {
                connection.allow_work_on_all(deadline);
                return work(engine, connection);
            });
        });
    }

    std::unexpected<Error> closed_store_error(std::string_view how) const {
        return fail(ErrorCode::kClosed, fmt::format("the store {}", how));
    }
    static std::unexpected<Error> read_only_error() {
        return fail(ErrorCode::kReadOnly, "the store was opened read-only");
    }
    void discard_connections(Engine& engine, const Connection& found);
    Result<std::vector<Status>> commit_once(Engine& engine, std::span<const RunBatch> batches,
                                            const std::vector<Status>& answers, Deadline deadline);
    Result<std::vector<Status>> commit_making_room(Engine& engine, std::span<const RunBatch> batches,
                                                   const std::vector<Status>& answers, Deadline deadline);
    Status empty_log_on_full_volume(Engine& engine, Deadline deadline);
    Result<bool> shrink_log(Deadline deadline);
    Status sweep_labels(Deadline deadline);
    Result<std::uint64_t> give_back_pages(Deadline deadline);
    Status empty_log(Deadline deadline);

    ForkGuard guard_;
    SharedMutex open_;                                        // held by the running calls as readers, and by `close`
    std::unique_ptr<Engine> engine_ CAIRN_GUARDED_BY(open_);  // released by `close`
    const bool read_only_;
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
    closed_ = true;  // first, so that new calls do not delay the end
    const WriterLock lock(open_);
    if (engine_ == nullptr) return {};
    engine_->readers.close();
    engine_->writer.close();  // last: it moves the log into the database
    engine_.reset();
    guard_.leave();
    return {};
}

// One connection has found that the path names other files now, or that the file was migrated. After a loss, the store
// does not go on as if nothing had happened: later saves would be acknowledged, and nobody would be told of the lost
// ones.
void SqliteStore::discard_connections(Engine& engine, const Connection& found) {
    if (found.loss()) {
        std::call_once(loss_noted_, [&] {
            loss_ = found.loss();
            has_lost_ = true;
        });
    }
    engine.readers.discard();
    engine.writer.discard();
}

// A commit without anything to write need not wait for a turn.
Result<std::vector<Status>> SqliteStore::commit(std::span<const RunBatch> batches, Deadline deadline) {
    using Answers = std::vector<Status>;
    return while_open<Answers>([&](Engine& engine) -> Result<Answers> {
        if (read_only_) return read_only_error();
        Answers answers = check_batches(batches);
        if (!sqlite::has_work(batches, answers)) return answers;
        return makes_room(batches) ? commit_making_room(engine, batches, answers, deadline)
                                   : commit_once(engine, batches, answers, deadline);
    });
}

Result<std::vector<Status>> SqliteStore::commit_once(Engine& engine, std::span<const RunBatch> batches,
                                                     const std::vector<Status>& answers, Deadline deadline) {
    return on_connection<std::vector<Status>>(engine, &Engine::writer, deadline, [&](Connection& connection) {
        return sqlite::commit(connection, batches, answers);
    });
}

Result<std::vector<Status>> SqliteStore::commit_making_room(Engine& engine, std::span<const RunBatch> batches,
                                                            const std::vector<Status>& answers, Deadline deadline) {
    if (is_nearly_full(engine.file.path())) {
        if (Status emptied = empty_log_on_full_volume(engine, deadline); !emptied)
            return std::unexpected(emptied.error());
    }
    Result<std::vector<Status>> committed = commit_once(engine, batches, answers, deadline);
    if (committed || !is_full(committed.error())) return committed;
    if (Status emptied = empty_log_on_full_volume(engine, deadline); !emptied) return std::unexpected(emptied.error());
    return commit_once(engine, batches, answers, deadline);
}

// Deleting is writing, into the log. On a full volume the log's own space is reused, once its whole content is in the
// database. That step comes first: a transaction that does not fit leaves the log larger than before.
Status SqliteStore::empty_log_on_full_volume(Engine& engine, Deadline deadline) {
    return on_connection<void>(engine, &Engine::writer, deadline, [](Connection& connection) -> Status {
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

Result<std::optional<Head>> SqliteStore::head(std::string_view run_id, Deadline deadline) {
    return read<std::optional<Head>>(deadline,
                                     [&](Connection& connection) { return sqlite::head(connection, run_id); });
}

Result<std::optional<LeaseInfo>> SqliteStore::lease(std::string_view run_id, Deadline deadline) {
    return read<std::optional<LeaseInfo>>(deadline,
                                          [&](Connection& connection) { return sqlite::lease(connection, run_id); });
}

Status SqliteStore::prepare(Reading reading) {
    if (reading == Reading::kUsual) return {};
    return while_open<void>([](Engine& engine) -> Status {
        engine.readers.discard();
        return {};
    });
}

Result<std::optional<Snapshot>> SqliteStore::get(std::string_view run_id, std::optional<std::string_view> snapshot_id,
                                                 Deadline deadline, Reading reading) {
    if (Status renewed = prepare(reading); !renewed) return std::unexpected(renewed.error());
    return read<std::optional<Snapshot>>(
        deadline, [&](Connection& connection) { return sqlite::get(connection, run_id, snapshot_id); });
}

Result<std::vector<BaseFrame>> SqliteStore::frames(std::string_view run_id, std::span<const std::int64_t> versions,
                                                   Deadline deadline, Reading reading) {
    if (Status renewed = prepare(reading); !renewed) return std::unexpected(renewed.error());
    return read<std::vector<BaseFrame>>(
        deadline, [&](Connection& connection) { return sqlite::frames(connection, run_id, versions); });
}

Result<std::vector<SnapshotInfo>> SqliteStore::history(const HistoryQuery& query, Deadline deadline, Reading reading) {
    if (Status renewed = prepare(reading); !renewed) return std::unexpected(renewed.error());
    return read<std::vector<SnapshotInfo>>(deadline,
                                           [&](Connection& connection) { return sqlite::history(connection, query); });
}

Result<Page<RunInfo>> SqliteStore::runs(const RunQuery& query, Deadline deadline) {
    return read<Page<RunInfo>>(deadline, [&](Connection& connection) { return sqlite::list_runs(connection, query); });
}

Result<Page<ThreadInfo>> SqliteStore::threads(const ThreadQuery& query, Deadline deadline) {
    return read<Page<ThreadInfo>>(deadline,
                                  [&](Connection& connection) { return sqlite::list_threads(connection, query); });
}

Result<std::vector<RecoveryRecord>> SqliteStore::recovery_log(std::string_view run_id, std::size_t limit,
                                                              Deadline deadline) {
    return read<std::vector<RecoveryRecord>>(
        deadline, [&](Connection& connection) { return sqlite::recovery_log(connection, run_id, limit); });
}

Result<bool> SqliteStore::shrink_log(Deadline deadline) {
    return while_open<bool>([&](Engine& engine) { return cairn::shrink_log(engine, deadline); });
}

Result<StoreStats> SqliteStore::stats(Deadline deadline) {
    return read_all<StoreStats>(deadline, [&](Engine& engine, Connection& connection) -> Result<StoreStats> {
        if (!read_only_) static_cast<void>(cairn::shrink_log(engine, deadline));
        Result<StoreStats> stats = sqlite::count_rows(connection);
        if (!stats) return stats;
        const Result<std::uint64_t> chain_frames_max = sqlite::chain_frames_max(connection);
        if (!chain_frames_max) return std::unexpected(chain_frames_max.error());
        stats->chain_frames_max = *chain_frames_max;
        stats->store_bytes = sqlite::bytes_on_disk(engine.file.path());
        return stats;
    });
}

Result<CheckReport> SqliteStore::check(Deadline deadline) {
    return read_all<CheckReport>(deadline, [](Engine& engine, Connection& connection) {
        return sqlite::inspect(connection, engine.file.path());
    });
}

// Work that is not done by the deadline is left for the next time.
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

// Each step is a transaction of its own. A pause of the same length follows, in which writers take their turn.
Result<std::uint64_t> SqliteStore::give_back_pages(Deadline deadline) {
    std::uint64_t bytes = 0;
    bool has_been_full = false;
    while (true) {
        const Deadline started = std::chrono::steady_clock::now();
        const Result<std::uint64_t> given = with_connection<std::uint64_t>(
            &Engine::writer, deadline, [](Connection& connection) { return sqlite::give_back_pages(connection); });
        if (!given && given.error().code == ErrorCode::kUnavailable) return bytes;  // others were busy all the time
        if (!given && is_full(given.error())) {
            if (std::exchange(has_been_full, true)) return bytes;  // new saves use the room all the same
            const Result<bool> has_shrunk = shrink_log(deadline);
            if (!has_shrunk) return std::unexpected(has_shrunk.error());
            if (!*has_shrunk) return bytes;
            continue;
        }
        if (!given) return given;
        bytes += *given;
        const Deadline now = std::chrono::steady_clock::now();
        if (*given == 0 || now >= deadline) return bytes;
        std::this_thread::sleep_for(std::min(now - started, deadline - now));
    }
}

// The log still holds pages from before a deletion. Readers are in the way only for a moment.
Status SqliteStore::empty_log(Deadline deadline) {
    constexpr std::chrono::milliseconds kPause(10);
    while (true) {
        const Result<bool> emptied = shrink_log(deadline);
        if (!emptied) return std::unexpected(emptied.error());
        if (*emptied || std::chrono::steady_clock::now() + kPause >= deadline) return {};
        std::this_thread::sleep_for(kPause);
    }
}

Result<std::uint64_t> SqliteStore::reclaim(Deadline deadline) {
    if (read_only_) return while_open<std::uint64_t>([](Engine&) { return Result<std::uint64_t>(read_only_error()); });
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

}  // namespace

Result<std::shared_ptr<Store>> open_sqlite_store(const std::filesystem::path& path, const OpenOptions& options,
                                                 const SqliteSettings& settings) try {
    SqliteSettings used = settings;
    if (used.migrations.empty()) used.migrations = sqlite::migrations();
    const LogSink log = options.runtime.with_defaults().log;
    Result<DatabaseFile::Opened> opened =
        DatabaseFile::open(path, options, used.migrations, log, after(options.timeout));
    if (!opened) return std::unexpected(std::move(opened.error()));
    return std::make_shared<SqliteStore>(std::move(*opened), used, log);
} catch (const std::bad_alloc&) {
    return fail(ErrorCode::kInternal, "out of memory");
}

}  // namespace cairn
