#pragma once

#include <cairn/checksum.h>
#include <cairn/error.h>
#include <cairn/runtime.h>
#include <cairn/types.h>

#include <cstddef>
#include <cstdint>
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
    std::string run_id;
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
    /// made anew meanwhile. So `FrameRewrite::snapshot_id` and `SnapshotDeletion::snapshot_id`.
    std::string base_snapshot_id = {};
    std::optional<Lease> lease = {};  ///< If given, the run must be held so. If not, kConflict.
};

/// The same state in other bytes: how a snapshot is made independent of one that is to go.
struct FrameRewrite {
    std::string run_id;
    std::int64_t version = 0;
    std::int64_t base_version = 0;  ///< 0: `frame` is self-contained.
    std::string frame;
    std::string snapshot_id = {};  ///< If given: of the snapshot to rewrite.
};

struct SnapshotDeletion {
    std::string run_id;
    std::int64_t version = 0;
    std::string snapshot_id = {};  ///< If given, and the version is another snapshot's, it is deleted already.
};

/// A whole run, with its recovery log and its lease.
struct RunDeletion {
    std::string run_id;
    std::int64_t version = 0;      ///< If given: of a snapshot that the run must still have,
    std::string snapshot_id = {};  ///< and its id. Otherwise this is another run, made anew under the same name.
};

/// All of it is applied, or nothing, in the order of the members. Several writes to one run are applied in order, each
/// expecting the one before.
struct Batch {
    std::vector<LeaseWrite> leases = {};
    std::vector<SnapshotWrite> writes = {};
    std::vector<RecoveryRecord> recoveries = {};
    std::vector<FrameRewrite> rewrites = {};
    std::vector<SnapshotDeletion> deletions = {};  ///< Never a head. What is not there is deleted already.
    std::vector<RunDeletion> run_deletions = {};   ///< What is not there is deleted already.
};

/// Which snapshots of a run, and in which order.
struct HistoryQuery {
    enum class Order : std::uint8_t { kNewestFirst, kOldestFirst };

    std::string run_id;
    std::optional<std::string> thread_id = {};  ///< If set, nothing is found unless it owns the run. So `user_id`.
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
    std::int64_t commit_sequence = 0;  ///< Grows with every write to the store: orders the heads of several runs.
    std::string metadata;              ///< Of the head; empty if it is damaged.
    std::optional<LeaseInfo> lease;
    std::string damage = {};  ///< What of its record, its head's or its lease's is damaged. It is listed all the same.
};

/// Runs, the newest created first (by the store's own order, not by clocks).
struct RunQuery {
    std::optional<std::string> thread_id = {};
    std::optional<std::string> user_id = {};
    std::string cursor = {};  ///< `Page::next_cursor` of the page before; empty for the first.
    std::size_t limit = 100;
};

struct ThreadInfo {
    std::string thread_id;
    std::string user_id;
    std::uint64_t runs = 0;
    std::uint64_t snapshots = 0;
    Timestamp updated_at;     ///< Of its newest head.
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
    Runtime runtime = {};
};

/// Where snapshots live. It keeps bytes and their order; what they mean (equality, compression, policy) is decided
/// above it. Small on purpose: everything that a SQL database, a key-value server and a map can all do.
///
/// Threads: every member is safe to call concurrently, except that nothing may run during or after destruction.
/// Durability: when `commit` returns success, the batch survives process death and power loss (`memory:`: neither).
/// Errors: all members may return kUnavailable, kCorrupt (the engine found damage), kClosed, kInternal; only the
///   further ones are named. Absence on a read is no error.
/// Isolation: a snapshot is found only under the run that owns it; a run belongs to one thread and one user for ever.
class Store {
public:
    virtual ~Store() = default;

    /// Applies all of `batch`, or nothing. Blocks until it is on disk or `deadline` passes.
    /// A write's, a rewrite's base must exist, and no remaining snapshot may need a deleted one: the store checks both
    /// inside the transaction.
    /// Errors: kConflict (a run's head is not at `expected_version`, its lease is another one than expected, a base or
    ///   a snapshot to rewrite is gone, a snapshot to delete is still needed, or a run to delete is another one now;
    ///   nothing applied; re-read, then retry, but a writer whose lease is gone must stop),
    ///   kAlreadyExists (a snapshot id is taken in its run, told even if the head moved too; nothing applied),
    ///   kInvalidArgument (the run belongs to another thread or user, an id is empty, versions do not grow, a base is
    ///   not older, writes to one run do not chain, an epoch does not grow with a new owner, or a head is to be
    ///   deleted; nothing applied), kUnavailable (nothing applied; retry), kStorageFull, kReadOnly (nothing applied),
    ///   kOutcomeUnknown (may have been applied: look the snapshot id up, then retry with the same ids, which is safe).
    [[nodiscard]] virtual Status commit(const Batch& batch, Deadline deadline) = 0;

    /// The run's head as of now, whichever process wrote it. Cheap enough to ask before every save.
    [[nodiscard]] virtual Result<std::optional<Head>> head(std::string_view run_id) = 0;

    /// Who executes the run; nothing if nobody ever did.
    [[nodiscard]] virtual Result<std::optional<LeaseInfo>> lease(std::string_view run_id) = 0;

    /// One snapshot with its frame and those that this needs, all of one moment; without `snapshot_id`, the head's.
    /// Errors: kCorrupt (a frame that it needs is not there).
    [[nodiscard]] virtual Result<std::optional<Snapshot>> get(std::string_view run_id,
                                                              std::optional<std::string_view> snapshot_id) = 0;

    /// Frames of a run by their versions, each without those that it needs, in the order asked for; what is not there
    /// is left out. For who reads many: `get` reads a whole chain for each.
    [[nodiscard]] virtual Result<std::vector<BaseFrame>> frames(std::string_view run_id,
                                                                std::span<const std::int64_t> versions) = 0;

    /// What is read from now on relies on nothing that was read before: no page in memory, no open connection. For who
    /// has read what cannot be right, to read it again before it is called damage.
    virtual void read_afresh() = 0;

    /// A page of a run's snapshots without their frames. A record that is damaged is listed and says so, and does not
    /// keep the others from being read. So `runs`, `threads`, `recovery_log`.
    [[nodiscard]] virtual Result<std::vector<SnapshotInfo>> history(const HistoryQuery& query) = 0;

    /// Errors: kInvalidArgument (a cursor that this store did not make). So `threads`.
    [[nodiscard]] virtual Result<Page<RunInfo>> runs(const RunQuery& query) = 0;
    [[nodiscard]] virtual Result<Page<ThreadInfo>> threads(const ThreadQuery& query) = 0;

    /// The run's recoveries, newest first.
    [[nodiscard]] virtual Result<std::vector<RecoveryRecord>> recovery_log(std::string_view run_id,
                                                                           std::size_t limit) = 0;

    /// Counts and sizes, after moving finished log pages into the database where that is possible. Reads all rows.
    [[nodiscard]] virtual Result<StoreStats> stats() = 0;

    /// Verifies what the engine and the schema promise (pages, indexes, every head has its snapshot, versions grow, the
    /// frames that each needs are there); frames are not decoded here. Damage is a finding, not an error.
    [[nodiscard]] virtual Result<CheckReport> check() = 0;

    /// Gives space that deletions have freed back to the file system, with words that no snapshot has any more, in
    /// short steps until `deadline`; returns the bytes given back. Writers keep going in between. Errors: kReadOnly.
    [[nodiscard]] virtual Result<std::uint64_t> reclaim(Deadline deadline) = 0;

    /// Brings an older schema up to this program's and returns its version; a no-op on a current one. Opening does
    /// this by itself unless read-only.
    [[nodiscard]] virtual Result<int> migrate() = 0;

    /// Waits for calls under way, then releases the engine. Later calls return kClosed; a second close is harmless.
    [[nodiscard]] virtual Status close() = 0;
};

/// Passes every call on to another store. Derive from it and override what should behave otherwise: a fault injector
/// is ten lines.
class ForwardingStore : public Store {
public:
    explicit ForwardingStore(std::shared_ptr<Store> next) : next_(std::move(next)) {}

    Status commit(const Batch& batch, Deadline deadline) override { return next_->commit(batch, deadline); }
    Result<std::optional<Head>> head(std::string_view run_id) override { return next_->head(run_id); }
    Result<std::optional<LeaseInfo>> lease(std::string_view run_id) override { return next_->lease(run_id); }
    Result<std::optional<Snapshot>> get(std::string_view run_id, std::optional<std::string_view> snapshot_id) override {
        return next_->get(run_id, snapshot_id);
    }
    Result<std::vector<BaseFrame>> frames(std::string_view run_id, std::span<const std::int64_t> versions) override {
        return next_->frames(run_id, versions);
    }
    void read_afresh() override { next_->read_afresh(); }
    Result<std::vector<SnapshotInfo>> history(const HistoryQuery& query) override { return next_->history(query); }
    Result<Page<RunInfo>> runs(const RunQuery& query) override { return next_->runs(query); }
    Result<Page<ThreadInfo>> threads(const ThreadQuery& query) override { return next_->threads(query); }
    Result<std::vector<RecoveryRecord>> recovery_log(std::string_view run_id, std::size_t limit) override {
        return next_->recovery_log(run_id, limit);
    }
    Result<StoreStats> stats() override { return next_->stats(); }
    Result<CheckReport> check() override { return next_->check(); }
    Result<std::uint64_t> reclaim(Deadline deadline) override { return next_->reclaim(deadline); }
    Result<int> migrate() override { return next_->migrate(); }
    Status close() override { return next_->close(); }

protected:
    Store& next() { return *next_; }

private:
    std::shared_ptr<Store> next_;
};

/// Opens the store that `url` names: `sqlite:PATH` (a file; relative to the working folder) or `memory:` (a store of
/// its own, gone with it).
/// Errors: kInvalidArgument (unknown scheme, empty path), kNotFound (no such file or folder and `create` is off, or no
///   such folder), kReadOnly (cannot be written), kIncompatible (not a cairn store, or from a newer cairn),
///   kCorrupt, kUnavailable, kStorageFull.
[[nodiscard]] Result<std::shared_ptr<Store>> open_store(std::string_view url, const OpenOptions& options = {});

}  // namespace cairn
