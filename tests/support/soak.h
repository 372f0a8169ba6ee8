#pragma once

#include <chrono>
#include <cstdint>
#include <cstdlib>

namespace cairn::test {

/// Repeats a random test `rounds` times, or for CAIRN_SOAK_SECONDS if that is set.
class Soak {
public:
    explicit Soak(std::uint64_t rounds) : rounds_wanted_(rounds) {
        if (const char* seconds = std::getenv("CAIRN_SOAK_SECONDS"); seconds != nullptr) {
            until_ = std::chrono::steady_clock::now() + std::chrono::seconds(std::strtoll(seconds, nullptr, 10));
        }
    }

    /// Says whether there is another round, and begins it.
    bool next() {
        const bool go_on = is_soaking() ? std::chrono::steady_clock::now() < until_ : rounds_ < rounds_wanted_;
        rounds_ += go_on ? 1 : 0;
        return go_on;
    }
    /// Returns the number of rounds begun.
    std::uint64_t rounds() const { return rounds_; }
    bool is_soaking() const { return until_ != std::chrono::steady_clock::time_point(); }

private:
    std::uint64_t rounds_wanted_;
    std::uint64_t rounds_ = 0;
    std::chrono::steady_clock::time_point until_;
};

}  // namespace cairn::test
