#pragma once

#include <cairn/error.h>

#include <cstdint>
#include <string_view>

namespace cairn {

/// What a store's URL says.
struct StoreUrl {
    enum class Kind : std::uint8_t { kSqlite, kMemory };
    Kind kind = Kind::kMemory;
    std::string_view path = {};  ///< Of kSqlite: a part of the URL that was read.
};

/// Errors: kInvalidArgument (a scheme that this build has no store for, or what stands behind it).
[[nodiscard]] Result<StoreUrl> read_store_url(std::string_view url);

}  // namespace cairn
