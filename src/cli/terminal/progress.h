#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

namespace cairn::cli {

/// A progress bar on standard error, and only if that is a terminal; otherwise it prints nothing at all.
/// Threads: `advance` may be called from any thread. The bar is taken away when the object goes.
class Progress {
public:
    Progress(std::string label, std::uint64_t total);
    /// Of something whose end is not known yet: `show` may tell it later.
    explicit Progress(std::string label);
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    /// `steps` more of `total` are done. Cheap: it draws a few times a second at the most.
    void advance(std::uint64_t steps = 1);

    /// So many of `total` are done, 0 of a total that is not known. As cheap.
    void show(std::uint64_t done, std::uint64_t total);

private:
    void draw();

    const std::string label_;
    std::atomic<std::uint64_t> total_;
    const bool visible_;
    std::atomic<std::uint64_t> done_{0};

    std::mutex drawing_;
    std::chrono::steady_clock::time_point next_draw_{};  // under drawing_
};

/// "Saving        [##########----------]  50 %  100/200": what the bar shows, at most 79 columns. Of an unknown
/// total (0): "Saving        100".
std::string progress_line(const std::string& label, std::uint64_t done, std::uint64_t total);

}  // namespace cairn::cli
