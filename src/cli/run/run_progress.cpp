#include "cli/run/run_progress.h"

#include "cli/terminal/output.h"

#include <fmt/format.h>

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace cairn::cli {
namespace {

using Type = PipelineEvent::Type;

constexpr std::chrono::milliseconds kPause{200};

std::size_t terminal_columns() {
    winsize size{};
    const bool is_known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
    return is_known ? size.ws_col - 1U : 79U;
}

std::string failure_of(const PipelineEvent& event) {
    return event.error ? event.error->message : "";
}

std::string attempt_of(const PipelineEvent& event) {
    return event.attempt > 1 ? fmt::format(" (attempt {})", event.attempt) : "";
}

}  // namespace

std::string format_duration(std::chrono::microseconds duration) {
    const double seconds = std::chrono::duration<double>(duration).count();
    if (seconds < 0.9995) return fmt::format("{:.0f} ms", seconds * 1e3);
    if (seconds < 59.95) return fmt::format("{:.1f} s", seconds);
    const auto whole = std::chrono::duration_cast<std::chrono::seconds>(duration).count();
    return fmt::format("{} min {:02} s", whole / 60, whole % 60);
}

std::string line_of(const PipelineEvent& event) {
    const std::string place = fmt::format("[{}/{}] ", event.steps_completed, event.steps_total);
    switch (event.type) {
        case Type::kStarted:
            return place + (event.message.empty() ? "started" : event.message);
        case Type::kStepStarted:
            return fmt::format("{}{} started{}", place, event.step, attempt_of(event));
        case Type::kStepCompleted:
            if (!event.message.empty()) return fmt::format("{}{} {}", place, event.step, event.message);
            return fmt::format("{}{} completed{}, {}", place, event.step, attempt_of(event),
                               format_duration(event.duration));
        case Type::kStepSkipped:
            return fmt::format("{}{} skipped: its condition does not hold", place, event.step);
        case Type::kStepFailed:
            return fmt::format("{}{} failed{}{}: {}", place, event.step, attempt_of(event),
                               event.will_retry ? ", to be tried again" : "", failure_of(event));
        case Type::kCheckpoint:
            return event.error ? fmt::format("{}not saved: {}", place, failure_of(event)) : "";
        case Type::kCompleted:
            return fmt::format("{}{} after {}", place, event.status, format_duration(event.duration));
        case Type::kStepProgress:
            break;
    }
    return "";
}

RunProgress::RunProgress(Show show) : show_(show) {
    if (show_ != Show::kLive) return;
    redrawing_ = std::jthread([this](const std::stop_token& stop) { redraw_until(stop); });
}

RunProgress::~RunProgress() {
    if (redrawing_.joinable()) {
        redrawing_.request_stop();
        redrawing_.join();
    }
    const MutexLock lock(mutex_);
    erase_live();
}

void RunProgress::on_event(const PipelineEvent& event) {
    const MutexLock lock(mutex_);
    note(event);
    if (show_ == Show::kNothing) return;
    const bool is_shown_below = show_ == Show::kLive && event.type == Type::kStepStarted;
    const std::string line = is_shown_below ? "" : line_of(event);
    if (line.empty() && (show_ == Show::kLines || event.type == Type::kStepProgress)) return;  // soon redrawn anyway
    erase_live();
    if (!line.empty()) print_message(printable_lines(line) + "\n");
    draw_live();
}

RunProgress::Totals RunProgress::totals() const {
    const MutexLock lock(mutex_);
    return totals_;
}

void RunProgress::note(const PipelineEvent& event) {
    steps_completed_ = event.steps_completed;
    steps_total_ = event.steps_total;
    totals_.dropped += event.dropped;
    const auto running = std::ranges::find(running_, event.step, &Running::step);
    if (event.type == Type::kStepStarted) {
        if (running != running_.end()) running_.erase(running);
        running_.push_back({.step = event.step, .message = "", .since = std::chrono::steady_clock::now()});
    } else if (event.type == Type::kStepProgress) {
        if (running != running_.end()) running->message = event.message;
    } else if (event.type == Type::kStepCompleted || event.type == Type::kStepFailed) {
        if (running != running_.end()) running_.erase(running);
    } else if (event.type == Type::kCheckpoint && event.receipt) {
        ++totals_.saves;
        if (event.receipt->outcome == Outcome::kDeduplicated) ++totals_.skips;
        totals_.bytes_stored += event.receipt->frame_bytes;
    }
}

std::vector<std::string> RunProgress::live_lines() const {
    const auto now = std::chrono::steady_clock::now();
    const auto since = [&](Time begin) {
        return format_duration(std::chrono::duration_cast<std::chrono::microseconds>(now - begin));
    };
    std::vector<std::string> lines{fmt::format("[{}/{}] {} · {} saves, {} skipped", steps_completed_, steps_total_,
                                               since(started_), totals_.saves, totals_.skips)};
    for (const Running& step : running_) {
        lines.push_back(fmt::format("  {}  {}  {}", step.step, since(step.since), step.message));
    }
    return lines;
}

void RunProgress::erase_live() {
    for (; lines_drawn_ > 0; --lines_drawn_) print_message("\033[A\r\033[K");
}

void RunProgress::draw_live() {
    if (show_ != Show::kLive || running_.empty()) return;
    const std::size_t columns = terminal_columns();
    for (const std::string& line : live_lines()) {
        print_message(shortened(printable(line), columns - 1) + "\n");
        ++lines_drawn_;
    }
}

void RunProgress::redraw_until(const std::stop_token& stop) {
    const MutexLock lock(mutex_);
    while (!wait_for_stop(mutex_, stop, std::chrono::steady_clock::now() + kPause)) {
        erase_live();
        draw_live();
    }
}

}  // namespace cairn::cli
