#pragma once

#include <cairn/error.h>

#include <cstddef>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace cairn {

/// The first error of each run whose acknowledged saves were lost, until somebody asks. Bounded: the run noted longest
/// ago is forgotten first (every loss is logged and counted besides).
/// Threads: one at a time.
class LostSaves {
public:
    explicit LostSaves(std::size_t runs_max = 1024) : runs_max_(runs_max) {}

    void note(std::string_view run_id, const Error& error) noexcept;
    /// Of one run, and forgets it.
    std::optional<Error> take(std::string_view run_id);
    /// The oldest of all, and forgets all.
    std::optional<Error> take_first();

private:
    std::optional<Error> of_unknown() const;

    const std::size_t runs_max_;
    bool is_incomplete_ = false;  // there was no memory to note a loss: it may have been of any run
    std::list<std::pair<std::string, Error>> errors_;  // oldest first; usually there is none
};

}  // namespace cairn
