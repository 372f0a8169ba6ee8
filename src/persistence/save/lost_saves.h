#pragma once

#include <cairn/error.h>

#include <cstddef>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace cairn {

/// The first error of each run whose acknowledged saves were lost, until a flush tells it. Bounded: the run noted
/// longest ago is forgotten first (every loss is logged and counted besides).
/// Threads: one at a time.
class LostSaves {
public:
    class Flush;

    explicit LostSaves(std::size_t runs_max = 1024) : runs_max_(runs_max) {}

    void note(std::string_view run_id, const Error& error) noexcept;

private:
    using SharedError = std::shared_ptr<const Error>;

    void tell(std::string_view run_id, const SharedError& error);

    const std::size_t runs_max_;
    bool is_incomplete_ = false;  // there was no memory to note a loss: it may have been of any run
    std::list<std::pair<std::string, SharedError>> errors_;  // oldest first; usually there is none
    Flush* flushes_ = nullptr;                               // those under way
};

/// One flush that is under way. A loss is told to all flushes that were under way when the first of them told it: each
/// of their callers relies on its own.
class LostSaves::Flush {
public:
    /// Of one run, or of all.
    Flush(LostSaves& lost, std::optional<std::string_view> run_id);
    ~Flush();
    Flush(const Flush&) = delete;
    Flush& operator=(const Flush&) = delete;

    /// The first loss that concerns it. Those that concern it are forgotten.
    std::optional<Error> take();

private:
    friend class LostSaves;
    bool concerns(std::string_view run_id) const { return !run_id_ || *run_id_ == run_id; }

    LostSaves& lost_;
    const std::optional<std::string_view> run_id_;
    SharedError error_;
    Flush* next_;
};

}  // namespace cairn
