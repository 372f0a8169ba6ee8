#pragma once

// Shows the progress of a pipeline's run to the person in front of it.

#include "base/mutex.h"
#include "base/thread_annotations.h"

#include <cairn/pipeline_events.h>

#include <chrono>
#include <cstdint>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace cairn::cli {

/// Prints events to standard error: each notable event as a line, and on a terminal the running steps below, with their
/// times, redrawn a few times a second. Counts whether it prints or not.
class RunProgress : public EventSink {
public:
    enum class Show : std::uint8_t { kNothing, kLines, kLive };
    struct Totals {
        std::uint64_t saves = 0;
        std::uint64_t skips = 0;  ///< Deduplicated saves.
        std::uint64_t bytes_stored = 0;
        std::uint64_t dropped = 0;  ///< Events that did not arrive: the counts above may lack as many.
    };

    explicit RunProgress(Show show);
    ~RunProgress() override;
    RunProgress(const RunProgress&) = delete;
    RunProgress& operator=(const RunProgress&) = delete;

    void on_event(const PipelineEvent& event) override;
    Totals totals() const;

private:
    using Time = std::chrono::steady_clock::time_point;
    struct Running {
        std::string step;
        std::string message;
        Time since;
    };

    void note(const PipelineEvent& event) CAIRN_REQUIRES(mutex_);
    std::vector<std::string> live_lines() const CAIRN_REQUIRES(mutex_);
    void erase_live() CAIRN_REQUIRES(mutex_);
    void draw_live() CAIRN_REQUIRES(mutex_);
    void redraw_until(const std::stop_token& stop);

    const Show show_;
    const Time started_ = std::chrono::steady_clock::now();
    mutable Mutex mutex_;
    Totals totals_ CAIRN_GUARDED_BY(mutex_);
    std::vector<Running> running_ CAIRN_GUARDED_BY(mutex_);
    std::size_t steps_completed_ CAIRN_GUARDED_BY(mutex_) = 0;
    std::size_t steps_total_ CAIRN_GUARDED_BY(mutex_) = 0;
    std::size_t lines_drawn_ CAIRN_GUARDED_BY(mutex_) = 0;
    std::jthread redrawing_;  // last: it uses the members above
};

/// Returns "[2/5] scan completed, 1.2 s"; empty for an event that is not notable.
std::string line_of(const PipelineEvent& event);

/// "350 ms", "1.2 s", "2 min 03 s".
std::string format_duration(std::chrono::microseconds duration);

}  // namespace cairn::cli
