#include "cli/files.h"

#include "cli/output.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <new>
#include <system_error>

namespace cairn::cli {
namespace {

struct CloseUnlessStandard {
    void operator()(std::FILE* file) const {
        if (file != stdin) std::fclose(file);
    }
};
using File = std::unique_ptr<std::FILE, CloseUnlessStandard>;

ErrorCode code_of(int error_number, ErrorCode otherwise) {
    switch (error_number) {
        case ENOENT:
        case ENOTDIR:
            return ErrorCode::kNotFound;
        case ENOSPC:
        case EDQUOT:
        case EFBIG:
            return ErrorCode::kStorageFull;
        case EISDIR:
            return ErrorCode::kInvalidArgument;
        default:
            return otherwise;
    }
}

std::string name_of(const std::string& path, std::string_view standard_stream) {
    return path == "-" ? std::string(standard_stream) : fmt::format("file \"{}\"", path);
}

std::string input_name(const std::string& path) {
    return name_of(path, "standard input");
}

std::string output_name(const std::string& path) {
    return name_of(path, "standard output");
}

std::unexpected<Error> file_error(std::string_view what, const std::string& name, ErrorCode otherwise) {
    const int error_number = errno;
    return fail(code_of(error_number, otherwise), fmt::format("{} cannot be {}", name, what),
                std::generic_category().message(error_number));
}

Result<std::string> read_all(std::FILE* file, const std::string& path, std::uint64_t bytes_max) {
    constexpr std::uint64_t kBlock = 1U << 20;
    std::string text;
    while (text.size() <= bytes_max) {
        const std::size_t before = text.size();
        const auto wanted =
            static_cast<std::size_t>(std::min(std::max<std::uint64_t>(kBlock, before), bytes_max + 1 - before));
        text.resize(before + wanted);
        text.resize(before + std::fread(text.data() + before, 1, wanted, file));
        if (std::ferror(file) != 0) return file_error("read", input_name(path), ErrorCode::kInvalidArgument);
        if (text.size() < before + wanted || std::feof(file) != 0) return text;
    }
    return fail(ErrorCode::kLimitExceeded,
                fmt::format("{} has more than {} bytes (CAIRN_STATE_BYTES_MAX)", input_name(path), bytes_max));
}

}  // namespace

Result<std::string> read_input(const std::string& path, std::uint64_t bytes_max) try {
    if (path == "-" && isatty(STDIN_FILENO) == 1) {
        print_message("cairn: reading the state from the keyboard; end it with Ctrl-D\n");
    }
    const File file(path == "-" ? stdin : std::fopen(path.c_str(), "rbe"));
    if (!file) return file_error("read", input_name(path), ErrorCode::kInvalidArgument);
    return read_all(file.get(), path, bytes_max);
} catch (const std::bad_alloc&) {
    return fail(ErrorCode::kLimitExceeded, fmt::format("{} does not fit into memory", input_name(path)));
}

Status write_file(const std::string& path, std::string_view bytes) {
    auto file = OutputFile::open(path);
    if (!file) return std::unexpected(file.error());
    if (Status written = file->write(bytes); !written) return written;
    return file->close();
}

Result<OutputFile> OutputFile::open(const std::string& path) {
    std::FILE* file = path == "-" ? stdout : std::fopen(path.c_str(), "wbe");
    if (file == nullptr) return file_error("written", output_name(path), ErrorCode::kReadOnly);
    return OutputFile(path, file);
}

OutputFile::~OutputFile() {
    if (file_ != nullptr && file_ != stdout) std::fclose(file_);
}

Status OutputFile::write(std::string_view bytes) {
    if (std::fwrite(bytes.data(), 1, bytes.size(), file_) == bytes.size()) return {};
    return file_error("written", output_name(path_), ErrorCode::kUnavailable);
}

Status OutputFile::close() {
    std::FILE* file = std::exchange(file_, nullptr);
    const int closed = file == stdout ? std::fflush(file) : std::fclose(file);
    if (closed != 0) return file_error("written", output_name(path_), ErrorCode::kUnavailable);
    return {};
}

}  // namespace cairn::cli
