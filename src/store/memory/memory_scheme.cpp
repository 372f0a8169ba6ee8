#include "store/memory/memory_scheme.h"

#include "store/memory/memory_store.h"

#include <fmt/format.h>

namespace cairn {
namespace {

constexpr std::string_view kUrl = "memory:";

Status check(std::string_view url) {
    if (url == kUrl) return {};
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("store URL \"{}\": memory: takes nothing after the colon", url));
}

Result<std::shared_ptr<Store>> open(std::string_view url, const OpenOptions& options) {
    if (Status usable = check(url); !usable) return std::unexpected(std::move(usable.error()));
    return make_memory_store(options);
}

}  // namespace

StoreScheme memory_scheme() {
    return {.name = "memory", .usage = std::string(kUrl), .open = open, .check = check};
}

}  // namespace cairn
