#pragma once

// Records the saves that a test asks for and the answers that it gets. A store must hold these promises after a crash.

#include <cairn/error.h>
#include <cairn/persistence.h>
#include <cairn/store.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::test {

/// The answer to one save.
enum class Told : std::uint8_t {
    kNothing,  ///< Not answered, or answered with kOutcomeUnknown or kInternal: the save may be there or not.
    kQueued,   ///< Acknowledged before it is on disk.
    kDurable,  ///< Acknowledged as on disk: the save must be there.
    kAbsent    ///< Refused, skipped, or lost for good: the save must not be there.
};

/// The saves of each run, in the order in which they were asked for. A value: a copy is what was known at a moment.
using Promises = std::map<std::string, std::vector<Told>>;

/// Threads: safe to use from several threads if each has its own runs.
class SaveLedger {
public:
    SaveLedger() = default;
    /// Continues from the state in which another ledger's store was found.
    explicit SaveLedger(Promises promises) : promises_(std::move(promises)) {}

    /// Makes a request for the run's next state, under an id that tells its text. Every seventh state repeats the one
    /// before.
    StatePersistenceRequest ask(const std::string& run_id, CheckpointType type = {});
    /// Records the result of the save of `request`.
    void tell(const StatePersistenceRequest& request, const Result<Receipt>& result);
    /// Records the result of a flush. Success: everything queued is on disk. Failure: nothing is known of it.
    void tell_flushed(const std::string& run_id, const Status& status);

    Promises promises() const;

private:
    mutable std::mutex mutex_;
    Promises promises_;  // guarded by mutex_
};

/// The rules that a store is held to.
struct Expectation {
    /// Among the saves that were not promised, only the newest of each run may be missing.
    bool losses_are_a_suffix = true;
    /// These runs were pruned to so many saves: a durable one may be missing if that many newer ones are there.
    std::map<std::string, std::size_t> pruned_to = {};
};

/// Checks that `store` keeps `promises`: everything in it loads exactly and was asked for, `check_deep` finds nothing,
/// and no promise is broken. Returns what is wrong, in sentences, or nothing. Writes what is there to `found`.
std::string broken_promises(Store& store, const Promises& promises, const Expectation& expectation = {},
                            Promises* found = nullptr);

}  // namespace cairn::test
