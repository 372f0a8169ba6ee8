#include "store/sqlite/log_file.h"

#include "base/system_error_code.h"
#include "store/sqlite/sqlite_schema.h"

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <map>
#include <system_error>
#include <utility>

namespace cairn::sqlite {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kSaltsBytes = 8;
constexpr std::uint32_t kMagic = 0x377f0682;  // its lowest bit: the checksums are over big-endian words

// The fields of a database's header.
constexpr std::string_view kDatabaseMagic("SQLite format 3\0", 16);
constexpr std::size_t kPageSizeOffset = 16;
constexpr std::size_t kWriteFormatOffset = 18;
constexpr std::size_t kReadFormatOffset = 19;
constexpr char kLogFormat = 2;
constexpr std::size_t kApplicationIdOffset = 68;
constexpr std::size_t kChangeCounterOffset = 24;
constexpr std::size_t kPagesOffset = 28;
constexpr std::size_t kPagesValidForOffset = 92;

std::uint32_t big_endian(std::string_view bytes, std::size_t offset) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i) value = value << 8U | static_cast<unsigned char>(bytes[offset + i]);
    return value;
}

std::uint32_t little_endian(std::string_view bytes, std::size_t offset) {
    return __builtin_bswap32(big_endian(bytes, offset));
}

/// The log's running checksum: each frame's checksum continues that of the frame before.
struct Checksum {
    std::uint32_t first = 0;
    std::uint32_t second = 0;

    friend bool operator==(const Checksum&, const Checksum&) = default;
};

Checksum continue_over(Checksum sum, std::string_view bytes, bool is_big_endian) {
    for (std::size_t i = 0; i + 8 <= bytes.size(); i += 8) {
        sum.first += (is_big_endian ? big_endian(bytes, i) : little_endian(bytes, i)) + sum.second;
        sum.second += (is_big_endian ? big_endian(bytes, i + 4) : little_endian(bytes, i + 4)) + sum.first;
    }
    return sum;
}

Checksum checksum_at(std::string_view bytes, std::size_t offset) {
    return {.first = big_endian(bytes, offset), .second = big_endian(bytes, offset + 4)};
}

bool is_page_size(std::uint32_t size) {
    return size >= 512 && size <= 65'536 && std::has_single_bit(size);
}

/// Reads the log. The engine never locks the log, so it may be opened and closed beside the engine.
class LogReader {
public:
    explicit LogReader(const fs::path& path)
        : descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)),
          problem_(descriptor_ < 0 ? errno : 0) {}
    ~LogReader() {
        if (descriptor_ >= 0) ::close(descriptor_);
    }
    LogReader(const LogReader&) = delete;
    LogReader& operator=(const LogReader&) = delete;

    int problem() const { return problem_; }
    bool is_regular_file() const {
        struct stat status{};
        return ::fstat(descriptor_, &status) == 0 && S_ISREG(status.st_mode);
    }

    /// Returns whether there were this many bytes; `into` then holds them.
    bool read(std::string& into, std::size_t bytes, std::uint64_t offset) {
        into.resize(bytes);
        for (std::size_t done = 0; done < bytes;) {
            const ssize_t count =
                ::pread(descriptor_, into.data() + done, bytes - done, static_cast<off_t>(offset + done));
            if (count < 0 && errno == EINTR) continue;
            if (count < 0) problem_ = errno;
            if (count <= 0) return false;
            done += static_cast<std::size_t>(count);
        }
        return true;
    }

private:
    int descriptor_;
    int problem_;
};

/// Scans the frames once.
class LogScan {
public:
    LogScan(LogReader& reader, std::uint32_t page_size) : reader_(reader), page_size_of_database_(page_size) {}

    std::optional<LogContent> run() {
        std::string header;
        if (!reader_.read(header, kLogHeaderBytes, 0)) return std::nullopt;
        if (header.find_first_not_of('\0') == std::string::npos) return std::nullopt;
        begin(header);
        if (!is_page_size(content_.page_size)) return std::move(content_);
        std::string frame;
        for (std::uint64_t index = 0;; ++index) {
            const std::size_t bytes = kFrameHeaderBytes + content_.page_size;
            if (!reader_.read(frame, bytes, kLogHeaderBytes + index * bytes)) break;
            look_at(frame, kLogHeaderBytes + index * bytes + kFrameHeaderBytes);
        }
        return std::move(content_);
    }

    /// Says whether the database has each page as the last whole commit leaves it, before or behind the damage. A page
    /// whose last frame is damaged cannot be compared. (Lost commits show all the same: the last one is whole.)
    Result<bool> is_in(const DatabaseReader& read, std::uint32_t page_size) {
        std::string in_log;
        for (const auto& [page, offset] : pages_) {
            if (offset == kUnknown) continue;
            const Result<std::string> in_database = read(page_size, std::uint64_t{page - 1} * page_size);
            if (!in_database) return std::unexpected(in_database.error());
            if (!reader_.read(in_log, page_size, offset) || in_log != *in_database) return false;
        }
        return true;
    }

private:
    // A damaged header counts as damage before the first frame. The rest of the log can still be read.
    void begin(std::string_view header) {
        is_big_endian_ = (big_endian(header, 0) & 1U) != 0;
        content_.page_size = big_endian(header, 8);
        content_.salts = header.substr(16, kSaltsBytes);
        before_ = checksum_at(header, 24);
        is_sound_ = (big_endian(header, 0) & ~1U) == kMagic && is_page_size(content_.page_size) &&
                    continue_over({}, header.substr(0, 24), is_big_endian_) == before_;
        content_.has_sound_header = is_sound_;
        if (!is_sound_) content_.page_size = page_size_of_database_;
    }

    void look_at(std::string_view frame, std::uint64_t offset_of_page) {
        if (!content_.has_sound_header && !has_salts_of_frames_) content_.salts = frame.substr(8, kSaltsBytes);
        has_salts_of_frames_ = true;
        const Checksum here = checksum_at(frame, 16);
        Checksum sum = continue_over(before_, frame.substr(0, 8), is_big_endian_);
        sum = continue_over(sum, frame.substr(kFrameHeaderBytes), is_big_endian_);
        const bool is_of_this_log = frame.substr(8, kSaltsBytes) == content_.salts;
        const bool is_whole = sum == here && is_of_this_log;
        const bool is_commit = big_endian(frame, 4) != 0;
        before_ = here;
        if (!is_whole) is_sound_ = false;
        if (is_of_this_log)
            keep_page(big_endian(frame, 0), is_whole ? offset_of_page : kUnknown, is_whole && is_commit);
        if (is_sound_) {
            ++content_.frames_sound;
            keep(frame, is_commit);
        } else if (is_of_this_log && is_commit) {
            ++commits_in_doubt_;
            if (is_whole) content_.commits_behind_damage = commits_in_doubt_;
        }
    }

    void keep_page(std::uint32_t page, std::uint64_t offset, bool ends_commit) {
        if (page != 0) uncommitted_pages_[page] = offset;
        if (!ends_commit) return;
        for (const auto& [each, where] : std::exchange(uncommitted_pages_, {})) pages_[each] = where;
    }

    void keep(std::string_view frame, bool is_commit) {
        if (big_endian(frame, 0) == 1) {
            uncommitted_.emplace_back(frame.substr(kFrameHeaderBytes, kDatabaseHeaderBytes));
        }
        if (!is_commit) return;
        if (++content_.commits_sound == 1) {
            content_.frames_of_first_commit = content_.frames_sound;
            content_.pages_after_first_commit = big_endian(frame, 4);
        }
        if (uncommitted_.empty() && content_.database_headers.empty()) {
            content_.pages_of_database.push_back(big_endian(frame, 4));
        }
        std::ranges::move(std::exchange(uncommitted_, {}), std::back_inserter(content_.database_headers));
    }

    static constexpr std::uint64_t kUnknown = 0;  // the offset of a page whose frame is damaged

    LogReader& reader_;
    const std::uint32_t page_size_of_database_;
    LogContent content_;
    std::vector<std::string> uncommitted_;
    std::uint64_t commits_in_doubt_ = 0;            // from the damage on, including damaged ones
    std::map<std::uint32_t, std::uint64_t> pages_;  // offset in the log of each page's last content
    std::map<std::uint32_t, std::uint64_t> uncommitted_pages_;
    Checksum before_;
    bool is_big_endian_ = false;
    bool is_sound_ = false;
    bool has_salts_of_frames_ = false;
};

std::uint32_t page_size_of(std::string_view database_header) {
    if (database_header.size() < kDatabaseHeaderBytes) return 0;
    const std::uint32_t size = big_endian(database_header, kPageSizeOffset) >> 16U;
    return size == 1 ? 65'536 : size;
}

}  // namespace

std::uint32_t change_counter(std::string_view database_header) {
    return big_endian(database_header, kChangeCounterOffset);
}

bool is_header_of_store(std::string_view database_header) {
    return database_header.size() >= kDatabaseHeaderBytes && database_header.starts_with(kDatabaseMagic) &&
           big_endian(database_header, kApplicationIdOffset) == kApplicationId;
}

bool has_log_mode(std::string_view database_header) {
    return database_header.size() >= kDatabaseHeaderBytes && database_header[kWriteFormatOffset] == kLogFormat &&
           database_header[kReadFormatOffset] == kLogFormat;
}

fs::path log_of(const fs::path& database) {
    fs::path log = database;
    return log += "-wal";
}

std::string salts_of_log(const fs::path& database) {
    LogReader reader(log_of(database));
    std::string header;
    if (reader.problem() != 0 || !reader.read(header, kLogHeaderBytes, 0)) return {};
    return header.substr(16, kSaltsBytes);
}

Result<std::optional<LogContent>> read_log(const fs::path& database, std::string_view database_header,
                                           const DatabaseReader& read) {
    const fs::path path = log_of(database);
    LogReader reader(path);
    if (reader.problem() == ENOENT) return std::nullopt;
    std::optional<LogContent> content;
    if (reader.problem() == 0) {
        if (!reader.is_regular_file()) {
            return fail(ErrorCode::kUnavailable,
                        fmt::format("{} is no regular file, so the store has no log: move it away", path.native()));
        }
        LogScan scan(reader, page_size_of(database_header));
        content = scan.run();
        if (content && content->commits_behind_damage > 0) {
            const Result<bool> is_there = scan.is_in(read, content->page_size);
            if (!is_there) return std::unexpected(is_there.error());
            content->is_in_database = *is_there;
        }
    }
    if (reader.problem() != 0) {
        return fail(code_of_system_error(reader.problem(), ErrorCode::kUnavailable),
                    fmt::format("{} cannot be read", path.native()), std::generic_category().message(reader.problem()));
    }
    return content;
}

namespace {

// Says whether the first commit can be a commit to a database of this many pages. It must hold all pages that it adds,
// except one that the engine never uses.
bool may_grow_from(std::uint32_t pages, const LogContent& log) {
    return std::uint64_t{pages} + log.frames_of_first_commit + 1 >= log.pages_after_first_commit;
}

}  // namespace

// Two cases are exceptions: an older cairn, or another program, may have started the log without the first page, or
// with a counter that its last log has had already (the engine counts on only after it has read the page anew).
bool belongs_to(const LogContent& log, std::string_view database_header) {
    if (log.commits_sound == 0) return true;  // the engine would replay nothing
    if (page_size_of(database_header) != log.page_size) return false;
    const std::uint32_t counter = change_counter(database_header);
    const bool says_its_size = big_endian(database_header, kPagesValidForOffset) == counter;
    const std::uint32_t pages = big_endian(database_header, kPagesOffset);
    if (log.database_headers.empty()) {
        return !says_its_size || std::ranges::all_of(log.pages_of_database, [&](auto each) { return each == pages; });
    }
    if (std::ranges::find(log.database_headers, database_header) != log.database_headers.end()) return true;
    const std::uint32_t first = change_counter(log.database_headers.front());
    return (counter == first || counter + 1 == first) && (!says_its_size || may_grow_from(pages, log));
}

}  // namespace cairn::sqlite
