#pragma once

// One save against the store: on top of the current head, with outcomes resolved by snapshot id.

#include "persistence/reading/chain.h"
#include "persistence/save/request_rules.h"
#include "persistence/save/seen_versions.h"

#include <cairn/persistence.h>

#include <optional>
#include <string>

namespace cairn {

/// A snapshot that is ready to be committed.
struct PreparedWrite {
    SnapshotWrite write;
    std::optional<std::int64_t> parent_version;    ///< That it grows from wherever the head is; nothing: from the head.
    std::optional<std::int64_t> required_version;  ///< That the head must have; nothing: it goes on top of any.
    SkipRule skip = SkipRule::kNever;              ///< If the head turns out to be another one.
};

/// Writes snapshots whose frames are made.
/// Threads: safe to call concurrently; the order of one run's saves is the caller's business.
class SnapshotWriter {
public:
    /// `options.runtime` must have its defaults.
    SnapshotWriter(std::shared_ptr<Store> store, const PersistenceOptions& options)
        : store_(std::move(store)), limits_(options.state_limits), runtime_(options.runtime) {}

    /// The request's state, encoded as `encoded`, as the head after `head_version` (0: the run's first), grown from
    /// `parent_version` or, without it, from that head.
    static PreparedWrite prepare(const StatePersistenceRequest& request, const std::string& snapshot_id,
                                 Timestamp created_at, EncodedState encoded, std::int64_t head_version,
                                 std::optional<std::int64_t> parent_version);

    /// On top of `version`, 0 for a run that does not exist yet.
    static void put_after(SnapshotWrite& write, std::int64_t version, std::optional<std::int64_t> parent_version);

    /// Self-contained, where what it was encoded against is not there. Returns what loading it costs.
    static Result<ChainCost> make_whole(SnapshotWrite& write, const State& state);

    /// Makes `prepared` the run's head.
    ///  - The head moved meanwhile: skipped if it may be and repeats the new one, else re-based on that, or kConflict,
    ///    as `required_version` says; written whole if the base of its delta is not there.
    ///  - The run is executed under another lease than the request's: kConflict.
    ///  - The outcome is unknown, or the id is taken: the id is looked up; if it holds this very state, that is this
    ///    save, done. Otherwise the same id is tried again, so nothing is ever saved twice.
    /// What is tried again waits a little before, longer each time.
    /// `answer`: what the store has already said to `prepared`, if it was committed with others.
    /// Errors: those of `StatePersistence::save_agent_state`.
    Result<Receipt> write(const StatePersistenceRequest& request, PreparedWrite prepared, Deadline deadline,
                          std::optional<Error> answer = {});

    /// What `error` comes to for a save that is not made: a conflict with this very save, by an attempt whose outcome
    /// was not known, is none. So, if `snapshot_id` (empty: there was none) holds the state already, that receipt.
    Result<Receipt> refuse(const StatePersistenceRequest& request, const std::string& snapshot_id, Error error,
                           Deadline deadline);

    /// The head version that must hold for a request with on_conflict=fail; nothing if any will do.
    std::optional<std::int64_t> required_version(const StatePersistenceRequest& request) const;

    /// Errors: kConflict if `head` is not at `required_version`; kInvalidArgument if it has another owner.
    static Status check_head(const StatePersistenceRequest& request, const std::optional<Head>& head,
                             std::optional<std::int64_t> required_version);

    /// Errors: kConflict if the run is not held as the request requires. To be asked after the head that a save is
    /// compared with or put on: whoever held the run then was the only one to move it.
    Status check_lease(const StatePersistenceRequest& request, Deadline deadline) const;

    /// What this service has seen of its runs' heads.
    SeenVersions& seen() { return seen_; }

    /// What a commit left in the store.
    struct Committed {
        std::int64_t version = 0;
        std::uint64_t frame_bytes = 0;
    };

    /// Commits a batch of one snapshot, of `state`. Nothing: the head moved or the base is gone; nothing was applied.
    Result<std::optional<Committed>> commit(const RunBatch& batch, const State& state, Deadline deadline,
                                            std::optional<Error> answer = {});

private:
    Result<std::optional<Head>> rebase(const StatePersistenceRequest& request, PreparedWrite& prepared,
                                       SnapshotWrite& write, Deadline deadline);
    Result<std::int64_t> version_of_parent(const StatePersistenceRequest& request, Deadline deadline);
    bool is_repetition(const StatePersistenceRequest& request, const Head& head, SkipRule rule, Deadline deadline);
    Result<std::optional<Committed>> look_up(const SnapshotInfo& info, const State& state, Deadline deadline);
    Result<std::optional<Committed>> look_up_once(const SnapshotInfo& info, const State& state, Deadline deadline);

    std::shared_ptr<Store> store_;
    StateLimits limits_;
    Runtime runtime_;
    SeenVersions seen_;
};

}  // namespace cairn
