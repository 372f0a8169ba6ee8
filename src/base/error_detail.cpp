#include "base/error_detail.h"

#include <fmt/format.h>

namespace cairn {

std::string full_detail(const Error& error) {
    std::string detail = error.detail;
    for (const Error* behind = error.cause.get(); behind != nullptr; behind = behind->cause.get()) {
        detail += fmt::format("{}<- {}: {}", detail.empty() ? "" : " ", error_info(behind->code).name, behind->message);
        if (!behind->detail.empty()) detail += fmt::format(" [{}]", behind->detail);
    }
    return detail;
}

}  // namespace cairn
