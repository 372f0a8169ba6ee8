#pragma once

// The JSON objects of reports: counts, checks, recoveries, retention, results of pipelines, settings. Like those of
// records, they are part of the interface: add members, never rename one.

#include "wire/json_line.h"

#include <cairn/config.h>
#include <cairn/persistence.h>
#include <cairn/pipeline.h>
#include <cairn/retention.h>
#include <cairn/store.h>

#include <cstdint>
#include <string>

namespace cairn {

/// Returns the bytes of all states divided by those of their frames; 0 for an empty store.
double compression_ratio(const StoreStats& stats);

/// The use of a store's bytes. Quotients are 0 if there is nothing to divide by.
struct StorageFigures {
    explicit StorageFigures(const StoreStats& stats);

    std::uint64_t full_frames;
    std::uint64_t full_bytes;
    std::uint64_t overhead_bytes;  ///< All bytes on disk that are not frames.
    double overhead_per_snapshot;
    double state_to_payload;
    double state_to_store;
};

/// Objects to put into others: the counts of a store, and where its bytes go.
Json stats_object(const StoreStats& stats);
Json storage_object(const StoreStats& stats);

/// With its steps. The error is that of the pipeline, or else that of a state that is not saved; null: none.
Json result_object(const PipelineResult& result);
Json entry_object(const ConfigEntry& entry);

/// One line each. `deep`: every state was decoded.
std::string to_json(const CheckReport& report, bool deep);
/// Without the state.
std::string to_json(const StateRecoveryRequest& request, const RecoveryResult& result);
std::string to_json(const RetentionReport& report, bool dry_run);

}  // namespace cairn
