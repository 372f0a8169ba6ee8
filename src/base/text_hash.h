#pragma once

#include <cstddef>
#include <string_view>

namespace cairn {

/// The hash of every table whose keys are texts from outside (keys of states, ids of runs). Its key is drawn once a
/// process, so nobody can choose texts that all fall into one bucket; std::hash, whose seed is known, would make such a
/// table a list. Never stored, and no result may depend on it. A test finds the tables that have forgotten it.
struct TextHash {
    std::size_t operator()(std::string_view text) const noexcept;
};

}  // namespace cairn
