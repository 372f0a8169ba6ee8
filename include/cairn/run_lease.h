#pragma once

// The right to execute a run: one holder at a time.

#include <cairn/error.h>
#include <cairn/runtime.h>
#include <cairn/store.h>
#include <cairn/types.h>

#include <chrono>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

namespace cairn {

struct LeaseOptions {
    /// How often the lease is renewed, without any further call; 0: only by `renew`.
    std::chrono::milliseconds heartbeat{2'000};
    /// After so long without a renewal, a holder on another machine counts as dead, and `acquire` takes its lease. On
    /// the same machine no clock is asked: a process that is gone is dead at once, one that is there never.
    std::chrono::milliseconds silence{60'000};
    /// How long a renewal or the destructor may wait for the store.
    std::chrono::milliseconds timeout{30'000};
    /// If the lease could not be renewed for so long, because the store does not answer, it counts as lost. Nothing: it
    /// is kept, since no other can save under it, and holders on the same machine wait as long as this process lives.
    std::optional<std::chrono::milliseconds> patience = {};
    /// Take the lease of a holder that seems to be alive.
    bool take_over = false;
    Runtime runtime = {};
};

/// A run's lease that this process holds. Give `lease()` to each save (`StatePersistenceRequest::lease`): the store
/// then refuses the saves of a holder that was superseded, whatever clocks and heartbeats say. The lease tells others
/// when they may begin, and the holder when to stop.
///
/// Threads: safe to use concurrently, except `release` and the destructor. All leases on one `Store` object share one
///   thread, which starts with the first of them and ends with the last, and one commit a heartbeat.
/// Lifetime: shares the store. In a forked child it is the parent's still: calls return kClosed there, and the
///   destructor does nothing.
/// Errors: all calls return the store's (`cairn/store.h`), by their deadline; only the further ones are named.
class RunLease {
public:
    /// Takes the lease of the run, which need not have snapshots, with an epoch above the last one.
    /// Errors: kConflict (another holds it: the message says who, and when it last showed life), kLimitExceeded (the
    ///   run had the last epoch), kInvalidArgument (no run id), kUnavailable (also: there is no thread left to renew it
    ///   with; it was given up again).
    [[nodiscard]] static Result<RunLease> acquire(std::shared_ptr<Store> store, const std::string& run_id,
                                                  Deadline deadline, LeaseOptions options = {});

    /// Releases it, unless `release` was called. If the store does not let it, that is of no consequence: once this
    /// object is gone, others on the same machine know that the lease is free, and those elsewhere after `silence`.
    ~RunLease();
    RunLease(RunLease&&) noexcept;
    RunLease& operator=(RunLease&&) noexcept;
    RunLease(const RunLease&) = delete;
    RunLease& operator=(const RunLease&) = delete;

    const std::string& run_id() const;
    const Lease& lease() const;

    /// Stop is requested, once, when the lease is known to be lost: another has taken it, the run was deleted, or
    /// `patience` is over. Hand it to what works on the run, or register a `std::stop_callback`: that is called by the
    /// renewing thread, or by `renew`. It must be quick, since other leases wait for it, and must not throw. It may
    /// destroy this object.
    std::stop_token lost() const;

    /// Says now that the holder is alive. Errors: kConflict (the lease is lost; the message says to whom).
    [[nodiscard]] Status renew(Deadline deadline);

    /// Asks the store whether the run still has this lease.
    [[nodiscard]] Result<bool> is_held(Deadline deadline) const;

    /// Stops renewing and gives the lease up, so that others can take it at once. Call it again if it fails; otherwise
    /// a second call is harmless, and so is one after `lost`. Errors: kConflict (it was lost; the message says to
    /// whom).
    [[nodiscard]] Status release(Deadline deadline);

private:
    struct Impl;
    explicit RunLease(std::unique_ptr<Impl> impl) noexcept;

    std::unique_ptr<Impl> impl_;
};

}  // namespace cairn
