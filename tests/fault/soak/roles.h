#pragma once

// The roles of the processes of the soak. A process does its work over and over, until it is killed. Every call is in
// the ledger.

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

// The runs that all processes use. Some stay whole, some lose their old snapshots, and some are deleted and made anew.
inline constexpr std::array kWholeRuns{"whole-0", "whole-1", "whole-2"};
inline constexpr std::array kPrunedRuns{"pruned-0", "pruned-1"};
inline constexpr std::array kDoomedRuns{"doomed-0", "doomed-1"};
inline constexpr std::size_t kKeptByPruning = 8;

inline constexpr char kSoakThread[] = "thread";
inline constexpr char kSoakUser[] = "user";

/// The data that one process works with.
struct Workplace {
    Ledger& ledger;
    std::string url;
    std::int32_t process = 0;
    std::uint64_t seed = 0;
};

/// Saves in every possible way, by several threads of one service.
[[noreturn]] void save_for_ever(Workplace& place);
/// Prunes, deletes, recovers, forks, checks and exports, through the library and the command-line program.
[[noreturn]] void operate_for_ever(Workplace& place);
/// Loads heads and older snapshots, and records what each one is.
[[noreturn]] void read_for_ever(Workplace& place);

// ---- shared by the roles ----

class Dice {
public:
    explicit Dice(std::uint64_t seed) : engine_(seed) {}

    std::uint64_t below(std::uint64_t bound) { return engine_() % bound; }
    bool percent(unsigned chance) { return below(100) < chance; }
    template <class Range>
    const auto& pick(const Range& range) {
        return range[below(range.size())];
    }
    /// Returns a deadline. Most are so short that they pass while another process holds the store.
    std::chrono::milliseconds deadline() {
        constexpr std::array kMilliseconds{1, 1, 2, 3, 5, 10, 20, 50, 100, 2'000};
        return std::chrono::milliseconds(pick(kMilliseconds));
    }
    /// Waits a little between calls. Otherwise the ledgers would grow faster than they can be read.
    void rest();

private:
    std::mt19937_64 engine_;
};

/// Tries to open the store until that succeeds. Each attempt is in the ledger.
std::shared_ptr<Store> open_for_ever(Workplace& place, bool read_only);

Fields told_of(const Error& error);
std::string author_of(const State& state);  ///< Returns "process.thread.step", or what is wrong with the state.

}  // namespace cairn::test
