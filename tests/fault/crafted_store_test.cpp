// Goal: a store that somebody else has made is read safely. A text that is no state is kCorrupt and is never returned.
// Triggers and views in the file are never obeyed. Nothing takes longer than the file's size justifies.
// Method: changes sound stores through the engine as an attacker would, with fitting checksums, and then calls every
// reader. Work is counted, not timed.

#include "frame/delta_frame.h"
#include "store/sqlite/sqlite_connection.h"
#include "store/sqlite/sqlite_store.h"
#include "support/chained_run.h"
#include "support/database_bytes.h"
#include "support/make.h"
#include "support/temp_dir.h"

#include <cairn/persistence.h>
#include <cairn/retention.h>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::IsSupersetOf;
using testing::Not;
using testing::SizeIs;

std::string hex(std::string_view bytes) {
    std::string text;
    for (const char byte : bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(byte));
    return text;
}

std::string blob(const Checksum& checksum) {
    const auto bytes = checksum.to_bytes();
    return hex({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

class CraftedStore : public testing::Test {
protected:
    // Makes a store with two snapshots of run "run", and one of run "other".
    void SetUp() override {
        const auto store = open();
        for (const char* text : {R"({"a":1})", R"({"a":2})"}) save(*store, "run", text);
        save(*store, "other", R"({"b":1})");
        ASSERT_TRUE(store->close().has_value());
    }

    static void save(Store& store, const std::string& run_id, std::string_view text) {
        const auto head = store.head(run_id, soon()).value();
        Snapshot snapshot = make_snapshot(run_id, head ? head->version + 1 : 1, text);
        snapshot.info.metadata = R"({"label":1})";
        ASSERT_TRUE(commit_run(store, make_batch(std::move(snapshot)), soon()).has_value());
    }

    std::shared_ptr<Store> open(const OpenOptions& options = {}) const {
        return open_sqlite_store(path_, options).value();
    }

    Error error_of_opening(const OpenOptions& options = {}) const {
        const auto store = open_sqlite_store(path_, options);
        EXPECT_FALSE(store.has_value());
        return store ? Error{} : store.error();
    }

    // Puts `text` into the head of "run", with a frame and checksums that fit.
    void put_text(std::string_view text) const {
        const Checksum checksum = Checksum::of(text);
        const std::string frame = encode_full_frame(text, checksum, {.compression = false}).value();
        execute(path_,
                fmt::format("UPDATE snapshots SET frame = x'{}', checksum = x'{}', state_bytes = {}, base_steps = 0 "
                            "WHERE sequence = (SELECT head_sequence FROM runs WHERE run_id = 'run');"
                            "UPDATE runs SET head_checksum = x'{}', head_state_bytes = {} WHERE run_id = 'run'",
                            hex(frame), blob(checksum), text.size(), blob(checksum), text.size()));
    }

    TempDir dir_;
    std::filesystem::path path_ = dir_ / "cairn.db";
};

// ---- texts ----

TEST_F(CraftedStore, ATextThatIsNoStateIsCorruptForEveryReader) {
    const std::vector<std::string> texts = {"]",
                                            "",
                                            R"({"a)",
                                            R"({"a":)",
                                            R"({"a":")",
                                            R"({"a":"\)",
                                            R"({"a":"\u)",
                                            R"({"a":"\ud800\u)",
                                            "}",
                                            "{",
                                            "[1]",
                                            R"({"k":1)",
                                            R"({"k":t)",
                                            "{,}",
                                            R"({"a"})",
                                            std::string(40, 'x'),
                                            R"({"a":{"b":[)",
                                            "\xff\xfe",
                                            "{\"\xff\":\"\xc3\"}",
                                            std::string(3000, '['),
                                            R"({"a":1}}})",
                                            R"({"a":-})",
                                            R"({a:1})",
                                            R"({"a": 1})",
                                            R"( {"a":1})",
                                            std::string("\0\xff not json \x1b[31m secret", 25)};
    for (const std::string& text : texts) {
        SCOPED_TRACE(hex(text.substr(0, 40)));
        put_text(text);
        const auto store = open();
        StatePersistenceService standard(store);
        OptimizedStatePersistence optimized(store);
        for (StatePersistence* service : std::initializer_list<StatePersistence*>{&standard, &optimized}) {
            const auto loaded = service->load_agent_state({.run_id = "run"});
            ASSERT_FALSE(loaded.has_value());
            EXPECT_EQ(loaded.error().code, ErrorCode::kCorrupt);
            EXPECT_THAT(loaded.error().message, AllOf(HasSubstr("run-2"), Not(HasSubstr("secret"))));
        }
        const CheckReport report = check_deep(*store, Deadline::max()).value();
        ASSERT_THAT(report.findings, SizeIs(1));
        EXPECT_EQ(report.findings[0].snapshot_id, "run-2");
    }
}

TEST_F(CraftedStore, AStateOfTheSameLengthIsSavedAnewAndNotComparedWithWhatIsNone) {
    put_text(R"({"a":2]})");
    const auto store = open();
    OptimizedStatePersistence service(store);
    const auto receipt = service.save_agent_state(make_request("run", R"({"a":22})"));
    ASSERT_TRUE(receipt.has_value()) << receipt.error().to_string();
    EXPECT_EQ(service.load_agent_state({.run_id = "run"})->state.text(), R"({"a":22})");
}

TEST_F(CraftedStore, MetadataThatIsNoObjectIsLeftOutOfListsAndItsSnapshotIsCorrupt) {
    for (const char* column : {"metadata", "execution_context"}) {
        for (const char* text : {"]", "{", "[1]", "{\"a\":1} ", "\xff", "{\"a\":\"\\u12", "null", "{\"a\":1,}"}) {
            SCOPED_TRACE(fmt::format("{} {}", column, text));
            execute(path_, fmt::format("UPDATE snapshots SET metadata = NULL, execution_context = NULL;"
                                       "UPDATE snapshots SET {} = CAST(x'{}' AS TEXT) WHERE sequence = 2",
                                       column, hex(text)));
            const auto store = open();
            const auto history = store->history({.run_id = "run"}, soon()).value();
            ASSERT_THAT(history, SizeIs(2));
            EXPECT_THAT(history[0].metadata + history[0].execution_context, IsEmpty());
            EXPECT_THAT(history[0].damage, HasSubstr("is not a JSON object"));
            EXPECT_THAT(history[1].damage, IsEmpty());
            EXPECT_THAT(store->history({.run_id = "run", .metadata = {{"a", "1"}}}, soon()).value(), IsEmpty());
            EXPECT_EQ(store->runs({}, soon()).value().items.back().metadata, "");
            StatePersistenceService service(store);
            EXPECT_EQ(service.load_agent_state({.run_id = "run"}).error().code, ErrorCode::kCorrupt);
            EXPECT_THAT(check_deep(*store, Deadline::max()).value().findings, SizeIs(1));
        }
    }
    StatePersistenceService service(open());
    const auto recovered = service.recover_agent_state({.run_id = "run", .failure_reason = "damaged metadata"});
    ASSERT_TRUE(recovered.has_value()) << recovered.error().to_string();
    EXPECT_EQ(recovered->state.text(), R"({"a":1})");
}

TEST_F(CraftedStore, TextThatIsNotUtf8IsCorrupt) {
    execute(path_, "UPDATE snapshot_labels SET checkpoint_type = CAST(x'ff' AS TEXT)");
    EXPECT_EQ(open()->get("run", std::nullopt, soon()).error().code, ErrorCode::kCorrupt);
    execute(path_, "UPDATE snapshot_labels SET checkpoint_type = 'auto', agent_phase = CAST(x'c3' AS TEXT)");
    EXPECT_THAT(open()->runs({}, soon()).value().items.front().damage, HasSubstr("not UTF-8"));
    execute(path_, "UPDATE snapshot_labels SET agent_phase = ''; UPDATE runs SET user_id = CAST(x'80' AS TEXT)");
    EXPECT_EQ(open()->head("run", soon()).error().code, ErrorCode::kCorrupt);
    EXPECT_THAT(open()->threads({}, soon()).value().items.front().damage, HasSubstr("not UTF-8"));
    execute(path_, "INSERT INTO leases VALUES('run', CAST(x'ff' AS TEXT), 1, 0)");
    EXPECT_EQ(open()->lease("run", soon()).error().code, ErrorCode::kCorrupt);
}

// ---- numbers ----

template <class T>
void expect_harmless(const Result<T>& result, const char* what) {
    if (result) return;
    EXPECT_EQ(result.error().code, ErrorCode::kCorrupt) << what << ": " << result.error().to_string();
}

TEST_F(CraftedStore, ANumberThatNoCairnWroteIsCorruptOrHarmless) {
    const std::vector<std::string> columns = {"version",       "parent_steps", "base_steps", "label_key",
                                              "created_after", "expires_at",   "state_bytes"};
    const std::vector<std::string> values = {
        "-1", "0", "9223372036854775807", "-9223372036854775808", "4611686018427387904", "4294967296", "5"};
    const std::string sound = content_of(path_);
    for (const std::string& column : columns) {
        for (const std::string& value : values) {
            SCOPED_TRACE(column + " " + value);
            std::ofstream(path_, std::ios::binary) << sound;
            execute(path_, fmt::format("UPDATE snapshots SET {} = {} WHERE sequence = 2", column, value));
            const auto store = open();
            StatePersistenceService service(store);
            const auto loaded = service.load_agent_state({.run_id = "run", .snapshot_id = "run-2"});
            if (loaded) {
                EXPECT_EQ(loaded->state.text(), R"({"a":2})");
            } else {
                EXPECT_EQ(loaded.error().code, ErrorCode::kCorrupt) << loaded.error().to_string();
            }
            expect_harmless(store->history({.run_id = "run"}, soon()), "history");
            expect_harmless(store->runs({}, soon()), "runs");
            expect_harmless(store->stats(soon()), "stats");
            expect_harmless(check_deep(*store, Deadline::max()), "check");
            expect_harmless(prune(*store, {.keep_last = 1}, {.dry_run = true}), "prune");
            expect_harmless(service.save_agent_state(make_request("run", R"({"a":3})")), "save");
        }
    }
}

void expect_no_version_left(StatePersistence& service) {
    const auto receipt = service.save_agent_state(make_request("run", R"({"a":4})"));
    ASSERT_FALSE(receipt.has_value());
    EXPECT_EQ(receipt.error().code, ErrorCode::kLimitExceeded);
    EXPECT_THAT(receipt.error().message, HasSubstr("another run_id"));
}

TEST_F(CraftedStore, AHeadWithTheLastVersionThatThereIsRefusesASaveAndSaysWhatToDo) {
    execute(path_,
            "UPDATE snapshots SET version = 9223372036854775807, parent_steps = 1 WHERE sequence = 2;"
            "UPDATE runs SET head_version = 9223372036854775807 WHERE run_id = 'run'");
    const auto store = open();
    StatePersistenceService standard(store);
    OptimizedStatePersistence optimized(store);
    for (StatePersistence* service : std::initializer_list<StatePersistence*>{&standard, &optimized}) {
        expect_no_version_left(*service);
        EXPECT_EQ(service->load_agent_state({.run_id = "run"})->state.text(), R"({"a":2})");
    }
}

TEST_F(CraftedStore, NoSaveMakesAVersionThatNoImportTakes) {
    constexpr std::int64_t kLast = (std::int64_t{1} << 53U) - 1;
    execute(path_, fmt::format("UPDATE snapshots SET version = {0}, parent_steps = 1 WHERE sequence = 2;"
                               "UPDATE runs SET head_version = {0} WHERE run_id = 'run'",
                               kLast - 1));
    const auto store = open();
    StatePersistenceService standard(store);
    OptimizedStatePersistence optimized(store);
    EXPECT_EQ(optimized.save_agent_state(make_request("run", R"({"a":3})"))->version, kLast);
    for (StatePersistence* service : std::initializer_list<StatePersistence*>{&standard, &optimized}) {
        expect_no_version_left(*service);
    }
    const auto rolled = standard.recover_agent_state(
        {.run_id = "run", .recovery_type = RecoveryType::kRestart, .failure_reason = "no version left"});
    ASSERT_FALSE(rolled.has_value());
    EXPECT_EQ(rolled.error().code, ErrorCode::kLimitExceeded);
    EXPECT_EQ(standard.load_agent_state({.run_id = "run"})->state.text(), R"({"a":3})");
}

TEST_F(CraftedStore, AnImpossibleLeaseIsCorrupt) {
    for (const char* values : {"'run', 'ann', 0, 0", "'run', 'ann', -5, 0", "'run', 'ann', 1, 9223372036854775807",
                               "'run', 'ann', 1, -9223372036854775808"}) {
        execute(path_, fmt::format("DELETE FROM leases; INSERT INTO leases VALUES({})", values));
        EXPECT_EQ(open()->lease("run", soon()).error().code, ErrorCode::kCorrupt) << values;
    }
}

// ---- one damaged run among others ----

// Changes that an attacker or a disk could make to the rows of run "run", each with its description.
const std::vector<std::pair<std::string, std::string>>& damages() {
    static const std::vector<std::pair<std::string, std::string>> kDamages = {
        {"INSERT INTO leases VALUES('run', 'ann', 1, 4611686018427387904)", "a lease with an impossible time"},
        {"INSERT INTO leases VALUES('run', 'ann', -1, 0)", "a lease with an epoch below 1"},
        {"INSERT INTO leases VALUES('run', CAST(x'ff' AS TEXT), 1, 0)", "text that is not UTF-8"},
        {"UPDATE runs SET thread_id = CAST(x'41ff' AS TEXT) WHERE run_id = 'run'", "text that is not UTF-8"},
        {"UPDATE runs SET run_id = CAST(x'72ff' AS TEXT) WHERE run_id = 'run'", "text that is not UTF-8"},
        {"UPDATE runs SET snapshots = -1 WHERE run_id = 'run'", "a count below 0"},
        {"UPDATE runs SET head_version = -7 WHERE run_id = 'run'", "a version below 1"},
        {"UPDATE runs SET head_snapshot_id = x'00' WHERE run_id = 'run'", "an id of the wrong length"},
        {"UPDATE snapshots SET label_key = 77 WHERE sequence = 2", "a label that is missing"},
    };
    return kDamages;
}

TEST_F(CraftedStore, ADamagedRunIsListedWithItsDamageAndDoesNotHideTheOthers) {
    const std::string sound = content_of(path_);
    for (const auto& [sql, words] : damages()) {
        SCOPED_TRACE(sql);
        std::ofstream(path_, std::ios::binary) << sound;
        execute(path_, sql);
        const auto store = open();
        const auto runs = store->runs({.order = RunQuery::Order::kById}, soon());
        ASSERT_TRUE(runs.has_value()) << runs.error().to_string();
        ASSERT_THAT(runs->items, SizeIs(2));
        EXPECT_THAT(runs->items[0].damage, IsEmpty());
        EXPECT_THAT(runs->items[1].damage, HasSubstr(words));
        EXPECT_FALSE(runs->items[1].lease.has_value());
        ASSERT_TRUE(store->threads({}, soon()).has_value());
        ASSERT_TRUE(store->stats(soon()).has_value());
        const CheckReport report = check_deep(*store, soon()).value();
        EXPECT_EQ(report.runs, 2U);
        EXPECT_THAT(report.findings, Not(IsEmpty()));
        for (const auto& finding : report.findings) EXPECT_NE(finding.run_id, "other") << finding.problem;
        EXPECT_TRUE(prune(*store, {.keep_last = 1, .run_id = "other"}).has_value());
    }
}

TEST_F(CraftedStore, RunsWhoseIdsAreNoTextAreListedOnceEachAndHideNoOther) {
    const auto add_run = [&](const std::string& id_in_hex) {
        execute(path_, fmt::format("INSERT INTO runs(run_id, thread_id, user_id, created_at, snapshots, head_version, "
                                   "head_sequence, head_snapshot_id, head_state_bytes, head_checksum) "
                                   "SELECT CAST(x'{}' AS TEXT), thread_id, user_id, created_at, snapshots, "
                                   "head_version, head_sequence, head_snapshot_id, head_state_bytes, head_checksum "
                                   "FROM runs WHERE run_id = 'run'",
                                   id_in_hex));
    };
    for (const char* id : {"61", "6180", "61c3a9", "62", "ff61", "ff62"}) add_run(id);
    const auto store = open();
    for (const auto order : {RunQuery::Order::kById, RunQuery::Order::kNewestFirst}) {
        std::vector<std::string> found;
        RunQuery query{.order = order, .limit = 1};
        do {
            const auto page = store->runs(query, soon());
            ASSERT_TRUE(page.has_value()) << page.error().to_string();
            for (const RunInfo& run : page->items) found.push_back(run.run_id);
            query.cursor = page->next_cursor;
            ASSERT_LE(found.size(), 8U) << "the list does not end";
        } while (!query.cursor.empty());
        EXPECT_THAT(found, SizeIs(8));
        EXPECT_THAT(found, IsSupersetOf({"a", "a\xc3\xa9", "b", "other", "run"}));
    }
    EXPECT_THAT(check_deep(*store, soon()).value().findings, Not(IsEmpty()));
}

TEST_F(CraftedStore, ARunWhoseHeadHasNoVersionIsCorruptForASave) {
    execute(path_, "UPDATE runs SET head_version = 0 WHERE run_id = 'run'");
    const auto store = open();
    Snapshot snapshot = make_snapshot("run", 1, "{}");
    EXPECT_EQ(commit_run(*store, make_batch(std::move(snapshot)), soon()).error().code, ErrorCode::kCorrupt);
}

TEST_F(CraftedStore, APruneOfAllGoesOnBehindADamagedRunAndNamesIt) {
    execute(path_, "UPDATE runs SET run_id = CAST(x'72ff' AS TEXT) WHERE run_id = 'run'");
    const auto store = open();
    save(*store, "other", R"({"b":2})");
    save(*store, "last", R"({"c":1})");
    const auto pruned = prune(*store, {.keep_last = 1});
    ASSERT_FALSE(pruned.has_value());
    EXPECT_EQ(pruned.error().code, ErrorCode::kCorrupt);
    EXPECT_THAT(pruned.error().message, HasSubstr("not UTF-8"));
    EXPECT_THAT(store->history({.run_id = "other"}, soon()).value(), SizeIs(1));
}

TEST_F(CraftedStore, AForgedLeaseKeepsNobodyFromPruningOrDeletingItsRun) {
    execute(path_, "INSERT INTO leases VALUES('run', 'ann', 1, 4611686018427387904)");
    const auto store = open();
    EXPECT_EQ(prune(*store, {.keep_last = 1})->snapshots_deleted, 1U);
    EXPECT_EQ(delete_runs(*store, {.run_id = "run"})->runs_deleted, 1U);
    EXPECT_THAT(check_deep(*store, soon()).value().findings, IsEmpty());
}

TEST_F(CraftedStore, ADamagedSnapshotIsListedWithItsDamageAndDoesNotHideTheOthers) {
    const std::string sound = content_of(path_);
    for (const auto& [change, words] :
         std::vector<std::pair<std::string, std::string>>{{"base_steps = 9", "an impossible base"},
                                                          {"parent_steps = -1", "an impossible parent"},
                                                          {"state_bytes = -1", "a count below 0"},
                                                          {"checksum = x'00'", "a checksum of the wrong length"},
                                                          {"snapshot_id = x'00'", "an id of the wrong length"},
                                                          {"label_key = 77", "a label that is missing"}}) {
        SCOPED_TRACE(change);
        std::ofstream(path_, std::ios::binary) << sound;
        execute(path_, fmt::format("UPDATE snapshots SET {} WHERE sequence = 1", change));
        const auto store = open();
        const auto history = store->history({.run_id = "run"}, soon());
        ASSERT_TRUE(history.has_value()) << history.error().to_string();
        ASSERT_THAT(*history, SizeIs(2));
        EXPECT_THAT((*history)[0].damage, IsEmpty());
        EXPECT_THAT((*history)[1].damage, HasSubstr(words));
        StatePersistenceService service(store);
        EXPECT_EQ(service.load_agent_state({.run_id = "run"})->state.text(), R"({"a":2})");
        const auto damaged = service.load_agent_state({.run_id = "run", .snapshot_id = (*history)[1].snapshot_id});
        ASSERT_FALSE(damaged.has_value());
        EXPECT_THAT(check_deep(*store, soon()).value().findings, Not(IsEmpty()));
    }
}

TEST_F(CraftedStore, ADamagedLineOfTheRecoveryLogDoesNotHideTheOthers) {
    StatePersistenceService service(open());
    ASSERT_TRUE(service.recover_agent_state({.run_id = "run", .failure_reason = "one"}).has_value());
    ASSERT_TRUE(service.recover_agent_state({.run_id = "run", .failure_reason = "two"}).has_value());
    execute(path_, "UPDATE recovery_log SET recovery_type = 'rollbak' WHERE failure_reason = 'two'");
    const auto records = open()->recovery_log("run", 10, soon()).value();
    ASSERT_THAT(records, SizeIs(2));
    EXPECT_THAT(records[0].damage, HasSubstr("a recovery of no known type"));
    EXPECT_THAT(records[1].damage, IsEmpty());
    const CheckReport report = open()->check(soon()).value();
    ASSERT_THAT(report.findings, SizeIs(1));
    EXPECT_THAT(report.findings[0].problem, HasSubstr("recovery log"));
}

TEST_F(CraftedStore, ForgedSizesDoNotMakeTheCountsFail) {
    execute(path_,
            "UPDATE snapshots SET state_bytes = 9223372036854775807; UPDATE runs SET snapshots = "
            "9223372036854775807, user_id = 'u', thread_id = 't'");
    EXPECT_EQ(open()->stats(soon())->snapshots, 3U);
    EXPECT_THAT(open()->threads({}, soon())->items, SizeIs(1));
    execute(path_, "UPDATE snapshots SET state_bytes = -1; UPDATE runs SET snapshots = -1");
    EXPECT_EQ(open()->stats(soon())->snapshots, 3U);
    EXPECT_THAT(open()->threads({}, soon())->items, SizeIs(1));
}

TEST_F(CraftedStore, AStateBeyondTheReadersLimitIsAFindingAndNoDamageAndTheRestIsChecked) {
    const auto store = open();
    save(*store, "large", fmt::format(R"({{"text":"{}"}})", std::string(1000, 'x')));
    save(*store, "last", R"({"c":1})");
    execute(path_, "UPDATE snapshots SET frame = zeroblob(length(frame)) WHERE sequence = 1");
    ASSERT_TRUE(store->history({.run_id = "run"}, soon(), Store::Reading::kAfresh).has_value());
    const CheckReport report = check_deep(*store, soon(), {.bytes_max = 100}).value();
    ASSERT_THAT(report.findings, SizeIs(2));
    EXPECT_EQ(report.findings[0].run_id, "large");
    EXPECT_EQ(report.findings[0].code, ErrorCode::kLimitExceeded);
    EXPECT_THAT(report.findings[0].problem, HasSubstr("CAIRN_STATE_BYTES_MAX"));
    EXPECT_EQ(report.findings[1].run_id, "run");
    EXPECT_EQ(report.findings[1].code, ErrorCode::kCorrupt);
}

// ---- triggers, views and other schema of an attacker ----

TEST_F(CraftedStore, ATriggerOnATableOfOursIsNamed) {
    execute(path_,
            "CREATE TRIGGER gone AFTER INSERT ON snapshots BEGIN "
            "DELETE FROM snapshots WHERE sequence = new.sequence; END");
    for (const bool read_only : {false, true}) {
        const Error error = error_of_opening({.read_only = read_only});
        EXPECT_EQ(error.code, ErrorCode::kIncompatible);
        EXPECT_THAT(error.message, AllOf(HasSubstr("trigger \"gone\""), HasSubstr("\"snapshots\"")));
    }
}

TEST_F(CraftedStore, ATriggerThatComesWhileTheStoreIsOpenIsNotObeyed) {
    const auto store = open();
    ASSERT_EQ(store->head("run", soon()).value()->version, 2);
    execute(path_,
            "CREATE TRIGGER gone AFTER INSERT ON snapshots BEGIN "
            "DELETE FROM snapshots WHERE sequence = new.sequence; END");
    execute(path_, "CREATE TRIGGER still BEFORE UPDATE ON runs BEGIN SELECT raise(ignore); END");
    save(*store, "run", R"({"a":3})");
    EXPECT_EQ(store->head("run", soon()).value()->version, 3);
    EXPECT_TRUE(store->get("run", "run-3", soon()).value().has_value());
}

TEST_F(CraftedStore, ATableThatIsNotAsCairnMakesItIsNamed) {
    const std::vector<std::pair<std::string, std::string>> changes = {
        {"runs",
         "ALTER TABLE runs RENAME TO runs_; CREATE VIEW runs AS WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL "
         "SELECT x + 1 FROM c) SELECT runs_.* FROM runs_, c WHERE c.x < 0"},
        {"leases",
         "DROP TABLE leases; CREATE VIEW leases AS SELECT run_id, hex(zeroblob(450000000)) AS owner, "
         "1 AS epoch, 1 AS heartbeat_at FROM runs"},
        {"snapshots", "ALTER TABLE snapshots ADD COLUMN more TEXT AS (hex(zeroblob(1000000)))"},
        {"snapshot_labels", "ALTER TABLE snapshot_labels ADD COLUMN more TEXT"},
        {"runs_by_user", "DROP INDEX runs_by_user; CREATE UNIQUE INDEX runs_by_user ON runs(user_id, run_id)"},
    };
    const std::string sound = content_of(path_);
    for (const auto& [name, sql] : changes) {
        std::ofstream(path_, std::ios::binary) << sound;
        execute(path_, sql);
        for (const bool read_only : {false, true}) {
            const Error error = error_of_opening({.read_only = read_only});
            EXPECT_EQ(error.code, ErrorCode::kIncompatible) << name;
            EXPECT_THAT(error.message, HasSubstr(fmt::format("\"{}\"", name)));
        }
    }
}

TEST_F(CraftedStore, AnIndexOnATableOfOursThatComputesOrRefusesIsNamed) {
    for (const char* sql : {"CREATE INDEX mine ON snapshots(hex(frame))",
                            "CREATE UNIQUE INDEX mine ON snapshots(label_key, "
                            "sequence)",
                            "CREATE INDEX mine ON runs(user_id) WHERE length(user_id) > 3"}) {
        execute(path_, sql);
        const Error error = error_of_opening();
        EXPECT_EQ(error.code, ErrorCode::kIncompatible) << sql;
        EXPECT_THAT(error.message, HasSubstr("index \"mine\"")) << sql;
        execute(path_, "DROP INDEX mine");
    }
}

TEST_F(CraftedStore, TablesViewsAndPlainIndexesOfAUsersOwnAreLeftAlone) {
    execute(path_,
            "CREATE TABLE notes(a, b); CREATE INDEX notes_by_a ON notes(hex(a));"
            "CREATE TRIGGER on_notes AFTER INSERT ON notes BEGIN DELETE FROM notes; END;"
            "CREATE INDEX mine ON snapshots(expires_at, version);"
            "CREATE VIEW heads AS SELECT run_id, head_version FROM runs; ANALYZE");
    const auto store = open();
    save(*store, "run", R"({"a":3})");
    EXPECT_THAT(check_deep(*store, Deadline::max()).value().findings, IsEmpty());
}

TEST_F(CraftedStore, ASchemaVersionThatNoCairnWroteIsIncompatible) {
    for (const int version : {-5, 1, 2147483647}) {
        execute(path_, fmt::format("PRAGMA user_version = {}", version));
        for (const bool read_only : {false, true}) {
            EXPECT_EQ(error_of_opening({.read_only = read_only}).code, ErrorCode::kIncompatible) << version;
        }
    }
}

// ---- time ----

TEST_F(CraftedStore, AStatementThatNeverEndsIsGivenUpAtItsDeadline) {
    static constexpr char kEndless[] =
        "WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c";
    const auto connection = sqlite::Connection::open(path_, sqlite::Access::kWrite).value();
    connection->set_deadline(std::chrono::steady_clock::now());
    const auto answer = connection->query_integer(kEndless);
    ASSERT_FALSE(answer.has_value());
    EXPECT_EQ(answer.error().code, ErrorCode::kUnavailable);
    EXPECT_FALSE(connection->broken());
    connection->set_deadline(soon());
    static constexpr char kCount[] = "SELECT count(*) FROM runs";
    EXPECT_EQ(connection->query_integer(kCount).value(), 2);
}

TEST_F(CraftedStore, ATransactionIsNotGivenUpWhileItEnds) {
    static constexpr char kLong[] =
        "WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c LIMIT 100000) SELECT count(*) FROM c";
    const auto connection = sqlite::Connection::open(path_, sqlite::Access::kWrite).value();
    connection->set_deadline(std::chrono::steady_clock::now());
    while (connection->query_integer(kLong)) {
    }
    EXPECT_EQ(connection->end_transaction(kLong), 0);  // as long as a COMMIT may ever take
    EXPECT_FALSE(connection->query_integer(kLong).has_value());
}

// ---- chains ----

/// Counts the frames that are read from the store.
class CountingStore final : public ForwardingStore {
public:
    using ForwardingStore::ForwardingStore;
    Result<std::optional<Snapshot>> get(std::string_view run_id, std::optional<std::string_view> snapshot_id,
                                        Deadline deadline, Reading reading) override {
        auto found = ForwardingStore::get(run_id, snapshot_id, deadline, reading);
        if (found && *found) frames_read += (*found)->bases.size() + 1;
        return found;
    }
    Result<std::vector<BaseFrame>> frames(std::string_view run_id, std::span<const std::int64_t> versions,
                                          Deadline deadline, Reading reading) override {
        auto found = ForwardingStore::frames(run_id, versions, deadline, reading);
        if (found) frames_read += found->size();
        return found;
    }
    std::uint64_t frames_read = 0;
};

/// A form of tree: a line of `length` snapshots, and as many others, each of which needs one of the line.
struct Shape {
    const char* name;
    std::int64_t (*base_of_nth)(std::int64_t nth, std::int64_t length);
};
const Shape kShapes[] = {
    {"all need the last", [](std::int64_t, std::int64_t length) { return length; }},
    {"each needs another, from the front", [](std::int64_t nth, std::int64_t) { return nth; }},
    {"each needs another, from the end", [](std::int64_t nth, std::int64_t length) { return length + 1 - nth; }},
    {"each needs another, here and there",
     [](std::int64_t nth, std::int64_t length) { return (nth * 7919) % length + 1; }},
};

void append_shape(ChainedRun& run, const Shape& shape, std::int64_t length) {
    run.append_line(static_cast<int>(length));
    for (std::int64_t nth = 1; nth <= length; ++nth) run.append(shape.base_of_nth(nth, length));
}

TEST(CraftedChain, CheckingALongChainReadsEachFrameAFewTimesAndNotOnceForEachSnapshot) {
    for (const int length : {100, 400}) {
        const auto store = std::make_shared<CountingStore>(open_store("memory:").value());
        ChainedRun run(*store, "run");
        run.append_line(length);
        EXPECT_THAT(check_deep(*store, Deadline::max()).value().findings, IsEmpty());
        EXPECT_LE(store->frames_read, 3U * static_cast<unsigned>(length));
    }
}

TEST(CraftedChain, CheckingSnapshotsThatShareALongChainReadsEachFrameAFewTimes) {
    for (const Shape& shape : kShapes) {
        SCOPED_TRACE(shape.name);
        const auto store = std::make_shared<CountingStore>(open_store("memory:").value());
        ChainedRun run(*store, "run");
        append_shape(run, shape, 150);
        EXPECT_THAT(check_deep(*store, Deadline::max()).value().findings, IsEmpty());
        EXPECT_LE(store->frames_read, 2U * 300U);
    }
}

TEST(CraftedChain, RecoveringARunWithADamagedFrontReadsEachFrameAFewTimes) {
    for (const Shape& shape : kShapes) {
        SCOPED_TRACE(shape.name);
        const TempDir dir;
        {
            const auto store = open_sqlite_store(dir / "cairn.db").value();
            ChainedRun run(*store, "run");
            run.append();  // intact, and needed by no other
            run.append();
            for (int i = 0; i < 100; ++i) run.append(run.newest());
            for (std::int64_t nth = 1; nth <= 100; ++nth) run.append(shape.base_of_nth(nth, 100) + 1);
        }
        execute(dir / "cairn.db", "UPDATE snapshots SET frame = zeroblob(length(frame)) WHERE version = 2");
        const auto store = std::make_shared<CountingStore>(open_sqlite_store(dir / "cairn.db").value());
        StatePersistenceService service(store);
        const auto recovered = service.recover_agent_state({.run_id = "run", .failure_reason = "damaged front"});
        ASSERT_TRUE(recovered.has_value()) << recovered.error().to_string();
        EXPECT_EQ(recovered->state.text(), ChainedRun::text_of("run", 1));
        EXPECT_THAT(recovered->damaged, SizeIs(201));
        EXPECT_LE(store->frames_read, 5U * 202U);
    }
}

TEST(CraftedChain, RecoveringARunWithDamagedNewestSnapshotsReadsEachFrameAFewTimes) {
    for (const Shape& shape : kShapes) {
        SCOPED_TRACE(shape.name);
        const TempDir dir;
        {
            const auto store = open_sqlite_store(dir / "cairn.db").value();
            ChainedRun run(*store, "run");
            append_shape(run, shape, 100);
        }
        execute(dir / "cairn.db", "UPDATE snapshots SET frame = zeroblob(length(frame)) WHERE version > 100");
        const auto store = std::make_shared<CountingStore>(open_sqlite_store(dir / "cairn.db").value());
        StatePersistenceService service(store);
        const auto recovered = service.recover_agent_state({.run_id = "run", .failure_reason = "damaged leaves"});
        ASSERT_TRUE(recovered.has_value()) << recovered.error().to_string();
        EXPECT_EQ(recovered->state.text(), ChainedRun::text_of("run", 100));
        EXPECT_THAT(recovered->damaged, SizeIs(100));
        EXPECT_LE(store->frames_read, 2U * 3U * 100U + 4U * 200U);
    }
}

TEST(CraftedChain, ADamagedFrameIsFoundOnceAndNamedByAllThatNeedIt) {
    const TempDir dir;
    {
        const auto store = open_sqlite_store(dir / "cairn.db").value();
        ChainedRun run(*store, "run");
        run.append_line(60);
    }
    execute(dir / "cairn.db", "UPDATE snapshots SET frame = zeroblob(length(frame)) WHERE version = 20");
    const auto store = std::make_shared<CountingStore>(open_sqlite_store(dir / "cairn.db").value());
    const CheckReport report = check_deep(*store, Deadline::max()).value();
    ASSERT_THAT(report.findings, SizeIs(41));  // versions 20 to 60
    EXPECT_EQ(report.findings.back().snapshot_id, "run-20");
    EXPECT_THAT(report.findings[5].problem, HasSubstr("version 20, which it needs, is damaged"));
    EXPECT_LE(store->frames_read, 400U);
}

TEST(CraftedChain, AChainLongerThanAnySettingAllowsIsCorruptAndNamesTheSetting) {
    const TempDir dir;
    const std::string first = R"({"i":"000000"})";
    const std::string second = R"({"i":"000001"})";
    {
        const auto store = open_sqlite_store(dir / "cairn.db").value();
        ASSERT_TRUE(commit_run(*store, make_batch(make_snapshot("run", 1, first)), soon()).has_value());
    }
    const std::string delta = encode_delta_frame(first, second, {.compression = false}, 1000).value().value();
    const std::string back = encode_delta_frame(second, first, {.compression = false}, 1000).value().value();
    execute(dir / "cairn.db",
            fmt::format("WITH RECURSIVE c(v) AS (VALUES(2) UNION ALL SELECT v + 1 FROM c WHERE v < 100001) "
                        "INSERT INTO snapshots(run_key, version, parent_steps, base_steps, label_key, created_after, "
                        "snapshot_id, state_bytes, checksum, frame) SELECT 1, v, 1, 1, 1, v, 'run-' || v, {}, "
                        "iif(v % 2, x'{}', x'{}'), iif(v % 2, x'{}', x'{}') FROM c;"
                        "UPDATE runs SET snapshots = 100001, head_version = 100001, head_snapshot_id = 'run-100001',"
                        "head_sequence = (SELECT max(sequence) FROM snapshots)",
                        first.size(), blob(Checksum::of(first)), blob(Checksum::of(second)), hex(back), hex(delta)));
    const auto store = std::make_shared<CountingStore>(open_sqlite_store(dir / "cairn.db").value());
    StatePersistenceService service(store);
    EXPECT_EQ(service.load_agent_state({.run_id = "run", .snapshot_id = "run-100000"})->state.text(), second);
    const auto loaded = service.load_agent_state({.run_id = "run"});
    ASSERT_FALSE(loaded.has_value());
    EXPECT_EQ(loaded.error().code, ErrorCode::kCorrupt);
    EXPECT_THAT(loaded.error().message, HasSubstr("CAIRN_CHAIN_FRAMES_MAX"));
    store->frames_read = 0;
    EXPECT_THAT(check_deep(*store, Deadline::max()).value().findings, SizeIs(1));
    EXPECT_LE(store->frames_read, 400'000U);
}

}  // namespace
}  // namespace cairn::test
