#pragma once

// The fixture of the tests of retention: a run with real chains of frames in a memory store, behind a store that fails
// on demand.

#include <cairn/retention.h>

#include <cairn/faulty_store.h>
#include "store/memory/memory_store.h"
#include "support/chained_run.h"
#include "support/make.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <memory>

namespace cairn::test {

inline Versions range(std::int64_t first, std::int64_t last) {
    Versions versions;
    for (; first <= last; ++first) versions.push_back(first);
    return versions;
}

class RetentionBench : public testing::Test {
protected:
    RetentionReport prune_all(const RetentionPolicy& policy, const RetentionOptions& with) {
        const Result<RetentionReport> report = prune(*store, policy, with);
        EXPECT_TRUE(report) << report.error().to_string();
        return report.value_or(RetentionReport{});
    }
    std::size_t chain_frames(std::int64_t version) {
        return memory->get("run", fmt::format("run-{}", version), soon()).value().value().bases.size() + 1;
    }

    std::shared_ptr<Store> memory = make_memory_store();
    std::shared_ptr<FaultyStore> store = std::make_shared<FaultyStore>(memory);
    ChainedRun run{*memory, "run"};
    RetentionOptions options{.runtime = make_runtime()};
};

}  // namespace cairn::test
