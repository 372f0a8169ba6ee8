#pragma once

// What the processes of the soak do, over and over, until they are killed. Every call is in the ledger.

#include "fault/soak/ledger.h"

#include <cairn/persistence.h>
#include <cairn/store.h>

#include <array>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <string_view>

namespace cairn::test {

// Runs that all processes use: some stay whole, of some the old snapshots go, some are deleted and made anew.
inline constexpr std::array kWholeRuns{"whole-0", "whole-1", "whole-2"};
inline constexpr std::array kPrunedRuns{"pruned-0", "pruned-1"};
inline constexpr std::array kDoomedRuns{"doomed-0", "doomed-1"};
inline constexpr std::size_t kKeptByPruning = 8;

inline constexpr char kSoakThread[] = "thread";
inline constexpr char kSoakUser[] = "user";

/// A process's part of the soak.
struct Workplace {
    Ledger& ledger;
    std::string url;
    std::int32_t process = 0;
    std::uint64_t seed = 0;
};

/// Threads of one service save, in every way there is.
[[noreturn]] void save_for_ever(Workplace& place);
/// Prunes, deletes, recovers, forks, checks and exports, by the library and by the program.
[[noreturn]] void operate_for_ever(Workplace& place);
/// Loads heads and older snapshots, and looks at each.
[[noreturn]] void read_for_ever(Workplace& place);

// ---- what the roles share ----

class Dice {
public:
    explicit Dice(std::uint64_t seed) : engine_(seed) {}

    std::uint64_t below(std::uint64_t bound) { return engine_() % bound; }
    bool percent(unsigned chance) { return below(100) < chance; }
    template <class Range>
    const auto& pick(const Range& range) {
        return range[below(range.size())];
    }
    /// Mostly short ones, which pass while another process holds the store.
    std::chrono::milliseconds deadline() {
        constexpr std::array kMilliseconds{1, 1, 2, 3, 5, 10, 20, 50, 100, 2'000};
        return std::chrono::milliseconds(pick(kMilliseconds));
    }
    /// A breath between calls, or the ledgers grow faster than they can be read.
    void rest();

private:
    std::mt19937_64 engine_;
};

/// Until it succeeds; each attempt is in the ledger.
std::shared_ptr<Store> open_for_ever(Workplace& place, bool read_only);

Fields told_of(const Error& error);
std::string author_of(const State& state);  ///< "process.thread.step", or what is wrong with it.

}  // namespace cairn::test
