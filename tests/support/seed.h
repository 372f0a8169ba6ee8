#pragma once

#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>

namespace cairn::test {

/// The seed of a random test: CAIRN_TEST_SEED if set, so that one line replays a failure; otherwise a new one.
inline std::uint64_t seed() {
    const char* given = std::getenv("CAIRN_TEST_SEED");
    return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
}

/// For SCOPED_TRACE.
inline std::string replay_line(std::uint64_t seed) {
    return "replay with CAIRN_TEST_SEED=" + std::to_string(seed);
}

}  // namespace cairn::test
