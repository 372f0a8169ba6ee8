#include "cli/terminal/log_sink.h"

#include "cli/terminal/output.h"

#include <fmt/format.h>
#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <memory>

namespace cairn::cli {
namespace {

spdlog::level::level_enum to_spdlog(LogLevel level) {
    switch (level) {
        case LogLevel::kDebug:
            return spdlog::level::debug;
        case LogLevel::kInfo:
            return spdlog::level::info;
        case LogLevel::kWarning:
            return spdlog::level::warn;
        case LogLevel::kError:
            break;
    }
    return spdlog::level::err;
}

std::string to_text(const LogRecord& record) {
    std::string text = fmt::format("{}: {}", record.event, record.message);
    for (const auto& [key, value] : record.fields) text += fmt::format(" {}={}", key, value);
    return printable(text);
}

}  // namespace

LogSink make_log_sink(LogLevel level) {
    const auto logger =
        std::make_shared<spdlog::logger>("cairn", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
    logger->set_level(to_spdlog(level));
    logger->set_formatter(std::make_unique<spdlog::pattern_formatter>("%Y-%m-%dT%H:%M:%S.%eZ %n %^%l%$ %v",
                                                                      spdlog::pattern_time_type::utc));
    return [logger](const LogRecord& record) {
        if (logger->should_log(to_spdlog(record.level))) logger->log(to_spdlog(record.level), "{}", to_text(record));
    };
}

}  // namespace cairn::cli
