#pragma once

#include "base/task_watcher.h"
#include "cli/terminal/interruption.h"
#include "cli/terminal/progress.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cairn::cli {

/// A task that shows its progress, and stops when an `Interruption` was requested.
class ShownTask final : public TaskWatcher {
public:
    void begin(std::string_view activity, std::uint64_t steps) override {
        end();
        progress_.emplace(std::string(activity), steps);
    }
    void advance(std::uint64_t steps) override {
        if (progress_) progress_->advance(steps);
    }
    bool must_stop() override { return Interruption::requested(); }

    /// Removes the bar.
    void end() { progress_.reset(); }

private:
    std::optional<Progress> progress_;
};

}  // namespace cairn::cli
