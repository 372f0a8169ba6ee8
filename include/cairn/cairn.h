#pragma once

// All of cairn's public API, except the nlohmann::json adapters (cairn/state_json.h).

#include <cairn/async_store.h>      // IWYU pragma: export
#include <cairn/call_executor.h>    // IWYU pragma: export
#include <cairn/checksum.h>         // IWYU pragma: export
#include <cairn/config.h>           // IWYU pragma: export
#include <cairn/dotenv.h>           // IWYU pragma: export
#include <cairn/error.h>            // IWYU pragma: export
#include <cairn/persistence.h>      // IWYU pragma: export
#include <cairn/pipeline.h>         // IWYU pragma: export
#include <cairn/pipeline_events.h>  // IWYU pragma: export
#include <cairn/retention.h>        // IWYU pragma: export
#include <cairn/run_events.h>       // IWYU pragma: export
#include <cairn/run_lease.h>        // IWYU pragma: export
#include <cairn/runtime.h>          // IWYU pragma: export
#include <cairn/state.h>            // IWYU pragma: export
#include <cairn/store.h>            // IWYU pragma: export
#include <cairn/types.h>            // IWYU pragma: export
