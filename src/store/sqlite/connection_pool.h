#pragma once

// A bounded number of connections, opened when first needed and lent to one caller at a time.

#include "base/mutex.h"
#include "base/thread_annotations.h"
#include "base/waiting_line.h"
#include "store/sqlite/sqlite_connection.h"

#include <cairn/error.h>
#include <cairn/runtime.h>
#include <cairn/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace cairn::sqlite {

class ConnectionPool;

/// A borrowed connection. A broken one is closed when it is returned, and the next caller gets a new one.
class Loan {
public:
    ~Loan();
    Loan(Loan&& other) noexcept
        : pool_(std::exchange(other.pool_, nullptr)),
          connection_(std::move(other.connection_)),
          generation_(other.generation_) {}
    Loan& operator=(Loan&&) = delete;
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;

    Connection& operator*() const { return *connection_; }
    Connection* operator->() const { return connection_.get(); }

private:
    friend class ConnectionPool;
    explicit Loan(ConnectionPool& pool) : pool_(&pool) {}

    ConnectionPool* pool_;                    // null once moved from
    std::unique_ptr<Connection> connection_;  // null until one is found or opened
    std::uint64_t generation_ = 0;            // the pool's generation when it was lent
};

/// Threads: safe to use concurrently.
class ConnectionPool {
public:
    using Opener = std::function<Result<std::unique_ptr<Connection>>(Deadline)>;

    ConnectionPool(std::size_t connections_max, Opener opener, LogSink log)
        : connections_max_(connections_max), opener_(std::move(opener)), log_(std::move(log)) {
        idle_.reserve(connections_max);  // so that returning one cannot fail
    }

    /// Lends a sound connection to the file that the path names now. It, too, waits for locks until `deadline`.
    /// Errors: kUnavailable (all were in use until `deadline`, or the file is gone), and those of opening.
    [[nodiscard]] Result<Loan> acquire(Deadline deadline);
    /// Puts a connection that was opened elsewhere into the pool.
    void adopt(std::unique_ptr<Connection> connection);
    /// Closes all connections that are not on loan.
    void close();
    /// Closes all connections; a lent one is closed when it is returned. No connection that is open now is lent again.
    void discard();

private:
    friend class Loan;
    struct Caller;

    bool take_turn(Deadline deadline);
    std::unique_ptr<Connection> take_idle(std::uint64_t& generation);
    bool may_take(const Caller* caller) const CAIRN_REQUIRES(mutex_);
    void wake_next() CAIRN_REQUIRES(mutex_);
    void give_back(std::unique_ptr<Connection> connection, std::uint64_t generation) noexcept;
    void log_discarded() const noexcept;

    const std::size_t connections_max_;
    const Opener opener_;
    const LogSink log_;

    Mutex mutex_;
    std::vector<std::unique_ptr<Connection>> idle_ CAIRN_GUARDED_BY(mutex_);
    std::size_t lent_ CAIRN_GUARDED_BY(mutex_) = 0;
    // Of connections: those of an earlier generation are not lent again.
    std::uint64_t generation_ CAIRN_GUARDED_BY(mutex_) = 0;
    WaitingLine<Caller> waiting_ CAIRN_GUARDED_BY(mutex_);
};

}  // namespace cairn::sqlite
