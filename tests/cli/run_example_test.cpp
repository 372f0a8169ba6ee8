// Goal: `make run` stays true: a pipeline's run that is killed goes on, and no finished step runs twice.
// Method: runs its script, which checks that itself, and looks at its output.

#include "support/paths.h"
#include "support/run_program.h"
#include "support/temp_dir.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cairn::test {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

TEST(RunExample, APipelineIsKilledAndGoesOnWithoutRunningAFinishedStepTwice) {
    const TempDir folder;
    const auto shown = run_program(
        "/bin/bash", {(source_dir() / "scripts/run_example.sh").string(), CAIRN_BUILD_DIR, folder.path().string()});
    ASSERT_EQ(shown.exit_code, 0) << shown.errors << shown.output;
    EXPECT_THAT(shown.output, AllOf(HasSubstr("interrupted  3 of 5"), HasSubstr("No finished step ran twice."),
                                    HasSubstr("survey         1   finished before the kill"),
                                    HasSubstr("rank_files     2   interrupted by the kill"),
                                    HasSubstr("report         1"), HasSubstr("lines by language: ")));
    EXPECT_THAT(shown.output, ContainsRegex("status +completed \\(resumed\\)"));
}

}  // namespace
}  // namespace cairn::test
