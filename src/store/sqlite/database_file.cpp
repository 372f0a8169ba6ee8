#include "store/sqlite/database_file.h"

#include "base/file_mode.h"
#include "base/file_sync.h"
#include "base/system_error_code.h"
#include "store/sqlite/database_path.h"
#include "store/sqlite/log_keeper.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace cairn::sqlite {
namespace {

namespace fs = std::filesystem;

// 8 KB pages: with rows of 1 to 4 KB, each page has 400 bytes less unused than with 4 KB, at the same time per commit.
constexpr char kNewDatabase[] = "PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL";

// secure_delete overwrites deleted data, whatever the engine was built with. There is no memory map: a file that
// shrinks or fails under one kills the process. autocheckpoint x page keeps the log at its working size, since writing
// over old blocks is cheaper than growing a file; the excess of a burst is cut off.
constexpr char kEachConnection[] = R"sql(
PRAGMA trusted_schema = OFF;
PRAGMA cell_size_check = ON;
PRAGMA mmap_size = 0;
PRAGMA temp_store = MEMORY;
PRAGMA synchronous = FULL;
PRAGMA secure_delete = ON;
PRAGMA cache_size = -4000;
PRAGMA wal_autocheckpoint = 1000;
PRAGMA journal_size_limit = 33554432;
)sql";

// The fields that we read in the database's header (https://sqlite.org/fileformat.html).
constexpr std::string_view kMagic("SQLite format 3\0", 16);
constexpr std::size_t kWriteFormatOffset = 18;
constexpr std::size_t kApplicationIdOffset = 68;
constexpr std::size_t kFirstPageOffset = 100;
constexpr std::size_t kPeekBytes = kFirstPageOffset + 8;

enum class Content : std::uint8_t { kNothing, kStore };

std::int64_t read_big_endian(std::string_view bytes, std::size_t offset) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i) value = value << 8U | static_cast<unsigned char>(bytes[offset + i]);
    return value;
}

// A database that never had a table: its first page is an empty leaf, and no log can hold more.
bool is_blank_database(std::string_view header) {
    return read_big_endian(header, kApplicationIdOffset) == 0 && header[kWriteFormatOffset] == 1 &&
           header.substr(kFirstPageOffset, 1) == "\x0D" && header[kFirstPageOffset + 3] == 0 &&
           header[kFirstPageOffset + 4] == 0;
}

std::unexpected<Error> foreign_file_error(const fs::path& path, std::string_view what) {
    return fail(ErrorCode::kIncompatible, fmt::format("{} is not a cairn store: {}", path.native(), what));
}

Result<Content> identify(std::string_view header, const fs::path& path) {
    if (header.empty()) return Content::kNothing;
    if (header.size() < kPeekBytes || !header.starts_with(kMagic))
        return foreign_file_error(path, "it is no SQLite database");
    const std::int64_t application_id = read_big_endian(header, kApplicationIdOffset);
    if (application_id == kApplicationId) return Content::kStore;
    if (is_blank_database(header)) return Content::kNothing;
    return foreign_file_error(path,
                              fmt::format("it is another program's database (application id {:#x})", application_id));
}

Status check_name(const fs::path& path) {
    if (path.empty()) return fail(ErrorCode::kInvalidArgument, "the store's path is empty");
    if (path.native().find('\0') != std::string::npos) {
        return fail(ErrorCode::kInvalidArgument, "the store's path holds a NUL character");
    }
    // The engine has a limit of its own. Leave room for the suffixes of log files and of a new database.
    const auto bytes_max = static_cast<std::size_t>(sqlite3_vfs_find(nullptr)->mxPathname) - 64;
    if (path.native().size() > bytes_max) {
        return fail(ErrorCode::kInvalidArgument, fmt::format("the store's path has {} bytes: give one of at most {}",
                                                             path.native().size(), bytes_max));
    }
    return {};
}

std::unexpected<Error> fail_with(ErrorCode code, const fs::path& path, std::string_view problem, int system_error) {
    return fail(code, fmt::format("{}: {}", path.native(), problem),
                system_error == 0 ? std::string() : std::generic_category().message(system_error));
}

ErrorCode code_for(int system_error) {
    return code_of_system_error(system_error, ErrorCode::kUnavailable);
}

// Says whether the file exists. Anything but a file there is an error.
Result<bool> is_there(const fs::path& path) {
    std::error_code problem;
    const fs::file_status status = fs::status(path, problem);
    if (status.type() == fs::file_type::regular) return true;
    if (status.type() == fs::file_type::directory) {
        return fail_with(ErrorCode::kInvalidArgument, path, "is a folder: give the path of a file", 0);
    }
    if (status.type() == fs::file_type::none) {
        return fail_with(code_for(problem.value()), path, "cannot be reached", problem.value());
    }
    if (status.type() != fs::file_type::not_found) {
        return fail_with(ErrorCode::kInvalidArgument, path, "is no regular file", 0);
    }
    if (!fs::exists(path.parent_path(), problem)) {
        return fail_with(ErrorCode::kNotFound, path, "its folder does not exist", 0);
    }
    if (!fs::is_directory(path.parent_path(), problem)) {
        return fail_with(ErrorCode::kInvalidArgument, path, "its parent is a file and no folder", 0);
    }
    return false;
}

fs::path with_suffix(fs::path path, std::string_view suffix) {
    return path += suffix;
}

// Gives `draft` the name `path`, which must be free. Returns 0 or the system's error.
int publish(const fs::path& draft, const fs::path& path) {
    // One step: a process that dies after it leaves no second name behind.
    if (::renameat2(AT_FDCWD, draft.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE) == 0) return 0;
    if (errno == EEXIST) return EEXIST;
    // Some file systems support only this.
    return ::link(draft.c_str(), path.c_str()) == 0 ? 0 : errno;
}

constexpr int kLooksAtJournalMax = 1'000;
constexpr std::chrono::milliseconds kPauseForMaker{1};

constexpr std::string_view kDraftMark = ".new-";
constexpr std::string_view kLockSuffix = "-lock";
constexpr std::array<std::string_view, 5> kDraftSuffixes{"", "-journal", "-wal", "-shm", kLockSuffix};

// The names are made in advance: there may be no memory for them at the end. The lock comes last.
std::vector<fs::path> files_of_draft(const fs::path& draft) {
    std::vector<fs::path> files;
    files.reserve(kDraftSuffixes.size());
    for (const std::string_view suffix : kDraftSuffixes) files.push_back(with_suffix(draft, suffix));
    return files;
}

void unlink_all(const std::vector<fs::path>& files) {
    for (const fs::path& file : files) ::unlink(file.c_str());
}

/// A database that is being made. A file beside it is locked meanwhile, so that others can tell whether its maker is
/// alive. (A lock on the draft itself would not do: closing it drops the engine's locks of the finished store.)
class Draft {
public:
    Draft(const fs::path& final_path, std::uint32_t mode) : mode_(mode) {
        static std::atomic<unsigned> count = 0;
        do {
            path_ = with_suffix(final_path, fmt::format("{}{}-{}", kDraftMark, ::getpid(), ++count));
        } while (is_taken());
        files_ = files_of_draft(path_);
    }
    ~Draft() {
        unlink_all(files_);
        if (lock_ >= 0) ::close(lock_);
    }
    Draft(const Draft&) = delete;
    Draft& operator=(const Draft&) = delete;

    const fs::path& path() const { return path_; }

private:
    // The name may be taken by a dead maker's draft, by someone who removes it, or by something that was put there to
    // lead us elsewhere. If locking is not possible, nobody removes anything.
    bool is_taken() {
        const fs::path lock = with_suffix(path_, kLockSuffix);
        lock_ = create_file(lock.c_str(), O_RDWR, kFileModeDefault);
        if (lock_ < 0) return errno == EEXIST;
        if (::flock(lock_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
            ::close(std::exchange(lock_, -1));
            return true;
        }
        if (make_file()) return false;
        ::unlink(lock.c_str());
        ::close(std::exchange(lock_, -1));
        return true;
    }

    // States are private: a new store belongs to its owner alone, and the engine gives its other files the same mode.
    // Returns false if one of the names is taken. Any other problem is left to the engine, which reports it.
    bool make_file() const {
        for (const std::string_view suffix : {"-journal", "-wal", "-shm"}) {
            struct stat unused{};
            if (::lstat(with_suffix(path_, suffix).c_str(), &unused) == 0) return false;
        }
        const int descriptor = create_file(path_.c_str(), O_RDWR, mode_);
        if (descriptor < 0) return errno != EEXIST;
        ::close(descriptor);
        return true;
    }

    std::uint32_t mode_;
    fs::path path_;
    std::vector<fs::path> files_;
    int lock_ = -1;
};

// "agents.db.new-4711-1-lock", for the store "agents.db".
bool is_lock_of_draft(std::string_view name, std::string_view store) {
    if (!name.starts_with(store) || !name.ends_with(kLockSuffix)) return false;
    name.remove_suffix(kLockSuffix.size());
    name.remove_prefix(std::min(store.size(), name.size()));
    if (!name.starts_with(kDraftMark) || name.size() == kDraftMark.size()) return false;
    return name.find_first_not_of("0123456789-", kDraftMark.size()) == std::string_view::npos;
}

void remove_if_dead(const fs::path& lock) {
    // Anything else with such a name neither makes us wait nor leads us elsewhere.
    const int descriptor = ::open(lock.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (descriptor < 0) return;
    struct stat status{};
    const bool is_file = ::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
    if (is_file && ::flock(descriptor, LOCK_EX | LOCK_NB) == 0) {
        const std::string& name = lock.native();
        unlink_all(files_of_draft(name.substr(0, name.size() - kLockSuffix.size())));
    }
    ::close(descriptor);
}

std::vector<fs::path> locks_of_drafts(const fs::path& path) {
    std::vector<fs::path> locks;
    std::error_code problem;
    const std::string store = path.filename().native();
    for (fs::directory_iterator entry(path.parent_path(), problem), end; !problem && entry != end;
         entry.increment(problem)) {
        if (is_lock_of_draft(entry->path().filename().native(), store)) locks.push_back(entry->path());
    }
    return locks;
}

bool has_draft(const fs::path& path) {
    return !locks_of_drafts(path).empty();
}

// Removes drafts of this store whose makers were killed.
void remove_drafts_of_the_dead(const fs::path& path) {
    for (const fs::path& lock : locks_of_drafts(path)) remove_if_dead(lock);
}

// A maker that died, or is about to go on, may have left its draft's name beside the new one (`publish`).
Status check_only_name_but_drafts(const fs::path& path, Deadline deadline) {
    constexpr std::chrono::milliseconds kPatience(500);
    const Deadline until = std::min(deadline, std::chrono::steady_clock::now() + kPatience);
    while (true) {
        Status status = check_only_name(path);
        if (status || !has_draft(path)) return status;
        remove_drafts_of_the_dead(path);
        if (std::chrono::steady_clock::now() >= until) return check_only_name(path);
        std::this_thread::sleep_for(kPauseForMaker);
    }
}

// A pipe there would make the engine wait beyond any deadline.
Status check_logs(const fs::path& path) {
    for (const std::string_view suffix : {"-journal", "-wal", "-shm"}) {
        const fs::path file = with_suffix(path, suffix);
        std::error_code problem;
        const fs::file_type type = fs::symlink_status(file, problem).type();
        if (problem || type == fs::file_type::not_found || type == fs::file_type::regular) continue;
        return fail_with(ErrorCode::kUnavailable, file, "is no regular file, so the store cannot use it: move it away",
                         0);
    }
    return {};
}

// The error of a failed opening tells what the engine saw. The file system often knows the reason.
Error explain(Error error, const fs::path& path, Access access) {
    const bool writing = access == Access::kWrite || access == Access::kCreate;
    if (error.code != ErrorCode::kUnavailable && error.code != ErrorCode::kReadOnly) return error;
    const auto error_with = [&](ErrorCode code, std::string_view problem) {
        error.code = code;
        error.message = fmt::format("{}: {}", path.native(), problem);
        return std::move(error);
    };
    std::error_code ignored;
    if (access == Access::kCreate && !fs::exists(path, ignored)) return error;
    if (!fs::exists(path, ignored)) return error_with(ErrorCode::kNotFound, "does not exist");
    if (::access(path.c_str(), R_OK) != 0) return error_with(ErrorCode::kReadOnly, "cannot be read");
    if (writing && ::access(path.c_str(), W_OK) != 0) return error_with(ErrorCode::kReadOnly, "cannot be written");
    if (writing && ::access(path.parent_path().c_str(), W_OK) != 0) {
        return error_with(ErrorCode::kReadOnly, "its folder cannot be written");
    }
    return error;
}

Status use_log(Connection& connection) {
    static constexpr char kUseLog[] = "PRAGMA journal_mode = WAL";
    const Result<std::string> mode = connection.query_text(kUseLog);
    if (!mode) return std::unexpected(mode.error());
    if (*mode == "wal") return {};
    return fail(ErrorCode::kUnavailable,
                fmt::format("the file system cannot hold a write-ahead log (journal mode stays \"{}\")", *mode));
}

// Says whether a log beside the file shows that the file is ours. Leaves a log that is not ours as it is.
bool is_ours_by_its_log(Connection& connection, const fs::path& path) {
    static constexpr char kReadApplicationId[] = "PRAGMA application_id";
    std::error_code missing;
    const auto log_bytes = fs::file_size(with_suffix(path, "-wal"), missing);
    if (missing || log_bytes == 0) return false;
    connection.checkpoint_on_close(false);
    const Result<std::int64_t> application_id = connection.query_integer(kReadApplicationId);
    connection.checkpoint_on_close(application_id == kApplicationId && !connection.is_read_only());
    return application_id == kApplicationId;
}

// Another process may be making a store of an empty file: while its journal exists, the file is half written. So a file
// is refused in two cases only: it had no journal before and after it was read, or its journal stays (some other
// program left it).
Result<Content> open_content(Connection& connection, const fs::path& path) {
    const fs::path journal = with_suffix(path, "-journal");
    bool had_journal = true;  // unknown before the first look
    for (int looks = 0;; ++looks) {
        const Result<std::string> header = connection.peek(kPeekBytes);
        if (!header) return std::unexpected(header.error());
        std::error_code unknown;
        // The engine takes a file of one byte for an empty one.
        if (header->empty() && fs::file_size(path, unknown) == 1)
            return foreign_file_error(path, "it is no SQLite database");
        Result<Content> content = identify(*header, path);
        if (content) return content;
        const bool has_journal = fs::exists(journal, unknown);
        if (looks == kLooksAtJournalMax || !(had_journal || has_journal)) {
            // A power loss while the log was being copied over the first page leaves rubbish there, and the page in the
            // log.
            if (is_ours_by_its_log(connection, path)) return Content::kStore;
            return content;
        }
        had_journal = has_journal;
        if (has_journal) std::this_thread::sleep_for(kPauseForMaker);
    }
}

Status prepare_writable(Connection& connection, Content content, std::span<const Migration> known) {
    if (content == Content::kNothing) {
        if (Status status = connection.execute(kNewDatabase); !status) return status;
    }
    if (Status status = connection.execute(kEachConnection); !status) return status;
    const Result<int> version = bring_up_to_date(connection, known);
    if (!version) return std::unexpected(version.error());
    connection.note_schema(*version);
    return use_log(connection);
}

Status prepare_readable(Connection& connection, Content content, const fs::path& path,
                        std::span<const Migration> known) {
    if (content == Content::kNothing) return foreign_file_error(path, "it is empty");
    if (Status status = connection.execute(kEachConnection); !status) return status;
    return read_as_newest(connection, known);
}

}  // namespace

Result<std::unique_ptr<Connection>> DatabaseFile::connect_as(Access access, Deadline deadline) const {
    const bool writing = access == Access::kWrite || access == Access::kCreate;
    const auto explained_error = [&](const Error& error) { return std::unexpected(explain(error, path_, access)); };

    Result<std::unique_ptr<Connection>> connection = Connection::open(path_, access);
    if (!connection) return explained_error(connection.error());
    (*connection)->set_deadline(deadline);
    if (writing && (*connection)->is_read_only()) return fail_with(ErrorCode::kReadOnly, path_, "cannot be written", 0);
    const bool has_own_log = access == Access::kWrite || access == Access::kRead;
    if (has_own_log) {
        if (Status status = keep_log(**connection, path_, writing, log_); !status) {
            return std::unexpected(status.error());
        }
        if (writing) {
            (*connection)->keep_lost_commits_by([connection = connection->get(), path = path_, log = log_] {
                return keep_lost_commits(*connection, path, log);
            });
        }
    }
    const Result<Content> content = open_content(**connection, path_);
    if (!content) return explained_error(content.error());
    const Status prepared = writing ? prepare_writable(**connection, *content, known_)
                                    : prepare_readable(**connection, *content, path_, known_);
    if (!prepared && has_own_log) {
        if (std::optional<Error> error = (*connection)->find_files_error()) return std::unexpected(std::move(*error));
    }
    if (!prepared) return explained_error(prepared.error());
    if (has_own_log) {
        if (Status status = (*connection)->watch_files(); !status) return std::unexpected(status.error());
    }
    return connection;
}

// Opens beside writers if at all possible. If not even the lock files can be made, nobody can write either, and the
// file holds everything. The exception is a log with content beside it: that cannot be read without the lock files.
Result<std::unique_ptr<Connection>> DatabaseFile::connect_read_only(Deadline deadline) {
    Result<std::unique_ptr<Connection>> connection = connect_as(Access::kRead, deadline);
    if (connection || ::access(path_.parent_path().c_str(), W_OK) == 0) return connection;
    if (connection.error().code != ErrorCode::kUnavailable && connection.error().code != ErrorCode::kReadOnly) {
        return connection;
    }
    std::error_code missing;
    if (const auto log_bytes = fs::file_size(with_suffix(path_, "-wal"), missing); !missing && log_bytes != 0) {
        return fail_with(ErrorCode::kReadOnly, path_,
                         "its log (-wal) holds saves that are not in the file yet, and its folder cannot be written: "
                         "open it once where it can, or make its folder writable",
                         0);
    }
    access_ = Access::kImmutable;
    return connect_as(Access::kImmutable, deadline);
}

Result<std::unique_ptr<Connection>> DatabaseFile::connect(Deadline deadline) const {
    Result<std::unique_ptr<Connection>> connection = connect_as(access_, deadline);
    if (!connection && connection.error().code == ErrorCode::kNotFound) {
        return fail(ErrorCode::kUnavailable,
                    fmt::format("{} was moved or deleted while the store was open", path_.native()));
    }
    return connection;
}

Status DatabaseFile::make(std::uint32_t mode, Deadline deadline) const {
    remove_drafts_of_the_dead(path_);
    const Draft draft(path_, mode);
    {
        const DatabaseFile file(draft.path(), Access::kCreate, known_, log_);
        const Result<std::unique_ptr<Connection>> connection = file.connect_as(Access::kCreate, deadline);
        if (!connection) {
            Error error = connection.error();
            if (::access(path_.parent_path().c_str(), W_OK) != 0) {
                return fail_with(code_for(errno), path_, "its folder cannot be written", errno);
            }
            // The draft is internal: the message names the file that was asked for.
            if (error.message.starts_with(draft.path().native())) {
                error.message.replace(0, draft.path().native().size(), path_.native());
            }
            return std::unexpected(std::move(error));
        }
    }
    const FolderLock lock(path_.parent_path(), deadline);
    if (lock.is_anothers()) {
        return fail_with(ErrorCode::kUnavailable, path_, "another program keeps making a store in its folder", 0);
    }
    std::error_code unknown;
    if (fs::exists(path_, unknown)) return {};  // another process was faster
    if (Status status = set_aside_leftovers(path_, log_); !status) return status;
    const int problem = publish(draft.path(), path_);
    if (problem == EEXIST) return {};  // another process was faster
    if (problem != 0) return fail_with(code_for(problem), path_, "cannot be made", problem);
    if (const int unsynced = sync_folder(path_.parent_path().c_str()); unsynced != 0) {
        return fail_with(code_for(unsynced), path_, "its folder cannot be brought to disk", unsynced);
    }
    return {};
}

Result<DatabaseFile::Opened> DatabaseFile::open(const fs::path& path, const OpenOptions& options,
                                                std::span<const Migration> known, const LogSink& log,
                                                Deadline deadline) {
    if (Status status = check_name(path); !status) return std::unexpected(status.error());
    std::error_code problem;
    DatabaseFile file(fs::absolute(path, problem), options.read_only ? Access::kRead : Access::kWrite, known, log);
    if (problem) return fail_with(code_for(problem.value()), path, "cannot be reached", problem.value());
    if (Status status = check_name(file.path_); !status) return std::unexpected(status.error());

    const Result<bool> there = is_there(file.path_);
    if (!there) return std::unexpected(there.error());
    Result<fs::path> resolved = resolve(file.path_);
    if (!resolved) return std::unexpected(std::move(resolved.error()));
    file.path_ = std::move(*resolved);
    if (Status status = check_name(file.path_); !status) return std::unexpected(status.error());
    if (!*there && (options.read_only || !options.create)) {
        return fail_with(ErrorCode::kNotFound, file.path_, "does not exist, and creating it was not asked for", 0);
    }
    if (!*there) {
        if (Status status = file.make(options.file_mode, deadline); !status) return std::unexpected(status.error());
    }
    if (Status status = check_only_name_but_drafts(file.path_, deadline); !status) {
        return std::unexpected(status.error());
    }
    if (Status status = check_logs(file.path_); !status) return std::unexpected(status.error());
    Result<ForkGuard> guard = ForkGuard::enter(file.path_);
    if (!guard) return std::unexpected(std::move(guard.error()));
    Result<std::unique_ptr<Connection>> connection =
        options.read_only ? file.connect_read_only(deadline) : file.connect_as(Access::kWrite, deadline);
    if (!connection) return std::unexpected(std::move(connection.error()));
    return Opened{.file = std::move(file), .connection = std::move(*connection), .guard = std::move(*guard)};
}

}  // namespace cairn::sqlite
