#pragma once

// States in and out of files and pipes.

#include <cairn/error.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

namespace cairn::cli {

/// All of the file, or of standard input if `path` is "-". Never reads more than one byte beyond `bytes_max`.
/// Errors: kLimitExceeded, kNotFound (no such file), kInvalidArgument (a folder, or not readable).
[[nodiscard]] Result<std::string> read_input(const std::string& path, std::uint64_t bytes_max);

/// Replaces what the file had.
/// Errors: kNotFound (no such folder), kInvalidArgument (a folder), kReadOnly, kStorageFull.
[[nodiscard]] Status write_file(const std::string& path, std::string_view bytes);

/// Bytes that go to a file, or to standard output, piece by piece.
class OutputFile {
public:
    /// "-" is standard output. Replaces what the file had. Errors: as `write_file`.
    [[nodiscard]] static Result<OutputFile> open(const std::string& path);

    OutputFile(OutputFile&& other) noexcept
        : path_(std::move(other.path_)), file_(std::exchange(other.file_, nullptr)) {}
    OutputFile(const OutputFile&) = delete;
    OutputFile& operator=(const OutputFile&) = delete;
    OutputFile& operator=(OutputFile&&) = delete;
    ~OutputFile();

    /// Errors: kStorageFull, kUnavailable. So `close`, after which everything has been handed over.
    [[nodiscard]] Status write(std::string_view bytes);
    [[nodiscard]] Status close();

private:
    OutputFile(std::string path, std::FILE* file) : path_(std::move(path)), file_(file) {}

    std::string path_;
    std::FILE* file_;
};

}  // namespace cairn::cli
