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

/// The source of the current time and of pauses. Implementations must be safe to call from any thread.
class Clock {
public:
    virtual ~Clock() = default;
    virtual Timestamp now() = 0;
    /// Pauses the calling thread before it tries again. The default waits for `duration`.
    virtual void pause(std::chrono::microseconds duration);
};

/// The source of random bytes. Implementations must be safe to call from any thread.
class RandomSource {
public:
    virtual ~RandomSource() = default;
    virtual void fill(std::span<std::byte> bytes) = 0;
};

enum class LogLevel : std::uint8_t { kDebug, kInfo, kWarning, kError };
std::string_view to_string(LogLevel level) noexcept;

/// One event that an operator may want to know about. It never holds content of a state.
struct LogRecord {
    LogLevel level = LogLevel::kInfo;
    std::string_view event;  ///< Stable, snake_case: "save_fallback", "recovery", …
    std::string message;
    std::vector<std::pair<std::string_view, std::string>> fields = {};
};

/// Called from any thread, with or without locks held. It must not throw or call cairn, and should be quick. Cairn
/// prints nothing.
using LogSink = std::function<void(const LogRecord&)>;

/// All inputs that are not given by the caller, in one place, so that a seed replays any failure. A null member gets
/// the system's: real clock, the kernel's random bytes, a silent log.
struct Runtime {
    std::shared_ptr<Clock> clock = nullptr;
    std::shared_ptr<RandomSource> random = nullptr;
    LogSink log = nullptr;

    /// Returns this runtime with every null member filled in.
    Runtime with_defaults() const;
};

/// Makes a new snapshot id: UUIDv7 (RFC 9562), lower case, 36 characters. The time comes first, so ids of one process
/// sort roughly by age; nothing relies on that order.
std::string make_snapshot_id(Clock& clock, RandomSource& random);

}  // namespace cairn
