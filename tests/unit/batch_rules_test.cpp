// Goal: one function decides whether a run's batch may be applied. It returns each of its errors where it should, in
// the documented order, and none for a valid batch.
// Method: a table of batches and facts, with a row for each error and for each near miss. No store is needed.

#include "store/batch_rules.h"

#include "support/make.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

namespace cairn::test {
namespace {

const Lease kAnn{.owner = "ann", .epoch = 1};
const Lease kBob{.owner = "bob", .epoch = 2};

// The facts of a run at version 3, whose versions 2 and 3 are deltas.
RunFacts facts_of_run() {
    return {.head_version = 3,
            .thread_id = "thread",
            .user_id = "user",
            .lease = kAnn,
            .snapshots = {{1, {.snapshot_id = "run-1"}},
                          {2, {.snapshot_id = "run-2", .base_version = 1}},
                          {3, {.snapshot_id = "run-3", .base_version = 2}}}};
}

SnapshotWrite write_of(std::int64_t version, std::int64_t base_version = 0) {
    SnapshotWrite write = make_write(make_snapshot("run", version));
    write.snapshot.info.base_version = base_version;
    return write;
}

SnapshotWrite with(SnapshotWrite write, std::string base_snapshot_id, std::optional<Lease> lease = {}) {
    write.base_snapshot_id = std::move(base_snapshot_id);
    write.lease = std::move(lease);
    return write;
}

SnapshotWrite expecting(SnapshotWrite write, std::int64_t expected_version) {
    write.expected_version = expected_version;
    return write;
}

SnapshotWrite owned_by(SnapshotWrite write, std::string user_id) {
    write.snapshot.info.user_id = std::move(user_id);
    return write;
}

RunBatch writing(std::vector<SnapshotWrite> writes) {
    return {.run_id = "run", .writes = std::move(writes)};
}

RunBatch deleting(std::vector<SnapshotDeletion> deletions) {
    return {.run_id = "run", .deletions = std::move(deletions)};
}

struct Row {
    std::string what;
    RunBatch batch;
    std::optional<ErrorCode> code;
    std::string says = {};
    RunFacts facts = facts_of_run();
};

RunFacts taken(std::string id) {
    RunFacts facts = facts_of_run();
    facts.taken_ids = {std::move(id)};
    return facts;
}

std::vector<Row> rows() {
    using enum ErrorCode;
    const auto none = std::nullopt;
    const RunBatch renewal{.run_id = "run", .lease = LeaseWrite{.lease = kAnn, .expected = kAnn}};
    const RunBatch taking{.run_id = "run", .lease = LeaseWrite{.lease = kBob, .expected = {}}};
    RunBatch handing_over = writing({with(write_of(4), "", kAnn)});
    handing_over.lease = LeaseWrite{.lease = kBob, .expected = kAnn};
    RunBatch moving_on = writing({write_of(4)});
    moving_on.deletions = {{.version = 3}};
    RunBatch freeing = deleting({{.version = 1}});
    freeing.rewrites = {{.version = 2}};
    RunBatch needing = deleting({{.version = 3}});
    needing.writes = {write_of(4, 3)};
    RunBatch erasing{.run_id = "run", .run_deletion = RunDeletion{}};
    RunBatch erasing_another{.run_id = "run", .run_deletion = RunDeletion{.version = 2, .snapshot_id = "old"}};
    RunBatch erasing_this{.run_id = "run", .run_deletion = RunDeletion{.version = 2, .snapshot_id = "run-2"}};
    RunBatch erasing_what_goes = erasing_this;
    erasing_what_goes.rewrites = {{.version = 3}};
    erasing_what_goes.deletions = {{.version = 2}};
    return {
        {"nothing", {.run_id = "run"}, none},
        // the lease to write
        {"a renewal", renewal, none},
        {"a lease that is another's", taking, kConflict, "not the expected no lease"},
        {"a lease of a run without one", renewal, kConflict, "has no lease", {}},
        // writes
        {"a write", writing({write_of(4)}), none},
        {"the first write of a run", writing({write_of(1)}), none, "", {}},
        {"a write of others", writing({owned_by(write_of(4), "other")}), kInvalidArgument, "belongs to another"},
        {"a taken id", writing({write_of(4)}), kAlreadyExists, "\"run-4\" is taken", taken("run-4")},
        {"a taken id of another write", writing({write_of(4), write_of(5)}), kAlreadyExists, "run-5", taken("run-5")},
        {"a write under the lease", writing({with(write_of(4), "", kAnn)}), none},
        {"a write under another lease", writing({with(write_of(4), "", kBob)}), kConflict, "executed by another"},
        {"a write under the lease before", handing_over, kConflict, "executed by another"},
        {"a head that moved", writing({expecting(write_of(4), 2)}), kConflict, "at version 3, not at the expected 2"},
        {"a run that is not there", writing({write_of(4)}), kConflict, "at version 0", {}},
        {"a chain of writes", writing({write_of(4, 3), write_of(5, 4)}), none},
        {"a base far back", writing({write_of(4, 1)}), none},
        {"a base of the run before", writing({with(write_of(4, 2), "old")}), kConflict, "the base of version 4"},
        {"a base by its id", writing({with(write_of(4, 2), "run-2")}), none},
        {"a base in a run that is not there", writing({expecting(write_of(4, 2), 0)}), kConflict, "base", {}},
        // the order of the errors
        {"others, a taken id", writing({owned_by(write_of(4), "other")}), kInvalidArgument, "", taken("run-4")},
        {"a taken id, another lease", writing({with(write_of(4), "", kBob)}), kAlreadyExists, "", taken("run-4")},
        {"a taken id, a moved head", writing({expecting(write_of(4), 1)}), kAlreadyExists, "", taken("run-4")},
        {"another lease, a moved head", writing({expecting(with(write_of(4), "", kBob), 1)}), kConflict, "executed"},
        // rewrites
        {"a rewrite", {.run_id = "run", .rewrites = {{.version = 3, .base_version = 1}}}, none},
        {"a rewrite of none", {.run_id = "run", .rewrites = {{.version = 9}}}, kConflict, "to be rewritten"},
        {"a rewrite of another",
         {.run_id = "run", .rewrites = {{.version = 3, .snapshot_id = "old"}}},
         kConflict,
         "to be rewritten"},
        {"a rewrite on none",
         {.run_id = "run", .rewrites = {{.version = 9, .base_version = 8}}},
         kConflict,
         "rewritten"},
        // deletions
        {"a deletion of the head", deleting({{.version = 3}}), kInvalidArgument, "is its head"},
        {"a deletion of the head before", moving_on, none},
        {"a deletion of what is needed", deleting({{.version = 2}}), kConflict, "needed by version 3"},
        {"a deletion of another", deleting({{.version = 2, .snapshot_id = "old"}}), none},
        {"a deletion of none", deleting({{.version = 77}}), none},
        {"a deletion of what is set free", freeing, none},
        {"a deletion of what the batch writes on", needing, kConflict, "version 3, to be deleted, is needed"},
        // the whole run
        {"the run", erasing, none},
        {"a run that is not there", erasing_another, none, "", {}},
        {"a run made anew", erasing_another, kConflict, "no version 2 with the given id"},
        {"this very run", erasing_this, none},
        {"a run known by what goes", erasing_what_goes, kConflict, "no version 2"},
    };
}

TEST(BatchRules, EachErrorIsToldWhereItShouldBeAndNowhereElse) {
    for (const Row& row : rows()) {
        ASSERT_TRUE(check_batch(row.batch)) << row.what << " must pass by itself";
        const Result<std::vector<std::int64_t>> status = check_batch(row.batch, row.facts);
        EXPECT_EQ(status ? std::nullopt : std::optional(status.error().code), row.code) << row.what;
        if (status) continue;
        EXPECT_NE(status.error().message.find(row.says), std::string::npos)
            << row.what << ": " << status.error().message;
        EXPECT_NE(status.error().message.find("\"run\""), std::string::npos)
            << row.what << ": " << status.error().message;
    }
}

// Who applies the batch deletes just these.
TEST(BatchRules, TheAnswerNamesTheSnapshotsThatGoEachOnceInAscendingOrder) {
    RunBatch batch = deleting({{.version = 4},
                               {.version = 77},
                               {.version = 2},
                               {.version = 1, .snapshot_id = "old"},
                               {.version = 3, .snapshot_id = "run-3"},
                               {.version = 2, .snapshot_id = "run-2"}});
    batch.writes = {write_of(4), write_of(5)};
    EXPECT_EQ(check_batch(batch, facts_of_run()).value(), (std::vector<std::int64_t>{2, 3, 4}));
    EXPECT_EQ(versions_named_by_deletions(batch), (std::vector<std::int64_t>{1, 2, 3, 4, 77}));
    EXPECT_TRUE(check_batch(writing({write_of(4)}), facts_of_run()).value().empty());
}

struct LoneRow {
    std::string what;
    RunBatch batch;
    ErrorCode code = ErrorCode::kInvalidArgument;
};

std::vector<LoneRow> lone_rows() {
    std::vector<LoneRow> rows;
    const auto add = [&](std::string what, RunBatch batch, ErrorCode code = ErrorCode::kInvalidArgument) {
        rows.push_back({std::move(what), std::move(batch), code});
    };
    add("no run", {});
    for (std::string SnapshotInfo::* id :
         {&SnapshotInfo::thread_id, &SnapshotInfo::user_id, &SnapshotInfo::snapshot_id}) {
        RunBatch batch = writing({write_of(1)});
        (batch.writes.front().snapshot.info.*id).clear();
        add("an empty id", batch);
    }
    add("a write of another run", {.run_id = "other", .writes = {write_of(1)}});
    add("a record of another run", {.run_id = "run", .recoveries = {{.run_id = "other"}}});
    add("an expected version below 0", writing({expecting(write_of(1), -1)}));
    add("a version that does not grow", writing({expecting(write_of(2), 2)}));
    RunBatch own_parent = writing({write_of(2)});
    own_parent.writes.front().snapshot.info.parent_version = 2;
    add("a parent that is no older", own_parent);
    add("a base that is no older", writing({write_of(2, 2)}));
    add("a base below 0", writing({write_of(2, -1)}));
    add("a rewrite on itself", {.run_id = "run", .rewrites = {{.version = 2, .base_version = 2}}});
    add("writes that do not chain", writing({write_of(1), write_of(3)}));
    add("writes of two owners", writing({write_of(1), owned_by(write_of(2), "other")}));
    RunBatch twice = writing({write_of(1), write_of(2)});
    twice.writes.back().snapshot.info.snapshot_id = "run-1";
    add("one id twice", twice, ErrorCode::kAlreadyExists);
    const auto lease = [&](const Lease& next, const Lease& expected) {
        return RunBatch{.run_id = "run", .lease = LeaseWrite{.lease = next, .expected = expected}};
    };
    add("an epoch of 0", lease({.owner = "ann", .epoch = 0}, {}));
    add("a new owner of the same epoch", lease({.owner = "bob", .epoch = 1}, kAnn));
    add("an epoch that shrinks", lease({.owner = "bob", .epoch = 1}, kBob));
    return rows;
}

TEST(BatchRules, ABatchThatIsWrongByItselfIsRefusedWhateverIsStored) {
    for (const LoneRow& row : lone_rows()) {
        const Status status = check_batch(row.batch);
        ASSERT_FALSE(status) << row.what;
        EXPECT_EQ(status.error().code, row.code) << row.what << ": " << status.error().message;
    }
}

TEST(BatchRules, EachBatchOfACommitHasItsOwnAnswer) {
    const std::vector<RunBatch> batches{make_batch(make_snapshot("a", 1)),
                                        {.run_id = ""},
                                        make_batch(make_snapshot("b", 1)),
                                        make_batch(make_snapshot("a", 2))};
    const std::vector<Status> answers = check_batches(batches);
    ASSERT_EQ(answers.size(), 4U);
    EXPECT_TRUE(answers[0]);
    EXPECT_EQ(answers[1].error().code, ErrorCode::kInvalidArgument);
    EXPECT_TRUE(answers[2]);
    EXPECT_EQ(answers[3].error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(answers[3].error().message.find("run \"a\" has two batches"), std::string::npos);
}

TEST(BatchRules, TheHolderOfARunMattersToABatchThatNamesALease) {
    EXPECT_FALSE(names_lease(writing({write_of(1)})));
    EXPECT_TRUE(names_lease(writing({write_of(1), with(write_of(2), "", kAnn)})));
    EXPECT_TRUE(names_lease({.run_id = "run", .lease = LeaseWrite{.lease = kAnn}}));
}

}  // namespace
}  // namespace cairn::test
