#pragma once

#include <cairn/runtime.h>

namespace cairn::cli {

/// Logs to standard error, one line per record, from `level` on.
LogSink make_log_sink(LogLevel level);

}  // namespace cairn::cli
