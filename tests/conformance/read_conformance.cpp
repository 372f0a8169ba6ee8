// Goal: every committed field is read back exactly, and only under its run. History answers every query.
// Method: round trips of each field with hostile values. History queries drawn from a seed, each compared with the
// answer of a plain loop.

#include "conformance/store_conformance.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace cairn::test {
namespace {

using Order = HistoryQuery::Order;

constexpr std::size_t kAll = std::numeric_limits<std::size_t>::max();

const std::vector<std::string>& hostile_ids() {
    static const std::vector<std::string> ids{"x",
                                              "run",
                                              "Run",
                                              "run ",
                                              " run",
                                              "'; DROP TABLE runs; --",
                                              "\"quoted\"",
                                              "back\\slash",
                                              "100%_*?[a-z]",
                                              "a/b:c|d,e",
                                              "0",
                                              "007",
                                              "7",
                                              "1e3",
                                              "NULL",
                                              "\xC3\xA9",   // é as one code point
                                              "e\xCC\x81",  // é as two
                                              "\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E",
                                              "\xF0\x9F\xA6\x8A",
                                              std::string(255, 'l')};
    return ids;
}

// Makes a snapshot with no field at its default.
Snapshot full_snapshot() {
    Snapshot snapshot = make_snapshot("run", 1);
    snapshot.info.checkpoint_type = CheckpointType("it's \"odd\"");
    snapshot.info.agent_phase = AgentPhase("\xE6\x97\xA5 phase");
    snapshot.info.is_recovery_point = true;
    snapshot.info.expires_at = kEpoch + std::chrono::hours(24);
    snapshot.info.state_bytes = (1ULL << 32) + 5;
    snapshot.info.checksum = {.high = ~0ULL, .low = 1ULL << 63};
    snapshot.info.execution_context = R"({"model":"m","note":"it's \"quoted\" \u0000"})";
    snapshot.info.metadata = R"({"region":"eu","nested":{"a":[1]},"note":"\ud800 \u0000"})";
    return snapshot;
}

TEST_P(StoreConformance, EveryFieldOfASnapshotComesBack) {
    const Snapshot snapshot = full_snapshot();
    ASSERT_TRUE(is_ok(commit(snapshot)));
    const Snapshot loaded = store().get("run", "run-1", soon()).value().value();
    EXPECT_EQ(describe(loaded.info), describe(snapshot.info));
    EXPECT_EQ(loaded.frame, snapshot.frame);
    EXPECT_EQ(describe(store().history({.run_id = "run"}, soon()).value()), describe(std::vector{snapshot.info}));
}

TEST_P(StoreConformance, AbsentFieldsComeBackAbsent) {
    const Snapshot snapshot = make_snapshot("run", 1);
    ASSERT_TRUE(is_ok(commit(snapshot)));
    const SnapshotInfo info = store().get("run", "run-1", soon()).value().value().info;
    EXPECT_EQ(info.expires_at, std::nullopt);
    EXPECT_EQ(info.agent_phase.name(), "");
    EXPECT_EQ(info.execution_context, "");
    EXPECT_EQ(info.metadata, "");
    EXPECT_EQ(info.base_version, 0);
    EXPECT_FALSE(info.is_recovery_point);
    EXPECT_EQ(describe(info), describe(snapshot.info));
    EXPECT_EQ(store().head("run", soon()).value().value().expires_at, std::nullopt);
}

TEST_P(StoreConformance, EveryFieldOfAHeadIsItsSnapshots) {
    const SnapshotInfo info = full_snapshot().info;
    ASSERT_TRUE(is_ok(commit(full_snapshot())));
    const Head wanted{.thread_id = info.thread_id,
                      .user_id = info.user_id,
                      .snapshot_id = info.snapshot_id,
                      .version = info.version,
                      .state_bytes = info.state_bytes,
                      .checksum = info.checksum,
                      .expires_at = info.expires_at};
    EXPECT_EQ(describe(store().head("run", soon()).value().value()), describe(wanted));

    ASSERT_TRUE(is_ok(commit(make_snapshot("run", 2))));  // without expires_at; that of the old head must not stay
    EXPECT_EQ(store().head("run", soon()).value().value().expires_at, std::nullopt);
    EXPECT_EQ(store().head("run", soon()).value().value().checksum, make_snapshot("run", 2).info.checksum);
}

TEST_P(StoreConformance, ExtremeTimesComeBack) {
    std::int64_t version = 0;
    for (const Timestamp time :
         {Timestamp::min(), Timestamp::max(), Timestamp{}, Timestamp(std::chrono::microseconds(-1))}) {
        Snapshot snapshot = make_snapshot("run", ++version);
        snapshot.info.created_at = time;
        snapshot.info.expires_at = time;
        ASSERT_TRUE(is_ok(commit(snapshot)));
        const SnapshotInfo info = store().get("run", snapshot.info.snapshot_id, soon()).value().value().info;
        EXPECT_EQ(info.created_at, time);
        EXPECT_EQ(info.expires_at, time);
        EXPECT_EQ(store().head("run", soon()).value().value().expires_at, time);
        EXPECT_EQ(all_runs(store()).at(0).updated_at, time);
    }
    EXPECT_EQ(all_runs(store()).at(0).created_at, Timestamp::min());
}

TEST_P(StoreConformance, IdsAreBytesAndNeverConfused) {
    for (const std::string& id : hostile_ids()) {
        Snapshot snapshot = make_snapshot(id, 1, fmt::format(R"({{"bytes":{}}})", id.size()));
        snapshot.info.thread_id = id;
        snapshot.info.user_id = id;
        snapshot.info.snapshot_id = id;
        ASSERT_TRUE(is_ok(commit(snapshot))) << id;
    }
    EXPECT_EQ(all_runs(store()).size(), hostile_ids().size());
    EXPECT_EQ(all_threads(store()).size(), hostile_ids().size());
    for (const std::string& id : hostile_ids()) {
        EXPECT_EQ(store().get(id, id, soon()).value().value().info.run_id, id);
        EXPECT_EQ(store().head(id, soon()).value().value().snapshot_id, id);
        EXPECT_EQ(all_runs(store(), {.thread_id = id}).size(), 1U) << id;
        EXPECT_EQ(all_runs(store(), {.user_id = id}).size(), 1U) << id;
        EXPECT_EQ(all_threads(store(), {.user_id = id}).size(), 1U) << id;
        EXPECT_EQ(store().history({.run_id = id, .thread_id = id, .user_id = id}, soon()).value().size(), 1U) << id;
    }
}

TEST_P(StoreConformance, FramesAreBytesOfAnyLength) {
    std::string all_bytes;
    for (int byte = 0; byte < 256; ++byte) all_bytes += static_cast<char>(byte);
    std::string large(5U << 20, '\0');
    std::mt19937_64 random(5);
    for (char& byte : large) byte = static_cast<char>(random());

    std::int64_t version = 0;
    for (const std::string& frame :
         {std::string(), std::string(1, '\0'), all_bytes, std::string(4096, '\xFF'), large}) {
        Snapshot snapshot = make_snapshot("run", ++version);
        snapshot.frame = frame;
        ASSERT_TRUE(is_ok(commit(snapshot)));
        const Snapshot loaded = store().get("run", std::nullopt, soon()).value().value();
        EXPECT_TRUE(loaded.frame == frame) << frame.size() << " bytes";  // EXPECT_EQ would print them
        EXPECT_EQ(loaded.info.frame_bytes, frame.size());
    }
}

TEST_P(StoreConformance, WithoutAnIdTheHeadIsRead) {
    add_versions("run", 1, 3);
    EXPECT_EQ(store().get("run", std::nullopt, soon()).value().value().info.version, 3);
    EXPECT_EQ(store().get("run", "run-2", soon()).value().value().info.version, 2);
}

TEST_P(StoreConformance, AbsenceIsNoError) {
    add_versions("run", 1, 1);
    EXPECT_EQ(store().head("other", soon()).value(), std::nullopt);
    EXPECT_FALSE(store().get("other", std::nullopt, soon()).value());
    EXPECT_FALSE(store().get("other", "run-1", soon()).value());
    EXPECT_FALSE(store().get("run", "run-2", soon()).value());
    EXPECT_FALSE(store().get("run", "", soon()).value()) << "an empty id is an id that no snapshot has";
    EXPECT_FALSE(store().get("", std::nullopt, soon()).value());
    EXPECT_TRUE(store().history({.run_id = "other"}, soon()).value().empty());
    EXPECT_TRUE(store().recovery_log("other", 10, soon()).value().empty());
}

TEST_P(StoreConformance, ASnapshotIsOnlyFoundUnderItsRun) {
    add_versions("mine", 1, 2);
    add_versions("yours", 1, 2);
    EXPECT_FALSE(store().get("yours", "mine-1", soon()).value());
    EXPECT_FALSE(store().get("mine", "yours-2", soon()).value());
    EXPECT_TRUE(store().get("mine", "mine-1", soon()).value());
}

// ---- history ----

TEST_P(StoreConformance, HistoryIsNewestFirstUnlessAskedOtherwise) {
    add_versions("run", 1, 5);
    add_versions("other", 1, 3);
    const auto versions = [this](const HistoryQuery& query) {
        std::vector<std::int64_t> found;
        const auto history = store().history(query, soon()).value();
        for (const SnapshotInfo& info : history) found.push_back(info.version);
        return found;
    };
    EXPECT_EQ(versions({.run_id = "run"}), (std::vector<std::int64_t>{5, 4, 3, 2, 1}));
    EXPECT_EQ(versions({.run_id = "run", .order = Order::kOldestFirst}), (std::vector<std::int64_t>{1, 2, 3, 4, 5}));
    EXPECT_EQ(versions({.run_id = "run", .limit = 2}), (std::vector<std::int64_t>{5, 4}));
    EXPECT_EQ(versions({.run_id = "run", .after_version = 4, .limit = 2}), (std::vector<std::int64_t>{3, 2}));
    EXPECT_EQ(versions({.run_id = "run", .order = Order::kOldestFirst, .after_version = 3}),
              (std::vector<std::int64_t>{4, 5}));
    EXPECT_EQ(versions({.run_id = "run", .after_version = 1}), (std::vector<std::int64_t>{}));
    EXPECT_EQ(versions({.run_id = "run", .after_version = 1000}), (std::vector<std::int64_t>{5, 4, 3, 2, 1}));
    EXPECT_EQ(versions({.run_id = "run", .limit = 0}), (std::vector<std::int64_t>{}));
    EXPECT_EQ(versions({.run_id = "run", .limit = kAll}).size(), 5U);
}

TEST_P(StoreConformance, HistoryOrderIsByVersionWhateverTheClockSaid) {
    for (std::int64_t version = 1; version <= 5; ++version) {
        Snapshot snapshot = make_snapshot("run", version);
        snapshot.info.created_at = kEpoch - std::chrono::hours(version % 3);
        ASSERT_TRUE(is_ok(commit(snapshot)));
    }
    const auto history = store().history({.run_id = "run"}, soon()).value();
    ASSERT_EQ(history.size(), 5U);
    for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(history[i].version, static_cast<std::int64_t>(5 - i));
    EXPECT_EQ(head_version("run"), 5);
}

TEST_P(StoreConformance, HistoryOfARunIsEmptyForThoseWhoDoNotOwnIt) {
    add_versions("run", 1, 2);
    EXPECT_EQ(store().history({.run_id = "run", .thread_id = "thread", .user_id = "user"}, soon()).value().size(), 2U);
    EXPECT_TRUE(store().history({.run_id = "run", .thread_id = "other"}, soon()).value().empty());
    EXPECT_TRUE(store().history({.run_id = "run", .user_id = "other"}, soon()).value().empty());
    EXPECT_TRUE(store().history({.run_id = "run", .thread_id = "thread", .user_id = "other"}, soon()).value().empty());
    EXPECT_TRUE(store().history({.run_id = "run", .thread_id = ""}, soon()).value().empty());
}

TEST_P(StoreConformance, HistoryTimesIncludeTheFirstAndExcludeTheLast) {
    add_versions("run", 1, 5);  // created at kEpoch + version seconds
    const auto count = [this](std::optional<Timestamp> from, std::optional<Timestamp> until) {
        return store().history({.run_id = "run", .created_from = from, .created_until = until}, soon()).value().size();
    };
    const auto at = [](int version) { return kEpoch + std::chrono::seconds(version); };
    constexpr auto kTick = std::chrono::microseconds(1);
    EXPECT_EQ(count(at(2), std::nullopt), 4U);
    EXPECT_EQ(count(at(2) + kTick, std::nullopt), 3U);
    EXPECT_EQ(count(std::nullopt, at(2)), 1U);
    EXPECT_EQ(count(std::nullopt, at(2) + kTick), 2U);
    EXPECT_EQ(count(at(2), at(4)), 2U);
    EXPECT_EQ(count(at(4), at(2)), 0U);
    EXPECT_EQ(count(Timestamp::min(), Timestamp::max()), 5U);
}

// Answers a query by a loop over all snapshots, the oldest first.
std::vector<SnapshotInfo> plain_answer(std::vector<SnapshotInfo> snapshots, const HistoryQuery& query) {
    const bool is_newest_first = query.order == Order::kNewestFirst;
    std::erase_if(snapshots, [&](const SnapshotInfo& info) {
        if (query.after_version && is_newest_first && info.version >= *query.after_version) return true;
        if (query.after_version && !is_newest_first && info.version <= *query.after_version) return true;
        if (query.thread_id && info.thread_id != *query.thread_id) return true;
        if (query.user_id && info.user_id != *query.user_id) return true;
        if (query.checkpoint_type && info.checkpoint_type != *query.checkpoint_type) return true;
        if (query.agent_phase && info.agent_phase != *query.agent_phase) return true;
        if (query.is_recovery_point && info.is_recovery_point != *query.is_recovery_point) return true;
        if (query.created_from && info.created_at < *query.created_from) return true;
        for (const auto& [key, value] : query.metadata) {
            const std::string member = fmt::format(R"("{}":{})", key, value);  // the test's values need no more
            if (info.metadata.find(member) == std::string::npos) return true;
        }
        return query.created_until && info.created_at >= *query.created_until;
    });
    if (is_newest_first) std::ranges::reverse(snapshots);
    snapshots.resize(std::min(snapshots.size(), query.limit));
    return snapshots;
}

TEST_P(StoreConformance, EveryCombinationOfHistoryFiltersAnswersLikeAPlainLoop) {
    constexpr std::uint64_t kSeed = 20260102;
    constexpr std::int64_t kVersions = 60;
    std::mt19937_64 random(kSeed);
    const auto below = [&random](std::int64_t limit) {
        return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(limit));
    };
    const auto any_type = [&] { return CheckpointType(below(2) == 0 ? "auto" : "manual"); };
    const auto any_phase = [&] { return AgentPhase(below(2) == 0 ? "" : "triage"); };
    const auto any_time = [&] { return kEpoch + std::chrono::seconds(below(20)); };

    RunBatch batch{.run_id = "run"};
    std::vector<SnapshotInfo> snapshots;
    for (std::int64_t version = 1; version <= kVersions; ++version) {
        Snapshot snapshot = make_snapshot("run", version);
        snapshot.info.checkpoint_type = any_type();
        snapshot.info.agent_phase = any_phase();
        snapshot.info.is_recovery_point = below(2) == 0;
        snapshot.info.created_at = any_time();
        if (below(4) != 0) {
            snapshot.info.metadata = fmt::format(R"({{"tenant":"{}","try":{}}})", below(2), below(3));
        }
        snapshots.push_back(snapshot.info);
        batch.writes.push_back(make_write(std::move(snapshot)));
    }
    ASSERT_TRUE(is_ok(commit(batch)));

    std::size_t answered = 0;
    for (int i = 0; i < 2000; ++i) {
        HistoryQuery query{.run_id = "run"};
        if (below(4) == 0) query.thread_id = "thread";
        if (below(4) == 0) query.user_id = below(4) == 0 ? "other" : "user";
        if (below(2) == 0) query.checkpoint_type = any_type();
        if (below(2) == 0) query.agent_phase = any_phase();
        if (below(2) == 0) query.is_recovery_point = below(2) == 0;
        if (below(3) == 0) query.created_from = any_time();
        if (below(3) == 0) query.created_until = any_time();
        if (below(4) == 0) query.metadata.emplace_back("tenant", fmt::format(R"("{}")", below(2)));
        if (below(4) == 0) query.metadata.emplace_back("try", fmt::format("{}", below(3)));
        if (below(2) == 0) query.order = Order::kOldestFirst;
        if (below(2) == 0) query.after_version = below(kVersions + 2);
        query.limit = static_cast<std::size_t>(1 + below(80));
        const auto wanted = plain_answer(snapshots, query);
        ASSERT_EQ(describe(store().history(query, soon()).value()), describe(wanted))
            << "seed " << kSeed << ", query " << i;
        if (!wanted.empty()) ++answered;
    }
    EXPECT_GT(answered, 500U) << "the queries are too narrow to tell anything";
}

TEST_P(StoreConformance, MetadataIsFilteredByTheNormalTextOfTopLevelMembers) {
    const std::vector<std::string> objects{
        R"({"region":"eu","try":1})",
        R"({"try":1.0,"region":"us"})",
        R"({"region":"\u0065u"})",
        R"({"r\u0065gion":"eu"})",
        R"({"outer":{"region":"eu"},"list":[1,2],"none":null,"yes":true})",
        R"({"text":"\"region\":\"eu\""})",
        R"({})",
        "",
    };
    for (std::size_t i = 0; i < objects.size(); ++i) {
        Snapshot snapshot = make_snapshot("run", static_cast<std::int64_t>(i + 1));
        snapshot.info.metadata = objects[i];
        ASSERT_TRUE(is_ok(commit(snapshot)));
    }
    const auto versions = [this](std::vector<std::pair<std::string, std::string>> metadata, std::size_t limit = 100) {
        std::vector<std::int64_t> found;
        const auto history = store().history(
            {.run_id = "run", .metadata = std::move(metadata), .order = Order::kOldestFirst, .limit = limit}, soon());
        for (const SnapshotInfo& info : history.value()) found.push_back(info.version);
        return found;
    };
    using Versions = std::vector<std::int64_t>;
    EXPECT_EQ(versions({{"region", R"("eu")"}}), (Versions{1, 4})) << "keys by their meaning, values as written";
    EXPECT_EQ(versions({{"region", R"("\u0065u")"}}), (Versions{3}));
    EXPECT_EQ(versions({{"try", "1"}}), (Versions{1}));
    EXPECT_EQ(versions({{"try", "1.0"}}), (Versions{2}));
    EXPECT_EQ(versions({{"try", "1"}, {"region", R"("eu")"}}), (Versions{1}));
    EXPECT_EQ(versions({{"try", "1"}, {"region", R"("us")"}}), (Versions{}));
    EXPECT_EQ(versions({{"try", "1"}, {"try", "1"}}), (Versions{1}));
    EXPECT_EQ(versions({{"outer", R"({"region":"eu"})"}}), (Versions{5}));
    EXPECT_EQ(versions({{"list", "[1,2]"}, {"none", "null"}, {"yes", "true"}}), (Versions{5}));
    EXPECT_EQ(versions({{"none", ""}}), (Versions{}));
    EXPECT_EQ(versions({{"", ""}}), (Versions{}));
    EXPECT_EQ(versions({{"region", R"("eu")"}}, 1), (Versions{1})) << "the limit counts what was found";
    EXPECT_EQ(versions({{"region", R"("eu")"}}, 0), (Versions{}));
    EXPECT_EQ(versions({}).size(), objects.size());
}

TEST_P(StoreConformance, PagingThroughHistoryIsCompleteWhileNewHeadsAreWritten) {
    add_versions("run", 1, 20);
    std::int64_t written = 20;
    std::vector<std::int64_t> newest_first;
    for (HistoryQuery query{.run_id = "run", .limit = 3};;) {
        const auto page = store().history(query, soon()).value();
        if (page.empty()) break;
        for (const SnapshotInfo& info : page) newest_first.push_back(info.version);
        query.after_version = page.back().version;
        ++written;
        add_versions("run", written, written);
    }
    ASSERT_EQ(newest_first.size(), 20U) << "the pages are those of the history when the first was read";
    for (std::size_t i = 0; i < 20; ++i) EXPECT_EQ(newest_first[i], static_cast<std::int64_t>(20 - i));

    std::vector<std::int64_t> oldest_first;
    const std::int64_t last = written + 4;
    for (HistoryQuery query{.run_id = "run", .order = Order::kOldestFirst, .limit = 3};;) {
        const auto page = store().history(query, soon()).value();
        if (page.empty()) break;
        for (const SnapshotInfo& info : page) oldest_first.push_back(info.version);
        query.after_version = page.back().version;
        if (written == last) continue;
        ++written;
        add_versions("run", written, written);
    }
    ASSERT_EQ(oldest_first.size(), static_cast<std::size_t>(last)) << "what is written meanwhile is found at the end";
    for (std::size_t i = 0; i < oldest_first.size(); ++i) EXPECT_EQ(oldest_first[i], static_cast<std::int64_t>(i + 1));
}

}  // namespace
}  // namespace cairn::test
