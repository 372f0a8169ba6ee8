#include <cairn/run_lease.h>

#include "persistence/guarded.h"
#include "persistence/save/request_rules.h"
#include "persistence/timeouts.h"
#include "pipeline/lease/executor_identity.h"
#include "pipeline/lease/lease_keeper.h"

#include <fmt/format.h>

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <mutex>
#include <utility>

namespace cairn {
namespace {

std::string describe_holder(const LeaseInfo& held, Timestamp now) {
    const auto age = std::max(std::chrono::duration_cast<std::chrono::milliseconds>(now - held.heartbeat_at),
                              std::chrono::milliseconds(0));  // its clock may be ahead
    return fmt::format("{} showed life {} ms ago", describe_owner(held.lease.owner), age.count());
}

std::unexpected<Error> run_in_progress_error(const std::string& run_id, const LeaseInfo& held, Timestamp now) {
    return std::unexpected(
        advise({.code = ErrorCode::kConflict,
                .message = fmt::format("run \"{}\" is in progress: {}", run_id, describe_holder(held, now))},
               "Wait for it, stop it, or take the run over (take_over, --take-over)."));
}

std::unexpected<Error> contested_lease_error(const std::string& run_id) {
    return std::unexpected(
        advise({.code = ErrorCode::kConflict,
                .message = fmt::format("another has just held the lease of run \"{}\", and given it up", run_id)},
               "Read how the run stands now, then try again."));
}

std::unexpected<Error> last_epoch_error(const std::string& run_id, std::int64_t epoch) {
    return fail(ErrorCode::kLimitExceeded,
                fmt::format("run \"{}\" has the last epoch that a lease can have, {}: it can be executed no more; "
                            "start another run",
                            run_id, epoch));
}

std::string describe_loss(const Lease& lost, const std::optional<LeaseInfo>& held, Timestamp now) {
    if (!held) return "it was deleted with the run";
    if (!held->lease.owner.empty()) return describe_holder(*held, now);
    return held->lease.epoch == lost.epoch ? "it was given up" : "another has held it since, and given it up";
}

std::unexpected<Error> lost_lease_error(const std::string& run_id, const std::string& why) {
    return std::unexpected(advise(
        {.code = ErrorCode::kConflict, .message = fmt::format("the lease of run \"{}\" is lost: {}", run_id, why)},
        "Stop what works on the run; another may be at it."));
}

}  // namespace

struct RunLease::Impl {
    Impl(std::shared_ptr<Store> the_store, std::string run, LeaseOptions&& the_options, std::int64_t epoch);
    ~Impl();
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    Status take(const Lease& before, Deadline deadline);
    void keep_alive();
    void stop_renewing();
    Status renew(Deadline deadline);
    Result<bool> is_held(Deadline deadline);
    Status release(Deadline deadline);

    Status write(const Lease& written, const Lease& expected, Deadline deadline);
    Status find_refusal(Deadline deadline) const;
    Status explain(Status written, Deadline deadline);
    Result<std::optional<LeaseInfo>> held_now(Deadline deadline) const { return store->lease(run_id, deadline); }
    bool is_ours(const std::optional<LeaseInfo>& held) const { return held && held->lease == lease; }
    Status check_process() const;

    const pid_t process = ::getpid();
    const std::shared_ptr<Store> store;
    const std::string run_id;
    LeaseOptions options;
    const ExecutorIdentity identity;
    const Lease lease;
    std::stop_source lost;
    std::atomic<bool> is_over = true;  ///< Nothing to release: the lease is not taken yet, or not held any more.
    std::atomic<bool> was_release_tried = false;  ///< Then the destructor does not wait for the store again.
    std::mutex mutex;
    LeaseRenewal renewal;  // guarded by the mutex
};

RunLease::Impl::Impl(std::shared_ptr<Store> the_store, std::string run, LeaseOptions&& the_options, std::int64_t epoch)
    : store(std::move(the_store)),
      run_id(std::move(run)),
      options(std::move(the_options)),
      identity(options.runtime),
      lease{.owner = identity.owner(), .epoch = epoch} {}

RunLease::Impl::~Impl() {
    stop_renewing();
    if (was_release_tried) return;
    [[maybe_unused]] const Status released =
        guarded([&] { return release(std::chrono::steady_clock::now() + bounded(options.timeout)); });
}

Status RunLease::Impl::write(const Lease& written, const Lease& expected, Deadline deadline) {
    const LeaseWrite change{.lease = written, .heartbeat_at = options.runtime.clock->now(), .expected = expected};
    return commit_run(*store, {.run_id = run_id, .lease = change}, deadline);
}

Status RunLease::Impl::check_process() const {
    if (process == ::getpid()) return {};
    return fail(ErrorCode::kClosed, fmt::format("the lease of run \"{}\" is held by the process that this one was "
                                                "forked from: acquire one here",
                                                run_id));
}

// ---- taking ----

Status RunLease::Impl::take(const Lease& before, Deadline deadline) {
    Status written = write(lease, before, deadline);
    if (!written && written.error().code == ErrorCode::kConflict) return find_refusal(deadline);
    if (!written && written.error().code == ErrorCode::kOutcomeUnknown) {
        const Result<std::optional<LeaseInfo>> held = held_now(deadline);
        if (held && is_ours(*held)) written = {};
    }
    is_over = !written.has_value();
    return written;
}

Status RunLease::Impl::find_refusal(Deadline deadline) const {
    const Result<std::optional<LeaseInfo>> held = held_now(deadline);
    if (!held) return std::unexpected(held.error());
    const LeaseInfo holder = held->value_or(LeaseInfo{});
    if (holder.lease.owner.empty()) return contested_lease_error(run_id);
    return run_in_progress_error(run_id, holder, options.runtime.clock->now());
}

void RunLease::Impl::keep_alive() {
    if (options.heartbeat <= std::chrono::milliseconds::zero()) return;
    const std::chrono::milliseconds wait_max = std::min(bounded(options.timeout), bounded(options.silence) / 4);
    renewal = LeaseRenewal(store, {.run_id = run_id,
                                   .lease = lease,
                                   .heartbeat = bounded(options.heartbeat),
                                   .wait_max = wait_max,
                                   .patience = options.patience,
                                   .runtime = options.runtime,
                                   .lost = lost});
}

namespace {

Status check_owner(Store& store, const std::string& run_id, const LeaseOptions& options, Deadline deadline) {
    if (!options.thread_id && !options.user_id) return {};
    const Result<std::optional<Head>> head = store.head(run_id, deadline);
    if (!head) return std::unexpected(head.error());
    if (!*head) return {};
    return check_owner({.run_id = run_id,
                        .thread_id = options.thread_id.value_or((*head)->thread_id),
                        .user_id = options.user_id.value_or((*head)->user_id)},
                       **head);
}

}  // namespace

Result<RunLease> RunLease::acquire(std::shared_ptr<Store> store, const std::string& run_id, Deadline deadline,
                                   LeaseOptions options) {
    return guarded([&]() -> Result<RunLease> {
        options.runtime = options.runtime.with_defaults();
        if (Status owned = check_owner(*store, run_id, options, deadline); !owned) {
            return std::unexpected(std::move(owned.error()));
        }
        const Result<std::optional<LeaseInfo>> held = store->lease(run_id, deadline);
        if (!held) return std::unexpected(held.error());
        const Timestamp now = options.runtime.clock->now();
        if (*held && !options.take_over && is_alive(**held, now, options.silence)) {
            return run_in_progress_error(run_id, **held, now);
        }
        const Lease before = *held ? (*held)->lease : Lease{};
        if (before.epoch == std::numeric_limits<std::int64_t>::max()) return last_epoch_error(run_id, before.epoch);
        auto impl = std::make_unique<Impl>(std::move(store), run_id, std::move(options), before.epoch + 1);
        if (Status taken = impl->take(before, deadline); !taken) return std::unexpected(std::move(taken.error()));
        impl->keep_alive();
        return RunLease(std::move(impl));
    });
}

// ---- holding and releasing ----

Status RunLease::Impl::renew(Deadline deadline) {
    if (Status here = check_process(); !here) return here;
    Status renewed = explain(write(lease, lease, deadline), deadline);
    const std::stop_source told = lost;  // a stop callback may destroy this object
    if (!renewed && is_over) told.request_stop();
    return renewed;
}

Result<bool> RunLease::Impl::is_held(Deadline deadline) {
    if (Status here = check_process(); !here) return std::unexpected(std::move(here.error()));
    const Result<std::optional<LeaseInfo>> held = held_now(deadline);
    if (!held) return std::unexpected(held.error());
    if (!is_ours(*held)) is_over = true;
    return is_ours(*held);
}

Status RunLease::Impl::release(Deadline deadline) {
    if (Status here = check_process(); !here) return here;
    stop_renewing();
    if (is_over || lost.stop_requested()) return {};
    was_release_tried = true;
    Status released = explain(write({.owner = {}, .epoch = lease.epoch}, lease, deadline), deadline);
    if (released) is_over = true;
    return released;
}

// Explains the conflict of a write: says who has the lease now, unless the store says that it is still ours.
Status RunLease::Impl::explain(Status written, Deadline deadline) {
    if (written || written.error().code != ErrorCode::kConflict) return written;
    const Result<std::optional<LeaseInfo>> held = held_now(deadline);
    if (!held) return std::unexpected(held.error());
    if (is_ours(*held)) return written;
    is_over = true;
    return lost_lease_error(run_id, describe_loss(lease, *held, options.runtime.clock->now()));
}

// Does not hold the lock: the renewing thread may be waiting for it, and we wait for that thread here.
void RunLease::Impl::stop_renewing() {
    const LeaseRenewal ending = [&] {
        const std::lock_guard lock(mutex);
        return std::move(renewal);
    }();
}

RunLease::RunLease(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
RunLease::RunLease(RunLease&&) noexcept = default;

RunLease& RunLease::operator=(RunLease&& other) noexcept {
    const RunLease before = std::move(*this);
    impl_ = std::move(other.impl_);
    return *this;
}

// In a forked child nothing is touched: the thread is the parent's, and locks may be held for ever.
RunLease::~RunLease() {
    if (impl_ && impl_->process != ::getpid()) [[maybe_unused]]
        Impl* const of_parent = impl_.release();
}

const std::string& RunLease::run_id() const {
    return impl_->run_id;
}

const Lease& RunLease::lease() const {
    return impl_->lease;
}

std::stop_token RunLease::lost() const {
    return impl_->lost.get_token();
}

Status RunLease::renew(Deadline deadline) {
    return guarded([&] { return impl_->renew(deadline); });
}

Result<bool> RunLease::is_held(Deadline deadline) const {
    return guarded([&] { return impl_->is_held(deadline); });
}

Status RunLease::release(Deadline deadline) {
    return guarded([&] { return impl_->release(deadline); });
}

}  // namespace cairn
