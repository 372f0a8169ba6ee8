#pragma once

#include <cstddef>
#include <string_view>

namespace cairn {

/// The hash for every table whose keys are texts from outside (keys of states, ids of runs). Its key is drawn once per
/// process, so nobody can choose texts that all fall into one bucket. std::hash has a known seed, so such texts would
/// turn its table into a list. The hash is never stored, and no result may depend on it. A test finds the tables that
/// do not use it.
struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept;
};

}  // namespace cairn
