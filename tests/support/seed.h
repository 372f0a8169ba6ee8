#pragma once

#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>

namespace cairn::test {

/// Returns the seed of a random test: CAIRN_TEST_SEED if it is set, so that one line replays a failure; otherwise a new
/// one.
inline std::uint64_t seed() {
    const char* given = std::getenv("CAIRN_TEST_SEED");
    return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
}

/// Returns the line for SCOPED_TRACE that says how to replay a failure.
inline std::string replay_line(std::uint64_t seed) {
    return "replay with CAIRN_TEST_SEED=" + std::to_string(seed);
}

}  // namespace cairn::test
