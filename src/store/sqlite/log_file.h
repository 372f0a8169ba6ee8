#pragma once

// The write-ahead log as bytes, read without the engine: what is in it, and which database it belongs to.
// https://sqlite.org/walformat.html

#include <cairn/error.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::sqlite {

/// The bytes of a database that say which of its states it is in: its header.
inline constexpr std::size_t kDatabaseHeaderBytes = 100;

/// How often a database's first page had been written. It only grows.
[[nodiscard]] std::uint32_t change_counter(std::string_view database_header);

/// Whether these are the first bytes of a store of ours, of any schema.
[[nodiscard]] bool is_header_of_store(std::string_view database_header);

/// Whether it says that changes go to a log first (a copy made by VACUUM INTO does not, until it is opened for
/// writing).
[[nodiscard]] bool has_log_mode(std::string_view database_header);

/// Where the log of this database is.
[[nodiscard]] std::filesystem::path log_of(const std::filesystem::path& database);

/// What every frame of the log repeats, as its header says; empty if there is no log.
[[nodiscard]] std::string salts_of_log(const std::filesystem::path& database);

struct LogContent {
    bool has_sound_header = false;
    std::uint32_t page_size = 0;
    std::string salts;                // 8 bytes that every frame of this log repeats; new when the log starts again
    std::uint64_t frames_sound = 0;   // from the start, until the first that is damaged or of an older log
    std::uint64_t commits_sound = 0;  // among them
    /// Commits of this very log from a damaged frame to the last whole one: the engine takes the log to end before.
    std::uint64_t commits_behind_damage = 0;
    /// Of a damaged log: the database has all of it already, those commits too. A power cut while the log begins anew
    /// leaves just that.
    bool is_in_database = false;
    std::uint64_t frames_of_first_commit = 0;
    std::uint32_t pages_after_first_commit = 0;
    std::vector<std::string> database_headers;     // in the order of the commits; the first is of the oldest
    std::vector<std::uint32_t> pages_of_database;  // after each commit before the first of those
};

/// So many bytes of the database at an offset, or what there is of them.
using DatabaseReader = std::function<Result<std::string>(std::size_t bytes, std::uint64_t offset)>;

/// Empty: there is no log, or nothing but zeros where its header would be. `database_header` says how large pages are
/// if the log's own header does not; `read` is only asked where the log is damaged.
/// Errors: kReadOnly, kUnavailable (it cannot be read), those of `read`.
[[nodiscard]] Result<std::optional<LogContent>> read_log(const std::filesystem::path& database,
                                                         std::string_view database_header, const DatabaseReader& read);

/// Whether this log continues this database. Each log of ours holds the database's first page (see `Transaction`), so a
/// database that it continues is in the state just before the first of those, or in that of one of them.
[[nodiscard]] bool belongs_to(const LogContent& log, std::string_view database_header);

}  // namespace cairn::sqlite
