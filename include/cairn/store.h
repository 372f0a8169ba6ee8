#pragma once

#include <cairn/checksum.h>
#include <cairn/error.h>
#include <cairn/runtime.h>
#include <cairn/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn {

/// A snapshot's record, without its frame.
struct SnapshotInfo {
    std::string run_id;
    std::string thread_id;
    std::string user_id;
    std::string snapshot_id;
    std::int64_t version = 0;         ///< Place in the run: 1 for the first; every later head is larger.
    std::int64_t parent_version = 0;  ///< The version it grew from; 0: none. A rollback's parent is its target.
    CheckpointType checkpoint_type;
    AgentPhase agent_phase;
    bool is_recovery_point = false;
    Timestamp created_at;
    std::optional<Timestamp> expires_at;
    std::string state_type = {};    ///< Type tag of an opaque state; empty: JSON.
    std::uint64_t state_bytes = 0;  ///< Size of the normal text, or of an opaque state's bytes.
    std::uint64_t frame_bytes = 0;  ///< Size as stored. Set by the store.
    Checksum checksum;              ///< Checksum of the state's stored text.
    std::string execution_context;  ///< Normal text of a JSON object, or empty.
    std::string metadata;           ///< The caller's own labels: normal text of a JSON object, or empty.
    std::int64_t base_version = 0;  ///< The version that the frame needs to be decoded; 0: self-contained.
    /// Set on reading: the part that is damaged and was left empty. Such a snapshot is listed; loading it is kCorrupt.
    std::string damage = {};
};

/// A stored frame without its snapshot's record. Other frames may need it to be decoded.
struct BaseFrame {
    std::int64_t version = 0;
    std::int64_t base_version = 0;  ///< 0: self-contained.
    std::string frame;
};

/// A snapshot with its stored bytes. The store never looks into frames.
struct Snapshot {
    SnapshotInfo info;
    std::string frame;
    /// Set on reading: the frames to decode first, from the self-contained one to `info.base_version`'s. Empty for a
    /// self-contained frame, and on writing.
    std::vector<BaseFrame> bases = {};
};

/// The newest snapshot of a run, reduced to what a writer must know to save.
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
    std::string source_snapshot_id;  ///< The snapshot whose state was restored; empty if none could be.
    std::string result_snapshot_id;  ///< The head after the recovery; empty if it failed.
    std::string result;              ///< "recovered", or an error's name from the error table.
    std::string detail;              ///< For people: which snapshots were damaged, or why it failed.
    Timestamp started_at;
    std::chrono::microseconds duration{0};
    std::string damage = {};  ///< Set on reading: the damaged part. The record is then unreliable.
};

/// The right to execute a run. Each holder has a larger epoch than the one before, so a superseded holder is refused.
struct Lease {
    std::string owner = {};  ///< Unique to the holder; empty: nobody holds the run.
    std::int64_t epoch = 0;  ///< 0: nobody has ever held it.

    friend bool operator==(const Lease&, const Lease&) = default;
};

struct LeaseInfo {
    Lease lease;
    Timestamp heartbeat_at;  ///< Time of the holder's last heartbeat, by its own clock.
};

/// Takes, renews or releases the lease of a run. The run need not have snapshots. A taken lease has a larger epoch than
/// `expected`. A renewed lease equals `expected`. A released lease has the epoch of `expected` and no owner.
struct LeaseWrite {
    Lease lease;
    Timestamp heartbeat_at;
    Lease expected = {};  ///< The run must have this lease; otherwise kConflict.
};

/// A snapshot to write, and the head version that its run must have (0: the run does not exist yet). The snapshot
/// becomes the run's head with `info.version`, which must be larger than `expected_version`.
struct SnapshotWrite {
    Snapshot snapshot;
    std::int64_t expected_version = 0;
    /// If set, the base must have this id. The version alone is not enough: if the run was deleted and made anew
    /// meanwhile, another snapshot may have it. The same holds for `FrameRewrite::snapshot_id` and
    /// `SnapshotDeletion::snapshot_id`.
    std::string base_snapshot_id = {};
    /// If set, the state of the base must have this checksum. The id is not enough either: callers that make their own
    /// ids may use one again.
    std::optional<Checksum> base_checksum = {};
    std::optional<Lease> lease = {};  ///< If set, the run must have this lease; otherwise kConflict.
};

/// Stores the same state in other bytes. This makes a snapshot independent of one that is to be deleted.
struct FrameRewrite {
    std::int64_t version = 0;
    std::int64_t base_version = 0;  ///< 0: `frame` is self-contained.
    std::string frame;
    std::string snapshot_id = {};                ///< If set: the id of the snapshot to rewrite.
    std::optional<Checksum> checksum = {};       ///< If set: the checksum of the state of the snapshot to rewrite.
    std::optional<Checksum> base_checksum = {};  ///< The same as `SnapshotWrite::base_checksum`.
};

struct SnapshotDeletion {
    std::int64_t version = 0;
    std::string snapshot_id = {};  ///< If set, and another snapshot has the version: already deleted.
};

/// Deletes the whole run with its recovery log and its lease.
struct RunDeletion {
    std::int64_t version = 0;      ///< If set: the run must still have a snapshot with this version
    std::string snapshot_id = {};  ///< and this id. If not, it is another run, made anew under the same name.
};

/// All writes to one run. They are applied as a whole or not at all, in the order of the members. If there are several
/// `writes`, each expects the one before it.
struct RunBatch {
    std::string run_id;
    std::optional<LeaseWrite> lease = {};
    std::vector<SnapshotWrite> writes = {};  ///< Of this run, like `recoveries`.
    std::vector<RecoveryRecord> recoveries = {};
    std::vector<FrameRewrite> rewrites = {};
    std::vector<SnapshotDeletion> deletions = {};  ///< Never the head. A missing snapshot counts as deleted already.
    std::optional<RunDeletion> run_deletion = {};  ///< A missing run counts as deleted already.

    bool is_empty() const {
        return !lease && writes.empty() && recoveries.empty() && rewrites.empty() && deletions.empty() && !run_deletion;
    }
};

/// Selects snapshots of a run, and their order.
struct HistoryQuery {
    enum class Order : std::uint8_t { kNewestFirst, kOldestFirst };

    std::string run_id;
    std::optional<std::string> thread_id = {};  ///< If set, the result is empty unless this thread owns the run.
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
    CheckpointType checkpoint_type;  ///< The head's.
    AgentPhase agent_phase;          ///< The head's.
    Timestamp created_at;            ///< Time of the run's first snapshot, which may have been deleted since.
    Timestamp updated_at;            ///< Time of the head.
    std::uint64_t snapshots = 0;
    std::string metadata;  ///< The head's; empty if it is damaged.
    std::optional<LeaseInfo> lease;
    std::string damage = {};  ///< The damaged part of the run's record, head or lease. The run is listed all the same.
};

/// Selects runs, and their order. A page continues after the last run of the page before. Runs that are made or deleted
/// meanwhile neither repeat nor hide others.
struct RunQuery {
    enum class Order : std::uint8_t {
        kNewestFirst,  ///< By creation time, then by id, both descending. For people: the times are the writers'.
        kById,         ///< Ascending. The cheapest way through all runs.
    };

    /// This run at the most, looked up by its key: it costs about what `Store::head` does, however many runs there are.
    std::optional<std::string> run_id = {};
    std::optional<std::string> thread_id = {};
    std::optional<std::string> user_id = {};
    Order order = Order::kNewestFirst;
    std::string cursor = {};  ///< `Page::next_cursor` of the page before; empty for the first page.
    std::size_t limit = 100;
};

struct ThreadInfo {
    std::string thread_id;
    std::string user_id;
    std::uint64_t runs = 0;
    std::uint64_t snapshots = 0;
    Timestamp updated_at;     ///< The latest of its heads' times.
    std::string damage = {};  ///< The same as in `RunInfo`.
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
    std::string next_cursor;  ///< Empty: this is the last page.
};

struct StoreStats {
    std::uint64_t runs = 0;
    std::uint64_t threads = 0;
    std::uint64_t snapshots = 0;
    std::uint64_t state_bytes = 0;    ///< Sum of the sizes of all states.
    std::uint64_t payload_bytes = 0;  ///< Sum of the stored frames.
    std::uint64_t store_bytes = 0;    ///< Size on disk, logs included (0 for `memory:`).
    // The parts of these bytes. Frames that are not deltas are self-contained. Bytes that are not payload are the
    // store's overhead.
    std::uint64_t delta_frames = 0;      ///< Snapshots whose frame needs another one.
    std::uint64_t delta_bytes = 0;       ///< Sum of those frames.
    std::uint64_t chain_frames_max = 0;  ///< The most frames that one snapshot needs to be read, its own included.
    std::uint64_t forks = 0;             ///< Snapshots that did not grow from the version before theirs.
    struct OpaqueStates {
        std::uint64_t snapshots = 0;
        std::uint64_t state_bytes = 0;

        bool operator==(const OpaqueStates&) const = default;
    };
    std::map<std::string, OpaqueStates> opaque_states;  ///< The opaque ones of all these states, by type.
};

struct CheckReport {
    struct Finding {
        std::string run_id;       ///< Empty: the finding concerns the whole store.
        std::string snapshot_id;  ///< Empty: the finding concerns the whole run.
        std::string problem;
        /// kLimitExceeded: the state was not checked, because it is larger than this reader's limit allows.
        ErrorCode code = ErrorCode::kCorrupt;

        bool operator==(const Finding&) const = default;
    };
    std::uint64_t runs = 0;
    std::uint64_t snapshots = 0;
    std::vector<Finding> findings;  ///< Empty: all is well.
};

struct OpenOptions {
    bool read_only = false;  ///< Every write returns kReadOnly; nothing on disk changes.
    bool create = true;      ///< Makes a store that does not exist; if false: kNotFound.
    /// Mode of the files that the store makes, whatever the umask is: 0600, or 0640, 0660 and so on for a group.
    std::uint32_t file_mode = 0600;
    std::chrono::milliseconds timeout{30'000};  ///< The longest time that opening waits for others.
    Runtime runtime = {};
};

/// Keeps snapshots: their bytes and their order. The layers above decide what the bytes mean (equality, compression,
/// policy). The interface is small on purpose: a SQL database, a key-value server and a map can all implement it.
///
/// Threads: every member is safe to call concurrently. Nothing may run during or after destruction.
/// Durability: a batch that `commit` reports as applied survives process death and power loss (`memory:`: neither).
/// Deadlines: every call that can wait returns by its deadline, or a tenth of a second later at the most; a disk flush
///   that has begun is waited for. A read that cannot be answered in time returns kUnavailable. A write that may have
///   taken effect by then returns kOutcomeUnknown.
/// Order: snapshots of one run are ordered by version. There is no order between runs.
/// Errors: all members may return kUnavailable, kCorrupt (the engine found damage), kClosed, kUnauthenticated,
///   kPermissionDenied and kInternal; only further errors are named below. Absence on a read is not an error.
/// Isolation: a snapshot is found only under the run that owns it. A run belongs to one thread and one user for ever.
class Store {
public:
    virtual ~Store() = default;

    /// The number of commits that the store takes at the same time without one waiting for another. A writer commits up
    /// to this many batches at a time. The number is at least 1 and never changes.
    virtual std::size_t commits_at_once() const noexcept = 0;

    /// Applies each batch as a whole or not at all, and gives one answer for each, in the same order. Applied batches
    /// are on disk on return, with as few flushes as the engine can. Nothing is promised across runs: a refused run
    /// leaves the others alone, and a reader may see one run's batch before another's.
    /// The base of a write or rewrite must exist, and no remaining snapshot may need a deleted one. The store checks
    /// both at the point where it applies them.
    /// Errors of one run (nothing of its batch was applied): kConflict (the head is not at `expected_version`, the
    ///   lease is not the expected one, a base or a snapshot to rewrite is gone, a snapshot to delete is still needed,
    ///   or the run to delete is another one now; re-read, then retry, but a writer whose lease is gone must stop),
    ///   kAlreadyExists (a snapshot id is taken in the run; reported even if the head moved too), kInvalidArgument (the
    ///   run belongs to another thread or user, an id is empty, versions do not grow, a base is not older, writes do
    ///   not chain, an epoch does not grow with a new owner, the head is to be deleted, or two batches name one run),
    ///   kCorrupt (the stored data of the run is damaged), kLimitExceeded (a value is larger than the engine can
    ///   store). A store that flushes each run separately may also return kOutcomeUnknown and kUnavailable for a run.
    /// Errors of the whole call, instead of the answers: kUnavailable, kStorageFull, kReadOnly (nothing was applied;
    ///   the first two may be retried), kOutcomeUnknown (each batch may or may not have been applied: look the snapshot
    ///   id up, then retry with the same ids, which is safe).
    [[nodiscard]] virtual Result<std::vector<Status>> commit(std::span<const RunBatch> batches, Deadline deadline) = 0;

    /// The run's current head, whichever process wrote it. Cheap enough to call before every save.
    [[nodiscard]] virtual Result<std::optional<Head>> head(std::string_view run_id, Deadline deadline) = 0;

    /// The run's lease; nothing if nobody has ever held it.
    [[nodiscard]] virtual Result<std::optional<LeaseInfo>> lease(std::string_view run_id, Deadline deadline) = 0;

    /// The way to read. `kAfresh` relies on nothing that was read before: no page in memory, no open connection. A
    /// reader that has found something impossible uses it before calling it damage.
    enum class Reading : std::uint8_t { kUsual, kAfresh };

    /// One snapshot with its frame and the frames that it needs, all of one moment. Without `snapshot_id`: the head.
    /// Errors: kCorrupt (a frame that it needs is missing).
    [[nodiscard]] virtual Result<std::optional<Snapshot>> get(std::string_view run_id,
                                                              std::optional<std::string_view> snapshot_id,
                                                              Deadline deadline, Reading reading = Reading::kUsual) = 0;

    /// Frames of a run by version, each without the frames that it needs, in the order asked for. Missing frames are
    /// left out. For readers of many frames: `get` reads a whole chain for each.
    [[nodiscard]] virtual Result<std::vector<BaseFrame>> frames(std::string_view run_id,
                                                                std::span<const std::int64_t> versions,
                                                                Deadline deadline,
                                                                Reading reading = Reading::kUsual) = 0;

    /// A page of a run's snapshots without their frames. A damaged record is listed as damaged and does not keep the
    /// others from being read. The same holds for `runs`, `threads` and `recovery_log`.
    [[nodiscard]] virtual Result<std::vector<SnapshotInfo>> history(const HistoryQuery& query, Deadline deadline,
                                                                    Reading reading = Reading::kUsual) = 0;

    /// Errors, also of `threads`: kInvalidArgument (a cursor that such a list did not return).
    [[nodiscard]] virtual Result<Page<RunInfo>> runs(const RunQuery& query, Deadline deadline) = 0;
    [[nodiscard]] virtual Result<Page<ThreadInfo>> threads(const ThreadQuery& query, Deadline deadline) = 0;

    /// The run's recoveries, newest first.
    [[nodiscard]] virtual Result<std::vector<RecoveryRecord>> recovery_log(std::string_view run_id, std::size_t limit,
                                                                           Deadline deadline) = 0;

    /// Counts and sizes, after moving finished log pages into the database where that is possible. Reads all rows. With
    /// `Deadline::max()` it takes as long as the store's size justifies.
    [[nodiscard]] virtual Result<StoreStats> stats(Deadline deadline) = 0;

    /// Verifies what the engine and the schema promise (pages, indexes, every head has its snapshot, versions grow, the
    /// frames that each snapshot needs exist). Frames are not decoded here. Damage is a finding, not an error. Takes as
    /// long as `stats`.
    [[nodiscard]] virtual Result<CheckReport> check(Deadline deadline) = 0;

    /// Gives space that deletions have freed back to the file system, and deletes unused labels, in short steps until
    /// `deadline`. Returns the bytes given back. Writers keep going in between. Errors: kReadOnly.
    [[nodiscard]] virtual Result<std::uint64_t> reclaim(Deadline deadline) = 0;

    /// Waits for running calls, then releases the engine. Later calls return kClosed; a second close is harmless.
    [[nodiscard]] virtual Status close() = 0;
};

/// Calls `Store::commit` for one run, and returns its answer or the error of the whole call.
[[nodiscard]] Status commit_run(Store& store, const RunBatch& batch, Deadline deadline);

/// Passes every call on to another store. Derive from it and override the calls that should behave differently: a fault
/// injector takes ten lines.
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

/// A storage engine, named by the scheme of a store's URL.
struct StoreScheme {
    using Open = std::function<Result<std::shared_ptr<Store>>(std::string_view url, const OpenOptions& options)>;
    using Check = std::function<Status(std::string_view url)>;

    std::string name;   ///< The part before the colon: lower-case letters, digits, "+", "-", ".".
    std::string usage;  ///< Shown for a URL that is invalid: "sqlite:PATH".
    Open open;          ///< Gets the whole URL.
    Check check = {};   ///< Checks a URL as far as possible without opening the store. Optional.
};

/// Makes another engine known to `open_store`, in this process. Threads: safe to call concurrently.
/// Errors: kInvalidArgument (a name that no scheme can have, or no `open`), kAlreadyExists (the scheme is known).
[[nodiscard]] Status register_store_scheme(StoreScheme scheme);

/// Opens the store that `url` names: `sqlite:PATH` (a file; relative to the working folder), `memory:` (a new store
/// that ends with the returned object), or one of a registered scheme.
/// Errors: kInvalidArgument (unknown scheme, empty path), kNotFound (no such file or folder and `create` is off, or no
///   such folder), kReadOnly (cannot be written), kIncompatible (not a cairn store, or from a newer cairn),
///   kUnauthenticated, kPermissionDenied (a server's answer), kCorrupt, kUnavailable, kStorageFull.
[[nodiscard]] Result<std::shared_ptr<Store>> open_store(std::string_view url, const OpenOptions& options = {});

/// Checks that `url` can name a store, as far as possible without opening it. Errors: kInvalidArgument, kNotFound.
[[nodiscard]] Status check_store_url(std::string_view url);

}  // namespace cairn
