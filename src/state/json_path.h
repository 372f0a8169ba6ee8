#pragma once

// The path to a place in a JSON text, as error messages name it: `$.messages[3]["odd key"]`.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace cairn {

/// One step into an object or an array.
struct JsonPathStep {
    bool into_object = false;
    bool has_key = false;       ///< In an object: the key is known already.
    std::string_view key = {};  ///< As written, without the quotes; valid UTF-8.
    std::uint64_t index = 0;    ///< In an array.
};

/// Returns `$` and the steps, as far as they are known. Long keys are cut; of a deep path the middle is left out.
[[nodiscard]] std::string json_path(std::span<const JsonPathStep> steps);

}  // namespace cairn
