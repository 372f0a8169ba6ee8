#pragma once

#include "base/mutex.h"
#include "base/thread_annotations.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>

namespace cairn::cli {

/// A progress bar on standard error, only if that is a terminal; otherwise nothing is printed.
/// Threads: `advance` may be called from any thread. The destructor removes the bar.
class Progress {
public:
    Progress(std::string label, std::uint64_t total);
    /// For a task whose total is not known yet: `show` may set it later.
    explicit Progress(std::string label);
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    /// Adds `steps` to the finished steps. Cheap: it draws a few times a second at the most.
    void advance(std::uint64_t steps = 1);

    /// Sets the finished steps and the total; 0 is an unknown total. It is as cheap.
    void show(std::uint64_t done, std::uint64_t total);

private:
    void draw();

    const std::string label_;
    std::atomic<std::uint64_t> total_;
    const bool visible_;
    std::atomic<std::uint64_t> done_{0};

    Mutex drawing_;
    std::chrono::steady_clock::time_point next_draw_ CAIRN_GUARDED_BY(drawing_){};
};

/// Returns the bar's text: "Saving        [##########----------]  50 %  100/200", at most 79 columns. For an unknown
/// total (0): "Saving        100".
std::string progress_line(const std::string& label, std::uint64_t done, std::uint64_t total);

}  // namespace cairn::cli
