#pragma once

// Saves of one run go one after the other, in call order; saves of different runs do not meet.

#include <cairn/persistence.h>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

namespace cairn {

/// What a save carries, as far as a later save must equal it to share its fate.
struct Cargo {
    State state;
    std::string thread_id;
    std::string user_id;

    friend bool operator==(const Cargo&, const Cargo&) = default;
};

/// Threads: safe to call concurrently. A deadline ends any wait; who gives up lets those behind keep their place.
class RunLanes {
public:
    using Save = std::function<Result<Receipt>()>;

    /// Runs `save` when every earlier call for `run_id` has ended, and returns its result. If the run's last save
    /// under way carries the same cargo and fails, `save` does not run: this call shares the failure. (If it succeeds,
    /// `save` runs and finds it as the head.)
    /// Errors: kUnavailable if the earlier calls have not ended by `deadline` (`save` did not run).
    Result<Receipt> run(const std::string& run_id, const std::optional<Cargo>& cargo, Deadline deadline,
                        const Save& save);

private:
    struct Flight;

    std::shared_ptr<Flight> last_of(const std::string& run_id) const;
    std::shared_ptr<Flight> enter(const std::string& run_id, const std::optional<Cargo>& cargo);
    bool wait_for_earlier(Flight& flight, Deadline deadline);
    void leave(const std::string& run_id, Flight& flight);

    mutable std::mutex mutex_;
    std::unordered_map<std::string, std::shared_ptr<Flight>> last_;  // guarded by mutex_; by run id
};

}  // namespace cairn
