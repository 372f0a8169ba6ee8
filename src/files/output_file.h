#pragma once

// Results written to files. A file keeps its old content until all of the new content is on disk: a failure in between,
// a full disk or a power cut leave the old content.

#include <cairn/error.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

namespace cairn {

/// Replaces the file's content, or changes nothing. Errors: as of `OutputFile`.
[[nodiscard]] Status write_file(const std::string& path, std::string_view bytes, std::uint32_t mode = 0600);

/// Bytes that go to a file, or to standard output, piece by piece. The file is written under another name beside its
/// own, and gets its own name when it is closed. If it is never closed, nothing has changed. A device or a pipe is
/// written to directly; the user's own link is followed.
class OutputFile {
public:
    /// Opens the output. "-" is standard output. `mode`: of a new file, whatever the umask is; an existing file keeps
    /// its own.
    /// Errors: kNotFound (no such folder), kInvalidArgument (a folder, a database, a pipe that nobody reads, a link or
    ///   pipe of another user), kReadOnly (the file or its folder), kStorageFull.
    [[nodiscard]] static Result<OutputFile> open(const std::string& path, std::uint32_t mode);

    OutputFile(OutputFile&& other) noexcept
        : path_(std::move(other.path_)),
          final_(std::move(other.final_)),
          draft_(std::exchange(other.draft_, {})),
          file_(std::exchange(other.file_, nullptr)) {}
    OutputFile(const OutputFile&) = delete;
    OutputFile& operator=(const OutputFile&) = delete;
    OutputFile& operator=(OutputFile&&) = delete;
    ~OutputFile();

    /// True if the bytes go to a file beside the real one, which must be removed if this process ends early.
    bool is_draft() const { return !draft_.empty(); }

    /// Errors: kStorageFull, kUnavailable; also of `close`, after which everything is in its place, and on disk.
    [[nodiscard]] Status write(std::string_view bytes);
    [[nodiscard]] Status close();

private:
    OutputFile(std::string path, std::FILE* file) : path_(std::move(path)), file_(file) {}

    static Result<OutputFile> open_as_it_is(const std::string& path);
    static Result<OutputFile> open_beside(const std::string& path, std::string final, std::uint32_t mode);
    Status take_its_name();

    std::string path_;   // as given: for messages
    std::string final_;  // the file's own name, with all links followed
    std::string draft_;  // its name until it is closed; empty: it is written to directly
    std::FILE* file_;
};

}  // namespace cairn
