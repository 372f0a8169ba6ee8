#pragma once

// One run of the agent through one persistence service on a fresh store, and its cost.

#include "agent.h"

#include <cairn/cairn.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace repo_analyst {

inline constexpr const char* kRunId = "repo-analysis";

enum class Service : std::uint8_t { kStandard, kOptimized };

struct Measurement {
    Json state;  ///< The last one.
    std::uint64_t saves = 0;
    std::uint64_t skips = 0;
    std::uint64_t state_bytes = 0;
    std::uint64_t payload_bytes = 0;
    std::uint64_t store_bytes = 0;
    std::chrono::nanoseconds saving{0};  ///< Total time inside save_agent_state.
    std::chrono::nanoseconds save_p50{0};
    bool loads_back_equal = false;  ///< The loaded state is byte for byte the one saved last.
};

/// Called after every save with the number of saves and the agent's phase.
using Progress = std::function<void(std::uint64_t saves, const std::string& phase)>;

/// Removes the store at `database` and starts anew there.
cairn::Result<Measurement> run_agent(const SourceTree& tree, const std::string& tree_name, Service service,
                                     const std::filesystem::path& database, const Progress& progress);

}  // namespace repo_analyst
