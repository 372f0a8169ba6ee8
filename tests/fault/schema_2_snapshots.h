#pragma once

// What tests/fault/data/schema_2.db.zst holds beside that of schema 1: chains and metadata. The file is that of schema
// 1, migrated and grown by the build of the last commit that had schema 2 (c599604), closed, and packed with
// `zstd -19`. It is never written again.

#include "support/make.h"

#include <fmt/format.h>

#include <vector>

namespace cairn::test {

inline std::vector<Snapshot> schema_2_snapshots() {
    std::vector<Snapshot> snapshots;
    for (std::int64_t version = 1; version <= 4; ++version) {
        Snapshot snapshot = make_snapshot("tree", version);
        snapshot.info.base_version = version == 4 ? 2 : version - 1;
        snapshot.info.parent_version = snapshot.info.base_version;
        snapshot.info.metadata = fmt::format(R"({{"step":{}}})", version);
        snapshot.frame = fmt::format("tree {} on {}", version, snapshot.info.base_version);
        snapshots.push_back(std::move(snapshot));
    }
    return snapshots;
}

}  // namespace cairn::test
