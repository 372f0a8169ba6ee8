#pragma once

// What a test asked to be saved and what it was told about it: what a store must hold after a crash.

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

/// What is known of one save.
enum class Told : std::uint8_t {
    kNothing,  ///< Asked for, not answered, or answered with kOutcomeUnknown or kInternal: it may be there or not.
    kQueued,   ///< Acknowledged without being on disk.
    kDurable,  ///< Acknowledged as being on disk: it must be there.
    kAbsent    ///< Refused, skipped, or lost for good: it must not be there.
};

/// By run, in the order in which they were asked for. A value: a copy is what was known at a moment.
using Promises = std::map<std::string, std::vector<Told>>;

/// Threads: safe to use from several, each with runs of its own.
class SaveLedger {
public:
    SaveLedger() = default;
    /// Goes on where another ledger's store was found to be.
    explicit SaveLedger(Promises promises) : promises_(std::move(promises)) {}

    /// The run's next state, under an id that tells its text. Each seventh is the one before once more.
    StatePersistenceRequest ask(const std::string& run_id, CheckpointType type = {});
    /// What the save of `request` ended with.
    void tell(const StatePersistenceRequest& request, const Result<Receipt>& result);
    /// Everything that is queued is on disk; a failure: nobody knows.
    void tell_flushed(const std::string& run_id, const Status& status);

    Promises promises() const;

private:
    mutable std::mutex mutex_;
    Promises promises_;  // guarded by mutex_
};

/// What a store is held to.
struct Expectation {
    /// Of what was not promised, at most the newest saves of each run are missing.
    bool losses_are_a_suffix = true;
    /// Of these runs a durable save may also be missing if so many newer ones are there: they were pruned.
    std::map<std::string, std::size_t> pruned_to = {};
};

/// Finds out whether `store` keeps `promises`: everything in it loads exactly and was asked for, `check_deep` is clean,
/// no promise is broken. Returns what is wrong, in sentences; empty: nothing. `found` is told what is there.
std::string broken_promises(Store& store, const Promises& promises, const Expectation& expectation = {},
                            Promises* found = nullptr);

}  // namespace cairn::test
