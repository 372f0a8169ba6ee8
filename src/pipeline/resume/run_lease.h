#pragma once

// The right to execute a run, as long as this object lives: one executor at a time, told to everybody by a heartbeat.

#include "pipeline/resume/executor_identity.h"

#include <cairn/error.h>
#include <cairn/runtime.h>
#include <cairn/store.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

namespace cairn {

class RunLease {
public:
    struct Settings {
        std::chrono::milliseconds heartbeat;
        std::chrono::milliseconds silence;
        std::chrono::milliseconds timeout;
        bool take_over = false;
    };

    /// Errors: kConflict (somebody else executes the run: who, since when silent, what to do), and the store's.
    [[nodiscard]] static Result<std::unique_ptr<RunLease>> take(std::shared_ptr<Store> store, const std::string& run_id,
                                                                Settings settings, Runtime runtime);
    /// Gives the lease up, unless another has taken it.
    ~RunLease();
    RunLease(const RunLease&) = delete;
    RunLease& operator=(const RunLease&) = delete;

    const Lease& lease() const { return lease_; }
    /// Whether another is known to have taken it.
    bool is_lost() const;

    /// Renews it as long as the returned thread lives. `on_lost` is told by that, once, when another has taken it.
    [[nodiscard]] std::jthread keep_alive(std::function<void()> on_lost);
    /// Leaves it as it is: another's, or to be found dead.
    void abandon() { is_abandoned_ = true; }

private:
    RunLease(std::shared_ptr<Store> store, std::string run_id, Settings settings, Runtime runtime, std::int64_t epoch);
    Status write(const Lease& lease, const Lease& expected, std::chrono::milliseconds timeout);
    void renew_until(const std::stop_token& stop, const std::function<void()>& on_lost);

    const std::shared_ptr<Store> store_;
    const std::string run_id_;
    const Settings settings_;
    Runtime runtime_;
    const ExecutorIdentity identity_;
    const Lease lease_;
    bool is_abandoned_ = false;
};

}  // namespace cairn
