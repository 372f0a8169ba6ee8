// Goal: the example agent does the same in every run, and both services persist the same.
// Method: runs the program on a small tree made here, reads its output, and looks into the stores that it has left.

#include "support/built_program.h"
#include "support/temp_dir.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace cairn::test {
namespace {

class RepoAnalyst : public testing::Test {
protected:
    void SetUp() override {
        write("include/engine.h", "// Turns fuel into motion. And noise.\nint start();  // TODO: stop\n");
        write("src/main.cpp", "#include \"include/engine.h\"\nint main() { return start(); }\n");
        write("src/engine.cpp", "#include \"include/engine.h\"\nint start() { return 0; }\n");
        write(".git/config", "never read\n");
        write("build/engine.cpp", "never read\n");
        write("binary.py", std::string("\0\xFF\x01", 3));
    }

    void write(const std::string& name, const std::string& text) {
        std::filesystem::create_directories((tree() / name).parent_path());
        std::ofstream(tree() / name, std::ios::binary) << text;
    }

    std::filesystem::path tree() const { return folder_ / "tree"; }

    ProgramResult run(const std::string& out) {
        return run_program(CAIRN_REPO_ANALYST, {tree().string(), "--out", (folder_ / out).string()});
    }

    std::string load_last_state(const std::string& database) {
        const ProgramResult loaded =
            run_cairn({"load", "--store", "sqlite:" + (folder_ / database).string(), "--run", "repo-analysis"});
        EXPECT_EQ(loaded.exit_code, 0) << loaded.errors;
        return loaded.output;
    }

    TempDir folder_;
};

TEST_F(RepoAnalyst, DescribesTheTreeAndLeavesOutWhatItShould) {
    const ProgramResult result = run("out");
    ASSERT_EQ(result.exit_code, 0) << result.errors;
    EXPECT_TRUE(result.output.contains("4 source files in 3 folders")) << result.output;
    EXPECT_TRUE(result.output.contains("include/engine.h (mentioned in 2 files) Turns fuel into motion\n"))
        << result.output;
    EXPECT_TRUE(result.output.contains("TODO")) << result.output;
    EXPECT_FALSE(load_last_state("out/optimized.db").contains("never read"));
}

TEST_F(RepoAnalyst, BothServicesKeepTheSameStateAndOnlyOneSkips) {
    const ProgramResult result = run("out");
    ASSERT_EQ(result.exit_code, 0) << result.errors;
    EXPECT_TRUE(result.output.contains("both load back byte for byte, and are equal")) << result.output;
    EXPECT_EQ(load_last_state("out/standard.db"), load_last_state("out/optimized.db"));
    // A second look at each of the three folders finds nothing new.
    EXPECT_TRUE(result.output.contains("standard       31      0 ")) << result.output;
    EXPECT_TRUE(result.output.contains("optimised      31      3 ")) << result.output;
}

TEST_F(RepoAnalyst, TheSameTreeGivesTheSameStateAgain) {
    ASSERT_EQ(run("first").exit_code, 0);
    ASSERT_EQ(run("second").exit_code, 0);
    EXPECT_EQ(load_last_state("first/optimized.db"), load_last_state("second/optimized.db"));
}

}  // namespace
}  // namespace cairn::test
