// Goal: a store may be migrated while others have it open. A process of an earlier cairn saves nothing from then on,
// and says so. One of this cairn goes on, or says that the file is too new for it. Views of the user's own stay as they
// are. Method: files of earlier schemas. The earlier cairn is a connection that prepares its statements (kept here as
// text) before the migration, and runs them afterwards. A later cairn is one that changes the tables as it likes.

#include "store/sqlite/sqlite_store.h"
#include "support/database_bytes.h"
#include "support/make.h"
#include "support/paths.h"
#include "support/temp_dir.h"

#include <cairn/persistence.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <zstd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

namespace cairn::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

void put_old_store(int schema, const fs::path& path) {
    const std::string packed = content_of(source_dir() / fmt::format("tests/fault/data/schema_{}.db.zst", schema));
    std::string content(ZSTD_getFrameContentSize(packed.data(), packed.size()), '\0');
    ASSERT_EQ(ZSTD_decompress(content.data(), content.size(), packed.data(), packed.size()), content.size());
    std::ofstream(path, std::ios::binary) << content;
}

// The run "grown" is in the file of schema 3.
StatePersistenceRequest request_with(State state, AgentPhase phase = AgentPhase::kTriage) {
    return {.run_id = "grown",
            .thread_id = "t1",
            .user_id = "u1",
            .state_data = std::move(state),
            .agent_phase = std::move(phase)};
}

State opaque() {
    return State::opaque("msgpack", std::string(3000, '\xff')).value();
}

// ---- an earlier cairn ----

struct EarlierStatement {
    const char* name;
    const char* sql;
};

// All that schema 3's cairn asked of `labels`.
constexpr EarlierStatement kEarlierStatements[] = {
    {"insert of a snapshot",
     "INSERT INTO snapshots(run_key, version, parent_steps, base_steps, label_key, created_after, expires_at, "
     "snapshot_id, state_bytes, checksum, execution_context, metadata, frame) "
     "VALUES(1, 1000, 1, 0, (SELECT label_key FROM labels WHERE checkpoint_type = 'auto' AND agent_phase = 'triage' "
     "AND is_recovery_point = 0), 0, NULL, 'new', 2, x'00', NULL, NULL, x'00')"},
    {"insert of a label",
     "INSERT INTO labels(checkpoint_type, agent_phase, is_recovery_point) VALUES('auto', 'a new one', 0)"},
    {"load",
     "SELECT s.sequence, l.checkpoint_type, l.agent_phase, l.is_recovery_point, s.frame FROM runs r "
     "LEFT JOIN snapshots s ON s.sequence = r.head_sequence AND s.run_key = r.run_key "
     "LEFT JOIN labels l ON l.label_key = s.label_key"},
    {"sweep", "SELECT label_key FROM labels"},
    {"end of the sweep", "DELETE FROM labels WHERE label_key = 1"},
};

TEST(SqliteUpgrade, AProcessOfTheEarlierCairnThatHasTheFileOpenCanSaveNothing) {
    for (const EarlierStatement& earlier : kEarlierStatements) {
        SCOPED_TRACE(earlier.name);
        const TempDir dir;
        put_old_store(3, dir / "cairn.db");
        sqlite3* process = nullptr;
        sqlite3_stmt* statement = nullptr;
        ASSERT_EQ(sqlite3_open((dir / "cairn.db").c_str(), &process), SQLITE_OK);
        ASSERT_EQ(sqlite3_prepare_v2(process, earlier.sql, -1, &statement, nullptr), SQLITE_OK);

        const std::shared_ptr<Store> store = open_sqlite_store(dir / "cairn.db").value();
        OptimizedStatePersistence service(store);
        ASSERT_TRUE(service.save_agent_state(request_with(opaque())));
        EXPECT_EQ(sqlite3_step(statement), SQLITE_ERROR);
        EXPECT_THAT(sqlite3_errmsg(process), HasSubstr("no such table: labels"));

        sqlite3_finalize(statement);
        sqlite3_close(process);
        EXPECT_EQ(service.load_agent_state({.run_id = "grown"}).value().state, opaque());
        EXPECT_TRUE(check_deep(*store, Deadline::max()).value().findings.empty());
    }
}

// ---- this cairn ----

class OpenStore : public testing::TestWithParam<int> {};

TEST_P(OpenStore, ThatIsReadOnlyReadsOnAfterItsFileIsMigrated) {
    const TempDir dir;
    put_old_store(GetParam(), dir / "cairn.db");
    const std::shared_ptr<Store> reader = open_sqlite_store(dir / "cairn.db", {.read_only = true}).value();
    OptimizedStatePersistence reading(reader);
    EXPECT_TRUE(reader->stats(soon()).value().opaque_states.empty());

    OptimizedStatePersistence writing(open_sqlite_store(dir / "cairn.db").value());
    ASSERT_TRUE(writing.save_agent_state({.run_id = "new", .thread_id = "t", .user_id = "u", .state_data = opaque()}));
    const auto loaded = reading.load_agent_state({.run_id = "new"});
    ASSERT_TRUE(loaded) << loaded.error().to_string();
    EXPECT_EQ(loaded->state, opaque());
    EXPECT_EQ(reader->history({.run_id = "new"}, soon()).value().at(0).state_type, "msgpack");
    EXPECT_EQ(reader->stats(soon()).value().opaque_states.size(), 1U);
    EXPECT_TRUE(reader->check(soon()).value().findings.empty());
}

TEST_P(OpenStore, ThatIsReadOnlyAnswersRightWhicheverCallComesFirst) {
    const auto calls = {
        +[](Store& store) {
            const auto found = store.get("new", std::nullopt, soon());
            return found && *found && (*found)->info.state_type == "msgpack";
        },
        +[](Store& store) {
            const auto history = store.history({.run_id = "new"}, soon());
            return history && history->size() == 1 && history->front().state_type == "msgpack";
        },
        +[](Store& store) { return store.runs({}, soon()).has_value(); },
        +[](Store& store) { return store.threads({}, soon()).has_value(); },
        +[](Store& store) { return store.head("new", soon()).has_value(); },
        +[](Store& store) {
            const auto stats = store.stats(soon());
            return stats && stats->opaque_states.contains("msgpack");
        },
        +[](Store& store) {
            const auto report = store.check(soon());
            return report.has_value() && report->findings.empty();
        },
    };
    for (const auto& call : calls) {
        const TempDir dir;
        put_old_store(GetParam(), dir / "cairn.db");
        const std::shared_ptr<Store> reader = open_sqlite_store(dir / "cairn.db", {.read_only = true}).value();
        static_cast<void>(call(*reader));  // its statements are kept
        OptimizedStatePersistence writing(open_sqlite_store(dir / "cairn.db").value());
        ASSERT_TRUE(
            writing.save_agent_state({.run_id = "new", .thread_id = "t", .user_id = "u", .state_data = opaque()}));
        EXPECT_TRUE(call(*reader)) << "call " << &call - calls.begin();
    }
}

INSTANTIATE_TEST_SUITE_P(Schemas, OpenStore, testing::Values(1, 2, 3),
                         [](const auto& test) { return "OfSchema" + std::to_string(test.param); });

TEST(SqliteUpgrade, AFileThatALaterCairnMigratesWhileItIsOpenIsIncompatibleAndNotDamaged) {
    const TempDir dir;
    put_old_store(3, dir / "cairn.db");
    const std::shared_ptr<Store> store = open_sqlite_store(dir / "cairn.db").value();
    OptimizedStatePersistence service(store);
    ASSERT_TRUE(service.save_agent_state(request_with(opaque())));
    ASSERT_TRUE(store->history({.run_id = "grown"}, soon()));
    const std::string snapshots = query(dir / "cairn.db", "SELECT count(*) FROM snapshots");
    execute(dir / "cairn.db", "ALTER TABLE snapshot_labels RENAME TO later; PRAGMA user_version = 1000");

    const auto saved = service.save_agent_state(request_with(State::parse(R"({"a":1})").value()));
    ASSERT_FALSE(saved);
    EXPECT_EQ(saved.error().code, ErrorCode::kIncompatible) << saved.error().to_string();
    EXPECT_THAT(saved.error().message, HasSubstr("a newer cairn wrote this store (schema 1000"));
    EXPECT_EQ(store->history({.run_id = "grown"}, soon()).error().code, ErrorCode::kIncompatible);
    EXPECT_EQ(store->check(soon()).error().code, ErrorCode::kIncompatible);
    EXPECT_EQ(query(dir / "cairn.db", "SELECT count(*) FROM snapshots"), snapshots);
}

// ---- views of the user's own ----

class SqliteUpgradeFrom : public testing::TestWithParam<int> {};

TEST_P(SqliteUpgradeFrom, LeavesViewsOfTheUsersOwnAsTheyAre) {
    const TempDir dir;
    put_old_store(GetParam(), dir / "cairn.db");
    execute(dir / "cairn.db",
            "CREATE VIEW ids AS SELECT snapshot_id FROM snapshots; CREATE VIEW names AS SELECT run_id FROM runs;"
            "CREATE VIEW dangling AS SELECT * FROM gone");
    if (GetParam() > 1) execute(dir / "cairn.db", "CREATE VIEW phases AS SELECT agent_phase FROM labels");
    const std::string views = "SELECT group_concat(sql) FROM (SELECT sql FROM sqlite_master WHERE type = 'view')";
    const std::string before = query(dir / "cairn.db", views);
    const std::string snapshots = query(dir / "cairn.db", "SELECT count(*) FROM snapshots");

    const auto store = open_sqlite_store(dir / "cairn.db");
    ASSERT_TRUE(store) << store.error().to_string();
    EXPECT_EQ(query(dir / "cairn.db", views), before);
    EXPECT_EQ(query(dir / "cairn.db", "SELECT count(*) FROM ids"), snapshots);
    EXPECT_TRUE((*store)->check(soon()).value().findings.empty());
}

INSTANTIATE_TEST_SUITE_P(Schemas, SqliteUpgradeFrom, testing::Values(1, 2, 3),
                         [](const auto& test) { return "Schema" + std::to_string(test.param); });

}  // namespace
}  // namespace cairn::test
