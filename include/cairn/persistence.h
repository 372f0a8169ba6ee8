#pragma once

#include <cairn/call_executor.h>
#include <cairn/error.h>
#include <cairn/runtime.h>
#include <cairn/state.h>
#include <cairn/store.h>
#include <cairn/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cairn {

struct ServiceCore;

/// A state to save, with its metadata.
struct StatePersistenceRequest {
    std::string run_id;     ///< 1 to 255 bytes of UTF-8 without control characters, like `thread_id` and `user_id`.
    std::string thread_id;  ///< The run keeps the thread and the user of its first save.
    std::string user_id;
    State state_data = {};
    CheckpointType checkpoint_type = {};  ///< `auto`.
    AgentPhase agent_phase = {};
    std::optional<State> execution_context = {};  ///< A JSON object kept beside the state.
    bool is_recovery_point = false;
    std::optional<Timestamp> expires_at = {};  ///< Retention may delete the snapshot after this.

    // Beyond the documented system:
    /// The snapshot that this one grows from; without it, the head. If it is not the head, the save makes a fork: the
    /// new snapshot still becomes the run's head, and is never skipped.
    std::optional<std::string> parent_snapshot_id = {};
    std::optional<State> metadata = {};  ///< A JSON object of labels; `HistoryQuery::metadata` filters by them.
    /// The caller's own id (1 to 128 printable ASCII); empty: a UUIDv7 is made. A save of the state that is already
    /// there under this id stores nothing. Once that snapshot is pruned or deleted, the id is free and the save stores
    /// it anew.
    std::string snapshot_id = {};
    OnConflict on_conflict = OnConflict::kRebase;
    std::optional<std::int64_t> expected_version = {};  ///< With kFail: the head version that must still hold.
    /// A fencing token: the save succeeds only while the run is held under this lease. Otherwise it is kConflict,
    /// whatever `on_conflict` says, and nothing is saved or skipped.
    std::optional<Lease> lease = {};
    std::optional<std::chrono::milliseconds> timeout = {};  ///< Replaces the service's.
    std::optional<Durability> durability = {};  ///< Replaces the service's. A critical save is always `sync`.

    bool is_critical() const noexcept { return is_recovery_point || checkpoint_type.is_critical(); }
};

/// The result of a save.
struct Receipt {
    std::string snapshot_id;  ///< Loads the state just saved. For a `deduplicated` save: the head that equals it.
    Outcome outcome = Outcome::kPersisted;
    Durability durability = Durability::kSync;  ///< The durability reached, not the one requested.
    /// The snapshot's version in its run. For a `queued` save: the version that it gets unless another process saves
    /// first, or a save that was queued before it fails.
    std::int64_t version = 0;
    std::uint64_t frame_bytes = 0;  ///< Bytes stored for this save; 0 if deduplicated.
};

/// The end of a save. It never holds content of a state. `PipelineEvent` says the same of an executor's saves, in the
/// same words (docs/reference.md#events).
struct SaveEvent {
    std::string run_id = {};
    std::string thread_id = {};
    std::string user_id = {};
    CheckpointType checkpoint_type = {};
    AgentPhase agent_phase = {};
    Timestamp time = {};                    ///< When it ended.
    std::chrono::microseconds duration{0};  ///< From the call to its end.
    std::uint64_t state_bytes = 0;
    std::optional<Receipt> receipt = {};  ///< Unset: it failed.
    std::optional<Error> error = {};      ///< Set if it failed.
    /// It was acknowledged as `queued`, and has failed now. Its state is lost: this is the second event of the save.
    bool is_lost = false;

    Outcome outcome() const noexcept { return receipt ? receipt->outcome : Outcome::kFailed; }

    /// All members but `time` and `duration`, for services of your own.
    static SaveEvent of(const StatePersistenceRequest& request, const Result<Receipt>& receipt);
};

/// Receives the end of each save of a service, whichever call made it: before the call returns, or before its
/// completion is called. A refused save has failed. A save that was acknowledged as `queued` is reported again only if
/// it is lost.
///
/// Not reported: the snapshot of a recovery, and saves by `OptimizedStatePersistence::fallback_service`.
/// Threads: called by any thread, by several at the same time, and without locks. It may call the service, statistics
///   and saves too (which are reported in turn), but not `close`. It should be quick: callers wait for it.
/// Errors: an exception that it throws changes nothing. The first one is logged (`save_observer_failed`).
using SaveObserver = std::function<void(const SaveEvent&)>;

/// Selects the snapshot to load. An owner is checked if it is given; a snapshot of another owner is not found.
struct LoadRequest {
    std::string run_id;
    std::optional<std::string> snapshot_id = {};  ///< Without it, the head.
    std::optional<std::string> thread_id = {};
    std::optional<std::string> user_id = {};
    std::optional<std::chrono::milliseconds> timeout = {};  ///< Replaces the service's.
};

struct LoadedState {
    State state;
    SnapshotInfo info;
};

struct StateRecoveryRequest {
    std::string run_id;
    RecoveryType recovery_type = RecoveryType::kResume;
    std::optional<std::string> target_snapshot_id = {};  ///< Required by rollback, refused by the others.
    std::string failure_reason = {};                     ///< The cause, for the recovery log (at most 4096 bytes).
    bool auto_recovery = false;                          ///< A program asked for it, not a person.
    std::optional<std::string> thread_id = {};
    std::optional<std::string> user_id = {};
    /// Replaces the service's timeout for the wait for its turn and for other writers. The time to read a damaged run
    /// grows with its size, so each single read has the service's timeout instead.
    std::optional<std::chrono::milliseconds> timeout = {};
};

struct RecoveryResult {
    struct Damaged {
        std::string snapshot_id;
        std::int64_t version = 0;
        std::string problem;
    };
    State state;
    std::string source_snapshot_id;  ///< The snapshot that the state comes from.
    std::string snapshot_id;         ///< The run's head now: the source itself if resume found the head intact.
    std::int64_t version = 0;        ///< The version of the head now.
    std::vector<Damaged> damaged;    ///< Snapshots that were tried and are not intact, newest first.
    std::chrono::microseconds duration{0};
};

/// The runs and figures of a conversation. The newest run is information for people: it is chosen by the times of the
/// writers' clocks.
struct ThreadContext {
    std::string thread_id;
    std::string user_id;
    std::vector<RunInfo> runs;  ///< Newest created first.
    std::uint64_t snapshots = 0;
    std::string newest_run_id;  ///< The run whose head has the latest time; of several, the one with the largest id.
    std::string newest_snapshot_id;  ///< Its head.
    AgentPhase agent_phase;          ///< Of that head.
    Timestamp updated_at;            ///< Of that head.
};

using SaveCompletion = Completion<Receipt>;

/// The common interface of both services. Every call that may wait exists twice. The blocking one returns when it has
/// ended. The other one, `…_async`, returns at once, and a completion receives the result.
///
/// Threads: safe to call concurrently. Saves of one run take effect in call order; saves of different runs do not
///   wait for each other.
/// Ownership: a service shares its store; several services and processes may use one store in any interleaving.
/// Errors: a service retries what can be retried, and then returns the store's errors as they are (`cairn/store.h`).
///
/// For the calls with a completion, which a `CallExecutor` makes:
/// Order: the calls for one run begin in the order in which they were made, of whatever kind they are. A call that
///   waits holds up no other run. Blocking calls, and calls that do not concern one run, do not wait for them.
/// Completions: each one is called once, whatever happens, on any thread and in no particular order. It may be called
///   before the call that it was given to has returned (the service is closed, the machine has no thread left). It
///   should be quick: other saves' completions may wait for it, so it must not wait for the completion of another call.
///   It may make calls of either kind, but not `close`. An exception that it throws is ignored.
/// Deadlines: the timeout starts with the call. A call that has not begun when it ends is refused at that time with
///   kUnavailable: nothing was applied.
/// Cancellation: `Submitted::cancel` ends a call that has not begun with kCancelled: nothing was applied. A call that
///   has begun goes on, and its completion receives the result.
/// Lifetime: `close` and the destructor wait for all earlier calls, so their completions have been called by then.
///   Later calls end with kClosed, as do those of a forked child. Use `let_go` where waiting is not possible.
class StatePersistence {
public:
    using Submitted = CallExecutor::Submitted;

    virtual ~StatePersistence();
    StatePersistence(const StatePersistence&) = delete;
    StatePersistence& operator=(const StatePersistence&) = delete;

    /// Saves `request.state_data` as the run's new head, or (optimised service only) finds that the head equals it.
    /// Durability: on success, the receipt's durability is reached. `sync`: the state is on disk. `async` and `exit`
    ///   (optimised service only): the save is queued, and its outcome is `queued`; `flush` makes it durable.
    /// Errors: kInvalidArgument (names the field, or the run belongs to another thread or user), kConflict (with
    ///   `on_conflict` = kFail: another writer moved the head; with `lease`: another executes the run now),
    ///   kAlreadyExists (the caller's own snapshot id is taken by another state), kOutcomeUnknown (the message holds
    ///   the snapshot id to retry with), and those of `Store::commit`. On any error the run's head is unharmed.
    [[nodiscard]] virtual Result<Receipt> save_agent_state(const StatePersistenceRequest& request) = 0;

    /// Loads a snapshot. Saves of the run that this service has queued are committed first, so that they are seen. The
    /// next two calls do the same.
    /// Errors: kNotFound (no such run or snapshot under these owners), kCorrupt (damaged: `recover_agent_state`).
    [[nodiscard]] virtual Result<LoadedState> load_agent_state(const LoadRequest& request) = 0;

    /// Recovers a run and writes a line to its recovery log. A failure leaves a line only if damage is the cause.
    ///  - resume: finds the newest intact snapshot. If that is the head, nothing else is written. Otherwise its state
    ///    becomes a new head of type `recovery`, so that the run loads again. Only damage is stepped over: bytes that
    ///    were read twice, the second time afresh, and do not match. An exceeded limit, or a store that cannot be read,
    ///    is an error.
    ///  - rollback: the target's state becomes a new head of type `recovery`; later snapshots stay in history.
    ///  - restart: the run's first state becomes a new head of type `recovery`.
    /// Errors: kInvalidArgument, kNotFound (run or target), kCorrupt (the target, or every snapshot, is damaged),
    ///   kLimitExceeded (a state is larger than this reader's limit, CAIRN_STATE_BYTES_MAX). The head stays as it is.
    [[nodiscard]] virtual Result<RecoveryResult> recover_agent_state(const StateRecoveryRequest& request) = 0;

    /// Describes a conversation. `timeout`: replaces the service's.
    /// Errors: kNotFound (no run of this thread), kInvalidArgument (several users have a thread of this id: name one).
    [[nodiscard]] virtual Result<ThreadContext> get_thread_context(
        std::string_view thread_id, std::optional<std::string_view> user_id = {},
        std::optional<std::chrono::milliseconds> timeout = {}) = 0;

    /// Waits until every save of the run that was acknowledged before this call is on disk. `timeout`: replaces the
    /// service's. The standard service has nothing to do: its saves are on disk when they return.
    /// Errors: kUnavailable (some saves are still queued at the deadline, and stay queued), or the error of the first
    ///   save of the run that was acknowledged as `queued` and then failed: that state is lost, save it again. The
    ///   error is reported once, to all flushes of the run that are under way at that time.
    [[nodiscard]] virtual Status flush(std::string_view run_id,
                                       std::optional<std::chrono::milliseconds> timeout = {}) = 0;
    /// `flush` for all runs.
    [[nodiscard]] virtual Status flush_all(std::optional<std::chrono::milliseconds> timeout = {}) = 0;

    /// Refuses further calls with kClosed, waits for those under way and commits the queued saves. A second close is
    /// harmless; the destructor closes too. The store stays open. A completion must not call it.
    /// Errors: those of `flush_all`.
    [[nodiscard]] virtual Status close() = 0;

    /// These do the same as the calls above. A save whose durability is reached later (`sync` of the optimised service)
    /// keeps no thread waiting until then.
    virtual Submitted save_agent_state_async(const StatePersistenceRequest& request, SaveCompletion done);
    Submitted load_agent_state_async(const LoadRequest& request, Completion<LoadedState> done);
    Submitted recover_agent_state_async(const StateRecoveryRequest& request, Completion<RecoveryResult> done);
    Submitted get_thread_context_async(std::string_view thread_id, std::optional<std::string_view> user_id,
                                       std::optional<std::chrono::milliseconds> timeout,
                                       Completion<ThreadContext> done);
    Submitted flush_async(std::string_view run_id, std::optional<std::chrono::milliseconds> timeout,
                          Completion<void> done);
    Submitted flush_all_async(std::optional<std::chrono::milliseconds> timeout, Completion<void> done);
    /// Refuses further calls with a completion at once, and closes the service when earlier ones have ended.
    void close_async(Completion<void> done);

    /// A deleter for `std::shared_ptr`. It destroys the service at once if no call with a completion is under way,
    /// otherwise on a thread of its executor. So the last reference may be dropped anywhere, even by a completion.
    static void let_go(StatePersistence* service) noexcept;

protected:
    struct AsyncCalls;

    /// `executor`: null for an executor of its own. `timeout`: for calls that do not set one.
    explicit StatePersistence(std::shared_ptr<CallExecutor> executor = nullptr,
                              std::chrono::milliseconds timeout = std::chrono::seconds(30));

    /// Refuses further calls with a completion and waits for earlier ones. Each class that implements this one calls it
    /// at the beginning of its destructor.
    void end_async_calls() noexcept;

    AsyncCalls& async_calls() const { return *async_calls_; }

private:
    std::shared_ptr<AsyncCalls> async_calls_;
};

/// Options of both services.
struct PersistenceOptions {
    StateLimits state_limits = {};              ///< Also bounds the text that a frame may decode to.
    std::chrono::milliseconds timeout{30'000};  ///< The longest time that one call may wait for the store.
    Runtime runtime = {};
    /// Makes the calls with a completion; null: an executor of the service's own. Services of one store may share it.
    std::shared_ptr<CallExecutor> executor = nullptr;
    SaveObserver observer = nullptr;  ///< Null costs nothing.
};

/// The standard service: every save writes the whole state, self-contained and uncompressed, in one durable
/// transaction of its own. Nothing is skipped. The optimised service falls back to it.
class StatePersistenceService final : public StatePersistence {
public:
    explicit StatePersistenceService(std::shared_ptr<Store> store, PersistenceOptions options = {});
    ~StatePersistenceService() override;
    StatePersistenceService(const StatePersistenceService&) = delete;
    StatePersistenceService& operator=(const StatePersistenceService&) = delete;

    Result<Receipt> save_agent_state(const StatePersistenceRequest& request) override;
    Result<LoadedState> load_agent_state(const LoadRequest& request) override;
    Result<RecoveryResult> recover_agent_state(const StateRecoveryRequest& request) override;
    Result<ThreadContext> get_thread_context(std::string_view thread_id, std::optional<std::string_view> user_id = {},
                                             std::optional<std::chrono::milliseconds> timeout = {}) override;
    Status flush(std::string_view run_id, std::optional<std::chrono::milliseconds> timeout = {}) override;
    Status flush_all(std::optional<std::chrono::milliseconds> timeout = {}) override;
    Status close() override;

    Submitted save_agent_state_async(const StatePersistenceRequest& request, SaveCompletion done) override;

private:
    friend class OptimizedStatePersistence;
    struct Impl;

    explicit StatePersistenceService(const std::shared_ptr<ServiceCore>& core);

    std::unique_ptr<Impl> impl_;
};

/// Settings that `configure` can change while saves are under way. A setting stays as it is if its member is empty.
struct OptimizationSettings {
    std::optional<bool> enable_deduplication = {};
    std::optional<bool> enable_compression = {};
    std::optional<std::size_t> cache_max_size = {};   ///< Heads, at least 1.
    std::optional<std::size_t> cache_max_bytes = {};  ///< Size of their texts.
    std::optional<bool> ignore_key_order = {};
};

/// Quantiles of one kind of call, in microseconds (each within 4 % of the exact one).
struct LatencySummary {
    std::uint64_t count = 0;
    double p50_us = 0;
    double p90_us = 0;
    double p99_us = 0;
    double max_us = 0;
};

/// The figures of `get_cache_stats`. Counters start when the service is made; `clear_cache` does not reset them.
struct CacheStats {
    std::size_t cache_size = 0;
    std::size_t cache_max_size = 0;
    std::size_t cache_bytes = 0;
    std::size_t cache_max_bytes = 0;
    bool deduplication_enabled = false;
    bool compression_enabled = false;
    std::vector<std::string> cache_entries;  ///< Run ids, most recently used first.

    std::uint64_t hits = 0;    ///< The cached head was the current one.
    std::uint64_t misses = 0;  ///< The head was not cached, or another writer had moved it.
    std::uint64_t evictions = 0;
    std::uint64_t skips = 0;        ///< Saves that were deduplicated.
    std::uint64_t bytes_saved = 0;  ///< State bytes that were not written, by skips and by compression.
    std::uint64_t critical = 0;     ///< Saves that took the standard path because they are critical.
    std::map<std::string, std::uint64_t> fallbacks_by_cause;  ///< By the error's name.
    std::map<std::string, std::uint64_t> saves_by_outcome;    ///< By the outcome's name, all five.
    std::size_t queue_size = 0;                               ///< Saves that are not on disk yet.
    std::size_t queue_bytes = 0;                              ///< Their size, as `QueueLimits::bytes_max` counts it.
    std::uint64_t batches = 0;                                ///< Commits of several saves.
    std::uint64_t batched = 0;                                ///< Saves that these commits made durable.
    std::uint64_t failed_batches = 0;  ///< Commits that failed for all; each save was tried by itself.
    std::uint64_t lost = 0;            ///< Saves that were acknowledged as `queued` and then failed. Each is logged.
    LatencySummary save_latency;       ///< Saves that wrote.
    LatencySummary skip_latency;       ///< Saves that were deduplicated.
    LatencySummary load_latency;
};

/// Limits on the cost of a load: on the chain of frames that a snapshot needs, its own included. If a delta would
/// exceed one of them, a self-contained frame is written.
struct ChainLimits {
    std::uint32_t frames_max = 512;
    std::uint32_t bytes_percent_max = 400;  ///< All frames together, in percent of the self-contained one.
    std::uint64_t bytes_always = 4U << 10;  ///< The percentage does not limit a chain of up to this many bytes.
};

/// Limits on the saves that share one commit. A batch consists of the saves that have come while the store could take
/// no other commit (it says how many it takes at a time). Nothing waits for a batch to fill up.
struct BatchLimits {
    std::size_t saves_max = 256;
    std::size_t run_saves_max = 8;          ///< Saves of one run: a busy run cannot delay the others for long.
    std::uint64_t bytes_max = 8ULL << 20U;  ///< Size of their frames. A larger frame goes alone.
};

/// Limits on the saves that wait to be committed. At a limit, further saves wait for a place until their deadline;
/// nothing is dropped. One run gets at most half of the places.
struct QueueLimits {
    std::size_t saves_max = 10'000;
    /// Size of states, frames, contexts and metadata. A save that a newer one may replace (`latest_only`) also counts
    /// the head before it. A larger save waits until the queue is empty.
    std::uint64_t bytes_max = 64ULL << 20U;
    std::chrono::milliseconds age_max{1'000};  ///< Age of the oldest save of the same run that is not held (`exit`).
};

struct OptimizedOptions : PersistenceOptions {
    Durability durability = Durability::kSync;  ///< For saves that do not set one.
    /// Under `async` and `exit`: a newer state takes the place and the snapshot id of an older one of its run that is
    /// still queued, so that only the newest is stored. Saves that are critical, or have a snapshot id, a parent or
    /// metadata of their own, neither replace others nor are replaced. Saves under different leases do not replace each
    /// other. A save whose fate others share is not replaced.
    bool latest_only = false;
    BatchLimits batch_limits = {};
    QueueLimits queue_limits = {};
    bool enable_deduplication = true;
    /// On: a save also equals the head if it is the same JSON with the keys of some objects in another order (tokens as
    /// written). It is skipped, and a load returns the head's order. Off: only the same bytes are equal.
    bool ignore_key_order = false;
    bool enable_compression = true;  ///< Compression and delta frames.
    ChainLimits chain_limits = {};
    bool enable_monitoring = true;             ///< Off: latencies are not measured; counters stay.
    std::size_t cache_max_size = 1000;         ///< Heads, least recently used evicted first.
    std::size_t cache_max_bytes = 256U << 20;  ///< Size of their texts. A larger state is not cached.
};

/// The optimised service has the interface and the promises of the standard one, at less cost.
///  - A critical save takes the standard path: whole, in a transaction of its own, never skipped. Queued saves of its
///    run are committed before it.
///  - Any other save is skipped if two things hold. Its state equals that of the run's *current* head, which the store
///    is asked for, whoever wrote it. And storing it would add nothing else that the caller gave. So a save with a
///    snapshot id of its own, with metadata, or with a phase, a context, a parent or an `expires_at` other than the
///    head's is stored, and so is one of type `pipeline_complete` on a head of another type.
///  - A save that is not skipped is compressed and committed together with other saves that have come meanwhile.
///  - Each run of a batch has its own answer: one with a conflict is retried alone, and the others are saved. If a
///    batch fails as a whole, its saves are retried one by one. Any error on the optimised path is logged and counted
///    by cause, and the save is retried on the standard path with the same snapshot id. Nothing enters the cache before
///    the store has confirmed it.
///  - A save that repeats the run's newest save still in flight, by the same rule, shares that save's fate. It does not
///    if they differ in `on_conflict` or in their lease, or if the earlier one has a snapshot id of its own.
///
/// Durability: `sync` acknowledges when the commit is on disk. `async` acknowledges when the save is queued. It is
/// committed at once, so only the saves that came during the last commits can die with the process: at most
/// `QueueLimits`, and only the newest saves of each run. `exit` holds saves back until `flush`, `close`, or a critical
/// save, a `sync` save or a load of their run, or until the queue is full.
/// Threads: saves that nobody waits for are committed by threads of the service. There are as many as the store takes
/// commits at a time, and each is started when it is needed. If the machine has no thread left, callers commit them.
/// In a forked child every call returns kClosed.
class OptimizedStatePersistence final : public StatePersistence {
public:
    explicit OptimizedStatePersistence(std::shared_ptr<Store> store, const OptimizedOptions& options = {});
    ~OptimizedStatePersistence() override;
    OptimizedStatePersistence(const OptimizedStatePersistence&) = delete;
    OptimizedStatePersistence& operator=(const OptimizedStatePersistence&) = delete;

    Result<Receipt> save_agent_state(const StatePersistenceRequest& request) override;
    Result<LoadedState> load_agent_state(const LoadRequest& request) override;
    Result<RecoveryResult> recover_agent_state(const StateRecoveryRequest& request) override;
    Result<ThreadContext> get_thread_context(std::string_view thread_id, std::optional<std::string_view> user_id = {},
                                             std::optional<std::chrono::milliseconds> timeout = {}) override;
    Status flush(std::string_view run_id, std::optional<std::chrono::milliseconds> timeout = {}) override;
    Status flush_all(std::optional<std::chrono::milliseconds> timeout = {}) override;
    Status close() override;

    /// Begins the save on a thread of the executor, but keeps no thread until the save is on disk.
    Submitted save_agent_state_async(const StatePersistenceRequest& request, SaveCompletion done) override;

    /// Like `save_agent_state_async`, but for a thread that may wait, and without the executor. It compares and encodes
    /// on the calling thread, waits until the deadline for the store's head and for a place in a full queue, and
    /// returns when the save is queued, skipped or refused. Saves take effect in the order of these calls. `done` may
    /// be called before this returns; it must not destroy the service.
    /// A save whose deadline passes in the queue ends with kUnavailable: nothing was applied, and nothing will be. A
    /// save whose deadline passes during its commit ends with the store's answer: kOutcomeUnknown if the store does not
    /// know. A blocking call that shares its fate with others ends with kOutcomeUnknown at its deadline, unless it is
    /// the last of them.
    void save_async(const StatePersistenceRequest& request, SaveCompletion done);
    std::future<Result<Receipt>> save_async(const StatePersistenceRequest& request);

    /// Takes effect for saves that begin afterwards. A smaller cache evicts at once.
    /// Errors: kInvalidArgument (cache_max_size is 0): nothing was changed.
    Status configure(const OptimizationSettings& settings);

    CacheStats get_cache_stats() const;

    /// Forgets all cached heads. Never needed for correctness.
    void clear_cache();

    /// The standard service that shares this one's order of each run's saves and what it has seen of the heads. It does
    /// not commit queued saves: `flush` does. The observer is not told of your saves by it.
    StatePersistenceService& fallback_service();

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// Decodes every snapshot of the store and verifies its checksum, in addition to `Store::check`. A snapshot that does
/// not match is read a second time, afresh, before it becomes a finding. A state that is larger than `limits` was not
/// checked: it is a finding with code kLimitExceeded; raise CAIRN_STATE_BYTES_MAX. With `Deadline::max()` the check
/// takes as long as it needs.
/// Errors: the store's.
[[nodiscard]] Result<CheckReport> check_deep(Store& store, Deadline deadline, const StateLimits& limits = {});

}  // namespace cairn
