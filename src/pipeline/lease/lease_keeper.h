#pragma once

// Renews the leases that this process holds: one thread and one commit a heartbeat for all on one store.

#include <cairn/runtime.h>
#include <cairn/store.h>

#include <chrono>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

namespace cairn {

/// A lease, and how it is renewed.
struct KeptLease {
    std::string run_id;
    Lease lease;
    std::chrono::milliseconds heartbeat;                ///< More than 0.
    std::chrono::milliseconds wait_max;                 ///< How long a renewal may wait for the store.
    std::optional<std::chrono::milliseconds> patience;  ///< As `LeaseOptions::patience`.
    Runtime runtime;                                    ///< With its defaults.
    std::stop_source lost;                              ///< Is told when the lease is lost.
};

class LeaseKeeper;
struct LeaseEntry;

/// Renews a lease as long as this lives. Of two leases of one run only that of the larger epoch is renewed, and the
/// other one is lost at once.
///
/// Threads: each object by one thread at a time; `lost` is told by the renewing thread, which holds no lock then.
class LeaseRenewal {
public:
    LeaseRenewal() = default;
    /// Errors: std::system_error (there is no thread left), std::bad_alloc.
    LeaseRenewal(std::shared_ptr<Store> store, KeptLease lease);
    /// After it `lost` is not told any more, except by a round that has begun to. The last one on a store waits for the
    /// thread, and so for a commit under way, unless it is destroyed by that thread.
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
