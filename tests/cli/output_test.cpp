// Goal: a file that a command writes is whole or stays as it was, can be read by nobody else, and is never the store.
// Method: runs the built program. A full disk is a small file system in memory, for which root is needed.

#include "cli/program_fixture.h"
#include "support/small_volume.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <set>

namespace cairn::test {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;

class Output : public Cairn {
protected:
    unsigned mode_of(const std::string& name) const {
        return static_cast<unsigned>(std::filesystem::status(folder_ / name).permissions());
    }

    std::set<std::string> files() const {
        std::set<std::string> names;
        for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
            names.insert(entry.path().filename().string());
        }
        return names;
    }

    // Returns each command that writes a file, with `name` as the file.
    static std::vector<std::vector<std::string>> writing(const std::string& name) {
        return {{"load", "--run", "r1", "--output", name}, {"export", "--output", name}};
    }
};

TEST_F(Output, ThatNamesTheStoreIsRefusedAndTheStoreStays) {
    saved(R"({"a":1})");
    std::filesystem::create_symlink("cairn.db", folder_ / "link");
    std::filesystem::create_directory(folder_ / "sub");
    write("p.yaml", "name: p\nagents: {a: {command: [cat]}}\nsteps: [{step: a}]\n");
    for (const char* name :
         {"cairn.db", "./sub/../cairn.db", "link", "cairn.db-wal", "cairn.db-shm", "cairn.db-journal"}) {
        auto commands = writing(name);
        commands.push_back({"run", "p.yaml", "--events", name});
        for (const auto& command : commands) {
            const auto result = run(command);
            expect_error(result, ErrorCode::kInvalidArgument, "is a file of the store sqlite:cairn.db");
            EXPECT_THAT(result.errors, EndsWith("Give the output another name.\n"));
        }
    }
    EXPECT_EQ(run({"check", "--deep"}).exit_code, 0);
    EXPECT_EQ(run({"load", "--run", "r1"}).output, "{\"a\":1}\n");
}

TEST_F(Output, ThatIsAnotherDatabaseOrAHardLinkIsRefused) {
    saved(R"({"a":1})");
    std::filesystem::copy_file(folder_ / "cairn.db", folder_ / "other.db");
    for (const auto& command : writing("other.db")) {
        expect_error(run(command), ErrorCode::kInvalidArgument, "is a database, and would be lost");
    }
    EXPECT_EQ(run({"load", "--run", "r1", "--store", "sqlite:other.db"}).output, "{\"a\":1}\n");
}

TEST_F(Output, BesideTheStoreWithALongerNameIsFine) {
    saved(R"({"a":1})");
    EXPECT_EQ(run({"export", "--output", "cairn.db-2026.jsonl"}).exit_code, 0);
    EXPECT_THAT(files(), IsSupersetOf({"cairn.db", "cairn.db-2026.jsonl"}));
}

TEST_F(Output, OfAnExportThatFailsLeavesTheLastGoodOne) {
    saved(R"({"a":1})");
    ASSERT_EQ(run({"export", "--output", "backup.jsonl"}).exit_code, 0);
    saved(R"({"pad":")" + std::string(300'000, 'x') + R"("})");
    const std::string good = read("backup.jsonl");
    const auto no_run = run({"export", "--run", "r9", "--output", "backup.jsonl"});
    EXPECT_EQ(no_run.exit_code, exit_code_of(ErrorCode::kNotFound));
    const auto limited = run_shell("ulimit -f 200; trap '' XFSZ; \"$CAIRN\" export --output backup.jsonl");
    EXPECT_EQ(limited.exit_code, exit_code_of(ErrorCode::kStorageFull)) << limited.errors;
    EXPECT_EQ(read("backup.jsonl"), good);
    for (const std::string& name : files()) EXPECT_FALSE(name.starts_with(".cairn-output")) << "it is left beside";
}

TEST_F(Output, OfAnExportOnAFullDiskLeavesTheLastGoodOne) {
    const SmallVolume disk(folder_ / "disk", 1U << 20);
    if (!disk.is_there()) GTEST_SKIP() << "a small volume cannot be mounted here (needs root)";
    const auto noise = [](std::size_t bytes) { return R"({"pad":")" + std::string(bytes, 'x') + R"("})"; };
    saved(noise(300'000));
    EXPECT_EQ(run({"export", "--output", "disk/backup.jsonl"}).exit_code, 0);
    const std::string good = read("disk/backup.jsonl");
    saved(noise(900'000));
    const auto failed = run({"export", "--output", "disk/backup.jsonl"});
    expect_error(failed, ErrorCode::kStorageFull, "disk/backup.jsonl");
    EXPECT_EQ(read("disk/backup.jsonl"), good);
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_ / "disk"), {}), 1);
}

TEST_F(Output, AndTheStoreAreTheOwnersUnlessASettingLetsTheGroupIn) {
    saved(R"({"a":1})");
    for (const auto& command : writing("own")) {
        EXPECT_EQ(run(command).exit_code, 0);
        EXPECT_EQ(mode_of("own"), 0600U);
    }
    for (const auto& command : writing("group")) {
        EXPECT_EQ(run(command, "", {{"CAIRN_FILE_MODE", "0660"}}).exit_code, 0);
        EXPECT_EQ(mode_of("group"), 0660U);
    }
}

TEST_F(Output, ToAPipeThatNobodyReadsIsSaidAndNotWaitedFor) {
    saved(R"({"a":1})");
    ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
    for (const auto& command : writing("pipe")) {
        expect_error(run(command), ErrorCode::kInvalidArgument, "is a pipe that nobody reads");
    }
}

TEST_F(Output, ToAnOpenFileIsWrittenOn) {
    saved(R"({"a":1})");
    const auto shown = run_shell(
        R"({ echo before; "$CAIRN" load --run r1 --output /dev/stdout; echo; echo after; } > file; cat file)");
    EXPECT_EQ(shown.output, "before\n{\"a\":1}\nafter\n");
    EXPECT_EQ(run({"load", "--run", "r1", "--output", "/dev/null"}).exit_code, 0);
}

TEST_F(Output, FollowsALinkOfOnesOwn) {
    saved(R"({"a":1})");
    write("target", "old");
    std::filesystem::create_symlink("target", folder_ / "link");
    EXPECT_EQ(run({"load", "--run", "r1", "--output", "link"}).exit_code, 0);
    EXPECT_TRUE(std::filesystem::is_symlink(folder_ / "link"));
    EXPECT_EQ(read("target"), "{\"a\":1}");
}

TEST_F(Output, DoesNotGoWhereALinkOfAnotherUserLeads) {
    if (::geteuid() != 0) GTEST_SKIP() << "only root can make another user's link";
    saved(R"({"a":1})");
    write("precious", "kept");
    std::filesystem::create_symlink("precious", folder_ / "planted");
    ASSERT_EQ(::lchown((folder_ / "planted").c_str(), 65534, 65534), 0);
    for (const auto& command : writing("planted")) {
        expect_error(run(command), ErrorCode::kInvalidArgument, "is a link or a pipe of another user");
    }
    EXPECT_EQ(read("precious"), "kept");
}

}  // namespace
}  // namespace cairn::test
