#include "persistence/save_observation.h"

#include <fmt/format.h>

#include <atomic>
#include <exception>
#include <utility>

namespace cairn {

using SteadyClock = std::chrono::steady_clock;

SaveEvent SaveEvent::of(const StatePersistenceRequest& request, const Result<Receipt>& receipt) {
    SaveEvent event{.run_id = request.run_id,
                    .thread_id = request.thread_id,
                    .user_id = request.user_id,
                    .checkpoint_type = request.checkpoint_type,
                    .agent_phase = request.agent_phase,
                    .state_bytes = request.state_data.size_bytes()};
    if (receipt) event.receipt = *receipt;
    if (!receipt) event.error = receipt.error();
    return event;
}

struct SaveObservation::Shared {
    SaveObserver observer;
    Runtime runtime;
    std::atomic<bool> is_failure_logged = false;

    void tell(SaveEvent& event, SteadyClock::time_point started) {
        event.duration = std::chrono::duration_cast<std::chrono::microseconds>(SteadyClock::now() - started);
        tell(event);
    }
    void tell(SaveEvent& event) {
        event.time = runtime.clock->now();
        observer(event);
    }

    /// Calls `tell`, from which nothing is thrown.
    template <class Tell>
    void guard(const Tell& tell) noexcept {
        try {
            tell();
        } catch (const std::exception& exception) {
            log_failure(exception.what());
        } catch (...) {
            log_failure("it threw something that is no std::exception");
        }
    }

    void log_failure(const char* reason) noexcept {
        if (is_failure_logged.exchange(true)) return;
        try {
            runtime.log({.level = LogLevel::kWarning,
                         .event = "save_observer_failed",
                         .message = fmt::format("the observer of saves failed: {}; this is said once", reason)});
        } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): no memory left to log it
        }
    }
};

SaveObservation::SaveObservation(const PersistenceOptions& options) {
    if (!options.observer) return;
    shared_ = std::make_shared<Shared>();
    shared_->observer = options.observer;
    shared_->runtime = options.runtime.with_defaults();
}

void SaveObservation::tell_end(const StatePersistenceRequest& request, const Result<Receipt>& receipt,
                               SteadyClock::time_point started) const noexcept {
    shared_->guard([&] {
        SaveEvent event = SaveEvent::of(request, receipt);
        shared_->tell(event, started);
    });
}

SaveCompletion SaveObservation::before(SaveCompletion done, const StatePersistenceRequest& request) const {
    if (!shared_) return done;
    try {
        return [shared = shared_, done, event = SaveEvent::of(request, Receipt()),
                started = SteadyClock::now()](Result<Receipt> receipt) mutable {
            shared->guard([&] {
                event.receipt = receipt ? std::optional(*receipt) : std::nullopt;
                if (!receipt) event.error = receipt.error();
                shared->tell(event, started);
            });
            done(std::move(receipt));
        };
    } catch (const std::exception&) {
        return done;
    }
}

void SaveObservation::tell_lost(const StatePersistenceRequest& request, const Error& error) const noexcept {
    if (!shared_) return;
    shared_->guard([&] {
        SaveEvent event = SaveEvent::of(request, std::unexpected(error));
        event.is_lost = true;
        shared_->tell(event);
    });
}

}  // namespace cairn
