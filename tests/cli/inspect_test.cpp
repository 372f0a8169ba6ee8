// Goal: the commands that look at a store or repair it (log, runs, diff, stats, check, recover) tell the truth. People
// get tables; machines get objects with fixed members in a fixed order.
// Method: runs the built program as a child in a folder of its own, as a user would; see program_fixture.h.

#include "cli/program_fixture.h"
#include "support/database_bytes.h"

namespace cairn::test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

TEST_F(Cairn, LogIsAnArrayNewestFirstWithEveryField) {
    saved(R"({"a":1})");
    saved(R"({"a":2})");
    const Json snapshots = log();
    ASSERT_THAT(snapshots, SizeIs(2));
    EXPECT_EQ(snapshots[0]["version"], 2);
    EXPECT_EQ(snapshots[0]["parent_version"], 1);
    EXPECT_EQ(snapshots[1]["version"], 1);
    EXPECT_THAT(
        keys_of(snapshots[0]),
        ElementsAre("run_id", "thread_id", "user_id", "snapshot_id", "version", "parent_version", "checkpoint_type",
                    "agent_phase", "is_recovery_point", "created_at", "expires_at", "state_bytes", "checksum",
                    "parent_snapshot_id", "state_type", "frame_bytes", "damage", "execution_context", "metadata"));
    EXPECT_EQ(snapshots[0]["run_id"], "r1");
    EXPECT_EQ(snapshots[0]["state_bytes"], 7);
    EXPECT_THAT(snapshots[0]["checksum"].get<std::string>(), SizeIs(32));
    EXPECT_THAT(snapshots[0]["created_at"].get<std::string>(), AllOf(SizeIs(27), EndsWith("Z")));
    EXPECT_TRUE(snapshots[0]["expires_at"].is_null());
    EXPECT_TRUE(snapshots[0]["execution_context"].is_null());
}

TEST_F(Cairn, LogFiltersAndLimits) {
    saved(R"({"a":1})", {"--phase", "triage"});
    saved(R"({"a":2})", {"--type", "manual"});
    saved(R"({"a":3})", {"--recovery-point"});
    saved(R"({"a":4})", {"--phase", "triage", "--type", "manual"});
    const auto versions = [&](const std::vector<std::string>& more) {
        std::vector<int> found;
        for (const Json& info : log(more)) found.push_back(info["version"]);
        return found;
    };
    EXPECT_THAT(versions({}), ElementsAre(4, 3, 2, 1));
    EXPECT_THAT(versions({"--limit", "2"}), ElementsAre(4, 3));
    EXPECT_THAT(versions({"--limit", "0"}), ElementsAre(4, 3, 2, 1));
    EXPECT_THAT(versions({"--before", "3"}), ElementsAre(2, 1));
    EXPECT_THAT(versions({"--type", "manual"}), ElementsAre(4, 2));
    EXPECT_THAT(versions({"--phase", "triage"}), ElementsAre(4, 1));
    EXPECT_THAT(versions({"--phase", "triage", "--type", "manual"}), ElementsAre(4));
    EXPECT_THAT(versions({"--recovery-points"}), ElementsAre(3));
    EXPECT_THAT(versions({"--since", "2020-01-01"}), ElementsAre(4, 3, 2, 1));
    EXPECT_THAT(versions({"--until", "2020-01-01"}), IsEmpty());
    EXPECT_THAT(versions({"--type", "none"}), IsEmpty());
    expect_error(run({"log", "--run", "r2"}), ErrorCode::kNotFound, "\"r2\"");
    expect_error(run({"log", "--run", "r1", "--user", "u2"}), ErrorCode::kNotFound, "of this owner");
}

TEST_F(Cairn, LogShowsTwentyUnlessToldAndAllOnDemand) {
    std::string script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22; do ";
    script += "echo \"{\\\"i\\\":$i}\" | \"$CAIRN\" save --run r1 --thread t1 --user u1 >/dev/null || exit 1; done";
    ASSERT_EQ(run_shell(script).exit_code, 0);
    EXPECT_THAT(log(), SizeIs(20));
    EXPECT_THAT(log({"--limit", "0"}), SizeIs(22));
    EXPECT_THAT(log({"--limit", "22"}), SizeIs(22));
}

TEST_F(Cairn, NothingThatWasSavedCanSteerATerminal) {
    saved("{}");
    saved("{\"text\":\"\xC2\x9B\x7F\"}");
    const auto diff = run({"diff", "--run", "r1"});
    EXPECT_THAT(diff.output, HasSubstr("+ /text  \"??\"\n"));
    run({"recover", "--run", "r1", "--type", "restart", "--reason", "\x1b[31mred\nline"});
    const auto table = run({"log", "--run", "r1", "--recoveries"});
    EXPECT_THAT(table.output, AllOf(StartsWith("STARTED"), HasSubstr("?[31mred?line"), Not(HasSubstr("\x1b"))));
    EXPECT_EQ(log({"--recoveries"})[0]["failure_reason"], "\x1b[31mred\nline");
}

TEST_F(Cairn, RunsAndThreadsAreListedAndFiltered) {
    const auto save_as = [&](const std::string& run_id, const std::string& thread, const std::string& user) {
        parsed(run({"save", "--run", run_id, "--thread", thread, "--user", user, "--phase", "triage", "--json"}, "{}"));
    };
    save_as("r1", "t1", "u1");
    save_as("r2", "t1", "u1");
    save_as("r3", "t2", "u2");
    const auto names = [&](const std::vector<std::string>& more, const char* member) {
        std::vector<std::string> found;
        for (const Json& item : parsed(run(std::vector<std::string>{"runs", "--json"} + more))) {
            found.push_back(item[member]);
        }
        return found;
    };
    EXPECT_THAT(names({}, "run_id"), ElementsAre("r3", "r2", "r1"));
    EXPECT_THAT(names({"--limit", "2"}, "run_id"), ElementsAre("r3", "r2"));
    EXPECT_THAT(names({"--thread", "t1"}, "run_id"), ElementsAre("r2", "r1"));
    EXPECT_THAT(names({"--user", "u2"}, "run_id"), ElementsAre("r3"));
    EXPECT_THAT(names({"--user", "nobody"}, "run_id"), IsEmpty());
    EXPECT_THAT(names({"--threads"}, "thread_id"), ElementsAre("t1", "t2"));
    EXPECT_THAT(names({"--threads", "--user", "u2"}, "thread_id"), ElementsAre("t2"));
    EXPECT_THAT(names({"--threads", "--limit", "1"}, "thread_id"), ElementsAre("t1"));
    EXPECT_THAT(run({"runs"}).output, AllOf(StartsWith("RUN  THREAD"), HasSubstr("r3   t2      u2")));
    EXPECT_THAT(run({"runs", "--threads"}).output, StartsWith("THREAD  USER  RUNS"));

    const Json item = parsed(run({"runs", "--json", "--limit", "1"}))[0];
    EXPECT_THAT(keys_of(item),
                ElementsAre("run_id", "thread_id", "user_id", "head_version", "head_snapshot_id", "checkpoint_type",
                            "agent_phase", "created_at", "updated_at", "snapshots", "pipeline", "status",
                            "steps_completed", "steps_total", "step", "waiting_for", "checkpoint_age_ms", "damage"));
    EXPECT_TRUE(item["status"].is_null()) << "it is no pipeline's";
}

TEST_F(Cairn, TheContextOfAThreadIsTold) {
    saved(R"({"a":1})", {"--phase", "triage"});
    const Json receipt = saved(R"({"a":2})", {"--phase", "reporting"});
    const Json context = parsed(run({"runs", "--thread", "t1", "--context", "--json"}));
    EXPECT_THAT(keys_of(context), ElementsAre("thread_id", "user_id", "snapshots", "newest_run_id",
                                              "newest_snapshot_id", "agent_phase", "updated_at", "runs"));
    EXPECT_EQ(context["snapshots"], 2);
    EXPECT_EQ(context["newest_snapshot_id"], receipt["snapshot_id"]);
    EXPECT_EQ(context["agent_phase"], "reporting");
    EXPECT_THAT(context["runs"], SizeIs(1));
    EXPECT_THAT(run({"runs", "--thread", "t1", "--context"}).output, HasSubstr("newest run       r1"));
    expect_error(run({"runs", "--thread", "t9", "--context"}), ErrorCode::kNotFound, "t9");
}

TEST_F(Cairn, DiffComparesTheNewestTwoOrThoseNamed) {
    const Json first = saved(R"({"a":1,"gone":true})");
    saved(R"({"a":2,"list":[1]})");
    saved(R"({"a":2,"list":[1,2]})");
    const auto patch = [&](const std::vector<std::string>& which) {
        const auto result = run(std::vector<std::string>{"diff", "--run", "r1", "--json"} + which);
        EXPECT_EQ(result.exit_code, 0) << result.errors;
        return result.output;
    };
    EXPECT_EQ(patch({}), "[{\"op\":\"add\",\"path\":\"/list/1\",\"value\":2}]\n");
    EXPECT_EQ(patch({"2"}), patch({}));
    EXPECT_EQ(patch({"3", "3"}), "[]\n");
    const Json before = Json::parse(R"({"a":1,"gone":true})");
    EXPECT_EQ(before.patch(Json::parse(patch({"1", "3"}))), Json::parse(R"({"a":2,"list":[1,2]})"));
    EXPECT_EQ(patch({first["snapshot_id"], "2"}), patch({"1", "2"}));

    const auto text = run({"diff", "--run", "r1", "1", "2"});
    EXPECT_THAT(text.output, AllOf(HasSubstr("~ /a  1 -> 2\n"), HasSubstr("- /gone  true\n"),
                                   HasSubstr("+ /list  [1]\n"), HasSubstr("3 changes\n")));
    EXPECT_THAT(run({"diff", "--run", "r1", "1", "1"}).output, HasSubstr("no change\n"));
    expect_error(run({"diff", "--run", "r1", "9"}), ErrorCode::kNotFound, "version 9");
    expect_error(run({"diff", "--run", "r9"}), ErrorCode::kNotFound, "r9");
}

TEST_F(Cairn, DiffOfOpaqueStatesTellsRangesOfBytes) {
    saved(R"({"a":1})");
    saved("one two", {"--state-type", "text"});
    saved("one big two", {"--state-type", "text"});
    saved("one big 2", {"--state-type", "msgpack"});
    const auto added = run({"diff", "--run", "r1", "2", "3"});
    EXPECT_THAT(added.output, MatchesRegex("from version 2 \\([-0-9a-f]+, 7 B, text\\)\n"
                                           "to   version 3 \\([-0-9a-f]+, 11 B, text\\)\n"
                                           "\\+ bytes 4..8 \\(4 B\\)\n1 change\n"));
    EXPECT_THAT(
        run({"diff", "--run", "r1", "3", "4"}).output,
        AllOf(HasSubstr("~ type text -> msgpack\n"), HasSubstr("~ bytes 8..11 (3 B) -> 8..9 (1 B)\n2 changes\n")));
    EXPECT_THAT(run({"diff", "--run", "r1", "1", "2"}).output, HasSubstr("~ type JSON -> text\n"));
    EXPECT_EQ(run({"diff", "--run", "r1", "3", "3"}).output.substr(0, 5), "from ");
    EXPECT_EQ(parsed(run({"diff", "--run", "r1", "--json", "3", "4"})),
              Json::parse(
                  R"([{"op":"type","before":"text","after":"msgpack"},{"op":"bytes","before":[8,11],"after":[8,9]}])"));
    EXPECT_EQ(parsed(run({"diff", "--run", "r1", "--json", "3", "3"})), Json::array());
}

TEST_F(Cairn, LogAndStatsTellTypesAndSizesOfOpaqueStates) {
    saved(R"({"a":1})");
    saved("bytes", {"--state-type", "text"});
    saved(std::string(2048, 'x'), {"--state-type", "text"});
    saved("z", {"--state-type", "a+b"});
    const Json snapshots = log();
    EXPECT_EQ(snapshots[0]["state_type"], "a+b");
    EXPECT_EQ(snapshots[1]["state_type"], "text");
    EXPECT_EQ(snapshots[1]["state_bytes"], 2048);
    EXPECT_TRUE(snapshots[3]["state_type"].is_null());
    EXPECT_THAT(run({"log", "--run", "r1"}).output, AllOf(HasSubstr(" 2.0 KiB text "), HasSubstr(" 7 B  ")));
    EXPECT_EQ(
        parsed(run({"stats", "--json"}))["opaque_states"],
        Json::parse(
            R"([{"state_type":"a+b","snapshots":1,"state_bytes":1},{"state_type":"text","snapshots":2,"state_bytes":2053}])"));
    EXPECT_THAT(run({"stats"}).output, HasSubstr("  opaque, text     2.0 KiB in 2\n"));
}

TEST_F(Cairn, RecoverTellsThatAnOpaqueStateIsNotPrinted) {
    const std::string first = saved("bytes", {"--state-type", "text"})["snapshot_id"];
    saved("more", {"--state-type", "text"});
    const auto recovered = run({"recover", "--run", "r1", "--type", "rollback", "--to", "1", "--print-state"});
    EXPECT_EQ(recovered.exit_code, 0);
    EXPECT_THAT(recovered.output, IsEmpty());
    EXPECT_THAT(recovered.errors, HasSubstr("the state is opaque (type \"text\"): `cairn load --output FILE`"));
    const Json object = parsed(run({"recover", "--run", "r1", "--type", "restart", "--print-state", "--json"}));
    EXPECT_EQ(object["state_type"], "text");
    EXPECT_EQ(object["state_base64"], "Ynl0ZXM=");
    EXPECT_EQ(object["source_snapshot_id"], first);
}

TEST_F(Cairn, DiffOfASingleSnapshotSaysThatThereIsNoOther) {
    saved("{}");
    expect_error(run({"diff", "--run", "r1"}), ErrorCode::kNotFound, "one snapshot only");
}

TEST_F(Cairn, DiffNeverPrintsALongValueInFull) {
    saved("{}");
    saved(R"({"long":")" + std::string(100000, 'x') + "\",\"" + std::string(5000, 'k') + "\":1}");
    const auto text = run({"diff", "--run", "r1"});
    EXPECT_EQ(text.exit_code, 0);
    EXPECT_LT(text.output.size(), 1000U);
    EXPECT_THAT(text.output, HasSubstr("(97.7 KiB)"));
}

TEST_F(Cairn, RecoverRollsBackRestartsAndResumes) {
    const Json first = saved(R"({"a":1})");
    saved(R"({"a":2})");
    const Json third = saved(R"({"a":3})");
    const Json back =
        parsed(run({"recover", "--run", "r1", "--type", "rollback", "--to", "1", "--reason", "because", "--json"}));
    EXPECT_THAT(keys_of(back), ElementsAre("run_id", "recovery_type", "source_snapshot_id", "snapshot_id", "version",
                                           "damaged", "duration_us"));
    EXPECT_EQ(back["source_snapshot_id"], first["snapshot_id"]);
    EXPECT_EQ(back["version"], 4);
    EXPECT_THAT(back["damaged"], IsEmpty());
    EXPECT_EQ(run({"load", "--run", "r1"}).output, "{\"a\":1}\n");

    const Json resumed = parsed(run({"recover", "--run", "r1", "--type", "resume", "--json"}));
    EXPECT_EQ(resumed["snapshot_id"], back["snapshot_id"]);
    const auto by_id = run({"recover", "--run", "r1", "--type", "rollback", "--to", third["snapshot_id"]});
    EXPECT_THAT(by_id.output, AllOf(HasSubstr(third["snapshot_id"].get<std::string>()), HasSubstr("(version 5)")));
    const auto restarted = run({"recover", "--run", "r1", "--type", "restart", "--print-state"});
    EXPECT_EQ(restarted.output, "{\"a\":1}\n");
    EXPECT_THAT(restarted.errors, HasSubstr("(version 6)"));

    const Json records = log({"--recoveries"});
    ASSERT_THAT(records, SizeIs(4));
    EXPECT_EQ(records[0]["recovery_type"], "restart");
    EXPECT_EQ(records[3]["failure_reason"], "because");
    EXPECT_THAT(keys_of(records[0]),
                ElementsAre("run_id", "recovery_type", "failure_reason", "auto_recovery", "source_snapshot_id",
                            "result_snapshot_id", "result", "detail", "started_at", "duration_us", "damage"));
    EXPECT_THAT(run({"log", "--run", "r1", "--recoveries"}).output, HasSubstr("rollback  recovered"));
    EXPECT_THAT(log({"--recoveries", "--limit", "1"}), SizeIs(1));
}

TEST_F(Cairn, RecoverRefusesWhatMakesNoSense) {
    saved("{}");
    expect_error(run({"recover", "--run", "r1", "--type", "rollback"}), ErrorCode::kInvalidArgument, "--to");
    expect_error(run({"recover", "--run", "r1", "--type", "resume", "--to", "1"}), ErrorCode::kInvalidArgument, "");
    expect_error(run({"recover", "--run", "r1", "--type", "rollback", "--to", "7"}), ErrorCode::kNotFound, "7");
    expect_error(run({"recover", "--run", "r9", "--type", "resume"}), ErrorCode::kNotFound, "r9");
    expect_error(run({"recover", "--run", "r1", "--type", "resume", "--user", "u2"}), ErrorCode::kNotFound, "r1");
}

TEST_F(Cairn, DamageIsReportedNeverLoadedAndRecoveredFrom) {
    saved(R"({"text":"intact"})");
    saved(R"({"text":"fragile"})");
    ASSERT_EQ(run({"check", "--deep"}).exit_code, 0);
    damage("fragile");

    expect_error(run({"load", "--run", "r1"}), ErrorCode::kCorrupt, "");
    const auto checked = run({"check", "--deep", "--json"});
    EXPECT_EQ(checked.exit_code, exit_code_of(ErrorCode::kCorrupt));
    const Json report = Json::parse(checked.output);
    EXPECT_EQ(report["ok"], false);
    ASSERT_THAT(report["findings"], SizeIs(1));
    EXPECT_EQ(report["findings"][0]["run_id"], "r1");
    EXPECT_EQ(Json::parse(checked.errors)["error"]["code"], "corrupt");
    const auto table = run({"check", "--deep"});
    EXPECT_EQ(table.exit_code, exit_code_of(ErrorCode::kCorrupt));
    EXPECT_THAT(table.output, AllOf(StartsWith("RUN  SNAPSHOT"), HasSubstr("findings: 1")));

    const auto recovered = run({"recover", "--run", "r1", "--type", "resume"});
    EXPECT_EQ(recovered.exit_code, 0) << recovered.errors;
    EXPECT_THAT(recovered.output, AllOf(StartsWith("damaged: version 2 ("), HasSubstr("new head")));
    EXPECT_EQ(run({"load", "--run", "r1"}).output, "{\"text\":\"intact\"}\n");
}

TEST_F(Cairn, CheckAndStatsOfASoundStore) {
    saved(R"({"a":1})");
    saved(R"({"a":2})");
    const Json shallow = parsed(run({"check", "--json"}));
    EXPECT_THAT(keys_of(shallow), ElementsAre("ok", "deep", "runs", "snapshots", "findings"));
    EXPECT_EQ(shallow["ok"], true);
    EXPECT_EQ(shallow["deep"], false);
    EXPECT_EQ(shallow["snapshots"], 2);
    EXPECT_THAT(run({"check", "--deep"}).output, HasSubstr("all is well"));

    const Json stats = parsed(run({"stats", "--json"}, "", kOptimised));
    EXPECT_THAT(keys_of(stats),
                ElementsAre("store", "threads", "runs", "snapshots", "state_bytes", "payload_bytes", "store_bytes",
                            "ratio", "opaque_states", "optimized_persistence", "deduplication", "compression"));
    EXPECT_EQ(stats["store"], "sqlite:cairn.db");
    EXPECT_EQ(stats["runs"], 1);
    EXPECT_EQ(stats["snapshots"], 2);
    EXPECT_EQ(stats["state_bytes"], 14);
    EXPECT_GT(stats["store_bytes"], 0);
    EXPECT_EQ(stats["optimized_persistence"], true);
    EXPECT_THAT(run({"stats"}).output, HasSubstr("snapshots          2\n"));
}

TEST_F(Cairn, StatsTellWhereTheBytesGo) {
    const std::string text(5000, 'x');
    saved(R"({"text":")" + text + R"(","step":1})", {}, kOptimised);
    saved(R"({"text":")" + text + R"(","step":2})", {}, kOptimised);
    saved(R"({"text":")" + text + R"(","step":3})", {"--parent", "1"}, kOptimised);
    const Json storage = parsed(run({"stats", "--storage", "--json"}));
    EXPECT_THAT(keys_of(storage), ElementsAre("store", "snapshots", "state_bytes", "payload_bytes", "store_bytes",
                                              "full_frames", "full_bytes", "delta_frames", "delta_bytes",
                                              "overhead_bytes", "overhead_bytes_per_snapshot", "chain_frames_max",
                                              "forks", "state_to_payload", "state_to_store"));
    EXPECT_EQ(storage["snapshots"], 3);
    EXPECT_EQ(storage["full_frames"], 1);
    EXPECT_EQ(storage["delta_frames"], 2);
    EXPECT_EQ(storage["chain_frames_max"], 2);
    EXPECT_EQ(storage["forks"], 1);
    const auto number = [&](const char* name) { return storage[name].get<double>(); };
    EXPECT_EQ(number("full_bytes") + number("delta_bytes"), number("payload_bytes"));
    EXPECT_EQ(number("payload_bytes") + number("overhead_bytes"), number("store_bytes"));
    EXPECT_DOUBLE_EQ(number("state_to_payload"), number("state_bytes") / number("payload_bytes"));
    EXPECT_THAT(run({"stats", "--storage"}).output,
                AllOf(HasSubstr(" in 2\n"), HasSubstr("longest chain          2 frames\n"), HasSubstr("forks ")));
}

TEST_F(Cairn, StatsOfAnEmptyStoreDivideByNothing) {
    saved("{}");
    ASSERT_EQ(run({"delete", "--run", "r1", "--yes"}).exit_code, 0);
    const Json storage = parsed(run({"stats", "--storage", "--json"}));
    EXPECT_EQ(storage["snapshots"], 0);
    EXPECT_EQ(storage["overhead_bytes_per_snapshot"], 0.0);
    EXPECT_EQ(storage["state_to_payload"], 0.0);
}

TEST_F(Cairn, ADeepCheckFindsEveryStateThatNeedsADamagedFrame) {
    saved(R"({"text":"fragile","step":1})", {}, kOptimised);
    saved(R"({"text":"fragile","step":2})", {}, kOptimised);
    saved(R"({"step":3})", {"--type", "manual"}, kOptimised);
    damage("fragile");
    const auto checked = run({"check", "--deep", "--json"});
    EXPECT_EQ(checked.exit_code, exit_code_of(ErrorCode::kCorrupt));
    const Json report = Json::parse(checked.output);
    EXPECT_EQ(report["deep"], true);
    EXPECT_EQ(report["snapshots"], 3);
    const Json snapshots = log();
    std::vector<std::string> damaged;
    for (const Json& finding : report["findings"]) damaged.push_back(finding["snapshot_id"]);
    EXPECT_THAT(damaged, ::testing::UnorderedElementsAre(snapshots[1]["snapshot_id"], snapshots[2]["snapshot_id"]));
}

TEST_F(Cairn, ADamagedRunIsListedAndNamedAndTheOthersAreChecked) {
    saved("{}");
    parsed(run({"save", "--run", "r2", "--thread", "t1", "--user", "u1", "--json"}, "{}"));
    execute(folder_ / "cairn.db", "INSERT INTO leases VALUES('r1', 'ann', 1, 4611686018427387904)");
    const Json runs = parsed(run({"runs", "--json"}));
    ASSERT_EQ(runs.size(), 2U);
    EXPECT_TRUE(runs[0]["damage"].is_null());
    EXPECT_EQ(runs[1]["damage"], "its record in the store holds a lease with an impossible time");
    const auto table = run({"runs"});
    EXPECT_EQ(table.exit_code, 0);
    EXPECT_THAT(table.output, AllOf(HasSubstr("r1"), HasSubstr("r2"), HasSubstr("damaged")));
    EXPECT_EQ(table.errors, "warning: run \"r1\": its record in the store holds a lease with an impossible time\n");
    const auto checked = run({"check", "--deep", "--json"});
    EXPECT_EQ(checked.exit_code, exit_code_of(ErrorCode::kCorrupt));
    const Json report = Json::parse(checked.output, nullptr, false);
    ASSERT_EQ(report["findings"].size(), 1U) << checked.output;
    EXPECT_EQ(report["findings"][0]["run_id"], "r1");
    EXPECT_EQ(report["findings"][0]["code"], "corrupt");
}

TEST_F(Cairn, ACheckSaysWhatItCouldNotReadWithinTheLimit) {
    saved(R"({"text":"0123456789012345678901234567890123456789"})");
    parsed(run({"save", "--run", "r2", "--thread", "t1", "--user", "u1", "--json"}, "{}"));
    const auto checked = run({"check", "--deep"}, {}, {{"CAIRN_STATE_BYTES_MAX", "20"}});
    EXPECT_EQ(checked.exit_code, exit_code_of(ErrorCode::kLimitExceeded));
    EXPECT_THAT(checked.output, AllOf(HasSubstr("r1"), HasSubstr("(CAIRN_STATE_BYTES_MAX)")));
    EXPECT_THAT(checked.errors,
                AllOf(HasSubstr("not all was checked: 1 state cannot be read within CAIRN_STATE_BYTES_MAX (20)"),
                      HasSubstr("Raise CAIRN_STATE_BYTES_MAX and check again.")));
}

}  // namespace
}  // namespace cairn::test
