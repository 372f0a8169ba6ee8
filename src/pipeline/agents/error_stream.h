#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace cairn {

/// The standard error of a program: each line is reported as progress, and the end is kept.
class ErrorStream {
public:
    static constexpr std::size_t kLineBytesMax = 1024;  ///< Longer lines are cut.
    static constexpr std::size_t kTailBytes = 4096;

    using Progress = std::function<void(std::string_view line)>;

    explicit ErrorStream(Progress progress) : progress_(std::move(progress)) {}

    void add(std::string_view block);
    /// Reports the last line, if it has no line break.
    void finish();
    /// The end of the output, readable, without surrounding white space.
    std::string tail() const;

private:
    void keep_tail(std::string_view block);
    void add_to_line(std::string_view part);
    void end_line();

    Progress progress_;
    std::string line_;  ///< The unfinished line, up to the length that is reported.
    std::string tail_;
    bool is_cut_ = false;  ///< The tail's front was cut off.
};

}  // namespace cairn
