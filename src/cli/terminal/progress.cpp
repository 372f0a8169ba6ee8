#include "cli/terminal/progress.h"

#include "cli/terminal/output.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>
#include <utility>

namespace cairn::cli {
namespace {

constexpr std::chrono::milliseconds kPause{100};
constexpr std::string_view kClearLine = "\r\033[K";

}  // namespace

Progress::Progress(std::string label, std::uint64_t total)
    : label_(std::move(label)), total_(total), visible_(total > 0 && isatty(STDERR_FILENO) == 1) {}

Progress::Progress(std::string label) : label_(std::move(label)), total_(0), visible_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
    if (visible_) print_message(kClearLine);
}

void Progress::advance(std::uint64_t steps) {
    done_.fetch_add(steps, std::memory_order_relaxed);
    if (visible_) draw();
}

void Progress::show(std::uint64_t done, std::uint64_t total) {
    done_.store(done, std::memory_order_relaxed);
    total_.store(total, std::memory_order_relaxed);
    if (visible_) draw();
}

void Progress::draw() {
    if (!drawing_.try_lock()) return;  // another thread is drawing; the bar need not be exact
    const MutexLock lock(drawing_, std::adopt_lock);
    const auto now = std::chrono::steady_clock::now();
    if (now < next_draw_) return;
    next_draw_ = now + kPause;
    const std::string line = progress_line(label_, done_.load(std::memory_order_relaxed), total_.load());
    print_message(std::string(kClearLine) + line);
}

std::string progress_line(const std::string& label, std::uint64_t done, std::uint64_t total) {
    constexpr std::size_t kWidth = 20;
    if (total == 0) return fmt::format("{:<13.13} {}", label, done);
    const double share = std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
    const auto filled = static_cast<std::size_t>(share * kWidth);
    const auto percent = static_cast<int>(share * 100);
    return fmt::format("{:<13.13} [{}{}] {:3} %  {}/{}", label, std::string(filled, '#'),
                       std::string(kWidth - filled, '-'), percent, done, total)
        .substr(0, 79);
}

}  // namespace cairn::cli
