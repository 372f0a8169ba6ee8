#include "store/sqlite/log_keeper.h"

#include "base/file_mode.h"
#include "base/file_sync.h"
#include "base/system_error_code.h"
#include "store/sqlite/file_locks.h"
#include "store/sqlite/log_file.h"
#include "store/sqlite/polling.h"
#include "store/sqlite/sqlite_error.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <fstream>
#include <optional>
#include <string_view>
#include <system_error>

namespace cairn::sqlite {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kDamagedMark = ".damaged-";

// A power cut in the middle of a commit can leave the commit's last pages whole behind others that are not. So one
// commit behind damage need never have been acknowledged. The next commit begins only when the last is on disk.
constexpr std::uint64_t kCommitsAcknowledged = 2;

Error log_file_error(const fs::path& path, std::string_view what, int system_error) {
    return {.code = code_of_system_error(system_error, ErrorCode::kUnavailable),
            .message = fmt::format("{}: {}", path.native(), what),
            .detail = std::generic_category().message(system_error)};
}

bool has_bytes(const fs::path& file) {
    std::error_code missing;
    const std::uintmax_t bytes = fs::file_size(file, missing);
    return !missing && bytes != 0;
}

// A link or a FIFO at the log's name would lead the engine elsewhere, or take what is written.
Status check_kind(const fs::path& file) {
    struct stat status{};
    if (::lstat(file.c_str(), &status) != 0 || S_ISREG(status.st_mode)) return {};
    return fail(ErrorCode::kUnavailable,
                fmt::format("{} is no regular file, so the store cannot be used: remove it", file.native()));
}

fs::path lock_file_of(const fs::path& database) {
    return fs::path(database) += "-shm";
}

// The lock file holds only an index of the log, which the first to open the log makes anew. But somebody may still have
// it open with another database that had this name.
void remove_lock_file(const fs::path& database) {
    ::unlink(lock_file_of(database).c_str());
}

void tell(const LogSink& log, const fs::path& database, const fs::path& kept, std::string message) {
    log({.level = LogLevel::kWarning,
         .event = "store_log_set_aside",
         .message = std::move(message),
         .fields = {{"store", database.native()}, {"kept", kept.native()}}});
}

// A failure is ignored: the name has been given.
void sync_folder_of(const fs::path& file) {
    static_cast<void>(sync_folder(file.parent_path().c_str()));
}

// Renames to "agents.db-wal.stale-20260401T093000Z", with a number added if that name is taken.
Result<fs::path> rename_aside(const fs::path& file) {
    const std::time_t now = std::time(nullptr);
    const std::string name = fmt::format("{}.stale-{:%Y%m%dT%H%M%SZ}", file.native(), fmt::gmtime(now));
    for (int number = 1;; ++number) {
        fs::path aside = number == 1 ? name : fmt::format("{}-{}", name, number);
        int problem = ::renameat2(AT_FDCWD, file.c_str(), AT_FDCWD, aside.c_str(), RENAME_NOREPLACE) == 0 ? 0 : errno;
        if (problem == EINVAL) {  // the file system cannot do this
            problem = ::access(aside.c_str(), F_OK) == 0 ? EEXIST : 0;
            if (problem == 0 && ::rename(file.c_str(), aside.c_str()) != 0) problem = errno;
        }
        if (problem == EEXIST) continue;
        if (problem != 0) return std::unexpected(log_file_error(file, "cannot be set aside", problem));
        sync_folder_of(file);
        return aside;
    }
}

Status set_aside(const fs::path& database, const fs::path& file, std::string_view why, const LogSink& log) {
    const Result<fs::path> aside = rename_aside(file);
    if (!aside) return std::unexpected(aside.error());
    tell(log, database, *aside,
         fmt::format("{}, so it was not used and is kept as {}: delete it when you need nothing that is in it", why,
                     aside->native()));
    return {};
}

int copy_all(int from, int to, off_t bytes) {
    while (bytes > 0) {
        const ssize_t count = ::sendfile(to, from, nullptr, static_cast<std::size_t>(bytes));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return errno;
        if (count == 0) return EIO;
        bytes -= count;
    }
    return ::fsync(to) == 0 ? 0 : errno;
}

// Makes a new file of the same mode. Returns 0 when it is on disk, the system's error otherwise.
int copy_log(const fs::path& from, const fs::path& to) {
    ::unlink(to.c_str());
    const int source = ::open(from.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (source < 0) return errno;
    struct stat status{};
    int problem = ::fstat(source, &status) == 0 ? 0 : errno;
    const int copy = create_file(to.c_str(), O_WRONLY, status.st_mode & 0777U);
    if (copy < 0) problem = errno;
    if (problem == 0) problem = copy_all(source, copy, status.st_size);
    ::close(source);
    if (copy >= 0) ::close(copy);
    if (problem != 0) ::unlink(to.c_str());
    return problem;
}

// The name is made from the content, so that the log is kept once, however often it is met.
fs::path name_of_damaged_copy(const fs::path& database, const LogContent& log) {
    std::string salts;
    for (const char byte : log.salts) salts += fmt::format("{:02x}", static_cast<unsigned char>(byte));
    return log_of(database) += fmt::format("{}{}-{}", kDamagedMark, salts, log.frames_sound + 1);
}

Status keep_damaged(const fs::path& database, const LogContent& log, const LogSink& sink) {
    const fs::path copy = name_of_damaged_copy(database, log);
    std::error_code problem;
    if (fs::exists(copy, problem)) return {};
    const fs::path draft = fs::path(copy) += ".new";
    if (const int failure = copy_log(log_of(database), draft); failure != 0) {
        return std::unexpected(log_file_error(draft, "the damaged log cannot be copied", failure));
    }
    fs::rename(draft, copy, problem);
    if (problem) return std::unexpected(log_file_error(copy, "the damaged log cannot be copied", problem.value()));
    sync_folder_of(copy);
    tell(sink, database, copy,
         fmt::format("frame {} of the log (-wal) is damaged and {} commits follow it, which the store has lost: the "
                     "whole log is kept as {}",
                     log.frames_sound + 1, log.commits_behind_damage, copy.native()));
    return {};
}

// Checks that the programs that use the log have a lock file that others find. A program that has just begun to open
// the store has not made one yet, and a program that keeps all others out does not need one. So we wait for both; if
// the second stays, the engine then reports that it is busy.
Status check_lock_file(Connection& connection, const fs::path& database) {
    enum class Seen : std::uint8_t { kNothing, kAlone, kLost };
    Seen seen = Seen::kNothing;
    const auto is_in_order = [&] {
        std::error_code unknown;
        if (fs::exists(lock_file_of(database), unknown) || unknown) return true;
        const file_locks::Others others = file_locks::others_on(database);
        if (!others.on_database.value_or(false)) return true;
        const Result<std::string> header = connection.peek(kDatabaseHeaderBytes);
        if (!header || !has_log_mode(*header)) return true;
        if (others.alone_on_database) {
            seen = Seen::kAlone;
        } else if (!FolderLock(database.parent_path(), Deadline::min()).is_anothers()) {
            seen = Seen::kLost;
        }
        return false;
    };
    if (comes_true(connection.deadline(), is_in_order) || seen == Seen::kAlone) return {};
    if (seen == Seen::kLost) return changed_files_error(database, "its lock file (-shm) was removed");
    return fail(ErrorCode::kUnavailable,
                fmt::format("{}: other programs were opening it until the deadline", database.native()));
}

// Says whether nobody else has the database open, in this process or another. A reader may not lock.
bool is_alone(Connection& connection, const fs::path& database, bool may_write) {
    const file_locks::Others others = file_locks::others_on(database);
    if (others.on_database.value_or(false)) return false;
    const int result_code = connection.lock_alone();
    return result_code == 0 || (!may_write && !is_busy(result_code) && !others.in_this_process);
}

class Alone {
public:
    Alone(Connection& connection, const fs::path& database, bool may_write)
        : connection_(connection), is_(is_alone(connection, database, may_write)) {}
    ~Alone() { connection_.unlock(); }
    Alone(const Alone&) = delete;
    Alone& operator=(const Alone&) = delete;

    explicit operator bool() const { return is_; }

private:
    Connection& connection_;
    bool is_;
};

DatabaseReader reader_of(Connection& connection) {
    return [&connection](std::size_t bytes, std::uint64_t offset) { return connection.peek(bytes, offset); };
}

bool has_lost_commits(const LogContent& log) {
    return log.commits_behind_damage >= kCommitsAcknowledged && !log.is_in_database;
}

// The reason that the log cannot be this database's; empty if it can.
std::string_view why_not(const std::optional<LogContent>& log, std::string_view header) {
    if (header.empty()) return "the log (-wal) was left by another database, and this one is empty";
    if (!log) return {};
    // The engine would replay the frames before the damage over newer content.
    if (log->is_in_database)
        return log->frames_sound == 0 ? "" : "the log (-wal) is damaged, and the database has all of it";
    if (!log->has_sound_header && log->commits_behind_damage == 0)
        return "what lies at the log's name (-wal) is no log";
    if (!belongs_to(*log, header)) {
        return "the log (-wal) continues another state of this database, or another database (a restored backup?)";
    }
    return {};
}

// A first page that says nothing is not judged (it may be in the log, whole), nor are other programs' databases.
bool is_to_be_judged(std::string_view header) {
    return header.empty() || is_header_of_store(header);
}

}  // namespace

FolderLock::FolderLock(const fs::path& folder, Deadline deadline)
    : descriptor_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    if (descriptor_ < 0) return;
    is_anothers_ =
        !comes_true(deadline, [this] { return ::flock(descriptor_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK; });
}

FolderLock::~FolderLock() {
    if (descriptor_ < 0) return;
    ::flock(descriptor_, LOCK_UN);  // a forked child may have the descriptor too
    ::close(descriptor_);
}

Status keep_log(Connection& connection, const fs::path& database, bool may_write, const LogSink& log) {
    const fs::path path = log_of(database);
    if (connection.has_lock()) return {};
    for (const fs::path& file : {path, lock_file_of(database)}) {
        if (Status status = check_kind(file); !status) return status;
    }
    if (Status status = check_lock_file(connection, database); !status) return status;
    if (!has_bytes(path) && !has_bytes(lock_file_of(database))) return {};
    // Being alone is enough to look at the log. The lock hides from others that the log is being moved.
    constexpr std::chrono::seconds kPatience(2);
    const FolderLock lock(database.parent_path(),
                          std::min(connection.deadline(), std::chrono::steady_clock::now() + kPatience));
    const Alone alone(connection, database, may_write);
    if (!alone) return {};
    if (may_write) remove_lock_file(database);
    if (!has_bytes(path)) return {};
    const Result<std::string> header = connection.peek(kDatabaseHeaderBytes);
    if (!header) return std::unexpected(header.error());
    if (!is_to_be_judged(*header)) return {};
    const Result<std::optional<LogContent>> content = read_log(database, *header, reader_of(connection));
    if (!content) return std::unexpected(content.error());
    if (const std::string_view why = why_not(*content, *header); !why.empty()) {
        if (may_write) return set_aside(database, path, why, log);
        return fail(ErrorCode::kReadOnly,
                    fmt::format("{}: {}: open it once for writing, which sets the log aside", database.native(), why));
    }
    const bool is_damaged = *content && has_lost_commits(**content);
    return may_write && is_damaged ? keep_damaged(database, **content, log) : Status();
}

Status set_aside_leftovers(const fs::path& database, const LogSink& log) {
    remove_lock_file(database);
    for (const std::string_view suffix : {"-wal", "-journal"}) {
        const fs::path file = fs::path(database) += suffix;
        if (!has_bytes(file)) continue;
        const std::string why = fmt::format("a log ({}) was left where a new store is made", suffix);
        if (Status status = set_aside(database, file, why, log); !status) return status;
    }
    return {};
}

Result<std::vector<std::string>> problems_of_log(Connection& connection, const fs::path& database) {
    const Result<std::string> header = connection.peek(kDatabaseHeaderBytes);
    if (!header) return std::unexpected(header.error());
    std::vector<std::string> problems;
    // A log that is being written can look damaged, but not twice in the same place.
    constexpr int kLooks = 5;
    std::optional<LogContent> before;
    for (int look = 0; look < kLooks; ++look) {
        Result<std::optional<LogContent>> log = read_log(database, *header, reader_of(connection));
        if (!log) return std::unexpected(std::move(log.error()));
        if (!*log || !has_lost_commits(**log)) break;
        if (before && before->salts == (*log)->salts && before->frames_sound == (*log)->frames_sound) {
            problems.push_back(
                fmt::format("frame {} of the log (-wal) is damaged, and the {} commits behind it are lost",
                            before->frames_sound + 1, before->commits_behind_damage));
            break;
        }
        before = std::move(*log);
    }
    const std::string mark = log_of(database).filename().native() + std::string(kDamagedMark);
    std::error_code problem;
    for (fs::directory_iterator entry(database.parent_path(), problem), end; !problem && entry != end;
         entry.increment(problem)) {
        if (!entry->path().filename().native().starts_with(mark)) continue;
        problems.push_back(
            fmt::format("a damaged log holds commits that the store has lost: {} (move it away when you "
                        "have what you need of it)",
                        entry->path().native()));
    }
    return problems;
}

}  // namespace cairn::sqlite
