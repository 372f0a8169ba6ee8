#pragma once

// The file under a store: it checks that the file is ours, makes it, and opens connections to it.

#include "store/sqlite/fork_guard.h"
#include "store/sqlite/sqlite_connection.h"
#include "store/sqlite/sqlite_schema.h"

#include <cairn/error.h>
#include <cairn/runtime.h>
#include <cairn/store.h>
#include <cairn/types.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

namespace cairn::sqlite {

class DatabaseFile {
public:
    /// Makes the file if it is missing and the options' `create` is on. Brings it up to date unless the options say
    /// `read_only`. Returns it with its first connection, which can write unless `read_only`.
    /// A new database is made beside its place under another name and appears there complete or not at all. So neither
    /// a crash nor several processes that make it at once can leave half of one.
    /// Errors: as `open_store`.
    struct Opened;
    [[nodiscard]] static Result<Opened> open(const std::filesystem::path& path, const OpenOptions& options,
                                             std::span<const Migration> known, const LogSink& log, Deadline deadline);

    /// Another connection to the same path. Errors: kUnavailable (the file is gone), and those of `open`.
    [[nodiscard]] Result<std::unique_ptr<Connection>> connect(Deadline deadline) const;

    const std::filesystem::path& path() const { return path_; }
    bool read_only() const { return access_ != Access::kWrite; }

private:
    DatabaseFile(std::filesystem::path path, Access access, std::span<const Migration> known, LogSink log)
        : path_(std::move(path)), access_(access), known_(known), log_(std::move(log)) {}

    [[nodiscard]] Result<std::unique_ptr<Connection>> connect_as(Access access, Deadline deadline) const;
    [[nodiscard]] Result<std::unique_ptr<Connection>> connect_read_only(Deadline deadline);
    [[nodiscard]] Status make(std::uint32_t mode, Deadline deadline) const;

    // Absolute, so that no name has a special meaning to the engine, and without links.
    std::filesystem::path path_;
    Access access_;
    std::span<const Migration> known_;
    LogSink log_;
};

struct DatabaseFile::Opened {
    DatabaseFile file;
    std::unique_ptr<Connection> connection;
    ForkGuard guard;
};

}  // namespace cairn::sqlite
