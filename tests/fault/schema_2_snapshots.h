#pragma once

// The content that tests/fault/data/schema_2.db.zst has beside that of schema 1: chains and metadata. The build of the
// last commit with schema 2 (c599604) migrated the file of schema 1 and added to it. Then it was closed and packed with
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
