#include "config/settings.h"

#include "base/file_mode.h"
#include "store/batch_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <functional>
#include <limits>
#include <type_traits>
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

// Accepts only decimal digits.
std::optional<std::uint64_t> read_number(std::string_view text) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return number;
}

// Reads a number with an optional K, M or G (times 1024, 1024², 1024³).
std::optional<std::uint64_t> read_bytes(std::string_view text) {
    constexpr std::string_view kUnits = "kmg";
    const auto unit = text.empty() ? std::string_view::npos : kUnits.find(lower_case(text.substr(text.size() - 1)));
    if (unit == std::string_view::npos) return read_number(text);
    const std::uint64_t factor = 1024ULL << (10 * unit);
    const auto number = read_number(text.substr(0, text.size() - 1));
    if (!number || *number > std::numeric_limits<std::uint64_t>::max() / factor) return std::nullopt;
    return *number * factor;
}

// In these functions, `member` leads from a Config to the value of the setting: a pointer to a member, or a function to
// one within.
template <class Member>
Setting flag(std::string_view variable, Member member, std::string_view description) {
    return {
        .variable = variable,
        .accepts = "true or false (also 1/0, yes/no, on/off)",
        .description = description,
        .read =
            [member](std::string_view text, Config& config) {
                const auto value = read_flag(text);
                if (value) std::invoke(member, config) = *value;
                return value.has_value();
            },
        .print = [member](const Config& config) { return std::string(std::invoke(member, config) ? "true" : "false"); },
    };
}

using NumberReader = std::optional<std::uint64_t> (*)(std::string_view text);

// The common part of `count` and `bytes`: a number in a range, whatever its type in Config.
template <class Member>
Setting number_in_range(std::string_view variable, Member member, std::uint64_t min, std::uint64_t max,
                        NumberReader read_text, const std::string& accepts, std::string_view description) {
    return {
        .variable = variable,
        .accepts = accepts,
        .description = description,
        .read =
            [=](std::string_view text, Config& config) {
                const auto value = read_text(text);
                if (!value || *value < min || *value > max) return false;
                auto& number = std::invoke(member, config);
                number = static_cast<std::remove_reference_t<decltype(number)>>(*value);
                return true;
            },
        .print = [member](const Config& config) { return fmt::format("{}", std::invoke(member, config)); },
    };
}

template <class Member>
Setting count(std::string_view variable, Member member, std::uint64_t min, std::uint64_t max,
              std::string_view description) {
    return number_in_range(variable, member, min, max, read_number,
                           fmt::format("a whole number from {} to {}", min, max), description);
}

template <class Member>
Setting bytes(std::string_view variable, Member member, std::uint64_t min, std::uint64_t max,
              std::string_view description) {
    return number_in_range(
        variable, member, min, max, read_bytes,
        fmt::format("a whole number of bytes from {} to {} (K, M or G after it: times 1024, …)", min, max),
        description);
}

// A rule that can be off. `to_value` and `to_number` convert between the number and the value in Config.
template <class Value, class ToValue, class ToNumber>
Setting rule(std::string_view variable, std::optional<Value> RetentionPolicy::* member, std::uint64_t max,
             ToValue to_value, ToNumber to_number, std::string_view description) {
    return {
        .variable = variable,
        .accepts = fmt::format("a whole number from 1 to {}, or off", max),
        .description = description,
        .read =
            [=](std::string_view text, Config& config) {
                const bool is_off = lower_case(text) == "off";
                const auto number = read_number(text);
                if (!is_off && (!number || *number < 1 || *number > max)) return false;
                config.retention.*member = is_off ? std::nullopt : std::optional<Value>(to_value(*number));
                return true;
            },
        .print =
            [=](const Config& config) {
                const auto& value = config.retention.*member;
                return value ? fmt::format("{}", to_number(*value)) : std::string("off");
            },
    };
}

Setting retention_keep_last() {
    return rule(
        "CAIRN_RETENTION_KEEP_LAST", &RetentionPolicy::keep_last, 1'000'000'000,
        [](std::uint64_t number) { return static_cast<std::size_t>(number); }, [](std::size_t value) { return value; },
        "`cairn prune`: keep a run's newest so many");
}

Setting retention_age() {
    return rule(
        "CAIRN_RETENTION_AGE_DAYS", &RetentionPolicy::age_max, 36'500,
        [](std::uint64_t number) { return std::chrono::days(number); },
        [](std::chrono::microseconds value) { return std::chrono::duration_cast<std::chrono::days>(value).count(); },
        "`cairn prune`: delete what is older");
}

Setting store_url() {
    return {
        .variable = "CAIRN_STORE",
        .accepts = "a store URL: sqlite:PATH or memory:",
        .description = "where snapshots are stored",
        .read =
            [](std::string_view text, Config& config) {
                config.store_url = text;  // its scheme is checked when the store is opened
                return true;
            },
        .print = [](const Config& config) { return without_password(config.store_url); },
    };
}

template <class Member>
Setting milliseconds(std::string_view variable, Member member, std::string_view description) {
    constexpr std::uint64_t kHour = 3'600'000;
    return {
        .variable = variable,
        .accepts = fmt::format("a whole number from 1 to {}", kHour),
        .description = description,
        .read =
            [member](std::string_view text, Config& config) {
                const auto value = read_number(text);
                if (!value || *value < 1 || *value > kHour) return false;
                std::invoke(member, config) = std::chrono::milliseconds(*value);
                return true;
            },
        .print = [member](const Config& config) { return fmt::format("{}", std::invoke(member, config).count()); },
    };
}

Setting durability() {
    return {
        .variable = "CAIRN_DURABILITY",
        .accepts = "sync, async or exit",
        .description = "when a save is acknowledged: on disk, queued, or held until `flush`",
        .read =
            [](std::string_view text, Config& config) {
                const auto value = parse_durability(lower_case(text));
                if (value) config.durability = *value;
                return value.has_value();
            },
        .print = [](const Config& config) { return std::string(to_string(config.durability)); },
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

Setting file_mode() {
    return {
        .variable = "CAIRN_FILE_MODE",
        .accepts = std::string(kFileModesAccepted),
        .description =
            "who may read and write the stores, outputs and event files that are made: 0640 and 0660 let the "
            "group in",
        .read =
            [](std::string_view text, Config& config) {
                const auto mode = parse_file_mode(text);
                if (mode) config.file_mode = *mode;
                return mode.has_value();
            },
        .print = [](const Config& config) { return format_file_mode(config.file_mode); },
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
        flag("OPTIMIZED_PERSISTENCE_COMPRESSION", &Config::enable_compression,
             "store states compressed, and as what changed"),
        flag("OPTIMIZED_PERSISTENCE_MONITORING", &Config::enable_monitoring, "measure latencies"),
        store_url(),
        bytes("CAIRN_CACHE_BYTES_MAX", &Config::cache_max_bytes, 1, kTebibyte, "bytes of states that the cache holds"),
        bytes("CAIRN_STATE_BYTES_MAX", &Config::state_bytes_max, 2, StateLimits::kBytesMaxUpper,
              "the largest state that is accepted"),
        count("CAIRN_STATE_DEPTH_MAX", &Config::state_depth_max, 1, 10'000,
              "the deepest nesting of objects and arrays that is accepted"),
        count(
            "CAIRN_CHAIN_FRAMES_MAX", [](auto& config) -> auto& { return config.chain_limits.frames_max; }, 1,
            kChainFramesUpper, "how many frames a load may have to decode"),
        count(
            "CAIRN_CHAIN_BYTES_PERCENT_MAX",
            [](auto& config) -> auto& { return config.chain_limits.bytes_percent_max; }, 100, 10'000,
            "how large they may be together, in percent of the state's own frame"),
        durability(),
        flag("CAIRN_LATEST_ONLY", &Config::latest_only,
             "a newer state takes the place of an older one of its run that is still queued"),
        flag("CAIRN_IGNORE_KEY_ORDER", &Config::ignore_key_order,
             "skip a save that differs from the run's head in the order of keys alone, too"),
        count(
            "CAIRN_BATCH_SAVES_MAX", [](auto& config) -> auto& { return config.batch_limits.saves_max; }, 1, 100'000,
            "how many saves are committed together"),
        bytes(
            "CAIRN_BATCH_BYTES_MAX", [](auto& config) -> auto& { return config.batch_limits.bytes_max; }, 1, kTebibyte,
            "how large their frames may be together"),
        count(
            "CAIRN_QUEUE_SAVES_MAX", [](auto& config) -> auto& { return config.queue_limits.saves_max; }, 1,
            100'000'000, "how many saves may be queued before others wait"),
        bytes(
            "CAIRN_QUEUE_BYTES_MAX", [](auto& config) -> auto& { return config.queue_limits.bytes_max; }, 1, kTebibyte,
            "how large they may be together"),
        milliseconds(
            "CAIRN_QUEUE_AGE_MAX_MS", [](auto& config) -> auto& { return config.queue_limits.age_max; },
            "how old a run's oldest queued save may be before others of the run wait"),
        retention_keep_last(),
        retention_age(),
        flag(
            "CAIRN_RETENTION_EXPIRED", [](auto& config) -> auto& { return config.retention.expired; },
            "`cairn prune`: delete what has expired"),
        milliseconds("CAIRN_TIMEOUT_MS", &Config::timeout, "how long one call may wait for the store, in milliseconds"),
        log_level(),
        file_mode(),
    };
}

}  // namespace

std::span<const Setting> settings() {
    static const std::vector<Setting> kTable = make_settings();
    return kTable;
}

// Hides too much rather than too little: everything up to the last '@', and a parameter that calls itself a password.
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
