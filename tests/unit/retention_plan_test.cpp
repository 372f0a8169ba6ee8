// Goal: a policy lets the right snapshots go, and the plan's steps delete them correctly. After every single step, each
// remaining snapshot can be decoded. No frame is rewritten needlessly, and no chain grows.
// Method: small histories made by hand, and a simulation that walks through the plans of random trees step by step.
// There is no store.

#include "persistence/retention/retention_plan.h"

#include "support/make.h"
#include "support/seed.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

namespace cairn {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using Versions = std::vector<std::int64_t>;

// Makes versions 1, 2, 3, …, one hour apart. Their frames need the versions in `bases` (0: none).
std::vector<RetentionEntry> history(const Versions& bases) {
    std::vector<RetentionEntry> entries;
    for (const std::int64_t base : bases) {
        const auto version = static_cast<std::int64_t>(entries.size()) + 1;
        entries.push_back({.snapshot_id = fmt::format("s{}", version),
                           .version = version,
                           .base_version = base,
                           .created_at = test::kEpoch + hours(version)});
    }
    return entries;
}

std::vector<RetentionEntry> line(std::int64_t length) {
    Versions bases(static_cast<std::size_t>(length));
    for (std::size_t i = 0; i < bases.size(); ++i) bases[i] = static_cast<std::int64_t>(i);
    return history(bases);
}

Versions going(const std::vector<RetentionEntry>& entries) {
    Versions versions;
    for (const RetentionEntry& entry : entries) {
        if (entry.goes) versions.push_back(entry.version);
    }
    return versions;
}

// Returns the plan as text: "-3" deletes version 3, "5" makes 5 self-contained, "5>2" rewrites 5 against 2.
std::string plan(std::vector<RetentionEntry> entries, const Versions& go) {
    for (RetentionEntry& entry : entries) entry.goes = std::ranges::find(go, entry.version) != go.end();
    std::string text;
    for (const RetentionStep& step : plan_retention(entries)) {
        if (!text.empty()) text += ' ';
        if (step.kind == RetentionStep::Kind::kDelete) text += '-';
        text += std::to_string(entries[step.entry].version);
        if (step.base) text += '>' + std::to_string(entries[*step.base].version);
    }
    return text;
}

// ---- the policy ----

class RetentionPolicyTest : public testing::Test {
protected:
    Versions lets_go(const RetentionPolicy& policy) {
        mark_by_policy(entries, policy, now);
        return going(entries);
    }

    std::vector<RetentionEntry> entries = line(6);
    Timestamp now = test::kEpoch + hours(6);
};

TEST_F(RetentionPolicyTest, NothingSetLetsNothingGo) {
    entries[2].expires_at = test::kEpoch;
    EXPECT_EQ(lets_go({}), Versions{});
    EXPECT_EQ(lets_go({.include_recovery_points = true}), Versions{});
}

TEST_F(RetentionPolicyTest, KeepLastKeepsTheNewest) {
    EXPECT_EQ(lets_go({.keep_last = 1}), (Versions{1, 2, 3, 4, 5}));
    EXPECT_EQ(lets_go({.keep_last = 4}), (Versions{1, 2}));
    EXPECT_EQ(lets_go({.keep_last = 6}), Versions{});
    EXPECT_EQ(lets_go({.keep_last = SIZE_MAX}), Versions{});
}

TEST_F(RetentionPolicyTest, AgeLetsGoWhatIsOlderAndKeepsWhatIsExactlyThatOld) {
    EXPECT_EQ(lets_go({.age_max = hours(3)}), (Versions{1, 2}));
    EXPECT_EQ(lets_go({.age_max = hours(3) - microseconds(1)}), (Versions{1, 2, 3}));
    EXPECT_EQ(lets_go({.age_max = microseconds(0)}), (Versions{1, 2, 3, 4, 5}));
}

TEST_F(RetentionPolicyTest, AnEndlessAgeLetsNothingGo) {
    EXPECT_EQ(lets_go({.age_max = microseconds::max()}), Versions{});
    now = Timestamp(microseconds(-5));
    EXPECT_EQ(lets_go({.age_max = microseconds::max()}), Versions{});
}

TEST_F(RetentionPolicyTest, ExpiredIsWhatHasATimeThatHasPassed) {
    entries[1].expires_at = now - microseconds(1);
    entries[2].expires_at = now;
    entries[3].expires_at = now + microseconds(1);
    EXPECT_EQ(lets_go({.expired = true}), (Versions{2, 3}));
    EXPECT_EQ(lets_go({.keep_last = 6}), Versions{}) << "expired, but nobody asked for it";
}

TEST_F(RetentionPolicyTest, TheHeadNeverGoes) {
    entries[5].expires_at = test::kEpoch;
    now = test::kEpoch + hours(10'000);
    EXPECT_EQ(lets_go({.keep_last = 1, .age_max = hours(0), .expired = true, .include_recovery_points = true}),
              (Versions{1, 2, 3, 4, 5}));
    entries.resize(1);
    EXPECT_EQ(lets_go({.keep_last = 1, .age_max = hours(0)}), Versions{});
    entries.clear();
    EXPECT_EQ(lets_go({.keep_last = 1}), Versions{});
}

TEST_F(RetentionPolicyTest, RecoveryPointsStayUnlessNamedAndCountAsKept) {
    entries[1].is_recovery_point = true;
    entries[4].is_recovery_point = true;
    entries[1].expires_at = test::kEpoch;
    EXPECT_EQ(lets_go({.keep_last = 2, .expired = true}), (Versions{1, 3, 4}));
    EXPECT_EQ(lets_go({.keep_last = 2, .include_recovery_points = true}), (Versions{1, 2, 3, 4}));
}

TEST_F(RetentionPolicyTest, AnyRuleThatSaysSoIsEnough) {
    entries[4].expires_at = test::kEpoch;
    EXPECT_EQ(lets_go({.keep_last = 5, .age_max = hours(4), .expired = true}), (Versions{1, 5}));
}

void expect_invalid(const Status& status, std::string_view field) {
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(status.error().message.find(field), std::string::npos) << status.error().message;
}

TEST(RetentionRules, ImpossibleRulesAreInvalidAndNamed) {
    expect_invalid(check_retention_policy({.keep_last = 0}), "keep_last is 0");
    expect_invalid(check_retention_policy({.age_max = microseconds(-1)}), "age_max is -1");
    expect_invalid(check_retention_policy({.run_id = ""}), "run_id");
    expect_invalid(check_retention_policy({.thread_id = "a\nb"}), "thread_id");
    expect_invalid(check_retention_policy({.user_id = "\xFF"}), "user_id");
    expect_invalid(check_deletion_target({}), "give a run_id, a thread_id or a user_id");
    expect_invalid(check_deletion_target({.user_id = ""}), "user_id");
    expect_invalid(check_retention_options({.snapshots_per_commit = 0}), "snapshots_per_commit is 0");
    EXPECT_TRUE(check_retention_policy({.keep_last = 1, .age_max = microseconds(0), .run_id = "run"}));
    EXPECT_TRUE(check_deletion_target({.thread_id = "thread"}));
    EXPECT_TRUE(check_retention_options({}));
}

TEST(RetentionRules, AllButTheHeadsChainIsWhatTheHeadDoesNotNeed) {
    std::vector<RetentionEntry> entries = history({0, 1, 2, 2, 0, 4, 5});
    mark_all_but_heads_chain(entries);
    EXPECT_EQ(going(entries), (Versions{1, 2, 3, 4, 6}));
    entries = line(5);
    mark_all_but_heads_chain(entries);
    EXPECT_EQ(going(entries), Versions{});
    entries.clear();
    mark_all_but_heads_chain(entries);
}

// ---- the plan ----

TEST(RetentionPlan, NothingGoesNothingToDo) {
    EXPECT_EQ(plan({}, {}), "");
    EXPECT_EQ(plan(line(4), {}), "");
}

TEST(RetentionPlan, SelfContainedOnesGoNewestFirstWithoutRewriting) {
    EXPECT_EQ(plan(history({0, 0, 0, 0}), {1, 3}), "-3 -1");
}

TEST(RetentionPlan, TheOldestOfALongLineCostOneRewrite) {
    std::vector<RetentionEntry> entries = line(1000);
    for (std::size_t i = 0; i < 100; ++i) entries[i].goes = true;
    const std::vector<RetentionStep> steps = plan_retention(entries);
    ASSERT_EQ(steps.size(), 101U);
    EXPECT_EQ(steps.front(), (RetentionStep{.kind = RetentionStep::Kind::kRewrite, .entry = 100}));
    for (std::size_t i = 1; i < steps.size(); ++i) EXPECT_EQ(steps[i], RetentionStep{.entry = 100 - i});
}

TEST(RetentionPlan, AGapIsBridgedByTheNearestAncestorThatStays) {
    EXPECT_EQ(plan(line(6), {3, 4}), "5>2 -4 -3");
    EXPECT_EQ(plan(line(6), {2, 4, 5}), "6>3 -5 -4 3>1 -2");
}

TEST(RetentionPlan, ASnapshotThatGoesItselfIsNotRewritten) {
    EXPECT_EQ(plan(history({0, 1, 2, 0}), {1, 2, 3}), "-3 -2 -1");
}

TEST(RetentionPlan, ForksOfOneBaseLeanOnTheFirstOfThem) {
    EXPECT_EQ(plan(history({0, 1, 1, 1, 0}), {1}), "2 3>2 4>2 -1");
}

TEST(RetentionPlan, ForksOfAMiddleLeanOnItsAncestor) {
    EXPECT_EQ(plan(history({0, 1, 2, 2, 2}), {2}), "3>1 4>1 5>1 -2");
}

TEST(RetentionPlan, AnOrphanLeansOnTheNewestEarlierSelfContainedOne) {
    EXPECT_EQ(plan(history({0, 0, 1, 3}), {3, 1}), "4>2 -3 -1");
    EXPECT_EQ(plan(history({0, 1, 0, 1}), {1}), "2 4>3 -1");
}

TEST(RetentionPlan, ASnapshotThatOthersWillLeanOnIsMadeSelfContainedFirst) {
    // 4 loses 3 before 2 loses 1; no chain may grow in between.
    EXPECT_EQ(plan(history({0, 1, 1, 3}), {1, 3}), "2 4>2 -3 -1");
}

TEST(RetentionPlan, ABaseThatIsNotThereChangesNothing) {
    std::vector<RetentionEntry> entries = line(4);
    entries[0].base_version = -7;
    entries.erase(entries.begin() + 1);  // version 3 needs 2
    EXPECT_EQ(plan(entries, {1}), "-1");
    EXPECT_EQ(plan(entries, {3}), "4 -3");
}

/// Executes the steps, and checks the rules after each.
class Simulation {
public:
    explicit Simulation(const std::vector<RetentionEntry>& entries) : entries_(entries) {
        for (const RetentionEntry& entry : entries) bases_[entry.version] = entry.base_version;
        for (const RetentionEntry& entry : entries) depths_[entry.version] = depth(entry.version);
    }

    // `is_delta_refused`: the encoder found no gain in the base.
    void take(const RetentionStep& step, bool is_delta_refused) {
        const RetentionEntry& entry = entries_[step.entry];
        if (step.kind == RetentionStep::Kind::kDelete) {
            EXPECT_TRUE(entry.goes) << entry.version << " was to stay";
            EXPECT_EQ(bases_.erase(entry.version), 1U);
        } else {
            EXPECT_FALSE(entry.goes) << entry.version << " is rewritten for nothing";
            EXPECT_EQ(++rewrites_[entry.version], 1) << entry.version << " is rewritten twice";
            const bool is_delta = step.base && !is_delta_refused;
            bases_.at(entry.version) = is_delta ? entries_[*step.base].version : 0;
        }
        for (const auto& [version, base] : bases_) {
            ASSERT_LE(depth(version), depths_.at(version)) << "the chain of " << version << " has grown";
        }
    }
    // Returns the number of frames that a load reads. Fails the test if one is not there.
    int depth(std::int64_t version) const {
        int frames = 0;
        for (; version != 0; ++frames) {
            const auto found = bases_.find(version);
            if (found == bases_.end()) {
                ADD_FAILURE() << "version " << version << " is needed but gone";
                break;
            }
            EXPECT_LT(found->second, version);
            version = found->second;
        }
        return frames;
    }
    std::size_t rewrites() const { return rewrites_.size(); }
    std::size_t left() const { return bases_.size(); }

private:
    const std::vector<RetentionEntry>& entries_;
    std::map<std::int64_t, std::int64_t> bases_;
    std::map<std::int64_t, int> depths_;  // before the first step
    std::map<std::int64_t, int> rewrites_;
};

// Makes versions with gaps. Each needs the one before, some earlier one, or none.
std::vector<RetentionEntry> random_history(std::mt19937_64& random) {
    const auto below = [&random](std::size_t limit) { return static_cast<std::size_t>(random() % limit); };
    const std::size_t length = 1 + below(40);
    const std::size_t forks = 1 + below(10);
    const std::size_t restarts = 1 + below(20);
    const std::size_t going_percent = below(101);
    std::vector<RetentionEntry> entries;
    std::int64_t version = 0;
    while (entries.size() < length) {
        RetentionEntry entry{.version = version += 1 + static_cast<std::int64_t>(below(3))};
        if (!entries.empty() && below(restarts + 1) != 0) {
            entry.base_version = below(forks) == 0 ? entries[below(entries.size())].version : entries.back().version;
        }
        entry.goes = entries.size() + 1 < length && below(100) < going_percent;
        entries.push_back(entry);
    }
    return entries;
}

TEST(RetentionPlan, RandomTreesStayDecodableAfterEveryStep) {
    const std::uint64_t first = test::seed();
    for (std::uint64_t seed = first; seed < first + 5000; ++seed) {
        SCOPED_TRACE(test::replay_line(seed));
        std::mt19937_64 random(seed);
        const std::vector<RetentionEntry> entries = random_history(random);
        std::map<std::int64_t, bool> goes;
        for (const RetentionEntry& entry : entries) goes[entry.version] = entry.goes;
        const auto must_be_rewritten = std::ranges::count_if(entries, [&](const RetentionEntry& entry) {
            return !entry.goes && entry.base_version != 0 && goes.at(entry.base_version);
        });
        Simulation simulation(entries);
        for (const RetentionStep& step : plan_retention(entries)) simulation.take(step, random() % 8 == 0);
        EXPECT_EQ(simulation.left(), entries.size() - going(entries).size());
        EXPECT_EQ(simulation.rewrites(), static_cast<std::size_t>(must_be_rewritten));
        if (testing::Test::HasFailure()) return;
    }
}

}  // namespace
}  // namespace cairn
