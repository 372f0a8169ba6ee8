#pragma once

// The write-ahead log as bytes, read without the engine: its content, and the database that it belongs to.
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

/// The size of a database's header. The header identifies the state of the database.
inline constexpr std::size_t kDatabaseHeaderBytes = 100;

/// The log is a header, and then frames: each is a header with one page behind it.
inline constexpr std::size_t kLogHeaderBytes = 32;
inline constexpr std::size_t kFrameHeaderBytes = 24;

/// The number of times that the database's first page has been written. It only grows.
[[nodiscard]] std::uint32_t change_counter(std::string_view database_header);

/// Says whether these are the first bytes of a cairn store, of any schema.
[[nodiscard]] bool is_header_of_store(std::string_view database_header);

/// Says whether changes go to a log first. (In a copy made by VACUUM INTO they do not, until it is opened for writing.)
[[nodiscard]] bool has_log_mode(std::string_view database_header);

/// The path of this database's log.
[[nodiscard]] std::filesystem::path log_of(const std::filesystem::path& database);

/// The salts that every frame of the log repeats, from its header; empty if there is no log.
[[nodiscard]] std::string salts_of_log(const std::filesystem::path& database);

struct LogContent {
    bool has_sound_header = false;
    std::uint32_t page_size = 0;
    std::string salts;                // 8 bytes that every frame of this log repeats; new when the log starts again
    std::uint64_t frames_sound = 0;   // from the start to the first frame that is damaged or of an older log
    std::uint64_t commits_sound = 0;  // commits among those frames
    /// Commits of this same log from a damaged frame to the last whole one. To the engine, the log ends before.
    std::uint64_t commits_behind_damage = 0;
    /// Set for a damaged log that the database has completely, including those commits. A power cut while the log
    /// starts anew leaves exactly that.
    bool is_in_database = false;
    std::uint64_t frames_of_first_commit = 0;
    std::uint32_t pages_after_first_commit = 0;
    std::vector<std::string> database_headers;     // in commit order; the first is of the oldest commit
    std::vector<std::uint32_t> pages_of_database;  // after each commit before the first of those
};

/// Reads this many bytes of the database at an offset, or as many as there are.
using DatabaseReader = std::function<Result<std::string>(std::size_t bytes, std::uint64_t offset)>;

/// Reads the log. Empty: there is no log, or there are only zeros where its header would be. `database_header` gives
/// the page size if the log's own header does not. `read` is only called if the log is damaged.
/// Errors: kReadOnly, kUnavailable (the log cannot be read), those of `read`.
[[nodiscard]] Result<std::optional<LogContent>> read_log(const std::filesystem::path& database,
                                                         std::string_view database_header, const DatabaseReader& read);

/// Says whether this log continues this database. Each log of ours holds the database's first page (see `Transaction`).
/// So a database that the log continues is in the state just before the first of those pages, or in the state of one of
/// them.
[[nodiscard]] bool belongs_to(const LogContent& log, std::string_view database_header);

}  // namespace cairn::sqlite
