#pragma once

// Tells the observer of a service how its saves end. A service asks it at its public calls only, so each save is told
// once, whatever ways it goes inside.

#include <cairn/persistence.h>

#include <chrono>
#include <memory>

namespace cairn {

/// Threads: safe to use concurrently, without locks. Without an observer it does nothing, and reads no clock.
class SaveObservation {
public:
    SaveObservation() = default;  // nobody observes
    explicit SaveObservation(const PersistenceOptions& options);

    /// Makes a save and tells how it ended. `save` returns a `Result<Receipt>`.
    template <class Save>
    Result<Receipt> of(const StatePersistenceRequest& request, const Save& save) const {
        if (!shared_) return save();
        const auto started = std::chrono::steady_clock::now();
        Result<Receipt> receipt = save();
        tell_end(request, receipt, started);
        return receipt;
    }
    /// A completion that tells how the save ended and then passes it on to `done`. It does not need the service.
    /// Without memory for it, `done` itself.
    SaveCompletion before(SaveCompletion done, const StatePersistenceRequest& request) const;
    /// Tells that a save has failed which was acknowledged as queued.
    void tell_lost(const StatePersistenceRequest& request, const Error& error) const noexcept;

private:
    struct Shared;

    void tell_end(const StatePersistenceRequest& request, const Result<Receipt>& receipt,
                  std::chrono::steady_clock::time_point started) const noexcept;

    std::shared_ptr<Shared> shared_;  // null: nobody observes
};

}  // namespace cairn
