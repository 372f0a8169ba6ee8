// Goal: a frame that needs others is stored with its base, and is read with all frames that it needs, as of one moment.
// No order of writes, rewrites, deletions and reads ever breaks a chain.
// Method: frames are plain words here, because a store never looks into them; versions and words are compared. For
// refusals, the whole store is read before and after.

#include "conformance/store_conformance.h"

#include <fmt/format.h>

#include <atomic>
#include <latch>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace cairn::test {
namespace {

// Returns the versions of the frames that a snapshot came with, its own last. Expects each to be the word that was
// stored for it.
std::vector<std::int64_t> chain_of(Store& store, const std::string& run_id, std::int64_t version) {
    const auto snapshot = store.get(run_id, fmt::format("{}-{}", run_id, version), soon()).value().value();
    std::vector<std::int64_t> versions;
    std::int64_t needed = 0;
    for (const BaseFrame& base : snapshot.bases) {
        EXPECT_EQ(base.base_version, needed) << "of version " << base.version;
        EXPECT_EQ(base.frame, frame_of(run_id, base.version, base.base_version));
        needed = base.version;
        versions.push_back(base.version);
    }
    EXPECT_EQ(snapshot.info.base_version, needed);
    EXPECT_EQ(snapshot.frame, frame_of(run_id, version, needed));
    versions.push_back(version);
    return versions;
}

using Versions = std::vector<std::int64_t>;

// ---- bases ----

TEST_P(StoreConformance, AChainComesWithItsSelfContainedFrameFirst) {
    add_chain("run", {0, 1, 2, 3});
    EXPECT_EQ(chain_of(store(), "run", 1), (Versions{1}));
    EXPECT_EQ(chain_of(store(), "run", 2), (Versions{1, 2}));
    EXPECT_EQ(chain_of(store(), "run", 4), (Versions{1, 2, 3, 4}));
    EXPECT_EQ(store().get("run", std::nullopt, soon()).value().value().bases.size(), 3U);
}

TEST_P(StoreConformance, ABaseMayBeAnyOlderVersionOfTheRun) {
    add_chain("run", {0, 1, 0, 2, 3, 1, 6, 4});
    EXPECT_EQ(chain_of(store(), "run", 3), (Versions{3}));
    EXPECT_EQ(chain_of(store(), "run", 5), (Versions{3, 5}));
    EXPECT_EQ(chain_of(store(), "run", 7), (Versions{1, 6, 7}));
    EXPECT_EQ(chain_of(store(), "run", 8), (Versions{1, 2, 4, 8}));
}

TEST_P(StoreConformance, EveryFieldOfABaseIsItsSnapshots) {
    add_chain("run", {0, 1});
    Snapshot fork = make_delta("run", 3, 2);
    fork.info.parent_version = 1;
    ASSERT_TRUE(is_ok(commit(fork)));
    ASSERT_TRUE(is_ok(commit(make_delta("run", 4, 3))));
    const auto bases = store().get("run", "run-4", soon()).value().value().bases;
    ASSERT_EQ(bases.size(), 3U);
    EXPECT_EQ(bases[2].version, 3);
    EXPECT_EQ(bases[2].base_version, 2);
    EXPECT_EQ(bases[2].frame, frame_of("run", 3, 2));
    EXPECT_EQ(bases[0].version, 1);
    EXPECT_EQ(bases[0].base_version, 0);
    EXPECT_EQ(bases[0].frame, frame_of("run", 1, 0));
}

TEST_P(StoreConformance, BasesAreTakenFromTheStoreAndNotFromTheWriter) {
    add_chain("run", {0});
    Snapshot snapshot = make_delta("run", 2, 1);
    snapshot.bases.push_back({.version = 1, .frame = "invented"});
    ASSERT_TRUE(is_ok(commit(snapshot)));
    EXPECT_EQ(chain_of(store(), "run", 2), (Versions{1, 2}));
}

TEST_P(StoreConformance, ALongChainIsReadWhole) {
    constexpr std::int64_t kVersions = 300;
    RunBatch batch{.run_id = "run"};
    for (std::int64_t version = 1; version <= kVersions; ++version) {
        batch.writes.push_back(make_write(make_delta("run", version, version - 1)));
    }
    ASSERT_TRUE(is_ok(commit(batch)));
    EXPECT_EQ(chain_of(store(), "run", kVersions).size(), kVersions);
    EXPECT_EQ(store().stats(soon()).value().chain_frames_max, kVersions);
}

TEST_P(StoreConformance, FramesAreReadByTheirVersionsInTheOrderAskedForAndOfTheirRunAlone) {
    add_chain("run", {0, 1, 2});
    add_chain("other", {0});
    const std::vector<BaseFrame> frames = store().frames("run", std::vector<std::int64_t>{3, 9, 1}, soon()).value();
    ASSERT_EQ(frames.size(), 2U);
    EXPECT_EQ(frames[0].version, 3);
    EXPECT_EQ(frames[0].base_version, 2);
    EXPECT_EQ(frames[0].frame, store().get("run", "run-3", soon()).value().value().frame);
    EXPECT_EQ(frames[1].version, 1);
    EXPECT_EQ(frames[1].base_version, 0);
    EXPECT_TRUE(store().frames("run", {}, soon()).value().empty());
    EXPECT_TRUE(store().frames("nobody", std::vector<std::int64_t>{1}, soon()).value().empty());
}

TEST_P(StoreConformance, ABaseMustBeThere) {
    add_chain("run", {0, 1});
    add_chain("other", {0, 1, 2});
    const auto before = everything(store());
    Snapshot snapshot = make_delta("run", 5, 3);  // other's version 3 is no base of run's
    EXPECT_EQ(error_code(commit(RunBatch{.run_id = "run", .writes = {{.snapshot = snapshot, .expected_version = 2}}})),
              ErrorCode::kConflict);
    EXPECT_EQ(error_code(commit(RunBatch{.run_id = "new", .writes = {{.snapshot = make_delta("new", 2, 1)}}})),
              ErrorCode::kConflict);
    EXPECT_EQ(everything(store()), before);
}

TEST_P(StoreConformance, ABaseIsAnOlderVersionOrNone) {
    add_chain("run", {0, 1});
    for (const std::int64_t base : {-1, 3, 4}) {
        EXPECT_EQ(error_code(commit(make_delta("run", 3, base))), ErrorCode::kInvalidArgument) << base;
        const FrameRewrite rewrite{.version = 2, .base_version = base < 0 ? base : base - 1};
        EXPECT_EQ(error_code(commit(RunBatch{.run_id = "run", .rewrites = {rewrite}})), ErrorCode::kInvalidArgument)
            << base;
    }
}

TEST_P(StoreConformance, AWriteOfTheSameBatchIsABase) {
    ASSERT_TRUE(
        is_ok(commit(RunBatch{.run_id = "run",
                              .writes = {make_write(make_delta("run", 1, 0)), make_write(make_delta("run", 2, 1)),
                                         make_write(make_delta("run", 3, 1))}})));
    EXPECT_EQ(chain_of(store(), "run", 3), (Versions{1, 3}));
}

TEST_P(StoreConformance, ABaseThatIsNamedMustBeTheOneNamed) {
    add_chain("run", {0});
    SnapshotWrite write = make_write(make_delta("run", 2, 1));
    write.base_snapshot_id = "of the run that was here before";
    EXPECT_EQ(error_code(commit(RunBatch{.run_id = "run", .writes = {write}})), ErrorCode::kConflict);
    write.base_snapshot_id = "run-1";
    EXPECT_TRUE(is_ok(commit(RunBatch{.run_id = "run", .writes = {write}})));

    for (const std::string uuid : {"019b7ca9-94bb-7f14-86a6-97f616299b40", "019b7ca9-94bb-7f14-86a6-97f616299b41"}) {
        Snapshot base = make_delta("ids", uuid.back() == '0' ? 1 : 2, 0);
        base.info.snapshot_id = uuid;
        ASSERT_TRUE(is_ok(commit(base)));
    }
    write = make_write(make_delta("ids", 3, 2));
    write.base_snapshot_id = "019b7ca9-94bb-7f14-86a6-97f616299b40";
    EXPECT_EQ(error_code(commit(RunBatch{.run_id = "ids", .writes = {write}})), ErrorCode::kConflict)
        << "that is version 1";
    write.base_snapshot_id = "019b7ca9-94bb-7f14-86a6-97f616299b41";
    EXPECT_TRUE(is_ok(commit(RunBatch{.run_id = "ids", .writes = {write}})));
}

TEST_P(StoreConformance, ABaseMustHaveTheStateThatIsNamed) {
    add_chain("run", {0, 1});
    const Checksum other{.high = 1, .low = 2};
    const Checksum own = store().get("run", "run-1", soon()).value()->info.checksum;
    SnapshotWrite write = make_write(make_delta("run", 3, 1));
    write.base_checksum = other;
    EXPECT_EQ(error_code(commit(RunBatch{.run_id = "run", .writes = {write}})), ErrorCode::kConflict);
    write.base_checksum = own;
    EXPECT_TRUE(is_ok(commit(RunBatch{.run_id = "run", .writes = {write}})));

    FrameRewrite rewrite{.version = 3, .base_version = 0, .frame = "whole", .checksum = other};
    EXPECT_EQ(error_code(commit(RunBatch{.run_id = "run", .rewrites = {rewrite}})), ErrorCode::kConflict);
    rewrite.checksum = write.snapshot.info.checksum;
    EXPECT_TRUE(is_ok(commit(RunBatch{.run_id = "run", .rewrites = {rewrite}})));
    rewrite.base_version = 1;
    rewrite.base_checksum = other;
    EXPECT_EQ(error_code(commit(RunBatch{.run_id = "run", .rewrites = {rewrite}})), ErrorCode::kConflict);
    rewrite.base_checksum = own;
    EXPECT_TRUE(is_ok(commit(RunBatch{.run_id = "run", .rewrites = {rewrite}})));
}

// ---- forks ----

TEST_P(StoreConformance, AForkGrowsFromAnyOlderVersionAndIsTheHead) {
    add_chain("run", {0, 1, 2, 3});
    Snapshot fork = make_delta("run", 5, 2);
    fork.info.parent_version = 2;
    ASSERT_TRUE(is_ok(commit(fork)));
    EXPECT_EQ(head_version("run"), 5);
    const SnapshotInfo info = store().get("run", std::nullopt, soon()).value().value().info;
    EXPECT_EQ(info.parent_version, 2);
    EXPECT_EQ(info.base_version, 2);
    EXPECT_EQ(store().stats(soon()).value().forks, 1U);
    add_chain("run", {5}, 6);
    EXPECT_EQ(chain_of(store(), "run", 6), (Versions{1, 2, 5, 6}));
    EXPECT_EQ(chain_of(store(), "run", 4), (Versions{1, 2, 3, 4})) << "the other branch stays";
    EXPECT_EQ(store().stats(soon()).value().forks, 1U);
}

// ---- rewrites ----

FrameRewrite rewrite_to(const std::string& run_id, std::int64_t version, std::int64_t base_version) {
    return {.version = version, .base_version = base_version, .frame = frame_of(run_id, version, base_version)};
}

TEST_P(StoreConformance, ARewriteChangesTheFrameAndItsNeedAndNothingElse) {
    add_chain("run", {0, 1, 2, 3});
    SnapshotInfo wanted = store().get("run", "run-3", soon()).value().value().info;
    const Head head = store().head("run", soon()).value().value();
    ASSERT_TRUE(is_ok(commit(RunBatch{.run_id = "run", .rewrites = {rewrite_to("run", 3, 0)}})));
    EXPECT_EQ(chain_of(store(), "run", 3), (Versions{3}));
    EXPECT_EQ(chain_of(store(), "run", 4), (Versions{3, 4}));
    wanted.base_version = 0;
    wanted.frame_bytes = frame_of("run", 3, 0).size();
    EXPECT_EQ(describe(store().get("run", "run-3", soon()).value().value().info), describe(wanted));
    EXPECT_EQ(describe(store().head("run", soon()).value().value()), describe(head));
}

TEST_P(StoreConformance, AHeadIsRewrittenLikeAnyOther) {
    add_chain("run", {0, 1, 2});
    ASSERT_TRUE(is_ok(commit(RunBatch{.run_id = "run", .rewrites = {rewrite_to("run", 3, 1)}})));
    EXPECT_EQ(chain_of(store(), "run", 3), (Versions{1, 3}));
    add_chain("run", {3}, 4);
    EXPECT_EQ(chain_of(store(), "run", 4), (Versions{1, 3, 4}));
}

TEST_P(StoreConformance, RewritesAreAppliedInOrderAndAfterTheWrites) {
    add_chain("run", {0, 1});
    RunBatch batch{.run_id = "run", .writes = {make_write(make_delta("run", 3, 2))}};
    batch.rewrites = {rewrite_to("run", 3, 0), rewrite_to("run", 3, 1), rewrite_to("run", 2, 0)};
    ASSERT_TRUE(is_ok(commit(batch)));
    EXPECT_EQ(chain_of(store(), "run", 3), (Versions{1, 3}));
    EXPECT_EQ(chain_of(store(), "run", 2), (Versions{2}));
}

TEST_P(StoreConformance, AFrameIsRewrittenToAnySize) {
    add_chain("run", {0, 1, 2});
    for (const std::size_t bytes : {std::size_t{100'000}, std::size_t{0}, std::size_t{9000}, std::size_t{1}}) {
        FrameRewrite rewrite{.version = 2, .frame = std::string(bytes, 'f')};
        ASSERT_TRUE(is_ok(commit(RunBatch{.run_id = "run", .rewrites = {rewrite}})));
        const Snapshot snapshot = store().get("run", "run-2", soon()).value().value();
        EXPECT_EQ(snapshot.frame, rewrite.frame);
        EXPECT_EQ(snapshot.info.frame_bytes, bytes);
        EXPECT_EQ(store().get("run", "run-3", soon()).value().value().bases.at(0).frame, rewrite.frame);
    }
}

TEST_P(StoreConformance, ASnapshotToBeRewrittenAndItsBaseMustBeThere) {
    add_chain("run", {0, 1, 2});
    ASSERT_TRUE(is_ok(
        commit(RunBatch{.run_id = "run", .writes = {{.snapshot = make_delta("run", 9, 3), .expected_version = 3}}})));
    const auto before = everything(store());
    EXPECT_EQ(error_code(commit(RunBatch{.run_id = "other", .rewrites = {rewrite_to("other", 1, 0)}})),
              ErrorCode::kConflict);
    for (const FrameRewrite& rewrite : {rewrite_to("run", 7, 0), rewrite_to("run", 9, 7)}) {
        EXPECT_EQ(error_code(commit(RunBatch{.run_id = "run", .rewrites = {rewrite_to("run", 2, 0), rewrite}})),
                  ErrorCode::kConflict);
    }
    FrameRewrite named = rewrite_to("run", 3, 0);
    named.snapshot_id = "run-2";
    EXPECT_EQ(error_code(commit(RunBatch{.run_id = "run", .rewrites = {named}})), ErrorCode::kConflict);
    EXPECT_EQ(error_code(commit(RunBatch{.rewrites = {rewrite_to("", 3, 0)}})), ErrorCode::kInvalidArgument);
    EXPECT_EQ(everything(store()), before);
    named.snapshot_id = "run-3";
    EXPECT_TRUE(is_ok(commit(RunBatch{.run_id = "run", .rewrites = {named}})));
}

// ---- readers beside writers ----

// Reads the run's head with its chain. Returns what is wrong with it, in words, or nothing.
std::string read_whole_chain(Store& store) {
    const auto snapshot = store.get("run", std::nullopt, soon());
    if (!snapshot) return snapshot.error().to_string();
    std::int64_t needed = 0;
    for (const BaseFrame& base : (*snapshot)->bases) {
        if (base.base_version != needed) return fmt::format("version {} came without its base", base.version);
        if (base.frame != frame_of("run", base.version, needed)) return fmt::format("torn version {}", base.version);
        needed = base.version;
    }
    if ((*snapshot)->info.base_version != needed) return "the head came without its base";
    if ((*snapshot)->frame != frame_of("run", (*snapshot)->info.version, needed)) return "a torn head";
    return "";
}

TEST_P(StoreConformance, ReadersSeeWholeChainsWhileFramesAreRewrittenAndDeleted) {
    constexpr std::int64_t kRounds = 60;
    constexpr std::int64_t kKept = 5;
    add_chain("run", {0, 1, 2, 3, 4});
    std::atomic<bool> writing = true;
    std::string write_problem;
    std::string read_problems[2];
    std::latch start(3);
    {
        std::vector<std::jthread> readers;
        for (std::string& problem : read_problems) {
            readers.emplace_back([&] {
                start.arrive_and_wait();
                while (writing && problem.empty()) problem = read_whole_chain(store());
            });
        }
        start.arrive_and_wait();
        for (std::int64_t head = kKept; head < kKept + kRounds && write_problem.empty(); ++head) {
            Status status = commit(make_delta("run", head + 1, head));
            // Delete the oldest, and make the one above it self-contained.
            const std::int64_t oldest = head - kKept + 1;
            if (status) {
                status = commit(RunBatch{.run_id = "run",
                                         .rewrites = {rewrite_to("run", oldest + 1, 0)},
                                         .deletions = {{.version = oldest}}});
            }
            if (!status) write_problem = status.error().to_string();
        }
        writing = false;
    }
    EXPECT_EQ(write_problem, "");
    for (const std::string& problem : read_problems) EXPECT_EQ(problem, "");
    EXPECT_EQ(chain_of(store(), "run", kRounds + kKept).size(), kKept);
}

}  // namespace
}  // namespace cairn::test
