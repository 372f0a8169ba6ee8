#include "store/sqlite/sqlite_scheme.h"

#include "store/sqlite/sqlite_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

namespace cairn {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "sqlite:";

std::unexpected<Error> refuse(std::string_view url, std::string_view instead) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("store URL \"{}\": {}", url, instead));
}

// "sqlite:///x" is a relative path for some libraries and an absolute one for others: we ask instead of guessing.
Result<fs::path> path_of(std::string_view url) {
    const std::string_view path = url.substr(kPrefix.size());
    if (path.empty()) return refuse(url, "give a path, as in sqlite:cairn.db");
    if (path == ":memory:") return refuse(url, "use memory: for a store in memory");
    if (path.starts_with("//")) {
        const std::string_view bare = path.substr(std::min(path.find_first_not_of('/'), path.size()));
        return refuse(url,
                      fmt::format("write sqlite:/{0} for an absolute path or sqlite:{0} for a relative one", bare));
    }
    return fs::path(path);
}

Status check(std::string_view url) {
    const Result<fs::path> path = path_of(url);
    if (!path) return std::unexpected(path.error());
    std::error_code ignored;
    const fs::path folder = path->has_parent_path() ? path->parent_path() : ".";
    if (!fs::is_directory(folder, ignored)) {
        return fail(ErrorCode::kNotFound, fmt::format("there is no folder \"{}\"", folder.string()));
    }
    if (!fs::is_directory(*path, ignored)) return {};
    return fail(ErrorCode::kInvalidArgument, fmt::format("\"{}\" is a folder", path->string()));
}

Result<std::shared_ptr<Store>> open(std::string_view url, const OpenOptions& options) {
    const Result<fs::path> path = path_of(url);
    if (!path) return std::unexpected(path.error());
    return open_sqlite_store(*path, options);
}

}  // namespace

StoreScheme sqlite_scheme() {
    return {.name = "sqlite", .usage = "sqlite:PATH", .open = open, .check = check};
}

}  // namespace cairn
