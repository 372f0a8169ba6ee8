#include "cli/run/rescue.h"

#include "base/file_mode.h"
#include "base/file_sync.h"
#include "base/system_error_code.h"

#include <cairn/checksum.h>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <system_error>

namespace cairn::cli {
namespace {

constexpr std::size_t kNameBytesMax = 200;  // a file's name has at most 255, including the number and the ending
constexpr int kFilesMax = 10'000;
constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";

std::unexpected<Error> unwritten_state_error(const std::string& name, int error_number) {
    const bool is_refused = error_number == EACCES || error_number == EROFS || error_number == EPERM;
    return fail(is_storage_full(error_number) ? ErrorCode::kStorageFull
                : is_refused                  ? ErrorCode::kReadOnly
                                              : ErrorCode::kUnavailable,
                fmt::format("the state that was not saved cannot be written to {} either", name),
                std::generic_category().message(error_number));
}

Status fill(int file, const std::string& name, std::string_view text) {
    int error_number = write_all(file, text);
    if (error_number == 0 && fsync(file) != 0) error_number = errno;
    close(file);
    if (error_number == 0) return {};
    unlink(name.c_str());
    return unwritten_state_error(name, error_number);
}

}  // namespace

std::string rescue_name(std::string_view run_id) {
    std::string name = "cairn-";
    for (const char c : run_id) {
        name += kPlain.contains(c) ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
    if (name.size() <= kNameBytesMax) return name;
    const std::string rest = fmt::format("%{}", Checksum::of(run_id).to_hex());
    return name.substr(0, kNameBytesMax - rest.size()) + rest;
}

Result<std::string> rescue(std::string_view text, std::string_view run_id) {
    const std::string base = rescue_name(run_id);
    for (int number = 1; number <= kFilesMax; ++number) {
        std::string name = number == 1 ? base + ".json" : fmt::format("{}~{}.json", base, number);
        const int file = create_file(name.c_str(), O_WRONLY, kFileModeDefault);
        if (file < 0 && errno == EEXIST) continue;
        if (file < 0) return unwritten_state_error(name, errno);
        if (Status filled = fill(file, name, text); !filled) return std::unexpected(filled.error());
        return name;
    }
    return unwritten_state_error(base + ".json", EEXIST);
}

}  // namespace cairn::cli
