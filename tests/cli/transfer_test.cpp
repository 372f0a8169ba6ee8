// Goal: an export can be imported into any store and is then the same, byte for byte. A file or an import that is cut
// off is noticed, and importing again makes it whole.
// Method: runs the built program on stores that the library has filled with everything that a snapshot can have. Edits
// the lines of exports. Kills an import that waits for more of its file.

#include "cli/filled_store.h"
#include "cli/program_fixture.h"
#include "support/database_bytes.h"
#include "support/terminal.h"

#include <csignal>
#include <functional>
#include <numeric>

namespace cairn::test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

class CairnTransfer : public Cairn {
protected:
    // Fills the store with chains, forks, labels, contexts, expiry, recovery points, recoveries, rare JSON, and a
    // pruned run.
    void fill() {
        FilledStore store(folder_.sqlite_url());
        store.add_run("r1", 80);
        StatePersistenceRequest request = make_request("odd", R"({"\ud800":-0.0,"a":1e400,"a":"\u0000","é":[]})");
        request.agent_phase = AgentPhase("a \"phase\" é");
        request.execution_context = State::parse(R"({"lone":"\ud800","n":1.0})").value();
        request.metadata = State::parse(R"({"state":"\udfff","end":true})").value();
        request.expires_at = kEpoch;
        const std::string first = store.save(request).snapshot_id;
        request.state_data = State::parse(R"({"b":2})").value();
        request.is_recovery_point = true;
        store.save(request);
        store.save({.run_id = "odd",
                    .thread_id = "thread",
                    .user_id = "user",
                    .state_data = State(),
                    .parent_snapshot_id = first});
        store.add_run("r2", 30, "t2", "u2");
        ASSERT_EQ(run({"recover", "--run", "r1", "--type", "rollback", "--to", "40"}).exit_code, 0);
        ASSERT_EQ(run({"prune", "--run", "r2", "--keep-last", "10", "--yes"}).exit_code, 0);
    }

    std::string exported(const std::vector<std::string>& more = {}) {
        const auto result = run(std::vector<std::string>{"export"} + more);
        EXPECT_EQ(result.exit_code, 0) << result.errors;
        EXPECT_THAT(result.errors, IsEmpty());
        return result.output;
    }

    ProgramResult import_to(const std::string& store, const std::string& text,
                            const std::vector<std::string>& more = {}, const Environment& environment = {}) {
        return run(std::vector<std::string>{"import", "--store", "sqlite:" + store, "--json"} + more, text,
                   environment);
    }

    void expect_imported(const std::string& store, const std::string& text, int imported, int skipped) {
        const Json counts = parsed(import_to(store, text));
        EXPECT_EQ(counts["imported"], imported);
        EXPECT_EQ(counts["skipped"], skipped);
    }

    void expect_refused(const std::string& store, const std::string& text, ErrorCode code, const std::string& words,
                        const Environment& environment = {}) {
        const Json error = error_of(import_to(store, text, {}, environment));
        EXPECT_EQ(error["code"], error_info(code).name) << error;
        EXPECT_THAT(error["message"].get<std::string>(), HasSubstr(words));
    }

    void expect_sound(const std::string& store) {
        const Json checked = parsed(run({"check", "--deep", "--json", "--store", "sqlite:" + store}));
        EXPECT_EQ(checked["ok"], true) << checked;
    }

    static std::vector<std::string> lines_of(const std::string& text) {
        std::vector<std::string> lines;
        std::stringstream stream(text);
        for (std::string line; std::getline(stream, line);) lines.push_back(line + "\n");
        return lines;
    }

    static std::string joined(const std::vector<std::string>& lines) {
        return std::accumulate(lines.begin(), lines.end(), std::string());
    }

    // Makes a small export of three snapshots, and applies `change` to its second line.
    std::string changed(const std::function<void(std::string& line)>& change) {
        if (small_.empty()) {
            for (const char* state : {R"({"a":1})", R"({"a":2})", R"({"a":3})"}) saved(state);
            small_ = exported();
        }
        std::vector<std::string> lines = lines_of(small_);
        change(lines[1]);
        return joined(lines);
    }

    static void replace(std::string& line, const std::string& from, const std::string& to) {
        const auto at = line.find(from);
        ASSERT_NE(at, std::string::npos) << from << " in " << line;
        line.replace(at, from.size(), to);
    }

    std::string small_;
};

TEST_F(CairnTransfer, ALineHasEveryFieldAndTheStateAsItIs) {
    saved(R"({ "b":1.0, "a":"\ud800é" })", {"--metadata", R"({"n":1e5})", "--expires-at", "2030-01-01"});
    const std::vector<std::string> lines = lines_of(exported());
    ASSERT_THAT(lines, SizeIs(2));
    EXPECT_THAT(lines[0], AllOf(HasSubstr(R"("expires_at":"2030-01-01T00:00:00.000000Z")"),
                                EndsWith(R"("metadata":{"n":1e5},"state":{"b":1.0,"a":"\ud800é"}})"
                                         "\n")));
    std::string readable = lines[0];
    replace(readable, "\\ud800", "");
    EXPECT_THAT(keys_of(Json::parse(readable)),
                ElementsAre("run_id", "thread_id", "user_id", "snapshot_id", "version", "parent_version",
                            "checkpoint_type", "agent_phase", "is_recovery_point", "created_at", "expires_at",
                            "state_bytes", "checksum", "execution_context", "metadata", "state"));
    EXPECT_EQ(lines[1], "{\"end\":true,\"snapshots\":1}\n");
}

TEST_F(CairnTransfer, ExportImportExportGivesTheSameBytes) {
    fill();
    const std::string text = exported();
    EXPECT_THAT(lines_of(text), SizeIs(81 + 3 + 10 + 1));
    const Json counts = parsed(import_to("new.db", text, {"--verify"}));
    EXPECT_EQ(counts, Json({{"imported", 94}, {"skipped", 0}, {"runs", 3}, {"verified", 94}}));
    EXPECT_EQ(exported({"--store", "sqlite:new.db"}), text);
    expect_sound("new.db");
    const Json storage = parsed(run({"stats", "--storage", "--json", "--store", "sqlite:new.db"}));
    EXPECT_GT(storage["delta_frames"], 80) << "deltas pay here";
    const auto runs = [&](const std::string& store) {
        std::vector<std::string> ids;
        for (const Json& info : parsed(run({"runs", "--json", "--store", store}))) ids.push_back(info["run_id"]);
        return ids;
    };
    EXPECT_EQ(runs("sqlite:new.db"), runs("sqlite:cairn.db"));
}

TEST_F(CairnTransfer, WithoutCompressionEveryFrameIsWhole) {
    fill();
    const std::string text = exported();
    parsed(import_to("new.db", text, {"--verify"}, {{"OPTIMIZED_PERSISTENCE_COMPRESSION", "false"}}));
    EXPECT_EQ(exported({"--store", "sqlite:new.db"}), text);
    EXPECT_EQ(parsed(run({"stats", "--storage", "--json", "--store", "sqlite:new.db"}))["delta_frames"], 0);
}

TEST_F(CairnTransfer, APipeAndAFileDoAsWell) {
    fill();
    const auto piped = run_shell("\"$CAIRN\" export | \"$CAIRN\" import --store sqlite:new.db --verify");
    EXPECT_EQ(piped.output, "imported 94 snapshots of 3 runs; verified 94\n") << piped.errors;
    EXPECT_EQ(run({"export", "--output", "e.jsonl"}).output, "exported 94 snapshots of 3 runs\n");
    EXPECT_EQ(parsed(run({"export", "--output", "e.jsonl", "--json"})),
              Json({{"snapshots", 94}, {"runs", 3}, {"damaged", 0}, {"too_large", 0}}));
    EXPECT_EQ(read("e.jsonl"), exported({"--store", "sqlite:new.db"}));
    EXPECT_EQ(run({"import", "--store", "sqlite:new.db", "e.jsonl"}).output,
              "imported 0 snapshots of 3 runs, 94 were there already\n");
    expect_error(run({"import", "none.jsonl"}), ErrorCode::kNotFound, "none.jsonl");
    expect_error(run({"import", "."}), ErrorCode::kInvalidArgument, "\".\"");
    expect_error(run({"export", "--output", "/none/e.jsonl"}), ErrorCode::kNotFound, "/none/e.jsonl");
    expect_error(run({"export", "--output", "/dev/full"}), ErrorCode::kStorageFull, "/dev/full");
}

TEST_F(CairnTransfer, ExportsWhatIsChosen) {
    fill();
    const auto runs = [&](const std::vector<std::string>& more) {
        std::vector<std::string> ids;
        for (const std::string& line : lines_of(exported(more))) {
            const auto end = line.find("\",\"thread_id\"");
            if (end != std::string::npos) ids.push_back(line.substr(11, end - 11));
        }
        ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
        return ids;
    };
    EXPECT_THAT(runs({}), ElementsAre("r1", "odd", "r2"));
    EXPECT_THAT(runs({"--run", "r2"}), ElementsAre("r2"));
    EXPECT_THAT(runs({"--thread", "t1"}), ElementsAre("r1"));
    EXPECT_THAT(runs({"--user", "u2"}), ElementsAre("r2"));
    expect_error(run({"export", "--run", "r9"}), ErrorCode::kNotFound, "\"r9\"");
    expect_error(run({"export", "--run", "r1", "--user", "u2"}), ErrorCode::kNotFound, "owner");
    expect_error(run({"export", "--user", "nobody"}), ErrorCode::kNotFound, "owner");
    expect_error(run({"export", "--store", "sqlite:none.db"}), ErrorCode::kNotFound, "none.db");
}

TEST_F(CairnTransfer, AnEmptyStoreIsAnExportOfItsEnd) {
    saved("{}");
    ASSERT_EQ(run({"delete", "--run", "r1", "--yes"}).exit_code, 0);
    EXPECT_EQ(exported(), "{\"end\":true,\"snapshots\":0}\n");
    expect_imported("new.db", exported(), 0, 0);
}

TEST_F(CairnTransfer, AFileThatIsCutOffAnywhereIsNoticedAndImportingAgainMakesItWhole) {
    fill();
    const std::string text = exported();
    const auto last_line = text.rfind("{\"end\"");
    for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, text.size() / 3, text.size() / 2, last_line,
                                    last_line + 1, text.size() - 2}) {
        const std::string part = text.substr(0, bytes);
        const auto whole_lines = static_cast<std::uint64_t>(std::ranges::count(part, '\n'));
        const std::string store = fmt::format("{}.db", bytes);
        expect_refused(store, part, ErrorCode::kInvalidArgument,
                       fmt::format("standard input is cut off after line {};", whole_lines));
        EXPECT_EQ(parsed(run({"stats", "--json", "--store", "sqlite:" + store}))["snapshots"], whole_lines);
        expect_sound(store);
        const Json counts = parsed(import_to(store, text));
        EXPECT_EQ(counts["skipped"], whole_lines);
        EXPECT_EQ(exported({"--store", "sqlite:" + store}), text);
    }
}

TEST_F(CairnTransfer, TheLastNewlineMayBeMissingAndExportsMayFollowOneAnother) {
    const std::string text = changed([](std::string&) {});
    expect_imported("a.db", text.substr(0, text.size() - 1), 3, 0);
    expect_imported("b.db", text + text, 3, 3);
    expect_refused("c.db", text + text.substr(0, text.find('\n') + 1), ErrorCode::kInvalidArgument, "after line 5;");
}

TEST_F(CairnTransfer, LinesThatAreMissingAreNoticed) {
    std::vector<std::string> lines = lines_of(changed([](std::string&) {}));
    lines.erase(lines.begin() + 2);
    expect_refused("new.db", joined(lines), ErrorCode::kInvalidArgument, "line 3: 3 snapshots should stand before it");
}

TEST_F(CairnTransfer, AKilledImportGoesOnWhereItWas) {
    fill();
    const std::string text = exported();
    write("e.jsonl", text);
    // The import has 70 lines and waits for more. It commits 64 at a time.
    const auto killed = run_shell(
        "mkfifo pipe; \"$CAIRN\" import --store sqlite:new.db pipe & pid=$!\n"
        "exec 3>pipe; head -n 70 e.jsonl >&3\n"
        "until \"$CAIRN\" log --store sqlite:new.db --run r1 --limit 1 --json 2>/dev/null | grep -q '\"version\":64,'\n"
        "do kill -0 $pid || exit 1; done\n"
        "kill -9 $pid; wait $pid");
    ASSERT_EQ(killed.exit_code, 128 + SIGKILL) << killed.errors;
    expect_sound("new.db");
    expect_imported("new.db", text, 30, 64);
    EXPECT_EQ(exported({"--store", "sqlite:new.db"}), text);
    expect_sound("new.db");
    const Json storage = parsed(run({"stats", "--storage", "--json", "--store", "sqlite:new.db"}));
    EXPECT_GT(storage["chain_frames_max"], 64) << "it goes on with deltas against what was there";
}

TEST_F(CairnTransfer, ALineThatCannotBeReadIsNamedAndWhatStandsBeforeIsKept) {
    struct Case {
        std::string from;
        std::string to;
        ErrorCode code;
        std::string words;
    };
    using enum ErrorCode;
    const std::vector<Case> cases{
        {"{\"run_id\"", "x{\"run_id\"", kInvalidState, ""},
        {"\"run_id\":\"r1\"", "\"run_id\":1", kInvalidArgument, "\"run_id\" is not a string"},
        {"\"run_id\":\"r1\"", "\"run_id\":\"\"", kInvalidArgument, "run_id"},
        {"\"run_id\":\"r1\"", "\"run_id\":\"\\ud800\"", kInvalidArgument, "\"run_id\""},
        {"\"user_id\"", "\"user\"", kInvalidArgument, "\"user_id\" is not a string"},
        {"\"version\":2", "\"version\":0", kInvalidArgument, "\"version\" is not a whole number from 1"},
        {"\"version\":2", "\"version\":2.0", kInvalidArgument, "\"version\""},
        {"\"version\":2", "\"version\":9223372036854775807", kInvalidArgument, "\"version\""},
        {"\"version\":2", "\"version\":99999999999999999999", kInvalidArgument, "\"version\""},
        {"\"version\":2", "\"version\":\"2\"", kInvalidArgument, "\"version\""},
        {"\"parent_version\":1", "\"parent_version\":2", kInvalidArgument, "\"parent_version\" is not before"},
        {"\"parent_version\":1", "\"parent_version\":-1", kInvalidArgument, "\"parent_version\""},
        {"\"checkpoint_type\":\"auto\"", "\"checkpoint_type\":\"\"", kInvalidArgument, "checkpoint_type"},
        {"\"is_recovery_point\":false", "\"is_recovery_point\":0", kInvalidArgument, "\"is_recovery_point\""},
        {"\"created_at\":\"2", "\"created_at\":\"x2", kInvalidArgument, "\"created_at\" is not a time"},
        {"\"expires_at\":null", "\"expires_at\":1", kInvalidArgument, "\"expires_at\""},
        {"\"metadata\":null", "\"metadata\":[]", kInvalidArgument, "\"metadata\" is not an object or null"},
        {"\"execution_context\":null,", "", kInvalidArgument, "\"execution_context\""},
        {"\"state\":{", "\"state\":[{", kInvalidState, ""},
        {"\"state\":{\"a\":2}", "\"state\":[]", kInvalidArgument, "\"state\" is not an object"},
        {"\"state\":", "\"status\":", kInvalidArgument, "no \"state\""},
        {"\"state\":{\"a\":2}", "\"state\":{\"a\":3}", kCorrupt, "checksum"},
        {"\"state_bytes\":7", "\"state_bytes\":8", kCorrupt, "length"},
        {"\"checksum\":\"", "\"checksum\":\"0", kCorrupt, "checksum"},
    };
    for (const Case& one : cases) {
        SCOPED_TRACE(one.to);
        const std::string text = changed([&](std::string& line) { replace(line, one.from, one.to); });
        const Json error = error_of(import_to("new.db", text));
        EXPECT_EQ(error["code"], error_info(one.code).name);
        EXPECT_THAT(error["message"].get<std::string>(),
                    AllOf(StartsWith("standard input line 2: "), HasSubstr(one.words)));
    }
    EXPECT_EQ(parsed(run({"stats", "--json", "--store", "sqlite:new.db"}))["snapshots"], 1);
}

// Once, building such an object key by key took hours.
TEST_F(CairnTransfer, AnObjectWhereATextBelongsIsRefusedHoweverLargeItIs) {
    std::string members;
    for (int i = 0; i < 500'000; ++i) members += fmt::format("{}\"{}\":1", i == 0 ? "" : ",", i);
    expect_refused("new.db", R"({"run_id":{)" + members + R"(},"state":{}})" + "\n", ErrorCode::kInvalidArgument,
                   "\"run_id\" is not a string");
}

TEST_F(CairnTransfer, WhiteSpaceAndOtherMembersOfALineDoNotMatter) {
    const std::string text = changed([](std::string& line) {
        replace(line, "{\"run_id\"", "  {\"added later\":[1], \"run_id\" ");
        replace(line, "\"state\":{\"a\":2}}", "\"state\" : { \"a\" : 2 }, \"z\":null } \r");
    });
    expect_imported("new.db", text, 3, 0);
    EXPECT_EQ(exported({"--store", "sqlite:new.db"}), small_);
}

TEST_F(CairnTransfer, ALineThatIsTooLongIsRefusedBeforeItIsRead) {
    const std::string text = changed([](std::string& line) { line.insert(0, 100'000, ' '); });
    expect_refused("new.db", text, ErrorCode::kLimitExceeded, "CAIRN_STATE_BYTES_MAX",
                   {{"CAIRN_STATE_BYTES_MAX", "1K"}});
    expect_refused("new.db", text, ErrorCode::kLimitExceeded, "CAIRN_STATE_BYTES_MAX",
                   {{"CAIRN_STATE_BYTES_MAX", "6"}});
}

TEST_F(CairnTransfer, AnotherSnapshotInItsPlaceIsNeverOverwritten) {
    const std::string text = changed([](std::string&) {});
    const std::string id = log()[1]["snapshot_id"];
    const std::string checksum = log()[1]["checksum"];
    expect_imported("new.db", text, 3, 0);

    const std::string other_state = changed([&](std::string& line) {
        replace(line, R"({"a":2})", R"({"a":7})");
        replace(line, checksum, Checksum::of(R"({"a":7})").to_hex());
    });
    const std::string words = "line 2: snapshot " + id + " (version 2) of run \"r1\"";
    expect_refused("new.db", other_state, ErrorCode::kAlreadyExists, words);
    const std::string other_id = changed([&](std::string& line) { replace(line, id, "another"); });
    expect_refused("new.db", other_id, ErrorCode::kAlreadyExists, "line 2: snapshot another (version 2) of run \"r1\"");
    const std::string other_version = changed([&](std::string& line) { replace(line, ":2,", ":9,"); });
    expect_refused("new.db", other_version, ErrorCode::kAlreadyExists, "its id is version 2's here");
    const std::string other_owner = changed([&](std::string& line) { replace(line, "\"u1\"", "\"u2\""); });
    expect_refused("new.db", other_owner, ErrorCode::kInvalidArgument, "belongs to another thread or user");
    const std::string twice = changed([&](std::string& line) { line += line; });
    expect_refused("new.db", twice, ErrorCode::kInvalidArgument, "line 5: 3 snapshots should stand before it, but 4");
    EXPECT_EQ(exported({"--store", "sqlite:new.db"}), small_);
}

TEST_F(CairnTransfer, ASnapshotThatIsMissingBeforeTheHeadCannotBePutIn) {
    const std::string text = changed([](std::string&) {});
    expect_imported("new.db", text, 3, 0);
    ASSERT_EQ(run({"prune", "--keep-last", "1", "--yes", "--store", "sqlite:new.db"}).exit_code, 0);
    expect_refused("new.db", text, ErrorCode::kConflict, "the run is at version 3 here");
}

TEST_F(CairnTransfer, ARunGoesOnWhereAnEarlierImportEnded) {
    saved(R"({"a":1})");
    expect_imported("new.db", exported(), 1, 0);
    saved(R"({"a":2})");
    expect_imported("new.db", exported(), 1, 1);
    EXPECT_EQ(exported({"--store", "sqlite:new.db"}), exported());
}

TEST_F(CairnTransfer, DamagedSnapshotsAreLeftOutAndSaidToBe) {
    saved(R"({"text":"intact"})");
    saved(R"({"text":"fragile"})");
    saved(R"({"text":"intact again"})");
    damage("fragile");
    const auto result = run({"export", "--json"});
    EXPECT_EQ(result.exit_code, exit_code_of(ErrorCode::kCorrupt));
    EXPECT_EQ(Json::parse(last_line_of(result.errors))["error"]["code"], "corrupt");
    EXPECT_THAT(result.errors, AllOf(HasSubstr("export_damage"), HasSubstr("run_id=r1")));
    EXPECT_THAT(result.output, EndsWith("{\"end\":true,\"snapshots\":2}\n"));
    expect_imported("new.db", result.output, 2, 0);
    EXPECT_EQ(run({"load", "--run", "r1", "--store", "sqlite:new.db"}).output, "{\"text\":\"intact again\"}\n");
}

TEST_F(CairnTransfer, ADamagedRecordCostsNoOtherSnapshot) {
    FilledStore(folder_.sqlite_url()).add_run("r1", 2);
    FilledStore(folder_.sqlite_url()).add_run("r2", 2);
    const std::string of_other = exported({"--run", "r2"});
    execute(folder_ / "cairn.db", "UPDATE snapshots SET base_steps = 9 WHERE run_key = 1 AND version = 2");
    const auto result = run({"export"});
    EXPECT_EQ(result.exit_code, exit_code_of(ErrorCode::kCorrupt));
    EXPECT_THAT(result.errors, AllOf(HasSubstr("export_damage"), HasSubstr("run_id=r1"), HasSubstr("(places: 1)")));
    EXPECT_THAT(result.output, AllOf(HasSubstr(of_other.substr(0, of_other.find("{\"end\""))),
                                     HasSubstr("\"run_id\":\"r1\""), EndsWith("{\"end\":true,\"snapshots\":3}\n")));
}

TEST_F(CairnTransfer, AForgedLeaseCostsNoSnapshot) {
    saved("{}");
    parsed(run({"save", "--run", "r2", "--thread", "t1", "--user", "u1", "--json"}, "{}"));
    execute(folder_ / "cairn.db", "INSERT INTO leases VALUES('r1', 'ann', 1, 4611686018427387904)");
    const auto exported = run({"export"});
    EXPECT_EQ(exported.exit_code, 0) << exported.errors;
    EXPECT_THAT(exported.output, AllOf(HasSubstr("\"run_id\":\"r1\""), HasSubstr("\"run_id\":\"r2\""),
                                       HasSubstr("{\"end\":true,\"snapshots\":2}")));
    EXPECT_THAT(exported.errors, HasSubstr("a lease with an impossible time"));
}

TEST_F(CairnTransfer, AStateBeyondTheLimitIsNamedAndLeftOutAndTheRestIsExported) {
    saved(R"({"text":"0123456789012345678901234567890123456789"})");
    parsed(run({"save", "--run", "r2", "--thread", "t1", "--user", "u1", "--json"}, "{}"));
    const auto exported = run({"export", "--output", "out.jsonl", "--json"}, {}, {{"CAIRN_STATE_BYTES_MAX", "20"}});
    EXPECT_EQ(exported.exit_code, exit_code_of(ErrorCode::kLimitExceeded));
    EXPECT_EQ(Json::parse(exported.output), Json::parse(R"({"snapshots":1,"runs":2,"damaged":0,"too_large":1})"));
    EXPECT_THAT(exported.errors, AllOf(HasSubstr("export_limit"), HasSubstr("(CAIRN_STATE_BYTES_MAX)"),
                                       HasSubstr("1 state is larger than CAIRN_STATE_BYTES_MAX (20) and left out")));
    EXPECT_THAT(read("out.jsonl"), AllOf(HasSubstr("\"run_id\":\"r2\""), Not(HasSubstr("\"run_id\":\"r1\""))));
}

TEST_F(CairnTransfer, AnAcceptedImportExportsAgainAlsoAfterALaterSave) {
    saved(R"({"a":1})");
    std::string text = run({"export"}).output;
    const std::string version = R"("version":1,)";
    text.replace(text.find(version), version.size(), R"("version":9007199254740990,)");
    write("in.jsonl", text);
    ASSERT_EQ(run({"import", "in.jsonl", "--store", "sqlite:b.db"}).exit_code, 0);
    const std::vector<std::string> to_b{"--store", "sqlite:b.db"};
    saved(R"({"a":2})", to_b);
    expect_error(save(R"({"a":3})", to_b), ErrorCode::kLimitExceeded, "save under another run_id");
    write("again.jsonl", run({"export", "--store", "sqlite:b.db"}).output);
    const auto imported = run({"import", "again.jsonl", "--store", "sqlite:c.db"});
    EXPECT_EQ(imported.exit_code, 0) << imported.errors;
}

TEST_F(CairnTransfer, ATerminalShowsProgressUnlessTheLinesGoThere) {
    saved(R"({"a":1})");
    saved(R"({"a":2})");
    const Terminal terminal;
    if (!terminal.is_there()) GTEST_SKIP() << "no pseudo-terminal can be had here";
    const auto shown = [&](const std::string& options) {
        const auto result = run_shell(fmt::format("\"$CAIRN\" export {} >{} 2>&1", options, terminal.name()));
        EXPECT_EQ(result.exit_code, 0);
        return terminal.take();
    };
    EXPECT_THAT(shown("--output e.jsonl"), AllOf(HasSubstr("Exporting"), HasSubstr("1/2"), HasSubstr("exported 2")));
    EXPECT_THAT(shown("--output e.jsonl --run r1"), AllOf(HasSubstr("Exporting"), HasSubstr("1/2")));
    EXPECT_THAT(shown(""), AllOf(HasSubstr("\"run_id\":\"r1\""), Not(HasSubstr("Exporting"))));
}

TEST_F(CairnTransfer, NoMessageEndsUpInTheFileWhenAStandardStreamIsClosed) {
    saved(R"({"text":"intact"})");
    saved(R"({"text":"fragile"})");
    damage("fragile");
    const std::string expected = run({"export"}).output;
    for (const std::string closed : {"2>&-", ">&- 2>&-", "<&- >&- 2>&-"}) {
        const auto result = run_shell("\"$CAIRN\" export --output e.jsonl " + closed);
        EXPECT_EQ(result.exit_code, exit_code_of(ErrorCode::kCorrupt)) << closed;
        EXPECT_EQ(read("e.jsonl"), expected) << closed;
    }
}

}  // namespace
}  // namespace cairn::test
