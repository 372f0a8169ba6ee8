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
    /// The caller behind this one; null if it is the last.
    Caller* behind(const Caller& caller) const {
        return static_cast<Caller*>(static_cast<const Place&>(caller).behind_);
    }

private:
    Place* first_ = nullptr;
    Place* last_ = nullptr;
};

}  // namespace cairn
