#pragma once

#include <cstddef>
#include <filesystem>
#include <iterator>
#include <thread>

namespace cairn::test {

/// The number of threads that this process has now. ThreadSanitizer starts one of its own beside the first that a
/// program starts, and keeps it; it is counted from the first call on.
inline std::size_t threads_of_process() {
    [[maybe_unused]] static const bool has_started_one = [] {
        std::thread([] {}).join();
        return true;
    }();
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/task"), {}));
}

}  // namespace cairn::test
