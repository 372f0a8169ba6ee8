#pragma once

// The parts that the tests of the log's frames share.

#include "support/make.h"

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>

namespace cairn::test {

inline constexpr std::size_t kLogHeaderBytes = 32;
inline constexpr std::size_t kFrameHeaderBytes = 24;
inline constexpr std::size_t kPageBytes = 8192;
inline constexpr std::size_t kFrameBytes = kFrameHeaderBytes + kPageBytes;

// The longer the state, the more frames the commit has: the letters cannot be compressed away.
inline Status save(Store& store, const std::string& run, std::int64_t version, std::size_t letters = 100) {
    std::mt19937 random(7);
    std::string filler(letters, 'x');
    for (char& letter : filler) letter = static_cast<char>('a' + random() % 26);
    return commit_run(store, make_batch(make_snapshot(run, version, fmt::format(R"({{"filler":"{}"}})", filler))),
                      soon());
}

// Saves the versions of "run" that are missing up to this one.
inline bool save_up_to(std::int64_t last, Store& store) {
    const auto head = store.head("run", soon()).value();
    for (std::int64_t version = head ? head->version + 1 : 1; version <= last; ++version) {
        if (!save(store, "run", version)) return false;
    }
    return true;
}

}  // namespace cairn::test
