#include "store/memory/memory_store.h"
#include "store/sqlite/sqlite_store.h"
#include "store/store_url.h"

#include <cairn/store.h>

#include <fmt/format.h>

#include <filesystem>
#include <string_view>

namespace cairn {
namespace {

constexpr std::string_view kSqlite = "sqlite";
constexpr std::string_view kMemory = "memory";
constexpr std::string_view kAccepted = "sqlite:PATH or memory:";

std::unexpected<Error> refuse(std::string_view url, std::string_view instead) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("store URL \"{}\": {}", url, instead));
}

// "sqlite:///x" is a path for some libraries and an absolute one for others: better asked than guessed.
Result<StoreUrl> sqlite_url(std::string_view url, std::string_view path) {
    if (path.empty()) return refuse(url, "give a path, as in sqlite:cairn.db");
    if (path == ":memory:") return refuse(url, "use memory: for a store in memory");
    if (path.starts_with("//")) {
        const std::string_view bare = path.substr(
            path.find_first_not_of('/') == std::string_view::npos ? path.size() : path.find_first_not_of('/'));
        return refuse(url,
                      fmt::format("write sqlite:/{0} for an absolute path or sqlite:{0} for a relative one", bare));
    }
    return StoreUrl{StoreUrl::Kind::kSqlite, path};
}

// What may stand in front of a URL's address is not shown: it can hold a password.
std::unexpected<Error> refuse_scheme(std::string_view scheme) {
    const bool planned = scheme == "postgresql" || scheme == "postgres";
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("store URL of scheme \"{}:\" {}: give {}", scheme,
                            planned ? "is not available yet in this build" : "is unknown", kAccepted));
}

}  // namespace

Result<StoreUrl> read_store_url(std::string_view url) {
    const std::size_t colon = url.find(':');
    if (colon == std::string_view::npos) return refuse(url, fmt::format("give {}", kAccepted));
    const std::string_view scheme = url.substr(0, colon);
    const std::string_view rest = url.substr(colon + 1);
    if (scheme == kSqlite) return sqlite_url(url, rest);
    if (scheme != kMemory) return refuse_scheme(scheme);
    if (!rest.empty()) return refuse(url, "memory: takes nothing after the colon");
    return StoreUrl{StoreUrl::Kind::kMemory, {}};
}

Result<std::shared_ptr<Store>> open_store(std::string_view url, const OpenOptions& options) {
    const auto read = read_store_url(url);
    if (!read) return std::unexpected(read.error());
    if (read->kind == StoreUrl::Kind::kMemory) return make_memory_store(options);
    return open_sqlite_store(std::filesystem::path(read->path), options);
}

}  // namespace cairn
