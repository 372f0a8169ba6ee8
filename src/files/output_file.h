#pragma once

// Results out into files. What a file had stays until all of the new is on the disk: a failure in between, a full disk
// or a power cut leave the old one.

#include <cairn/error.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

namespace cairn {

/// Replaces what the file had, or changes nothing. Errors: as of `OutputFile`.
[[nodiscard]] Status write_file(const std::string& path, std::string_view bytes, std::uint32_t mode = 0600);

/// Bytes that go to a file, or to standard output, piece by piece. The file is written under another name beside its
/// own, and takes its own when it is closed; if it never is, nothing has happened. A device or a pipe is written to as
/// it is; one's own link is followed.
class OutputFile {
public:
    /// "-" is standard output. `mode`: of a file that is made, whatever the umask is; one that is there keeps its own.
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

    /// Whether what is written now is a file beside the real one, to be taken away if this process ends early.
    bool is_draft() const { return !draft_.empty(); }

    /// Errors: kStorageFull, kUnavailable. So `close`, after which everything is where it belongs, and on the disk.
    [[nodiscard]] Status write(std::string_view bytes);
    [[nodiscard]] Status close();

private:
    OutputFile(std::string path, std::FILE* file) : path_(std::move(path)), file_(file) {}

    static Result<OutputFile> open_as_it_is(const std::string& path);
    static Result<OutputFile> open_beside(const std::string& path, std::string final, std::uint32_t mode);
    Status take_its_name();

    std::string path_;   // as it was given: for messages
    std::string final_;  // the file's own name, all links followed
    std::string draft_;  // what it is called until then; empty: it is written to directly
    std::FILE* file_;
};

}  // namespace cairn
