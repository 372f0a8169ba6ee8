#pragma once

// Renews the leases that this process holds, with one thread and one commit per heartbeat for all leases on one store.

#include <cairn/runtime.h>
#include <cairn/store.h>

#include <chrono>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

namespace cairn {

/// A lease, and the settings of its renewal.
struct KeptLease {
    std::string run_id;
    Lease lease;
    std::chrono::milliseconds heartbeat;                ///< More than 0.
    std::chrono::milliseconds wait_max;                 ///< The longest time that a renewal may wait for the store.
    std::optional<std::chrono::milliseconds> patience;  ///< The same as `LeaseOptions::patience`.
    Runtime runtime;                                    ///< Its defaults must be filled in.
    std::stop_source lost;                              ///< Stop is requested when the lease is lost.
};

class LeaseKeeper;
struct LeaseEntry;

/// Renews a lease as long as this object lives. Of two leases of one run, only the one with the larger epoch is
/// renewed, and the other one is lost at once.
///
/// Threads: each object by one thread at a time. The renewing thread requests the stop of `lost`, and holds no lock
/// then.
class LeaseRenewal {
public:
    LeaseRenewal() = default;
    /// Errors: std::system_error (no thread is left), std::bad_alloc.
    LeaseRenewal(std::shared_ptr<Store> store, KeptLease lease);
    /// Afterwards `lost` is not requested any more, except by a round that has begun to do so. The last one on a store
    /// waits for the thread, and so for a running commit, unless that thread itself destroys it.
    ~LeaseRenewal() { stop(); }
    LeaseRenewal(LeaseRenewal&&) noexcept = default;
    LeaseRenewal& operator=(LeaseRenewal&& other) noexcept;
    LeaseRenewal(const LeaseRenewal&) = delete;
    LeaseRenewal& operator=(const LeaseRenewal&) = delete;

    void stop() noexcept;

private:
    std::shared_ptr<LeaseKeeper> keeper_;
    std::shared_ptr<LeaseEntry> entry_;
};

}  // namespace cairn
