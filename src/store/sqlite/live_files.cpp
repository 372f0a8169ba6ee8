#include "store/sqlite/live_files.h"

#include "store/sqlite/file_locks.h"
#include "store/sqlite/log_file.h"
#include "store/sqlite/polling.h"

#include <fmt/format.h>

#include <sys/stat.h>

#include <chrono>
#include <cstring>

namespace cairn::sqlite {
namespace {

namespace fs = std::filesystem;

// Layout of the index: two copies of a header, then the number of frames already in the database.
constexpr std::size_t kIndexHeaderBytes = 48;
constexpr std::size_t kPageSizeOffset = 14;
constexpr std::size_t kFramesOffset = 16;
constexpr std::size_t kSaltsOffset = 32;

std::uint32_t load(const void* memory, std::size_t offset) {
    const auto* const words = static_cast<const std::uint32_t*>(memory);
    return __atomic_load_n(words + offset / sizeof(std::uint32_t), __ATOMIC_ACQUIRE);
}

static_assert(sizeof(IndexHeader) == kIndexHeaderBytes);

IndexHeader load_header(const void* memory, std::size_t offset) {
    IndexHeader words{};
    for (std::size_t i = 0; i < words.size(); ++i) words[i] = load(memory, offset + i * 4);
    return words;
}

LogIndex index_with(const IndexHeader& header, const void* memory) {
    LogIndex index;
    std::uint16_t page_size = 0;
    const char* const bytes = reinterpret_cast<const char*>(header.data());
    std::memcpy(&page_size, bytes + kPageSizeOffset, sizeof page_size);
    std::memcpy(index.salts.data(), bytes + kSaltsOffset, index.salts.size());
    index.page_size = page_size == 1 ? 65'536 : page_size;
    index.frames = header[kFramesOffset / 4];
    index.frames_in_database = load(memory, 2 * kIndexHeaderBytes);
    return index;
}

// True if others have another database open that had this name. (A reader that may not write the lock file has only the
// database locked.)
bool others_have_another_lock_file(const fs::path& database, Deadline deadline) {
    return !comes_true(deadline, [&] {
        const file_locks::Others others = file_locks::others_on(database);
        return others.on_database.value_or(true) || !others.on_lock_file.value_or(false);
    });
}

}  // namespace

std::uint64_t LogIndex::bytes_of_log() const {
    return frames == 0 ? 0 : kLogHeaderBytes + std::uint64_t{frames} * (kFrameHeaderBytes + page_size);
}

// A writer writes the second copy first. So a reader that finds both equal has one that was written as a whole, and no
// commit that returned before is missing from it.
std::optional<IndexHeader> read_index_header(const void* shared_memory) {
    if (shared_memory == nullptr) return std::nullopt;
    const IndexHeader header = load_header(shared_memory, 0);
    if (header != load_header(shared_memory, kIndexHeaderBytes)) return std::nullopt;
    return header;
}

std::optional<LogIndex> read_index(const void* shared_memory) {
    const std::optional<IndexHeader> header = read_index_header(shared_memory);
    if (!header) return std::nullopt;
    return index_with(*header, shared_memory);
}

LogIndex read_index_as_writer(const void* shared_memory) {
    return index_with(load_header(shared_memory, 0), shared_memory);
}

LiveFiles::LiveFiles(fs::path database, const void* shared_memory)
    : database_(std::move(database)),
      log_(log_of(database_)),
      lock_file_(fs::path(database_) += "-shm"),
      shared_memory_(shared_memory) {}

std::optional<LiveFiles::Id> LiveFiles::find(const fs::path& path) {
    struct stat status{};
    if (::stat(path.c_str(), &status) != 0) return std::nullopt;
    return Id{.device = status.st_dev, .inode = status.st_ino, .bytes = static_cast<std::uint64_t>(status.st_size)};
}

bool LiveFiles::log_fits(const std::optional<LogIndex>& index) const {
    if (!index || index->frames == 0) return index.has_value();
    const std::optional<Id> log = find(log_);
    return log && log->bytes >= index->bytes_of_log() &&
           salts_of_log(database_) == std::string_view(index->salts.data(), index->salts.size());
}

// Looks again if somebody was writing. If the index changes all the time, somebody is writing to it.
bool LiveFiles::log_fits_index() const {
    constexpr std::chrono::milliseconds kPatience(10);
    bool is_in_use = false;
    const bool fits = comes_true(std::chrono::steady_clock::now() + kPatience, [&] {
        const std::optional<LogIndex> before = index();
        if (log_fits(before)) return true;
        is_in_use = !before || before != index();
        return false;
    });
    return fits || is_in_use;
}

bool LiveFiles::log_is_empty() const {
    const std::optional<Id> log = find(log_);
    return log && log->bytes == 0;
}

Status LiveFiles::remember(std::string_view database_header, Deadline deadline) {
    const std::optional<Id> database = find(database_);
    const std::optional<Id> log = find(log_);
    const std::optional<Id> lock_file = find(lock_file_);
    if (!database) return changed_files_error(database_, "it was moved or deleted");
    if (!log) return changed_files_error(database_, "its log (-wal) was removed");
    if (!lock_file || !file_locks::has_lock_file(database_, lock_file->device, lock_file->inode) ||
        others_have_another_lock_file(database_, deadline)) {
        return changed_files_error(database_, "its lock file (-shm) was removed or replaced");
    }
    if (!log_fits_index()) return changed_files_error(database_, "its log (-wal) was removed, replaced or cut off");
    database_id_ = *database;
    log_id_ = *log;
    lock_file_id_ = *lock_file;
    header_ = database_header;
    return {};
}

// A first page that is rubbish is whole in the log.
bool LiveFiles::header_goes_back(std::string_view header) {
    if (header == header_) return false;
    const bool was_sound = is_header_of_store(header_);
    if (is_header_of_store(header)) {
        const auto forward = static_cast<std::int32_t>(change_counter(header) - change_counter(header_));
        if (was_sound && forward < 0) return true;
        header_ = header;
        return false;
    }
    return was_sound;
}

LiveFiles::Finding LiveFiles::look(std::string_view database_header) {
    const std::optional<Id> database = find(database_);
    if (!database || !is_same(*database, database_id_)) return {State::kMoved, "it was moved, deleted or replaced"};
    if (!file_locks::hold(database_id_.device, database_id_.inode)) {
        return {State::kReplaced,
                "the program that has it open lost its locks (it closed another descriptor of the file)"};
    }
    const std::optional<Id> lock_file = find(lock_file_);
    if (!lock_file || !is_same(*lock_file, lock_file_id_)) {
        return {State::kReplaced, "its lock file (-shm) was removed or replaced"};
    }
    if (header_goes_back(database_header)) {
        return {State::kLost, "another database was copied over it, or it was cut off"};
    }
    return look_at_log();
}

// Reads the index first: others may write to the log, or give its space back, between the two reads.
LiveFiles::Finding LiveFiles::look_at_log() const {
    constexpr int kLooks = 100;
    for (int look = 0; look < kLooks; ++look) {
        const std::optional<LogIndex> before = index();
        const std::optional<Id> log = find(log_);
        if (!log || (!is_same(*log, log_id_) && log->bytes == 0)) {
            return {State::kLogRemoved, "its log (-wal) was removed"};
        }
        if (!is_same(*log, log_id_)) return {State::kLost, "its log (-wal) was replaced"};
        if (!before || log->bytes >= before->bytes_of_log()) return {};
        if (before == index()) return {State::kLost, "its log (-wal) was cut off"};
    }
    return {};  // it changes all the time, so somebody writes to it
}

std::unexpected<Error> changed_files_error(const fs::path& database, std::string_view what) {
    return fail(
        ErrorCode::kUnavailable,
        fmt::format("{}: {} while the store was open, so nothing is saved: end every program that uses the store, "
                    "then open it again",
                    database.native(), what));
}

}  // namespace cairn::sqlite
