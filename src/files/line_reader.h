#pragma once

#include <cairn/error.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace cairn {

/// Reads a file or a pipe line by line. Each line is returned as soon as it is there; little more than one is held.
class LineReader {
public:
    struct Line {
        std::string text;       ///< Without its newline.
        bool is_whole = false;  ///< False: the file ended before a newline came.
    };

    /// "-" is standard input. Errors: kNotFound, kInvalidArgument (a folder, or not readable).
    [[nodiscard]] static Result<LineReader> open(const std::string& path, std::uint64_t line_bytes_max);

    LineReader(LineReader&& other) noexcept;
    LineReader(const LineReader&) = delete;
    LineReader& operator=(const LineReader&) = delete;
    LineReader& operator=(LineReader&&) = delete;
    ~LineReader();

    /// Nothing: the end. Errors: kLimitExceeded (a line that is too long), kInvalidArgument (not readable).
    [[nodiscard]] Result<std::optional<Line>> next();

    /// "standard input" or "file \"…\"".
    const std::string& name() const { return name_; }
    /// 0 if it is not a regular file.
    std::uint64_t file_bytes() const;

private:
    LineReader(int descriptor, std::string name, std::uint64_t line_bytes_max)
        : descriptor_(descriptor), name_(std::move(name)), line_bytes_max_(line_bytes_max) {}

    Status read_more();
    Line take(std::size_t bytes, bool is_whole);

    int descriptor_;
    std::string name_;
    std::uint64_t line_bytes_max_;
    std::string buffer_;
    std::size_t begin_ = 0;    // start of the line in the buffer
    std::size_t scanned_ = 0;  // there is no newline before this
    bool at_end_ = false;
};

}  // namespace cairn
