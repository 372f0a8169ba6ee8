#pragma once

#include <cairn/types.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn {

/// Where "now" comes from, and how long a pause is. Implementations must be safe to call from any thread.
class Clock {
public:
    virtual ~Clock() = default;
    virtual Timestamp now() = 0;
    /// Keeps the calling thread waiting before it tries again. By default that long.
    virtual void pause(std::chrono::microseconds duration);
};

/// Where random bytes come from. Implementations must be safe to call from any thread.
class RandomSource {
public:
    virtual ~RandomSource() = default;
    virtual void fill(std::span<std::byte> bytes) = 0;
};

enum class LogLevel : std::uint8_t { kDebug, kInfo, kWarning, kError };
std::string_view to_string(LogLevel level) noexcept;

/// One thing worth telling an operator. Never holds content of a state.
struct LogRecord {
    LogLevel level = LogLevel::kInfo;
    std::string_view event;  ///< Stable, snake_case: "save_fallback", "recovery", …
    std::string message;
    std::vector<std::pair<std::string_view, std::string>> fields = {};
};

/// Called from any thread, locks held or not: must not throw, nor call cairn; should be quick. Cairn prints nothing.
using LogSink = std::function<void(const LogRecord&)>;

/// Everything that is not a function of the input, so that a seed replays any failure. Members left null get the
/// system's: real clock, the kernel's random bytes, a silent log.
struct Runtime {
    std::shared_ptr<Clock> clock = nullptr;
    std::shared_ptr<RandomSource> random = nullptr;
    LogSink log = nullptr;

    /// This runtime with every null member filled in.
    Runtime with_defaults() const;
};

/// A new snapshot id: UUIDv7 (RFC 9562), lower case, 36 characters. Time first, so ids of one process sort by age
/// roughly; nothing relies on that order.
std::string make_snapshot_id(Clock& clock, RandomSource& random);

}  // namespace cairn
