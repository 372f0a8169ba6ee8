#include "base/counted.h"

#include <fmt/format.h>

namespace cairn {

std::string counted(std::uint64_t count, std::string_view word) {
    return fmt::format("{} {}{}", count, word, count == 1 ? "" : "s");
}

}  // namespace cairn
