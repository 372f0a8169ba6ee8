#include "store/sqlite/connection_pool.h"

#include <chrono>

namespace cairn::sqlite {
namespace {

/// After this wait, a caller is served before all that come later.
constexpr std::chrono::milliseconds kPatience{5};

}  // namespace

Loan::~Loan() {
    if (pool_ != nullptr) pool_->give_back(std::move(connection_), generation_);
}

Result<Loan> ConnectionPool::acquire(Deadline deadline) {
    if (!take_turn(deadline)) {
        return fail(ErrorCode::kUnavailable, "all connections to the store were in use until the deadline");
    }
    Loan loan(*this);
    loan.connection_ = take_idle(loan.generation_);
    if (loan.connection_ == nullptr) {
        Result<std::unique_ptr<Connection>> opened = opener_(deadline);
        if (!opened) return std::unexpected(std::move(opened.error()));
        loan.connection_ = std::move(*opened);
    }
    loan->set_deadline(deadline);
    return loan;
}

/// A caller that waits for a connection.
struct ConnectionPool::Caller : WaitingLine<Caller>::Place {
    using Place::Place;

    ConditionVariable may_try;
    std::chrono::steady_clock::time_point since = std::chrono::steady_clock::now();

    bool is_patient() const { return std::chrono::steady_clock::now() - since < kPatience; }
};

// A caller that comes while a connection is free takes it, even if others wait: handing each one to the caller that
// waited longest would cost a thread switch per call. A caller that has waited for long is served before all that come
// later.
bool ConnectionPool::take_turn(Deadline deadline) {
    const MutexLock lock(mutex_);
    bool is_mine = may_take(nullptr);
    if (!is_mine) {
        Caller self(waiting_);
        bool is_in_time = true;
        while (!is_mine && is_in_time) {
            is_in_time = self.may_try.wait_until(mutex_, deadline);
            is_mine = may_take(&self);
        }
    }
    if (is_mine) ++lent_;
    wake_next();
    return is_mine;
}

bool ConnectionPool::may_take(const Caller* caller) const {
    const Caller* const first = waiting_.front();
    return lent_ < connections_max_ && (first == nullptr || first == caller || first->is_patient());
}

void ConnectionPool::wake_next() {
    if (lent_ >= connections_max_) return;
    if (Caller* const first = waiting_.front()) first->may_try.notify_one();
}

// Skips idle connections whose file was moved or deleted: nobody could find again what they would acknowledge.
std::unique_ptr<Connection> ConnectionPool::take_idle(std::uint64_t& generation) {
    while (true) {
        std::unique_ptr<Connection> connection;
        {
            const MutexLock lock(mutex_);
            generation = generation_;
            if (idle_.empty()) return nullptr;
            connection = std::move(idle_.back());
            idle_.pop_back();
        }
        if (!connection->file_moved()) return connection;
    }
}

// A failure to log, mostly for lack of memory, must not fail the call that is just ending.
void ConnectionPool::log_discarded() const noexcept {
    try {
        log_({.level = LogLevel::kWarning,
              .event = "store_connection_discarded",
              .message = "the disk failed or the file is damaged: the next call opens a new connection"});
    } catch (...) {  // NOLINT(bugprone-empty-catch)
    }
}

void ConnectionPool::give_back(std::unique_ptr<Connection> connection, std::uint64_t generation) noexcept {
    if (connection != nullptr && connection->broken()) {
        connection.reset();
        log_discarded();
    }
    std::unique_ptr<Connection> closed;  // closed outside the lock
    const MutexLock lock(mutex_);
    if (generation != generation_) closed = std::move(connection);
    if (connection != nullptr) idle_.push_back(std::move(connection));
    --lent_;
    wake_next();
}

void ConnectionPool::adopt(std::unique_ptr<Connection> connection) {
    const MutexLock lock(mutex_);
    idle_.push_back(std::move(connection));
}

void ConnectionPool::close() {
    const MutexLock lock(mutex_);
    idle_.clear();
}

void ConnectionPool::discard() {
    const MutexLock lock(mutex_);
    ++generation_;
    idle_.clear();
}

}  // namespace cairn::sqlite
