#pragma once

// The right to execute a run. It has one holder at a time.

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
    /// Interval at which the lease is renewed without further calls; 0: only by `renew`.
    std::chrono::milliseconds heartbeat{2'000};
    /// After this time without a renewal, a holder on another machine counts as dead, and `acquire` takes its lease. On
    /// the same machine no clock is asked: a process that is gone is dead at once, and a process that exists never is.
    std::chrono::milliseconds silence{60'000};
    /// The longest time that a renewal or the destructor waits for the store.
    std::chrono::milliseconds timeout{30'000};
    /// The lease counts as lost if it could not be renewed for this long because the store does not answer. Unset: the
    /// lease is kept, since no other can save under it, and holders on the same machine wait while this process lives.
    std::optional<std::chrono::milliseconds> patience = {};
    /// Takes the lease of a holder that seems to be alive.
    bool take_over = false;
    /// The owners that the run must have, if it has snapshots; unset: any.
    std::optional<std::string> thread_id = {};
    std::optional<std::string> user_id = {};
    Runtime runtime = {};
};

/// A run's lease, held by this process. Give `lease()` to each save (`StatePersistenceRequest::lease`): the store then
/// refuses the saves of a superseded holder, whatever clocks and heartbeats say. The lease tells others when they may
/// begin, and the holder when to stop.
///
/// Threads: safe to use concurrently, except `release` and the destructor. All leases on one `Store` object share one
///   thread, which starts with the first of them and ends with the last, and one commit per heartbeat.
/// Lifetime: shares the store. In a forked child the lease still belongs to the parent: calls return kClosed there, and
///   the destructor does nothing.
/// Errors: all calls return the store's (`cairn/store.h`), by their deadline; only further errors are named.
class RunLease {
public:
    /// Takes the lease of the run, with a larger epoch than the last one. The run need not have snapshots.
    /// Errors: kConflict (another holds it: the message says who, and its last sign of life), kLimitExceeded (the run
    ///   had the last epoch), kInvalidArgument (no run id, or the run of others), kUnavailable (also: no thread is left
    ///   to renew it with; the lease was released again).
    [[nodiscard]] static Result<RunLease> acquire(std::shared_ptr<Store> store, const std::string& run_id,
                                                  Deadline deadline, LeaseOptions options = {});

    /// Releases the lease, unless `release` was called. A failure here has no consequence: once this object is gone,
    /// others on the same machine know that the lease is free, and those elsewhere know after `silence`.
    ~RunLease();
    RunLease(RunLease&&) noexcept;
    RunLease& operator=(RunLease&&) noexcept;
    RunLease(const RunLease&) = delete;
    RunLease& operator=(const RunLease&) = delete;

    const std::string& run_id() const;
    const Lease& lease() const;

    /// Stop is requested, once, when the lease is known to be lost: another has taken it, the run was deleted, or
    /// `patience` is over. Hand it to the work on the run, or register a `std::stop_callback`. The callback runs on the
    /// renewing thread, or inside `renew`. It must be quick, since other leases wait for it, and must not throw. It may
    /// destroy this object.
    std::stop_token lost() const;

    /// Renews the lease now. Errors: kConflict (the lease is lost; the message says to whom).
    [[nodiscard]] Status renew(Deadline deadline);

    /// Asks the store whether the run still has this lease.
    [[nodiscard]] Result<bool> is_held(Deadline deadline) const;

    /// Stops renewing and releases the lease, so that others can take it at once. If it fails, call it again. Otherwise
    /// a second call is harmless, as is one after `lost`. Errors: kConflict (it was lost; the message says to whom).
    [[nodiscard]] Status release(Deadline deadline);

private:
    struct Impl;
    explicit RunLease(std::unique_ptr<Impl> impl) noexcept;

    std::unique_ptr<Impl> impl_;
};

}  // namespace cairn
