#pragma once

// Writes one save to the store, on top of the current head. Unknown outcomes are resolved by the snapshot id.

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
    std::optional<std::int64_t> parent_version;    ///< The version that it grows from; nothing: the head's.
    std::optional<std::int64_t> required_version;  ///< The version that the head must have; nothing: any.
    SkipRule skip = SkipRule::kNever;              ///< Used if the head turns out to be another one.
};

/// Writes snapshots whose frames are encoded already.
/// Threads: safe to call concurrently. The caller keeps the order of one run's saves.
class SnapshotWriter {
public:
    /// `options.runtime` must have its defaults.
    SnapshotWriter(std::shared_ptr<Store> store, const PersistenceOptions& options)
        : store_(std::move(store)), limits_(options.state_limits), runtime_(options.runtime) {}

    /// Makes a write of the request's state, encoded as `encoded`: the head after `head_version` (0: the run's first),
    /// grown from `parent_version` or, without it, from that head.
    static PreparedWrite prepare(const StatePersistenceRequest& request, const std::string& snapshot_id,
                                 Timestamp created_at, EncodedState encoded, std::int64_t head_version,
                                 std::optional<std::int64_t> parent_version);

    /// Puts the write on top of `version`, 0 for a run that does not exist yet.
    static void put_after(SnapshotWrite& write, std::int64_t version, std::optional<std::int64_t> parent_version);

    /// Makes the write self-contained, for when its base is not there. Returns the cost of loading it.
    static Result<ChainCost> make_whole(SnapshotWrite& write, const State& state);

    /// Makes `prepared` the run's head.
    ///  - The head moved meanwhile: the save is skipped if it may be and repeats the new head. Otherwise it is re-based
    ///    on that head, or ends with kConflict, as `required_version` says. It is written whole if the base of its
    ///    delta is not there.
    ///  - The run is executed under another lease than the request's: kConflict.
    ///  - The outcome is unknown, or the id is taken: the id is looked up. If it holds this very state, that is this
    ///    save, done. Otherwise the same id is tried again, so nothing is ever saved twice.
    /// Before each further try there is a pause, longer each time.
    /// `answer`: the store's answer to `prepared`, if it was committed before.
    /// Errors: those of `StatePersistence::save_agent_state`.
    Result<Receipt> write(const StatePersistenceRequest& request, PreparedWrite prepared, Deadline deadline,
                          std::optional<Error> answer = {});

    /// Returns the result of a save that is refused with `error`. A conflict with this very save, by an attempt whose
    /// outcome was not known, is none: if `snapshot_id` (empty: there was none) holds the state already, returns the
    /// receipt of that.
    Result<Receipt> refuse(const StatePersistenceRequest& request, const std::string& snapshot_id, Error error,
                           Deadline deadline);

    /// Returns the version that the head must have for a request with on_conflict=fail; nothing if any will do.
    std::optional<std::int64_t> required_version(const StatePersistenceRequest& request) const;

    /// Errors: kConflict if `head` is not at `required_version`; kInvalidArgument if it has another owner.
    static Status check_head(const StatePersistenceRequest& request, const std::optional<Head>& head,
                             std::optional<std::int64_t> required_version);

    /// Errors: kConflict if the run is not held as the request requires. Call it after reading the head that a save is
    /// compared with or put on: the holder of the lease at that time was the only one to move the head.
    Status check_lease(const StatePersistenceRequest& request, Deadline deadline) const;

    /// The versions that this service has seen of its runs' heads.
    SeenVersions& seen() { return seen_; }

    /// The snapshot that a commit left in the store.
    struct Committed {
        std::int64_t version = 0;
        std::uint64_t frame_bytes = 0;
    };

    /// Commits a batch of one snapshot, of `state`. Returns nothing if the head moved or the base is gone: nothing was
    /// applied.
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
