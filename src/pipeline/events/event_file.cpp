#include "base/file_mode.h"
#include "base/system_error_code.h"
#include "persistence/guarded.h"
#include "pipeline/agents/descriptor.h"

#include <cairn/pipeline_events.h>

#include <fcntl.h>
#include <unistd.h>

#include <fmt/format.h>

#include <cerrno>
#include <mutex>
#include <system_error>
#include <utility>

namespace cairn {
namespace {

/// Makes one write(2) per event, so that lines of several processes never mix.
class EventFile final : public EventSink {
public:
    explicit EventFile(Descriptor file) : file_(std::move(file)) {}

    void on_event(const PipelineEvent& event) override {
        const std::string line = to_json(event) + "\n";
        const std::lock_guard lock(mutex_);
        write(ends_inside_line_ ? "\n" + line : line);
    }

private:
    void write(const std::string& line) {
        ssize_t written = 0;
        do {
            written = ::write(file_.get(), line.data(), line.size());
        } while (written < 0 && errno == EINTR);
        const int error_number = written < 0 ? errno : ENOSPC;
        const bool is_whole = written == static_cast<ssize_t>(line.size());
        // The disk is full: the next event that fits starts a new line.
        if (written > 0) ends_inside_line_ = !is_whole;
        if (!is_whole) throw std::system_error(error_number, std::generic_category(), "event file");
    }

    std::mutex mutex_;
    Descriptor file_;
    bool ends_inside_line_ = false;
};

std::unexpected<Error> unopened_file_error(const std::filesystem::path& path, ErrorCode code, std::string detail) {
    return fail(code, fmt::format("event file \"{}\" cannot be opened to append", path.string()), std::move(detail));
}

int open_or_create(const char* path, std::uint32_t file_mode) {
    const int made = create_file(path, O_WRONLY | O_APPEND, file_mode);
    return made < 0 && errno == EEXIST ? open_without_waiting(path, O_WRONLY | O_APPEND) : made;
}

Result<std::shared_ptr<EventSink>> open_file(const std::filesystem::path& path, std::uint32_t file_mode) {
    if (is_laid_by_another(path.c_str())) {
        return unopened_file_error(path, ErrorCode::kInvalidArgument, "it is a link or a pipe of another user");
    }
    Descriptor file(open_or_create(path.c_str(), file_mode));
    if (file) return std::make_shared<EventFile>(std::move(file));
    const int error_number = errno;
    return unopened_file_error(
        path, code_of_system_error(error_number, ErrorCode::kInvalidArgument),
        error_number == ENXIO ? "nobody reads this pipe" : std::generic_category().message(error_number));
}

}  // namespace

Result<std::shared_ptr<EventSink>> open_event_file(const std::filesystem::path& path, std::uint32_t file_mode) {
    return guarded([&] { return open_file(path, file_mode); });
}

}  // namespace cairn
