#include "files/input_file.h"

#include "files/file_error.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <new>

namespace cairn {
namespace {

struct CloseUnlessStandard {
    void operator()(std::FILE* file) const {
        if (file != stdin) std::fclose(file);
    }
};
using File = std::unique_ptr<std::FILE, CloseUnlessStandard>;

std::string input_name(const std::string& path) {
    return path == "-" ? "standard input" : fmt::format("file \"{}\"", path);
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
    const File file(path == "-" ? stdin : std::fopen(path.c_str(), "rbe"));
    if (!file) return file_error("read", input_name(path), ErrorCode::kInvalidArgument);
    return read_all(file.get(), path, bytes_max);
} catch (const std::bad_alloc&) {
    return fail(ErrorCode::kLimitExceeded, fmt::format("{} does not fit into memory", input_name(path)));
}

}  // namespace cairn
