#pragma once

namespace cairn {

/// Callers that wait for something, in the order in which they came. Each stands in line as long as it lives, so that
/// one that gives up leaves the places of the others as they are. `Caller` is derived from
/// `WaitingLine<Caller>::Place`, and has whatever it is notified with. Takes no memory. Threads: one at a time, for the
/// line and all that stand in it (the owner's mutex).
template <class Caller>
class WaitingLine {
public:
    class Place {
    public:
        explicit Place(WaitingLine& line) : line_(line), before_(line.last_) {
            (before_ == nullptr ? line_.first_ : before_->behind_) = this;
            line_.last_ = this;
        }
        ~Place() {
            (before_ == nullptr ? line_.first_ : before_->behind_) = behind_;
            (behind_ == nullptr ? line_.last_ : behind_->before_) = before_;
        }
        Place(const Place&) = delete;
        Place& operator=(const Place&) = delete;

    private:
        friend class WaitingLine;
        WaitingLine& line_;
        Place* before_;
        Place* behind_ = nullptr;
    };

    WaitingLine() = default;
    ~WaitingLine() = default;
    WaitingLine(const WaitingLine&) = delete;
    WaitingLine& operator=(const WaitingLine&) = delete;

    /// The first caller; null if nobody waits.
    Caller* front() const { return static_cast<Caller*>(first_); }
    /// The first caller that `wanted` accepts; null if there is none.
    template <class Wanted>
    Caller* first(const Wanted& wanted) const {
        for (Place* place = first_; place != nullptr; place = place->behind_) {
            if (wanted(static_cast<const Caller&>(*place))) return static_cast<Caller*>(place);
        }
        return nullptr;
    }
    /// Calls `work` with each of them.
    template <class Work>
    void for_each(const Work& work) const {
        for (Place* place = first_; place != nullptr; place = place->behind_) work(static_cast<Caller&>(*place));
    }

private:
    Place* first_ = nullptr;
    Place* last_ = nullptr;
};

}  // namespace cairn
