#include "config/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <vector>

namespace cairn {
namespace {

std::string lower_case(std::string_view text) {
    std::string lower(text);
    std::ranges::transform(lower, lower.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return lower;
}

std::optional<bool> read_flag(std::string_view text) {
    const std::string word = lower_case(text);
    if (word == "true" || word == "1" || word == "yes" || word == "on") return true;
    if (word == "false" || word == "0" || word == "no" || word == "off") return false;
    return std::nullopt;
}

// Decimal digits and nothing else.
std::optional<std::uint64_t> read_number(std::string_view text) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return number;
}

// A number with an optional K, M or G (times 1024, 1024², 1024³).
std::optional<std::uint64_t> read_bytes(std::string_view text) {
    constexpr std::string_view kUnits = "kmg";
    const auto unit = text.empty() ? std::string_view::npos : kUnits.find(lower_case(text.substr(text.size() - 1)));
    if (unit == std::string_view::npos) return read_number(text);
    const std::uint64_t factor = 1024ULL << (10 * unit);
    const auto number = read_number(text.substr(0, text.size() - 1));
    if (!number || *number > std::numeric_limits<std::uint64_t>::max() / factor) return std::nullopt;
    return *number * factor;
}

Setting flag(std::string_view variable, bool Config::* member, std::string_view description) {
    return {
        .variable = variable,
        .accepts = "true or false (also 1/0, yes/no, on/off)",
        .description = description,
        .read =
            [member](std::string_view text, Config& config) {
                const auto value = read_flag(text);
                if (value) config.*member = *value;
                return value.has_value();
            },
        .print = [member](const Config& config) { return std::string(config.*member ? "true" : "false"); },
    };
}

using NumberReader = std::optional<std::uint64_t> (*)(std::string_view text);

// What is common to `count` and `bytes`: a number in a range, whatever its type in Config.
template <class Number>
Setting number_in_range(std::string_view variable, Number Config::* member, std::uint64_t min, std::uint64_t max,
                        NumberReader read_text, std::string accepts, std::string_view description) {
    return {
        .variable = variable,
        .accepts = std::move(accepts),
        .description = description,
        .read =
            [=](std::string_view text, Config& config) {
                const auto value = read_text(text);
                if (!value || *value < min || *value > max) return false;
                config.*member = static_cast<Number>(*value);
                return true;
            },
        .print = [member](const Config& config) { return fmt::format("{}", config.*member); },
    };
}

template <class Number>
Setting count(std::string_view variable, Number Config::* member, std::uint64_t min, std::uint64_t max,
              std::string_view description) {
    return number_in_range(variable, member, min, max, read_number,
                           fmt::format("a whole number from {} to {}", min, max), description);
}

template <class Number>
Setting bytes(std::string_view variable, Number Config::* member, std::uint64_t min, std::uint64_t max,
              std::string_view description) {
    return number_in_range(
        variable, member, min, max, read_bytes,
        fmt::format("a whole number of bytes from {} to {} (K, M or G after it: times 1024, …)", min, max),
        description);
}

Setting store_url() {
    return {
        .variable = "CAIRN_STORE",
        .accepts = "a store URL: sqlite:PATH or memory:",
        .description = "where snapshots are stored",
        .read =
            [](std::string_view text, Config& config) {
                config.store_url = text;  // its scheme is looked at when it is opened
                return true;
            },
        .print = [](const Config& config) { return without_password(config.store_url); },
    };
}

Setting timeout() {
    constexpr std::uint64_t kHour = 3'600'000;
    return {
        .variable = "CAIRN_TIMEOUT_MS",
        .accepts = fmt::format("a whole number from 1 to {}", kHour),
        .description = "how long one call may wait for the store, in milliseconds",
        .read =
            [](std::string_view text, Config& config) {
                const auto value = read_number(text);
                if (!value || *value < 1 || *value > kHour) return false;
                config.timeout = std::chrono::milliseconds(*value);
                return true;
            },
        .print = [](const Config& config) { return fmt::format("{}", config.timeout.count()); },
    };
}

Setting log_level() {
    return {
        .variable = "CAIRN_LOG_LEVEL",
        .accepts = "debug, info, warning or error",
        .description = "the least important messages that are logged",
        .read =
            [](std::string_view text, Config& config) {
                constexpr std::array kLevels{LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarning, LogLevel::kError};
                const std::string word = lower_case(text);
                const auto* level = std::ranges::find_if(kLevels, [&](LogLevel l) { return to_string(l) == word; });
                if (level == kLevels.end()) return false;
                config.log_level = *level;
                return true;
            },
        .print = [](const Config& config) { return std::string(to_string(config.log_level)); },
    };
}

std::vector<Setting> make_settings() {
    constexpr std::uint64_t kTebibyte = 1ULL << 40;
    return {
        flag("ENABLE_OPTIMIZED_PERSISTENCE", &Config::enable_optimized_persistence,
             "main switch: the optimised service instead of the standard one"),
        count("OPTIMIZED_PERSISTENCE_CACHE_SIZE", &Config::cache_max_size, 1, 1'000'000'000,
              "heads that the cache holds, the least recently used leaves first"),
        flag("OPTIMIZED_PERSISTENCE_DEDUPLICATION", &Config::enable_deduplication,
             "skip a save that equals the run's head"),
        flag("OPTIMIZED_PERSISTENCE_COMPRESSION", &Config::enable_compression, "store states compressed"),
        flag("OPTIMIZED_PERSISTENCE_MONITORING", &Config::enable_monitoring, "measure latencies"),
        store_url(),
        bytes("CAIRN_CACHE_BYTES_MAX", &Config::cache_max_bytes, 1, kTebibyte, "bytes of states that the cache holds"),
        bytes("CAIRN_STATE_BYTES_MAX", &Config::state_bytes_max, 2, StateLimits::kBytesMaxUpper,
              "the largest state that is accepted"),
        count("CAIRN_STATE_DEPTH_MAX", &Config::state_depth_max, 1, 10'000,
              "the deepest nesting of objects and arrays that is accepted"),
        timeout(),
        log_level(),
    };
}

}  // namespace

std::span<const Setting> settings() {
    static const std::vector<Setting> table = make_settings();
    return table;
}

// Rather too much is hidden than too little: up to the last '@', and whatever calls itself a password.
std::string without_password(std::string_view url) {
    std::string text(url);
    const auto authority = text.find("://");
    const auto at = text.rfind('@');
    if (authority != std::string::npos && at != std::string::npos && at > authority) {
        const auto colon = text.find(':', authority + 3);
        if (colon < at) text.replace(colon + 1, at - colon - 1, "***");
    }
    constexpr std::string_view kParameter = "password=";
    const auto parameter = text.find(kParameter);
    if (parameter != std::string::npos) {
        const auto value = parameter + kParameter.size();
        text.replace(value, std::min(text.find_first_of("& ", value), text.size()) - value, "***");
    }
    return text;
}

}  // namespace cairn
