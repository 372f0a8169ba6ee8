#pragma once

// The three files under an open connection. This checks that its database, log and lock file are still those that
// others find at their names. A commit into a log that nobody finds again is lost. So is a database that two
// connections write with two logs. The engine checks none of this.

#include <cairn/error.h>
#include <cairn/types.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <sys/types.h>

namespace cairn::sqlite {

/// The log's state according to the engine's index in shared memory (the lock file). https://sqlite.org/walformat.html
struct LogIndex {
    std::uint32_t frames = 0;
    std::uint32_t frames_in_database = 0;
    std::uint32_t page_size = 0;
    std::array<char, 8> salts = {};

    /// Says whether the next commit may start the log anew. The caller must hold the write lock.
    bool may_begin_anew() const { return frames == frames_in_database; }
    std::uint64_t bytes_of_log() const;

    friend bool operator==(const LogIndex&, const LogIndex&) = default;
};

/// The index's own header, as it stands in shared memory. The engine changes it at each commit.
using IndexHeader = std::array<std::uint32_t, 12>;

/// Nothing while another connection is changing it.
[[nodiscard]] std::optional<IndexHeader> read_index_header(const void* shared_memory);
/// Nothing while another connection is changing it.
[[nodiscard]] std::optional<LogIndex> read_index(const void* shared_memory);
/// The caller must hold the write lock, so nobody changes it.
[[nodiscard]] LogIndex read_index_as_writer(const void* shared_memory);

class LiveFiles {
public:
    enum class State : std::uint8_t {
        kSound,
        kLogRemoved,  ///< Nobody can have written to another log yet.
        kMoved,       ///< The database itself: its name is gone, or is another file's.
        kReplaced,    ///< The lock file: this connection and others may not know the same.
        kLost         ///< The content of the log or the database: acknowledged commits may be gone.
    };
    struct Finding {
        State state = State::kSound;
        std::string_view what = {};
    };

    /// `shared_memory` is the first part of the engine's index. It stays mapped as long as the connection is open.
    LiveFiles(std::filesystem::path database, const void* shared_memory);

    /// Records which files they are. Errors: kUnavailable (they do not fit together, not even at the deadline).
    [[nodiscard]] Status remember(std::string_view database_header, Deadline deadline);
    /// Checks that they are the same. `database_header` is the current header of the connection's own file.
    [[nodiscard]] Finding look(std::string_view database_header);
    /// Does the same for the log alone.
    [[nodiscard]] Finding look_at_log() const;

    bool log_is_empty() const;
    bool has_index() const { return shared_memory_ != nullptr; }
    std::optional<LogIndex> index() const { return read_index(shared_memory_); }
    std::optional<IndexHeader> index_header() const { return read_index_header(shared_memory_); }

private:
    struct Id {
        dev_t device = 0;
        ino_t inode = 0;
        std::uint64_t bytes = 0;
    };
    static std::optional<Id> find(const std::filesystem::path& path);
    static bool is_same(const Id& one, const Id& other) {
        return one.device == other.device && one.inode == other.inode;
    }
    bool log_fits(const std::optional<LogIndex>& index) const;
    bool log_fits_index() const;
    bool header_goes_back(std::string_view header);

    std::filesystem::path database_;
    std::filesystem::path log_;
    std::filesystem::path lock_file_;
    const void* shared_memory_;
    Id database_id_;
    Id log_id_;
    Id lock_file_id_;
    std::string header_;  // the last one seen
};

/// The error of a finding: what happened to the store at `database`, and what to do.
[[nodiscard]] std::unexpected<Error> changed_files_error(const std::filesystem::path& database, std::string_view what);

}  // namespace cairn::sqlite
