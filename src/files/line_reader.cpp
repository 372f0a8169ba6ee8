#include "files/line_reader.h"

#include "files/file_error.h"

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <utility>

namespace cairn {
namespace {

constexpr std::size_t kBlock = 256U << 10;
constexpr int kNone = -1;

std::unexpected<Error> unreadable_file_error(const std::string& name) {
    return file_error("read", name, ErrorCode::kInvalidArgument);
}

}  // namespace

Result<LineReader> LineReader::open(const std::string& path, std::uint64_t line_bytes_max) {
    if (path == "-") return LineReader(STDIN_FILENO, "standard input", line_bytes_max);
    std::string name = fmt::format("file \"{}\"", path);
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor == kNone) return unreadable_file_error(name);
    return LineReader(descriptor, std::move(name), line_bytes_max);
}

LineReader::LineReader(LineReader&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, kNone)),
      name_(std::move(other.name_)),
      line_bytes_max_(other.line_bytes_max_),
      buffer_(std::move(other.buffer_)),
      begin_(other.begin_),
      scanned_(other.scanned_),
      at_end_(other.at_end_) {}

LineReader::~LineReader() {
    if (descriptor_ > STDIN_FILENO) ::close(descriptor_);
}

Result<std::optional<LineReader::Line>> LineReader::next() {
    while (true) {
        const auto newline = buffer_.find('\n', scanned_);
        if (newline != std::string::npos) return take(newline - begin_, true);
        scanned_ = buffer_.size();
        if (scanned_ - begin_ > line_bytes_max_) {
            return fail(ErrorCode::kLimitExceeded,
                        fmt::format("{} has a line of more than {} bytes, too long for a state of the size that is "
                                    "accepted (CAIRN_STATE_BYTES_MAX)",
                                    name_, line_bytes_max_));
        }
        if (at_end_ && begin_ == buffer_.size()) return std::nullopt;
        if (at_end_) return take(buffer_.size() - begin_, false);
        if (Status read = read_more(); !read) return std::unexpected(std::move(read.error()));
    }
}

std::uint64_t LineReader::file_bytes() const {
    struct stat status{};
    if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) return 0;
    return static_cast<std::uint64_t>(status.st_size);
}

// Reads only what is there already, not a whole block: lines of a pipe are processed as they come.
Status LineReader::read_more() {
    buffer_.erase(0, begin_);
    scanned_ -= begin_;
    begin_ = 0;
    const std::size_t before = buffer_.size();
    buffer_.resize(before + kBlock);
    ssize_t bytes = 0;
    do {
        bytes = ::read(descriptor_, buffer_.data() + before, kBlock);
    } while (bytes == -1 && errno == EINTR);
    buffer_.resize(before + static_cast<std::size_t>(bytes > 0 ? bytes : 0));
    if (bytes == -1) return unreadable_file_error(name_);
    at_end_ = bytes == 0;
    return {};
}

LineReader::Line LineReader::take(std::size_t bytes, bool is_whole) {
    Line line{.text = buffer_.substr(begin_, bytes), .is_whole = is_whole};
    begin_ += bytes + (is_whole ? 1 : 0);
    scanned_ = begin_;
    return line;
}

}  // namespace cairn
