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

/// The first error of each run whose acknowledged saves were lost, until a flush reports it. Bounded: the run noted
/// longest ago is forgotten first. (Every loss is logged and counted, too.)
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
    bool is_incomplete_ = false;  // a loss could not be noted for want of memory; it may be any run's
    std::list<std::pair<std::string, SharedError>> errors_;  // oldest first; usually there is none
    Flush* flushes_ = nullptr;                               // the flushes under way
};

/// One flush that is under way. A loss is reported by all flushes that were under way when the first of them reported
/// it, since each of their callers relies on its own flush.
class LostSaves::Flush {
public:
    /// A flush of one run, or of all runs.
    Flush(LostSaves& lost, std::optional<std::string_view> run_id);
    ~Flush();
    Flush(const Flush&) = delete;
    Flush& operator=(const Flush&) = delete;

    /// Returns the first loss that concerns this flush, and forgets all that do.
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
