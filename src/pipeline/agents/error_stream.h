#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace cairn {

/// What a program writes to its standard error: each line is told as progress, and the end is kept.
class ErrorStream {
public:
    static constexpr std::size_t kLineBytesMax = 1024;  ///< What is longer is cut.
    static constexpr std::size_t kTailBytes = 4096;

    using Progress = std::function<void(std::string_view line)>;

    explicit ErrorStream(Progress progress) : progress_(std::move(progress)) {}

    void add(std::string_view block);
    /// Tells the last line, if it has no line break.
    void finish();
    /// The last of it, readable, without white space around.
    std::string tail() const;

private:
    void keep_tail(std::string_view block);
    void add_to_line(std::string_view part);
    void end_line();

    Progress progress_;
    std::string line_;  ///< The one that has not ended, as far as it is told.
    std::string tail_;
    bool is_cut_ = false;  ///< The tail's front.
};

}  // namespace cairn
