#pragma once

// Makes Python objects from values of the engine: plain tuples, from which the package makes its own types. Times are
// whole microseconds since 1970. Texts that hold JSON are strings.

#include <cairn/persistence.h>
#include <cairn/retention.h>
#include <cairn/store.h>

#include <pybind11/pybind11.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

namespace cairn::python {

pybind11::str text_of(std::string_view text);
inline std::int64_t microseconds_of(Timestamp time) {
    return time.time_since_epoch().count();
}
inline Timestamp timestamp_of(std::int64_t microseconds) {
    return Timestamp(std::chrono::microseconds(microseconds));
}

pybind11::tuple tuple_of(const Receipt& receipt);
pybind11::tuple tuple_of(const SaveEvent& event);
pybind11::tuple tuple_of(const SnapshotInfo& info);
pybind11::tuple tuple_of(const RunInfo& run);
pybind11::tuple tuple_of(const ThreadInfo& thread);
pybind11::tuple tuple_of(const ThreadContext& context);
pybind11::tuple tuple_of(const RecoveryResult& result);
pybind11::tuple tuple_of(const RecoveryRecord& record);
pybind11::dict dict_of(const StoreStats& stats);
pybind11::dict dict_of(const CacheStats& stats);
pybind11::dict dict_of(const RetentionReport& report);
pybind11::tuple tuple_of(const CheckReport& report);

}  // namespace cairn::python
