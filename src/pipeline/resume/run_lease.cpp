#include "pipeline/resume/run_lease.h"

#include "persistence/guarded.h"
#include "pipeline/resume/executor_identity.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <limits>
#include <mutex>
#include <utility>

namespace cairn {
namespace {

std::unexpected<Error> is_in_progress(const std::string& run_id, const LeaseInfo& held, Timestamp now) {
    const auto age = std::max(std::chrono::duration_cast<std::chrono::milliseconds>(now - held.heartbeat_at),
                              std::chrono::milliseconds(0));  // its clock may be ahead
    return fail(
        ErrorCode::kConflict,
        fmt::format("run \"{}\" is in progress: {} showed life {} ms ago; wait for it, stop it, or take the run "
                    "over once it has saved something (take_over, --take-over)",
                    run_id, describe_owner(held.lease.owner), age.count()));
}

}  // namespace

Result<std::unique_ptr<RunLease>> RunLease::take(std::shared_ptr<Store> store, const std::string& run_id,
                                                 Settings settings, Runtime runtime) {
    const Deadline deadline = std::chrono::steady_clock::now() + settings.timeout;
    const Result<std::optional<LeaseInfo>> found = store->lease(run_id, deadline);
    if (!found) return std::unexpected(found.error());
    const std::optional<LeaseInfo>& held = *found;
    const Timestamp now = runtime.clock->now();
    if (held && !settings.take_over && is_alive(*held, now, settings.silence)) {
        return is_in_progress(run_id, *held, now);
    }
    const Lease before = held ? held->lease : Lease{};
    if (before.epoch == std::numeric_limits<std::int64_t>::max()) {
        return fail(ErrorCode::kLimitExceeded,
                    fmt::format("run \"{}\" has the last epoch that a lease can have, {}: it can be executed no more; "
                                "start another run",
                                run_id, before.epoch));
    }
    std::unique_ptr<RunLease> lease(
        new RunLease(std::move(store), run_id, settings, std::move(runtime), before.epoch + 1));
    Status written = lease->write(lease->lease_, before, settings.timeout);
    if (!written && written.error().code == ErrorCode::kOutcomeUnknown) {
        const Result<std::optional<LeaseInfo>> now_held = lease->store_->lease(run_id, deadline);
        if (now_held && now_held->value_or(LeaseInfo{}).lease == lease->lease_) written = {};
    }
    if (written) return lease;
    lease->abandon();
    if (written.error().code != ErrorCode::kConflict) return std::unexpected(std::move(written.error()));
    return fail(ErrorCode::kConflict,
                fmt::format("run \"{}\" has just been taken by another executor: wait for it, or take it over "
                            "(take_over, --take-over)",
                            run_id));
}

RunLease::RunLease(std::shared_ptr<Store> store, std::string run_id, Settings settings, Runtime runtime,
                   std::int64_t epoch)
    : store_(std::move(store)),
      run_id_(std::move(run_id)),
      settings_(settings),
      runtime_(std::move(runtime)),
      identity_(runtime_),
      lease_{.owner = identity_.owner(), .epoch = epoch} {}

// What cannot be given up is known to be over by its process, and to other machines by its silence.
RunLease::~RunLease() {
    if (is_abandoned_) return;
    [[maybe_unused]] const Status given_up =
        guarded([&] { return write({.owner = {}, .epoch = lease_.epoch}, lease_, settings_.timeout); });
}

Status RunLease::write(const Lease& lease, const Lease& expected, std::chrono::milliseconds timeout) {
    const LeaseWrite change{.lease = lease, .heartbeat_at = runtime_.clock->now(), .expected = expected};
    return commit_run(*store_, {.run_id = run_id_, .lease = change}, std::chrono::steady_clock::now() + timeout);
}

bool RunLease::is_lost() const {
    const Result<std::optional<LeaseInfo>> held =
        store_->lease(run_id_, std::chrono::steady_clock::now() + settings_.timeout);
    return held && (!*held || (*held)->lease != lease_);
}

std::jthread RunLease::keep_alive(std::function<void()> on_lost) {
    return std::jthread(
        [this, on_lost = std::move(on_lost)](const std::stop_token& stop) { renew_until(stop, on_lost); });
}

// A renewal that fails for another reason than a new holder is tried again: only silence costs the lease. It does not
// wait for long, because what is written in the end is the time at which it began to wait.
void RunLease::renew_until(const std::stop_token& stop, const std::function<void()>& on_lost) {
    std::mutex mutex;
    std::condition_variable_any woken;
    std::unique_lock lock(mutex);
    const auto patience = std::min(settings_.timeout, settings_.silence / 4);
    while (!woken.wait_for(lock, stop, settings_.heartbeat, [&] { return stop.stop_requested(); })) {
        const Status renewed = guarded([&] { return write(lease_, lease_, patience); });
        if (renewed || renewed.error().code != ErrorCode::kConflict) continue;
        on_lost();
        return;
    }
}

}  // namespace cairn
