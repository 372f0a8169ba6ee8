#pragma once

// The states for all benchmarks: those of recorded agents if they exist, else those of the example agent.

#include <cairn/state.h>

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace cairn::bench {

/// States of one order of size, each different from the one before. Stretches of them are consecutive steps of a run.
struct SizeClass {
    std::string name;  ///< "4_to_32kB"
    std::vector<State> states;

    std::size_t state_bytes() const;
};

/// The source of the states: "trajectories", or "repo_analyst".
const std::string& states_source();

/// The public trajectories beside the project, file by file; empty if they do not exist.
std::vector<std::filesystem::path> trajectory_files();

/// The classes that have states, the smallest first. Read at the first call.
const std::vector<SizeClass>& size_classes();

/// The states of all classes together: the mix.
const SizeClass& mixed_sizes();

}  // namespace cairn::bench
