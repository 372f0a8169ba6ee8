// Goal: the history of a run is a tree. The program lets it grow (save --parent, fork), labels its snapshots
// (--metadata) and shows it (log --graph, log --metadata).
// Method: runs the built program as a child in a folder of its own, as a user would; see program_fixture.h.

#include "cli/program_fixture.h"

namespace cairn::test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::StartsWith;

TEST_F(Cairn, ASaveMayGrowFromAnOlderSnapshotByIdOrVersion) {
    const Json first = saved(R"({"a":1})");
    const Json second = saved(R"({"a":2})");
    saved(R"({"a":3})", {"--parent", "1"}, kOptimised);
    saved(R"({"a":4})", {"--parent", second["snapshot_id"]}, kOptimised);
    const Json snapshots = log();
    EXPECT_EQ(snapshots[0]["parent_snapshot_id"], second["snapshot_id"]);
    EXPECT_EQ(snapshots[0]["parent_version"], 2);
    EXPECT_EQ(snapshots[1]["parent_snapshot_id"], first["snapshot_id"]);
    EXPECT_EQ(snapshots[2]["parent_snapshot_id"], first["snapshot_id"]);
    EXPECT_TRUE(snapshots[3]["parent_snapshot_id"].is_null());
    for (int version = 1; version <= 4; ++version) {
        const auto loaded = run({"load", "--run", "r1", "--snapshot", std::to_string(version)});
        EXPECT_EQ(loaded.output, "{\"a\":" + std::to_string(version) + "}\n");
    }
}

TEST_F(Cairn, AParentThatIsNotThereIsNotFoundAndMakesNoStore) {
    expect_error(save("{}", {"--parent", "1"}), ErrorCode::kNotFound, "cairn.db");
    saved("{}");
    expect_error(save("{}", {"--parent", "9"}), ErrorCode::kNotFound, "version 9");
    expect_error(save("{}", {"--parent", "nobody"}), ErrorCode::kNotFound, "\"nobody\"");
}

TEST_F(Cairn, AParentThatIsGoneHasNoId) {
    for (const char* state : {R"({"a":1})", R"({"a":2})", R"({"a":3})"}) saved(state);
    ASSERT_EQ(run({"prune", "--keep-last", "1", "--yes"}).exit_code, 0);
    const Json snapshots = log();
    ASSERT_EQ(snapshots.size(), 1U);
    EXPECT_EQ(snapshots[0]["parent_version"], 2);
    EXPECT_TRUE(snapshots[0]["parent_snapshot_id"].is_null());
}

TEST_F(Cairn, MetadataIsKeptAsWrittenAndFoundByItsMembers) {
    saved(R"({"a":1})", {"--metadata", R"({ "branch" : "b", "attempt" : 3 })"});
    saved(R"({"a":2})", {"--metadata", R"({"branch":"b","attempt":4,"text":"3"})"});
    saved(R"({"a":3})", {"--metadata", R"({"branch":"c","done":true,"list":[1,{"x":null}]})"});
    saved(R"({"a":4})");
    EXPECT_THAT(run({"log", "--run", "r1", "--json", "--limit", "0"}).output,
                AllOf(HasSubstr(R"("metadata":{"branch":"b","attempt":3}})"), HasSubstr(R"("metadata":null})")));
    const auto versions = [&](const std::vector<std::string>& more) {
        std::vector<int> found;
        for (const Json& info : log(more)) found.push_back(info["version"]);
        return found;
    };
    EXPECT_THAT(versions({"--metadata", "branch=b"}), ElementsAre(2, 1));
    EXPECT_THAT(versions({"--metadata", "branch=\"b\""}), ElementsAre(2, 1));
    EXPECT_THAT(versions({"--metadata", "branch=b", "--metadata", "attempt=3"}), ElementsAre(1));
    EXPECT_THAT(versions({"--metadata", "text=3"}), IsEmpty()) << "a number is no string";
    EXPECT_THAT(versions({"--metadata", "text=\"3\""}), ElementsAre(2));
    EXPECT_THAT(versions({"--metadata", "done=true"}), ElementsAre(3));
    EXPECT_THAT(versions({"--metadata", R"(list=[1, {"x": null}])"}), ElementsAre(3));
    EXPECT_THAT(versions({"--metadata", R"(branch=b","attempt":3,"x":"y)"}), IsEmpty());
    EXPECT_THAT(versions({"--metadata", "="}), IsEmpty());
    expect_error(run({"log", "--run", "r1", "--metadata", "branch"}), ErrorCode::kInvalidArgument, "KEY=VALUE");
    expect_error(save("{}", {"--metadata", "[1]"}), ErrorCode::kInvalidArgument,
                 "--metadata: \"[1]\" is not KEY=VALUE");
}

TEST_F(Cairn, AForkGoesOnFromAnOlderSnapshotInItsRun) {
    const Json first = saved(R"({"a":1})", {"--phase", "triage"});
    saved(R"({"a":2})", {"--phase", "reporting"});
    const Json fork = parsed(run({"fork", "--run", "r1", "--from", "1", "--metadata", R"({"b":1})", "--json"}));
    EXPECT_THAT(keys_of(fork), ElementsAre("snapshot_id", "outcome", "durability", "version"));
    EXPECT_EQ(fork["outcome"], "persisted");
    EXPECT_EQ(fork["version"], 3);
    EXPECT_EQ(run({"load", "--run", "r1"}).output, "{\"a\":1}\n");
    const Json head = log()[0];
    EXPECT_EQ(head["parent_snapshot_id"], first["snapshot_id"]);
    EXPECT_EQ(head["checkpoint_type"], "manual");
    EXPECT_EQ(head["agent_phase"], "triage");
    EXPECT_EQ(head["metadata"], Json({{"b", 1}}));
    EXPECT_THAT(run({"fork", "--run", "r1", "--from", first["snapshot_id"]}).output,
                MatchesRegex("persisted [0-9a-f-]+ \\(version 4, sync\\)\n"));
}

TEST_F(Cairn, AForkMayBeginARunThatKnowsItsOrigin) {
    const Json first = saved(R"({"a":1})");
    saved(R"({"a":2})");
    parsed(run({"fork", "--run", "r1", "--from", "1", "--to-run", "r2", "--thread", "t2", "--json"}));
    EXPECT_EQ(run({"load", "--run", "r2", "--user", "u1", "--thread", "t2"}).output, "{\"a\":1}\n");
    const Json begun = parsed(run({"log", "--run", "r2", "--json"}))[0];
    EXPECT_EQ(begun["version"], 1);
    EXPECT_TRUE(begun["parent_snapshot_id"].is_null());
    EXPECT_EQ(begun["metadata"], Json({{"forked_from_run", "r1"}, {"forked_from_snapshot", first["snapshot_id"]}}));
    parsed(run({"fork", "--run", "r1", "--from", "2", "--to-run", "r3", "--metadata", "{}", "--json"}));
    EXPECT_EQ(parsed(run({"log", "--run", "r3", "--json"}))[0]["metadata"], Json::object());

    expect_error(run({"fork", "--run", "r1", "--from", "1", "--to-run", "r2"}), ErrorCode::kAlreadyExists, "\"r2\"");
    expect_error(run({"fork", "--run", "r1", "--from", "1", "--to-run", "r1"}), ErrorCode::kAlreadyExists, "\"r1\"");
    EXPECT_EQ(log().size(), 2U);
}

TEST_F(Cairn, AForkOfWhatIsNotThereDoesNothing) {
    expect_error(run({"fork", "--run", "r1", "--from", "1"}), ErrorCode::kNotFound, "cairn.db");
    saved("{}");
    expect_error(run({"fork", "--run", "r1", "--from", "7"}), ErrorCode::kNotFound, "version 7");
    expect_error(run({"fork", "--run", "r1", "--from", "x", "--to-run", "r2"}), ErrorCode::kNotFound, "\"x\"");
    expect_error(run({"fork", "--run", "r1", "--from", "1", "--thread", "t2"}), ErrorCode::kInvalidArgument,
                 "--to-run");
    expect_error(run({"fork", "--run", "r1"}), ErrorCode::kInvalidArgument, "--from is required");
    EXPECT_EQ(log().size(), 1U);
}

TEST_F(Cairn, AForkDoesNotHandAStateToAnotherUser) {
    saved(R"({"a":1})");
    const auto fork_as = [&](const std::string& user, const std::string& run_id) {
        return run({"fork", "--run", run_id, "--from", "1", "--to-run", "r2", "--user", user});
    };
    const auto not_theirs = fork_as("bob", "r1");
    expect_error(not_theirs, ErrorCode::kNotFound, "\"r1\"");
    std::string not_there = fork_as("bob", "no").errors;
    not_there.replace(not_there.find("\"no\""), 4, "\"r1\"");
    EXPECT_EQ(not_theirs.errors, not_there) << "one answer for both";
    expect_error(run({"fork", "--run", "r1", "--from", "1", "--user", "bob"}), ErrorCode::kNotFound, "\"r1\"");
    expect_error(run({"load", "--run", "r2"}), ErrorCode::kNotFound, "\"r2\"");
    EXPECT_EQ(fork_as("u1", "r1").exit_code, 0);
    EXPECT_EQ(run({"load", "--run", "r2", "--user", "u1"}).output, "{\"a\":1}\n");
}

TEST_F(Cairn, TheGraphOfARunStandsBesideItsRows) {
    for (const char* state : {R"({"a":1})", R"({"a":2})", R"({"a":3})"}) saved(state);
    saved(R"({"a":4})", {"--parent", "1"});
    const auto graph = run({"log", "--run", "r1", "--graph"});
    EXPECT_THAT(graph.output, MatchesRegex("GRAPH  VERSION  SNAPSHOT .*\n"
                                           "\\*            4  .*\n"
                                           "\\| \\*          3  .*\n"
                                           "\\| \\*          2  .*\n"
                                           "\\|/\n"
                                           "\\*            1  .*\n"));
    EXPECT_THAT(run({"log", "--run", "r1", "--graph", "--limit", "1"}).output, StartsWith("GRAPH"));
    expect_error(run({"log", "--run", "r1", "--graph", "--type", "auto"}), ErrorCode::kInvalidArgument, "--graph");
    expect_error(run({"log", "--run", "r1", "--graph", "--recoveries"}), ErrorCode::kInvalidArgument, "--recoveries");
    EXPECT_EQ(error_of(run({"log", "--run", "r1", "--graph", "--json"}))["code"], "invalid_argument");
}

}  // namespace
}  // namespace cairn::test
