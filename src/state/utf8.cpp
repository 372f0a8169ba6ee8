#include "state/utf8.h"

#include <simdjson.h>

namespace cairn {

bool is_utf8(std::string_view text) noexcept {
    return simdjson::validate_utf8(text.data(), text.size());
}

}  // namespace cairn
