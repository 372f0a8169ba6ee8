// Goal: the soak's oracle sees each kind of broken promise, and reports none where there is none.
// Method: a small store, and ledgers made by hand that contradict its content.

#include "fault/kill/report.h"
#include "fault/soak/oracle.h"
#include "fault/soak/roles.h"
#include "support/temp_dir.h"

#include <cairn/persistence.h>
#include <cairn/store.h>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace cairn::test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr char kRun[] = "whole-0";
constexpr char kDoomedRun[] = "doomed-0";
constexpr std::int64_t kDeath = 1'000'000;

class SoakOracle : public testing::Test {
protected:
    /// Puts the state "1.0.`step`" into the store.
    Receipt store(const std::string& run, const std::string& id, std::int64_t step) {
        const auto store = open_store(dir_.sqlite_url()).value();
        StatePersistenceRequest request{.run_id = run, .thread_id = kSoakThread, .user_id = kSoakUser};
        request.state_data = state_of(run, 1, 0, step);
        request.snapshot_id = id;
        return StatePersistenceService(store).save_agent_state(request).value();
    }

    /// Adds a call to the ledger. Each call takes ten ticks, one after the other.
    Call& say(const std::string& kind, Fields asked, Fields told) {
        const std::int64_t begun = 100 * ++calls_said_;
        calls_.push_back({.kind = kind,
                          .process = 1,
                          .number = calls_said_,
                          .begun = begun,
                          .ended = told.empty() ? kDeath : begun + 10,
                          .died = kDeath,
                          .asked = std::move(asked),
                          .told = std::move(told)});
        return calls_.back();
    }
    Call& say_saved(const std::string& run, const std::string& id, std::int64_t step, std::int64_t version,
                    const std::string& outcome = "persisted") {
        return say("save", asked(run, id, step),
                   {{"outcome", outcome},
                    {"durability", outcome == "queued" ? "async" : "sync"},
                    {"id", id},
                    {"version", fmt::to_string(version)}});
    }
    Call& say_save(const std::string& run, const std::string& id, std::int64_t step, const std::string& error) {
        return say("save", asked(run, id, step), error.empty() ? Fields{} : Fields{{"error", error}});
    }
    static Fields asked(const std::string& run, const std::string& id, std::int64_t step) {
        return {{"run", run}, {"id", id}, {"author", fmt::format("1.0.{}", step)}};
    }

    /// Returns the broken rules, each as many times as it is broken.
    std::vector<std::string> broken() {
        SoakFigures figures;
        std::vector<std::string> rules;
        for (const Violation& violation : Oracle(calls_).examine(dir_.sqlite_url(), figures)) {
            rules.push_back(violation.rule);
        }
        return rules;
    }

    TempDir dir_;
    std::vector<Call> calls_;
    std::int64_t calls_said_ = 0;
};

TEST_F(SoakOracle, FindsNothingWhereAllIsTrue) {
    store(kRun, "a", 1);
    store(kRun, "b", 2);
    store(kRun, "c", 3);
    say_saved(kRun, "a", 1, 1);
    say_save(kRun, "x", 7, "unavailable");
    say_save(kRun, "b", 2, "outcome_unknown");
    say_saved(kRun, "b", 2, 2);
    say_save(kRun, "c", 3, "");
    say_save(kRun, "d", 4, "");
    say("load", {{"run", kRun}, {"id", ""}}, {{"id", "b"}, {"version", "2"}, {"type", "auto"}, {"author", "1.0.2"}});
    EXPECT_THAT(broken(), IsEmpty());
}

TEST_F(SoakOracle, SeesThatAnAcknowledgedSaveIsGoneOrIsAnotherState) {
    store(kRun, "a", 1);
    say_saved(kRun, "a", 2, 1);
    say_saved(kRun, "b", 3, 2);
    EXPECT_THAT(broken(),
                UnorderedElementsAre("what was acknowledged loads exactly", "what was acknowledged is there"));
}

TEST_F(SoakOracle, SeesThatARefusedSaveIsThereOrWasSeen) {
    store(kRun, "a", 1);
    say_save(kRun, "a", 1, "unavailable");
    say_save(kRun, "b", 2, "conflict").asked["expected"] = "1";
    say("load", {{"run", kRun}, {"id", "b"}}, {{"id", "b"}, {"version", "2"}, {"type", "auto"}, {"author", "1.0.2"}});
    EXPECT_THAT(broken(), UnorderedElementsAre("what was refused is never seen", "what was refused is never seen",
                                               "what was loaded is still there"));
}

TEST_F(SoakOracle, SeesThatACallOfUnknownOutcomeHasHappenedTwice) {
    store(kRun, "a", 1);
    store(kRun, "b", 1);
    say_save(kRun, "", 1, "outcome_unknown");
    EXPECT_THAT(broken(), ElementsAre("every snapshot is somebody's, once"));
}

TEST_F(SoakOracle, SeesThatASnapshotIsStoredAnewThoughNoPruneCanHaveTakenIt) {
    const auto repeat_after = [&](const char* run, std::int64_t others) {
        say_save(run, "a", 100, "outcome_unknown");
        say("load", {{"run", run}, {"id", ""}},
            {{"id", "a"}, {"version", "1"}, {"type", "auto"}, {"author", "1.0.100"}});
        for (std::int64_t step = 1; step <= others; ++step) {
            const std::string id = fmt::format("other-{}", step);
            store(run, id, step);
            say_saved(run, id, step, step);
        }
        store(run, "a", 100);
        say_saved(run, "a", 100, others + 1);
    };
    repeat_after(kPrunedRuns[0], kKeptByPruning);
    EXPECT_THAT(broken(), IsEmpty());
    repeat_after(kPrunedRuns[1], kKeptByPruning - 1);
    EXPECT_THAT(broken(), ElementsAre("what is loaded is always the same"));
}

TEST_F(SoakOracle, SeesThatAFlushedSaveIsGone) {
    store(kRun, "a", 1);
    say_saved(kRun, "a", 1, 1);
    say_saved(kRun, "b", 2, 2, "queued");
    EXPECT_THAT(broken(), IsEmpty());
    say("flush", {{"run", kRun}}, {{"outcome", "ok"}});
    EXPECT_THAT(broken(), ElementsAre("what was acknowledged is there"));
}

TEST_F(SoakOracle, SeesThatADeletedRunIsBack) {
    store(kDoomedRun, "a", 1);
    say_saved(kDoomedRun, "a", 1, 1);
    say("delete", {{"run", kDoomedRun}}, {{"runs", "1"}});
    EXPECT_THAT(broken(), ElementsAre("a deleted run stays deleted"));
}

TEST_F(SoakOracle, SeesThatVersionsDoNotGrowAndThatALoadIsOld) {
    store(kRun, "a", 1);
    store(kRun, "b", 2);
    say_saved(kRun, "b", 2, 2);
    say_saved(kRun, "a", 1, 1);
    say("load", {{"run", kRun}, {"id", ""}}, {{"id", "a"}, {"version", "1"}, {"type", "auto"}, {"author", "1.0.1"}});
    EXPECT_THAT(broken(), ElementsAre("versions grow in call order", "a load sees what was acknowledged before it"));
}

TEST_F(SoakOracle, SeesThatAnIntactSnapshotIsCalledDamaged) {
    store(kRun, "a", 1);
    say_saved(kRun, "a", 1, 1);
    say("recover", {{"run", kRun}, {"type", "resume"}},
        {{"id", "a"}, {"source", "a"}, {"version", "1"}, {"damaged", "2"}});
    say("load", {{"run", kRun}, {"id", ""}}, {{"error", "corrupt"}});
    say("check", {}, {{"findings", "1"}});
    EXPECT_THAT(broken(), UnorderedElementsAre("what is intact is not called damaged", "an error fits what happened",
                                               "check finds nothing"));
}

TEST_F(SoakOracle, SeesThatARecoveryHasMovedAnIntactHead) {
    store(kRun, "a", 1);
    store(kRun, "b", 2);
    say_saved(kRun, "a", 1, 1);
    say("recover", {{"run", kRun}, {"type", "resume"}},
        {{"id", "b"}, {"source", "a"}, {"version", "2"}, {"damaged", "0"}});
    EXPECT_THAT(broken(), ElementsAre("resume leaves an intact head alone"));
}

TEST_F(SoakOracle, SeesThatARefusedForkIsThereAndAnAcknowledgedOneIsNot) {
    store(kRun, "a", 1);
    store("fork-1-2", "f", 1);
    say_saved(kRun, "a", 1, 1);
    say("fork", {{"run", kRun}, {"from", "a"}, {"to", "fork-1-2"}}, {{"error", "unavailable"}});
    say("fork", {{"run", kRun}, {"from", "a"}, {"to", "fork-1-3"}}, {{"exit", "0"}});
    EXPECT_THAT(broken(), ElementsAre("what was refused is never seen", "what was acknowledged is there"));
}

}  // namespace
}  // namespace cairn::test
