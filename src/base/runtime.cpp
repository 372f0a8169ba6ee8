#include <cairn/runtime.h>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <thread>

namespace cairn {
namespace {

class SystemClock final : public Clock {
public:
    Timestamp now() override {
        return std::chrono::time_point_cast<std::chrono::microseconds>(std::chrono::system_clock::now());
    }
};

// Reads directly from the kernel: a generator of our own would repeat itself in a forked child.
class SystemRandom final : public RandomSource {
public:
    void fill(std::span<std::byte> bytes) override {
        constexpr std::size_t kBytesAtOnce = 256;  // getentropy's limit
        while (!bytes.empty()) {
            const auto part = bytes.first(std::min(bytes.size(), kBytesAtOnce));
            if (getentropy(part.data(), part.size()) != 0) throw std::system_error(errno, std::generic_category());
            bytes = bytes.subspan(part.size());
        }
    }
};

}  // namespace

void Clock::pause(std::chrono::microseconds duration) {
    std::this_thread::sleep_for(duration);
}

std::string_view to_string(LogLevel level) noexcept {
    switch (level) {
        case LogLevel::kDebug:
            return "debug";
        case LogLevel::kInfo:
            return "info";
        case LogLevel::kWarning:
            return "warning";
        case LogLevel::kError:
            return "error";
    }
    return "error";
}

Runtime Runtime::with_defaults() const {
    Runtime filled = *this;
    if (!filled.clock) filled.clock = std::make_shared<SystemClock>();
    if (!filled.random) filled.random = std::make_shared<SystemRandom>();
    if (!filled.log) filled.log = [](const LogRecord&) {};
    return filled;
}

std::string make_snapshot_id(Clock& clock, RandomSource& random) {
    std::array<std::uint8_t, 16> id{};
    random.fill(std::as_writable_bytes(std::span(id)));
    const auto milliseconds = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(clock.now().time_since_epoch()).count());
    for (std::size_t i = 0; i < 6; ++i) id[i] = static_cast<std::uint8_t>(milliseconds >> (40 - 8 * i));
    id[6] = static_cast<std::uint8_t>((id[6] & 0x0FU) | 0x70U);  // version 7
    id[8] = static_cast<std::uint8_t>((id[8] & 0x3FU) | 0x80U);  // RFC 9562 variant

    constexpr std::string_view kHex = "0123456789abcdef";
    std::string text;
    text.reserve(36);
    for (std::size_t i = 0; i < id.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
        text += kHex[id[i] >> 4U];
        text += kHex[id[i] & 0x0FU];
    }
    return text;
}

}  // namespace cairn
