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

/// A state to save, and what it is.
struct StatePersistenceRequest {
    std::string run_id;     ///< 1 to 255 bytes of UTF-8 without control characters. So `thread_id`, `user_id`.
    std::string thread_id;  ///< The run keeps the thread and the user of its first save.
    std::string user_id;
    State state_data = {};
    CheckpointType checkpoint_type = {};  ///< `auto`.
    AgentPhase agent_phase = {};
    std::optional<State> execution_context = {};  ///< A JSON object kept beside the state.
    bool is_recovery_point = false;
    std::optional<Timestamp> expires_at = {};  ///< Retention may delete the snapshot after this.

    // Beyond the documented system:
    /// The snapshot that this one grows from; without it, the head. Another one than the head makes a fork: the new
    /// snapshot becomes the run's head all the same, and is never skipped.
    std::optional<std::string> parent_snapshot_id = {};
    std::optional<State> metadata = {};  ///< A JSON object of labels; `HistoryQuery::metadata` filters by them.
    std::string snapshot_id = {};        ///< The caller's own id (1 to 128 printable ASCII); empty: a UUIDv7 is made.
    OnConflict on_conflict = OnConflict::kRebase;
    std::optional<std::int64_t> expected_version = {};  ///< With kFail: the head version that must still hold.
    /// Save only while the run is held under this lease (a fencing token); otherwise kConflict, whatever `on_conflict`
    /// says, and nothing is saved or skipped.
    std::optional<Lease> lease = {};
    std::optional<std::chrono::milliseconds> timeout = {};  ///< Instead of the service's.
    std::optional<Durability> durability = {};  ///< Instead of the service's. A critical save is `sync` all the same.

    bool is_critical() const noexcept { return is_recovery_point || checkpoint_type.is_critical(); }
};

/// What a save did.
struct Receipt {
    std::string snapshot_id;  ///< Loads the state just saved. Of a `deduplicated` save: the head that equals it.
    Outcome outcome = Outcome::kPersisted;
    Durability durability = Durability::kSync;  ///< Reached, not wished for.
    /// In its run. Of a `queued` save: the one it gets unless another process saves first or one queued before fails.
    std::int64_t version = 0;
    std::uint64_t frame_bytes = 0;  ///< Bytes stored for this save; 0 if deduplicated.
};

/// How a save ended. It never holds content of a state. `PipelineEvent` says the same of an executor's saves, in the
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
/// completion is told. Refused saves have failed. A save that was acknowledged as `queued` is told again only if it is
/// lost.
///
/// Not told: what a recovery writes, and saves by `OptimizedStatePersistence::fallback_service`.
/// Threads: called by any thread, by several at the same time, and without locks. It may call the service, statistics
///   and saves too (of which it is told in turn), but not `close`. It should be quick: callers wait for it.
/// Errors: an exception that it throws changes nothing. The first one is logged (`save_observer_failed`).
using SaveObserver = std::function<void(const SaveEvent&)>;

/// Which snapshot to load. Owners are checked where given; what they do not own is not found.
struct LoadRequest {
    std::string run_id;
    std::optional<std::string> snapshot_id = {};  ///< Without it, the head.
    std::optional<std::string> thread_id = {};
    std::optional<std::string> user_id = {};
    std::optional<std::chrono::milliseconds> timeout = {};  ///< Instead of the service's.
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
    bool auto_recovery = false;                          ///< Whether a program, not a person, asked.
    std::optional<std::string> thread_id = {};
    std::optional<std::string> user_id = {};
    /// Instead of the service's: of the wait for its turn and for other writers. A damaged run takes as long as it is
    /// large, so each reading has the service's timeout.
    std::optional<std::chrono::milliseconds> timeout = {};
};

struct RecoveryResult {
    struct Damaged {
        std::string snapshot_id;
        std::int64_t version = 0;
        std::string problem;
    };
    State state;
    std::string source_snapshot_id;  ///< Whose state it is.
    std::string snapshot_id;         ///< The run's head now: the source itself if resume found the head intact.
    std::int64_t version = 0;        ///< Of the head now.
    std::vector<Damaged> damaged;    ///< Snapshots that were tried and are not intact, newest first.
    std::chrono::microseconds duration{0};
};

/// What is known of a conversation. Which run is the newest is for people: times are those of the writers' clocks.
struct ThreadContext {
    std::string thread_id;
    std::string user_id;
    std::vector<RunInfo> runs;  ///< The newest created first.
    std::uint64_t snapshots = 0;
    std::string newest_run_id;       ///< Whose head has the latest time; of several, the one of the largest id.
    std::string newest_snapshot_id;  ///< Its head.
    AgentPhase agent_phase;          ///< Of that head.
    Timestamp updated_at;            ///< Of that head.
};

using SaveCompletion = Completion<Receipt>;

/// The one interface that both services have. Every call that may wait is there twice: one returns when it has ended;
/// the other, `…_async`, returns at once, and a completion is told how it ended.
///
/// Threads: safe to call concurrently. Saves of one run take effect in call order; saves of different runs do not
///   wait for each other.
/// Ownership: a service shares its store; several services and processes may use one store in any interleaving.
/// Errors: a service returns the store's errors as they are (`cairn/store.h`), after what can be retried was.
///
/// For the calls with a completion, which a `CallExecutor` makes:
/// Order: those of one run are begun in the order in which they were made, whichever kind they are; one that waits
///   holds up no other run. A call without a completion does not wait for them, nor does one that is not of one run.
/// Completions: each call's is told once, whatever happens, on any thread and in no particular order; perhaps before
///   the call that it was given to has returned (a service that is closed, a machine without a thread left). It should
///   be quick: other saves' completions may wait for it, so it must not wait for the completion of another call. It may
///   make calls of either kind, but not `close`. What it throws is ignored.
/// Deadlines: the timeout runs from the call on. One that has not begun by then ends with kUnavailable, at that time:
///   nothing was applied.
/// Cancellation: `Submitted::cancel` ends a call that has not begun with kCancelled: nothing was applied. One that has
///   begun goes on, and its completion is told how it ended.
/// Lifetime: `close` and the destructor wait for all that was called before, so completions are told by then. Calls
///   made later end with kClosed, as do those of a forked child. Whoever cannot wait there: `let_go`.
class StatePersistence {
public:
    using Submitted = CallExecutor::Submitted;

    virtual ~StatePersistence();
    StatePersistence(const StatePersistence&) = delete;
    StatePersistence& operator=(const StatePersistence&) = delete;

    /// Saves `request.state_data` as the run's new head, or (optimised service only) finds that the head equals it.
    /// Durability: on success that of the receipt is reached. `sync`: the state is on disk. `async`, `exit` (optimised
    ///   service only): it is queued and its outcome `queued`; `flush` makes it durable.
    /// Errors: kInvalidArgument (names the field, or the run belongs to another thread or user), kConflict (with
    ///   `on_conflict` = kFail: another writer moved the head; with `lease`: the run is executed by another now),
    ///   kAlreadyExists (own snapshot id, other state), kOutcomeUnknown (the message holds the
    ///   snapshot id to retry with), and those of `Store::commit`. On any error the run's head is unharmed.
    [[nodiscard]] virtual Result<Receipt> save_agent_state(const StatePersistenceRequest& request) = 0;

    /// What this service has queued of the run is committed first, so that its own saves are seen. So the next two.
    /// Errors: kNotFound (no such run or snapshot under these owners), kCorrupt (damaged: `recover_agent_state`).
    [[nodiscard]] virtual Result<LoadedState> load_agent_state(const LoadRequest& request) = 0;

    /// Recovers a run and writes a line to its recovery log, also when it finds that what it needs is damaged; other
    /// failures leave no line.
    ///  - resume: the newest intact snapshot. If that is the head nothing else is written; otherwise its state becomes
    ///  a
    ///    new head of type `recovery`, so that the run loads again. Only damage is stepped over: bytes that were read
    ///    twice, the second time afresh, and do not match. A limit or a store that cannot be read is an error.
    ///  - rollback: the target's state becomes a new head of type `recovery`; what came after it stays in history.
    ///  - restart: the run's first state does.
    /// Errors: kInvalidArgument, kNotFound (run or target), kCorrupt (the target, or every snapshot, is damaged),
    ///   kLimitExceeded (a state is larger than this reader's limit, CAIRN_STATE_BYTES_MAX). The head stays as it is.
    [[nodiscard]] virtual Result<RecoveryResult> recover_agent_state(const StateRecoveryRequest& request) = 0;

    /// Errors: kNotFound (no run of this thread), kInvalidArgument (several users have a thread of this id: name one).
    /// `timeout`: instead of the service's.
    [[nodiscard]] virtual Result<ThreadContext> get_thread_context(
        std::string_view thread_id, std::optional<std::string_view> user_id = {},
        std::optional<std::chrono::milliseconds> timeout = {}) = 0;

    /// Waits until every save of the run that was acknowledged before this call is on disk. `timeout`: instead of the
    /// service's. Nothing to do for the standard service, whose saves are on disk when they return.
    /// Errors: kUnavailable (some are still queued at the deadline, and stay so), or the error of the first save of the
    ///   run that was acknowledged as `queued` and then failed: that state is lost, save it again. It is told once, but
    ///   to all flushes of the run that are under way then.
    [[nodiscard]] virtual Status flush(std::string_view run_id,
                                       std::optional<std::chrono::milliseconds> timeout = {}) = 0;
    /// `flush` for all runs.
    [[nodiscard]] virtual Status flush_all(std::optional<std::chrono::milliseconds> timeout = {}) = 0;

    /// Refuses further calls with kClosed, waits for those under way and commits what is queued. A second close is
    /// harmless; the destructor closes too. The store stays open. Not to be called by a completion.
    /// Errors: as `flush_all`.
    [[nodiscard]] virtual Status close() = 0;

    /// As the calls above. A save whose durability is reached later (`sync` of the optimised service) keeps no thread
    /// waiting until then.
    virtual Submitted save_agent_state_async(const StatePersistenceRequest& request, SaveCompletion done);
    Submitted load_agent_state_async(const LoadRequest& request, Completion<LoadedState> done);
    Submitted recover_agent_state_async(const StateRecoveryRequest& request, Completion<RecoveryResult> done);
    Submitted get_thread_context_async(std::string_view thread_id, std::optional<std::string_view> user_id,
                                       std::optional<std::chrono::milliseconds> timeout,
                                       Completion<ThreadContext> done);
    Submitted flush_async(std::string_view run_id, std::optional<std::chrono::milliseconds> timeout,
                          Completion<void> done);
    Submitted flush_all_async(std::optional<std::chrono::milliseconds> timeout, Completion<void> done);
    /// Refuses further calls with a completion at once, and closes the service when those before have ended.
    void close_async(Completion<void> done);

    /// What destroys a service that is shared, for `std::shared_ptr`: here and now if no call with a completion is
    /// under way, otherwise on a thread of its executor. So the last reference may be dropped anywhere, by a completion
    /// too.
    static void let_go(StatePersistence* service) noexcept;

protected:
    struct AsyncCalls;

    /// `executor`: null for one of its own. `timeout`: of calls that do not say.
    explicit StatePersistence(std::shared_ptr<CallExecutor> executor = nullptr,
                              std::chrono::milliseconds timeout = std::chrono::seconds(30));

    /// For the destructor of each class that implements this one, at its beginning: refuses further calls with a
    /// completion and waits for those before.
    void end_async_calls() noexcept;

    AsyncCalls& async_calls() const { return *async_calls_; }

private:
    std::shared_ptr<AsyncCalls> async_calls_;
};

/// What both services need to know.
struct PersistenceOptions {
    StateLimits state_limits = {};              ///< Also bounds what a frame may decode to.
    std::chrono::milliseconds timeout{30'000};  ///< How long one call may wait for the store.
    Runtime runtime = {};
    /// What makes the calls with a completion; null: one of the service's own. Services of one store may share it.
    std::shared_ptr<CallExecutor> executor = nullptr;
    SaveObserver observer = nullptr;  ///< Null costs nothing.
};

/// The standard service: every save writes the whole state, self-contained and uncompressed, in one durable
/// transaction of its own. Nothing is skipped. It is what the optimised service falls back to.
class StatePersistenceService final : public StatePersistence {
public:
    explicit StatePersistenceService(std::shared_ptr<Store> store, PersistenceOptions options = {});
    ~StatePersistenceService() override;

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
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// What `configure` can change while saves are under way. Members left empty stay as they are.
struct OptimizationSettings {
    std::optional<bool> enable_deduplication = {};
    std::optional<bool> enable_compression = {};
    std::optional<std::size_t> cache_max_size = {};   ///< Heads, at least 1.
    std::optional<std::size_t> cache_max_bytes = {};  ///< Of their texts.
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

/// What `get_cache_stats` reports. Counters count since the service was made; `clear_cache` does not reset them.
struct CacheStats {
    std::size_t cache_size = 0;
    std::size_t cache_max_size = 0;
    std::size_t cache_bytes = 0;
    std::size_t cache_max_bytes = 0;
    bool deduplication_enabled = false;
    bool compression_enabled = false;
    std::vector<std::string> cache_entries;  ///< Run ids, the most recently used first.

    std::uint64_t hits = 0;    ///< The cached head was the current one.
    std::uint64_t misses = 0;  ///< It was not cached, or another writer had moved it.
    std::uint64_t evictions = 0;
    std::uint64_t skips = 0;        ///< Saves that were deduplicated.
    std::uint64_t bytes_saved = 0;  ///< State bytes that were not written, by skips and by compression.
    std::uint64_t critical = 0;     ///< Saves that took the standard path because they are critical.
    std::map<std::string, std::uint64_t> fallbacks_by_cause;  ///< By the error's name.
    std::map<std::string, std::uint64_t> saves_by_outcome;    ///< By the outcome's name, all five.
    std::size_t queue_size = 0;                               ///< Saves that are not on disk yet.
    std::size_t queue_bytes = 0;                              ///< That they take, as `QueueLimits::bytes_max` counts.
    std::uint64_t batches = 0;                                ///< Commits of several saves,
    std::uint64_t batched = 0;                                ///< and how many saves they made durable.
    std::uint64_t failed_batches = 0;  ///< Commits that failed for all; each save was tried by itself.
    std::uint64_t lost = 0;            ///< Saves that were acknowledged as `queued` and then failed. Each is logged.
    LatencySummary save_latency;       ///< Saves that wrote.
    LatencySummary skip_latency;       ///< Saves that were deduplicated.
    LatencySummary load_latency;
};

/// What a load may cost: limits of the chain of frames that a snapshot needs, itself included. Where a delta would
/// exceed one of them, a self-contained frame is written.
struct ChainLimits {
    std::uint32_t frames_max = 512;
    std::uint32_t bytes_percent_max = 400;  ///< All frames together, in percent of the self-contained one.
    std::uint64_t bytes_always = 4U << 10;  ///< A chain of so many bytes is never too long by the percentage.
};

/// How many saves may share one commit. A batch is what has accumulated while the store could take no other commit (it
/// says how many it takes at a time); nothing waits for it to fill up.
struct BatchLimits {
    std::size_t saves_max = 256;
    std::size_t run_saves_max = 8;          ///< Of one run, so that a busy run cannot delay the others for long.
    std::uint64_t bytes_max = 8ULL << 20U;  ///< Of their frames. A larger frame goes alone.
};

/// What may wait to be committed. At a limit saves wait for a place, until their deadline; nothing is dropped. One run
/// gets half of the places at the most.
struct QueueLimits {
    std::size_t saves_max = 10'000;
    /// Of states, frames, contexts and metadata, and, of a save that a newer one may replace (`latest_only`), of the
    /// head before it. A larger save waits for the queue to be empty.
    std::uint64_t bytes_max = 64ULL << 20U;
    std::chrono::milliseconds age_max{1'000};  ///< Of the oldest save of the same run that is not held (`exit`).
};

struct OptimizedOptions : PersistenceOptions {
    Durability durability = Durability::kSync;  ///< Of saves that do not say.
    /// Under `async` and `exit`: a newer state takes the place of an older one of its run that is still queued, and its
    /// snapshot id, so that only the newest is stored. Saves that are critical, or have a snapshot id, a parent or
    /// metadata of their own, are neither replaced nor replacing; nor do saves under different leases replace each
    /// other. A save whose fate others share is not replaced.
    bool latest_only = false;
    BatchLimits batch_limits = {};
    QueueLimits queue_limits = {};
    bool enable_deduplication = true;
    /// A save also equals the head if it is the same JSON with the keys of some objects in another order (tokens as
    /// written): it is skipped, and the order that loads is the head's. Off: only the same bytes are equal.
    bool ignore_key_order = false;
    bool enable_compression = true;  ///< And delta frames.
    ChainLimits chain_limits = {};
    bool enable_monitoring = true;             ///< Off: latencies are not measured; counters stay.
    std::size_t cache_max_size = 1000;         ///< Heads, least recently used evicted first.
    std::size_t cache_max_bytes = 256U << 20;  ///< Of their texts. A larger state is not cached.
};

/// The optimised service: the standard one's interface and promises at less cost.
///  - A critical save takes the standard path: whole, in a transaction of its own, never skipped. What is queued of its
///    run is committed before it.
///  - Any other save is skipped if its state equals that of the run's *current* head (asked from the store, whoever
///    wrote it) and storing it would add nothing else that the caller gave: an own snapshot id, a phase, a context, a
///    parent or an `expires_at` other than the head's, metadata, or type `pipeline_complete` on a head that is none are
///    saved. It is otherwise compressed and committed together with whatever other saves have come meanwhile.
///  - In a batch each run has its own answer: a conflict of one is retried alone, and the others are saved. A batch
///  that
///    fails as a whole is retried one by one. Any error on that way is logged, counted by cause, and the save retried
///    on the standard path with the same snapshot id. Nothing enters the cache before the store has confirmed it.
///  - A save that repeats the run's newest one still under way, by the same rule, shares that save's fate, unless they
///    differ in `on_conflict` or in their lease, or that one has a snapshot id of its own.
///
/// Durability: `sync` acknowledges when the commit is on disk. `async` acknowledges when the save is queued; it is
/// committed at once, so what dies with the process is what came during the last commits: at most `QueueLimits`, and of
/// each run the newest saves only. `exit` holds saves back until `flush`, `close`, a critical save, a `sync` one or a
/// load of their run, or until the queue is full.
/// Threads: for saves that nobody waits for, as many as the store takes commits at a time, each started when it is
/// needed; if the machine has none, callers commit them.
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

    /// Begins the save on a thread of the executor, and keeps none until it is on disk.
    Submitted save_agent_state_async(const StatePersistenceRequest& request, SaveCompletion done) override;

    /// As `save_agent_state_async`, for a thread that may wait: returns when the save is queued (or skipped, or
    /// refused), which it does by itself, without the executor. Saves take effect in the order of these calls. Compares
    /// and encodes on the calling thread; waits for the store's head and for a place in a full queue, until the
    /// deadline. `done` may be told within; it must not destroy the service.
    /// A save whose deadline passes in the queue ends with kUnavailable (nothing applied, and nothing will be), one
    /// whose deadline passes during its commit with what the store says: kOutcomeUnknown if it cannot tell. A blocking
    /// call that shares its fate with others ends with kOutcomeUnknown at its deadline, unless it is the last of them.
    void save_async(const StatePersistenceRequest& request, SaveCompletion done);
    std::future<Result<Receipt>> save_async(const StatePersistenceRequest& request);

    /// Takes effect for saves that begin afterwards; a smaller cache evicts at once.
    /// Errors: kInvalidArgument (cache_max_size of 0); nothing is changed then.
    Status configure(const OptimizationSettings& settings);

    CacheStats get_cache_stats() const;

    /// Forgets all cached heads. Never needed for correctness.
    void clear_cache();

    /// The standard service that critical saves and fallbacks use. The observer is not told of your saves by it.
    StatePersistenceService& fallback_service();

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// Decodes every snapshot of the store and verifies its checksum, on top of `Store::check`. What does not match is read
/// a second time, afresh, before it is a finding. With `Deadline::max()` it takes as long as it needs.
/// Errors: kLimitExceeded (a state is larger than `limits`, which says nothing of it: raise CAIRN_STATE_BYTES_MAX), the
///   store's.
[[nodiscard]] Result<CheckReport> check_deep(Store& store, Deadline deadline, const StateLimits& limits = {});

}  // namespace cairn
