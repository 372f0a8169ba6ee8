#pragma once

// Another program's connection to a store's file, which keeps writers out.

#include <sqlite3.h>

#include <filesystem>

namespace cairn::test {

/// Holds the write lock of a database while it lives. It does not wait for the lock.
class WriteLock {
public:
    explicit WriteLock(const std::filesystem::path& database) {
        sqlite3_open(database.c_str(), &database_);
        held_ = sqlite3_exec(database_, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr) == SQLITE_OK;
    }
    ~WriteLock() { sqlite3_close(database_); }
    WriteLock(const WriteLock&) = delete;
    WriteLock& operator=(const WriteLock&) = delete;

    bool held() const { return held_; }

private:
    sqlite3* database_ = nullptr;
    bool held_ = false;
};

}  // namespace cairn::test
