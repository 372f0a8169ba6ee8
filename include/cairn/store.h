#pragma once

#include <cairn/checksum.h>
#include <cairn/error.h>
#include <cairn/runtime.h>
#include <cairn/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn {

/// What is known of a snapshot without its frame.
struct SnapshotInfo {
    std::string run_id;
    std::string thread_id;
    std::string user_id;
    std::string snapshot_id;
    std::int64_t version = 0;         ///< Its place in the run: 1 for the first; every later head is larger.
    std::int64_t parent_version = 0;  ///< The version it grew from, 0 for none. A rollback's parent is its target.
    CheckpointType checkpoint_type;
    AgentPhase agent_phase;
    bool is_recovery_point = false;
    Timestamp created_at;
    std::optional<Timestamp> expires_at;
    std::uint64_t state_bytes = 0;  ///< Of the normal text.
    std::uint64_t frame_bytes = 0;  ///< As stored. Set by the store.
    Checksum checksum;              ///< Of the normal text.
    std::string execution_context;  ///< Normal text of a JSON object, or empty.
    std::string metadata;           ///< Normal text of a JSON object, or empty: the caller's own labels.
    std::int64_t base_version = 0;  ///< The version that its frame needs to be decoded; 0: it is self-contained.
    /// When read: what of it is damaged and was left empty. Such a snapshot is listed, but loading it is kCorrupt.
    std::string damage = {};
};

/// A stored frame by itself, as others need it.
struct BaseFrame {
    std::int64_t version = 0;
    std::int64_t base_version = 0;  ///< 0: self-contained.
    std::string frame;
};

/// A snapshot with its stored bytes. The store never looks into frames.
struct Snapshot {
    SnapshotInfo info;
    std::string frame;
    /// When read: the frames that must be decoded first, the self-contained one in front, `info.base_version`'s last.
    /// Empty for a self-contained frame, and when written.
    std::vector<BaseFrame> bases = {};
};

/// The newest snapshot of a run: what a writer must know to save, and no more.
struct Head {
    std::string thread_id;
    std::string user_id;
    std::string snapshot_id;
    std::int64_t version = 0;
    std::uint64_t state_bytes = 0;
    Checksum checksum;
    std::optional<Timestamp> expires_at;
};

/// One line of the recovery log.
struct RecoveryRecord {
    std::string run_id;
    RecoveryType recovery_type = RecoveryType::kResume;
    std::string failure_reason;  ///< The cause as the caller gave it.
    bool auto_recovery = false;
    std::string source_snapshot_id;  ///< Whose state was restored; empty if none could be.
    std::string result_snapshot_id;  ///< The head after the recovery; empty if it failed.
    std::string result;              ///< "recovered", or an error's name from the error table.
    std::string detail;              ///< For people: which snapshots were damaged, why it failed.
    Timestamp started_at;
    std::chrono::microseconds duration{0};
    std::string damage = {};  ///< When read: what of it is damaged; what it says is then not to be relied on.
};

/// Who executes a run. Every holder has a larger epoch than the one before, so that one that was superseded is refused.
struct Lease {
    std::string owner = {};  ///< Unique to the holder; empty: nobody holds the run.
    std::int64_t epoch = 0;  ///< 0: nobody ever did.

    friend bool operator==(const Lease&, const Lease&) = default;
};

struct LeaseInfo {
    Lease lease;
    Timestamp heartbeat_at;  ///< When the holder last said that it is alive, by its own clock.
};

/// Takes, renews or gives up the lease of a run, which need not have snapshots. A taken one has a larger epoch than
/// `expected`, a renewed one is equal to it, and one that was given up has its epoch and no owner.
struct LeaseWrite {
    Lease lease;
    Timestamp heartbeat_at;
    Lease expected = {};  ///< That the run must have. If not, kConflict.
};

/// A snapshot to write, and the head version that its run must have (0: the run does not exist yet). It becomes the
/// run's head with `info.version`, which must be larger than `expected_version`.
struct SnapshotWrite {
    Snapshot snapshot;
    std::int64_t expected_version = 0;
    /// If given, the base must have this id: a version alone may be another snapshot's, of a run that was deleted and
    /// made anew meanwhile. The same holds for `FrameRewrite::snapshot_id` and `SnapshotDeletion::snapshot_id`.
    std::string base_snapshot_id = {};
    std::optional<Lease> lease = {};  ///< If given, the run must be held so. If not, kConflict.
};

/// The same state in other bytes: how a snapshot is made independent of one that is to go.
struct FrameRewrite {
    std::int64_t version = 0;
    std::int64_t base_version = 0;  ///< 0: `frame` is self-contained.
    std::string frame;
    std::string snapshot_id = {};  ///< If given: of the snapshot to rewrite.
};

struct SnapshotDeletion {
    std::int64_t version = 0;
    std::string snapshot_id = {};  ///< If given, and the version is another snapshot's, it is deleted already.
};

/// The whole run goes, with its recovery log and its lease.
struct RunDeletion {
    std::int64_t version = 0;      ///< If given: of a snapshot that the run must still have,
    std::string snapshot_id = {};  ///< and its id. Otherwise this is another run, made anew under the same name.
};

/// What is written of one run: all of it is applied, or nothing, in the order of the members. Each of several writes
/// expects the one before.
struct RunBatch {
    std::string run_id;
    std::optional<LeaseWrite> lease = {};
    std::vector<SnapshotWrite> writes = {};  ///< Of this run, as `recoveries`.
    std::vector<RecoveryRecord> recoveries = {};
    std::vector<FrameRewrite> rewrites = {};
    std::vector<SnapshotDeletion> deletions = {};  ///< Never the head. What is not there is deleted already.
    std::optional<RunDeletion> run_deletion = {};  ///< A run that is not there is deleted already.

    bool is_empty() const {
        return !lease && writes.empty() && recoveries.empty() && rewrites.empty() && deletions.empty() && !run_deletion;
    }
};

/// Which snapshots of a run, and in which order.
struct HistoryQuery {
    enum class Order : std::uint8_t { kNewestFirst, kOldestFirst };

    std::string run_id;
    std::optional<std::string> thread_id = {};  ///< If set, nothing is found unless it owns the run.
    std::optional<std::string> user_id = {};
    std::optional<CheckpointType> checkpoint_type = {};
    std::optional<AgentPhase> agent_phase = {};
    std::optional<bool> is_recovery_point = {};
    std::optional<Timestamp> created_from = {};   ///< Inclusive.
    std::optional<Timestamp> created_until = {};  ///< Exclusive.
    /// Top-level members that the snapshot's metadata must have: key and the value's normal text ("\"eu\"", "3").
    std::vector<std::pair<std::string, std::string>> metadata = {};
    Order order = Order::kNewestFirst;
    std::optional<std::int64_t> after_version = {};  ///< Keyset: the last version of the page before.
    std::size_t limit = 100;
};

struct RunInfo {
    std::string run_id;
    std::string thread_id;
    std::string user_id;
    std::int64_t head_version = 0;
    std::string head_snapshot_id;
    CheckpointType checkpoint_type;  ///< Of the head.
    AgentPhase agent_phase;          ///< Of the head.
    Timestamp created_at;            ///< Of the run's first snapshot, which may have been deleted since.
    Timestamp updated_at;            ///< Of the head.
    std::uint64_t snapshots = 0;
    std::string metadata;  ///< Of the head; empty if it is damaged.
    std::optional<LeaseInfo> lease;
    std::string damage = {};  ///< What of its record, its head's or its lease's is damaged. It is listed all the same.
};

/// Which runs, and in which order. A page continues behind the last run of the one before: runs that are made or
/// deleted meanwhile neither repeat nor hide others.
struct RunQuery {
    enum class Order : std::uint8_t {
        kNewestFirst,  ///< By the time of creation, then by id, both descending. For people: times are the writers'.
        kById,         ///< Ascending. The cheapest way through all runs.
    };

    /// This run at the most, looked up by its key: it costs about what `Store::head` does, however many runs there are.
    std::optional<std::string> run_id = {};
    std::optional<std::string> thread_id = {};
    std::optional<std::string> user_id = {};
    Order order = Order::kNewestFirst;
    std::string cursor = {};  ///< `Page::next_cursor` of the page before; empty for the first.
    std::size_t limit = 100;
};

struct ThreadInfo {
    std::string thread_id;
    std::string user_id;
    std::uint64_t runs = 0;
    std::uint64_t snapshots = 0;
    Timestamp updated_at;     ///< The latest of its heads' times.
    std::string damage = {};  ///< As a run's.
};

/// Threads, ordered by thread id, then user id. One thread id under two users is two threads.
struct ThreadQuery {
    std::optional<std::string> user_id = {};
    std::string cursor = {};
    std::size_t limit = 100;
};

template <class T>
struct Page {
    std::vector<T> items;
    std::string next_cursor;  ///< Empty: this was the last page.
};

struct StoreStats {
    std::uint64_t runs = 0;
    std::uint64_t threads = 0;
    std::uint64_t snapshots = 0;
    std::uint64_t state_bytes = 0;    ///< Sum of the normal texts.
    std::uint64_t payload_bytes = 0;  ///< Sum of the stored frames.
    std::uint64_t store_bytes = 0;    ///< What the store occupies on disk, logs included (0 for `memory:`).
    // Where they go. What is no delta is self-contained; what is no payload is the store's overhead.
    std::uint64_t delta_frames = 0;      ///< Snapshots whose frame needs another one.
    std::uint64_t delta_bytes = 0;       ///< Sum of those frames.
    std::uint64_t chain_frames_max = 0;  ///< Frames to be read for the snapshot that needs most, its own included.
    std::uint64_t forks = 0;             ///< Snapshots that did not grow from the version before theirs.
};

struct CheckReport {
    struct Finding {
        std::string run_id;       ///< Empty: concerns the whole store.
        std::string snapshot_id;  ///< Empty: concerns the whole run.
        std::string problem;
        /// kLimitExceeded: a state that could not be looked at, being larger than this reader's limit allows.
        ErrorCode code = ErrorCode::kCorrupt;

        bool operator==(const Finding&) const = default;
    };
    std::uint64_t runs = 0;
    std::uint64_t snapshots = 0;
    std::vector<Finding> findings;  ///< Empty: all is well.
};

struct OpenOptions {
    bool read_only = false;  ///< Every write returns kReadOnly; nothing on disk changes.
    bool create = true;      ///< A store that does not exist is made; otherwise kNotFound.
    /// Of the files that it makes, whatever the umask is: 0600, or 0640, 0660 and the like to let a group in.
    std::uint32_t file_mode = 0600;
    std::chrono::milliseconds timeout{30'000};  ///< How long opening may wait for others.
    Runtime runtime = {};
};

/// Where snapshots live. It keeps bytes and their order; what they mean (equality, compression, policy) is decided
/// above it. Small on purpose: everything that a SQL database, a key-value server and a map can all do.
///
/// Threads: every member is safe to call concurrently, except that nothing may run during or after destruction.
/// Durability: what `commit` says is applied survives process death and power loss (`memory:`: neither).
/// Deadlines: every call that can wait returns by its deadline (a tenth of a second later at the most; a flush of the
///   disk that has begun is waited for). A read that cannot be answered in time is kUnavailable; a write that may have
///   taken effect by then is kOutcomeUnknown.
/// Order: inside a run by version. Between runs there is none.
/// Errors: all members may return kUnavailable, kCorrupt (the engine found damage), kClosed, kUnauthenticated,
///   kPermissionDenied and kInternal; only the further ones are named. Absence on a read is no error.
/// Isolation: a snapshot is found only under the run that owns it; a run belongs to one thread and one user for ever.
class Store {
public:
    virtual ~Store() = default;

    /// How many commits it takes at the same time without one waiting for another: a writer leads so many batches.
    /// At least 1, and always the same.
    virtual std::size_t commits_at_once() const noexcept = 0;

    /// Applies each batch whole or not at all, and answers for each in the order given. What is applied is on disk on
    /// return, with as few flushes as the engine can. Nothing is promised across runs: a run that is refused leaves the
    /// others alone, and a reader may see one run's batch before another's.
    /// A write's, a rewrite's base must exist, and no remaining snapshot may need a deleted one: the store checks both
    /// where it applies them.
    /// Errors of one run, of whose batch nothing was applied: kConflict (its head is not at `expected_version`, its
    ///   lease is another one than expected, a base or a snapshot to rewrite is gone, a snapshot to delete is still
    ///   needed, or the run to delete is another one now; re-read, then retry, but a writer whose lease is gone must
    ///   stop), kAlreadyExists (a snapshot id is taken in the run, told even if the head moved too), kInvalidArgument
    ///   (the run belongs to another thread or user, an id is empty, versions do not grow, a base is not older, writes
    ///   do not chain, an epoch does not grow with a new owner, the head is to be deleted, or two batches name one
    ///   run), kCorrupt (what is stored of the run). Of a store that flushes runs apart: kOutcomeUnknown, kUnavailable.
    /// Errors of all, instead of the answers: kUnavailable, kStorageFull, kReadOnly (nothing was applied; the first two
    ///   may be retried), kOutcomeUnknown (each batch may have been applied, or not: look the snapshot id up, then
    ///   retry with the same ids, which is safe).
    [[nodiscard]] virtual Result<std::vector<Status>> commit(std::span<const RunBatch> batches, Deadline deadline) = 0;

    /// The run's head as of now, whichever process wrote it. Cheap enough to ask before every save.
    [[nodiscard]] virtual Result<std::optional<Head>> head(std::string_view run_id, Deadline deadline) = 0;

    /// Who executes the run; nothing if nobody ever did.
    [[nodiscard]] virtual Result<std::optional<LeaseInfo>> lease(std::string_view run_id, Deadline deadline) = 0;

    /// How something is read. `kAfresh` relies on nothing that was read before: no page in memory, no open connection.
    /// For a reader who has found what cannot be right, before it is called damage.
    enum class Reading : std::uint8_t { kUsual, kAfresh };

    /// One snapshot with its frame and those that this needs, all of one moment; without `snapshot_id`, the head's.
    /// Errors: kCorrupt (a frame that it needs is not there).
    [[nodiscard]] virtual Result<std::optional<Snapshot>> get(std::string_view run_id,
                                                              std::optional<std::string_view> snapshot_id,
                                                              Deadline deadline, Reading reading = Reading::kUsual) = 0;

    /// Frames of a run by their versions, each without those that it needs, in the order asked for; what is not there
    /// is left out. For a reader of many: `get` reads a whole chain for each.
    [[nodiscard]] virtual Result<std::vector<BaseFrame>> frames(std::string_view run_id,
                                                                std::span<const std::int64_t> versions,
                                                                Deadline deadline,
                                                                Reading reading = Reading::kUsual) = 0;

    /// A page of a run's snapshots without their frames. A record that is damaged is listed and says so, and does not
    /// keep the others from being read; the same holds for `runs`, `threads` and `recovery_log`.
    [[nodiscard]] virtual Result<std::vector<SnapshotInfo>> history(const HistoryQuery& query, Deadline deadline,
                                                                    Reading reading = Reading::kUsual) = 0;

    /// Errors, of `threads` too: kInvalidArgument (a cursor that such a list did not give).
    [[nodiscard]] virtual Result<Page<RunInfo>> runs(const RunQuery& query, Deadline deadline) = 0;
    [[nodiscard]] virtual Result<Page<ThreadInfo>> threads(const ThreadQuery& query, Deadline deadline) = 0;

    /// The run's recoveries, newest first.
    [[nodiscard]] virtual Result<std::vector<RecoveryRecord>> recovery_log(std::string_view run_id, std::size_t limit,
                                                                           Deadline deadline) = 0;

    /// Counts and sizes, after moving finished log pages into the database where that is possible. Reads all rows: with
    /// `Deadline::max()` it takes as long as the store's size justifies.
    [[nodiscard]] virtual Result<StoreStats> stats(Deadline deadline) = 0;

    /// Verifies what the engine and the schema promise (pages, indexes, every head has its snapshot, versions grow, the
    /// frames that each needs are there); frames are not decoded here. Damage is a finding, not an error. Takes as long
    /// as `stats`.
    [[nodiscard]] virtual Result<CheckReport> check(Deadline deadline) = 0;

    /// Gives space that deletions have freed back to the file system, with words that no snapshot has any more, in
    /// short steps until `deadline`; returns the bytes given back. Writers keep going in between. Errors: kReadOnly.
    [[nodiscard]] virtual Result<std::uint64_t> reclaim(Deadline deadline) = 0;

    /// Waits for calls under way, then releases the engine. Later calls return kClosed; a second close is harmless.
    [[nodiscard]] virtual Status close() = 0;
};

/// `Store::commit` of one run: its own answer, or the error of all.
[[nodiscard]] Status commit_run(Store& store, const RunBatch& batch, Deadline deadline);

/// Passes every call on to another store. Derive from it and override what should behave otherwise: a fault injector
/// is ten lines.
class ForwardingStore : public Store {
public:
    explicit ForwardingStore(std::shared_ptr<Store> next) : next_(std::move(next)) {}

    std::size_t commits_at_once() const noexcept override { return next_->commits_at_once(); }
    Result<std::vector<Status>> commit(std::span<const RunBatch> batches, Deadline deadline) override {
        return next_->commit(batches, deadline);
    }
    Result<std::optional<Head>> head(std::string_view run_id, Deadline deadline) override {
        return next_->head(run_id, deadline);
    }
    Result<std::vector<BaseFrame>> frames(std::string_view run_id, std::span<const std::int64_t> versions,
                                          Deadline deadline, Reading reading = Reading::kUsual) override {
        return next_->frames(run_id, versions, deadline, reading);
    }
    Result<std::optional<LeaseInfo>> lease(std::string_view run_id, Deadline deadline) override {
        return next_->lease(run_id, deadline);
    }
    Result<std::optional<Snapshot>> get(std::string_view run_id, std::optional<std::string_view> snapshot_id,
                                        Deadline deadline, Reading reading = Reading::kUsual) override {
        return next_->get(run_id, snapshot_id, deadline, reading);
    }
    Result<std::vector<SnapshotInfo>> history(const HistoryQuery& query, Deadline deadline,
                                              Reading reading = Reading::kUsual) override {
        return next_->history(query, deadline, reading);
    }
    Result<Page<RunInfo>> runs(const RunQuery& query, Deadline deadline) override {
        return next_->runs(query, deadline);
    }
    Result<Page<ThreadInfo>> threads(const ThreadQuery& query, Deadline deadline) override {
        return next_->threads(query, deadline);
    }
    Result<std::vector<RecoveryRecord>> recovery_log(std::string_view run_id, std::size_t limit,
                                                     Deadline deadline) override {
        return next_->recovery_log(run_id, limit, deadline);
    }
    Result<StoreStats> stats(Deadline deadline) override { return next_->stats(deadline); }
    Result<CheckReport> check(Deadline deadline) override { return next_->check(deadline); }
    Result<std::uint64_t> reclaim(Deadline deadline) override { return next_->reclaim(deadline); }
    Status close() override { return next_->close(); }

protected:
    Store& next() { return *next_; }

private:
    std::shared_ptr<Store> next_;
};

/// An engine, as the scheme of a store's URL names it.
struct StoreScheme {
    using Open = std::function<Result<std::shared_ptr<Store>>(std::string_view url, const OpenOptions& options)>;
    using Check = std::function<Status(std::string_view url)>;

    std::string name;   ///< What stands before the colon: lower-case letters, digits, "+", "-", ".".
    std::string usage;  ///< For whoever gave a URL that is none: "sqlite:PATH".
    Open open;          ///< Gets the whole URL.
    Check check = {};   ///< What can be seen of a URL without opening the store. Optional.
};

/// Makes `open_store` know another engine, in this process. Threads: safe to call concurrently.
/// Errors: kInvalidArgument (a name that no scheme can have, or no `open`), kAlreadyExists (the scheme is known).
[[nodiscard]] Status register_store_scheme(StoreScheme scheme);

/// Opens the store that `url` names: `sqlite:PATH` (a file; relative to the working folder), `memory:` (a store of its
/// own, gone with it), or one of a registered scheme.
/// Errors: kInvalidArgument (unknown scheme, empty path), kNotFound (no such file or folder and `create` is off, or no
///   such folder), kReadOnly (cannot be written), kIncompatible (not a cairn store, or from a newer cairn),
///   kUnauthenticated, kPermissionDenied (a server's answer), kCorrupt, kUnavailable, kStorageFull.
[[nodiscard]] Result<std::shared_ptr<Store>> open_store(std::string_view url, const OpenOptions& options = {});

/// Whether `url` can name a store, as far as that can be seen without opening it. Errors: kInvalidArgument, kNotFound.
[[nodiscard]] Status check_store_url(std::string_view url);

}  // namespace cairn
