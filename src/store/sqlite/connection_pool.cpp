#include "store/sqlite/connection_pool.h"

#include <algorithm>

namespace cairn::sqlite {

Lease::~Lease() {
    if (pool_ != nullptr) pool_->give_back(std::move(connection_));
}

Result<Lease> ConnectionPool::acquire(Deadline deadline) {
    if (!take_turn(deadline)) {
        return fail(ErrorCode::kUnavailable, "all connections to the store were in use until the deadline");
    }
    Lease lease(*this);
    lease.connection_ = take_idle();
    if (lease.connection_ == nullptr) {
        Result<std::unique_ptr<Connection>> opened = opener_(deadline);
        if (!opened) return std::unexpected(std::move(opened.error()));
        lease.connection_ = std::move(*opened);
    }
    lease->set_deadline(deadline);
    return lease;
}

bool ConnectionPool::take_turn(Deadline deadline) {
    const char place = 0;
    std::unique_lock lock(mutex_);
    waiting_.push_back(&place);
    const bool my_turn =
        changed_.wait_until(lock, deadline, [&] { return waiting_.front() == &place && lent_ < connections_max_; });
    std::erase(waiting_, &place);
    if (my_turn) ++lent_;
    if (!waiting_.empty()) changed_.notify_all();
    return my_turn;
}

// An idle connection whose file was moved or deleted would serve, and acknowledge, what nobody can find again.
std::unique_ptr<Connection> ConnectionPool::take_idle() {
    while (true) {
        std::unique_ptr<Connection> connection;
        {
            const std::lock_guard lock(mutex_);
            if (idle_.empty()) return nullptr;
            connection = std::move(idle_.back());
            idle_.pop_back();
        }
        if (!connection->file_moved()) return connection;
    }
}

// What cannot be logged, for want of memory above all, is not worth the call that just ends.
void ConnectionPool::log_discarded() const noexcept {
    try {
        log_({.level = LogLevel::kWarning,
              .event = "store_connection_discarded",
              .message = "the disk failed or the file is damaged: the next call opens a new connection"});
    } catch (...) {  // NOLINT(bugprone-empty-catch)
    }
}

void ConnectionPool::give_back(std::unique_ptr<Connection> connection) noexcept {
    if (connection != nullptr && connection->broken()) {
        connection.reset();
        log_discarded();
    }
    const std::lock_guard lock(mutex_);
    if (connection != nullptr) idle_.push_back(std::move(connection));
    --lent_;
    if (!waiting_.empty()) changed_.notify_all();
}

void ConnectionPool::adopt(std::unique_ptr<Connection> connection) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(connection));
}

void ConnectionPool::close() {
    const std::lock_guard lock(mutex_);
    idle_.clear();
}

}  // namespace cairn::sqlite
