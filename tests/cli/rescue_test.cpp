// Goal: the unsaved states of two runs never share a file, whatever characters their ids have.
// Method: compares the file names of ids that other ways of making names have mixed up. tests/cli/run_test.cpp tests
// the files themselves.

#include "cli/run/rescue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <string_view>

namespace cairn::test {
namespace {

TEST(Rescue, NamesAreAsTheRunsAreWhereAFileMayBeCalledSo) {
    EXPECT_EQ(cli::rescue_name("nightly-7.a_B"), "cairn-nightly-7.a_B");
    EXPECT_EQ(cli::rescue_name("team/1 ä"), "cairn-team%2F1%20%C3%A4");
}

TEST(Rescue, DifferentRunsHaveDifferentNames) {
    std::set<std::string> names;
    std::size_t runs = 0;
    for (const std::string_view id : {"a/b", "a_b", "a%2Fb", "a%b", "a b", "a~2", "a", "A", "..", "../..", "a%252Fb"}) {
        names.insert(cli::rescue_name(id));
        ++runs;
    }
    for (const char last : {'a', 'b', '/'}) {
        for (const std::size_t length : {150U, 193U, 194U, 195U, 254U}) {
            names.insert(cli::rescue_name(std::string(length, '/') + last));
            names.insert(cli::rescue_name(std::string(length, 'x') + last));
            runs += 2;
        }
    }
    EXPECT_EQ(names.size(), runs);
    for (const std::string& name : names) {
        EXPECT_LE(name.size(), 200U);
        EXPECT_EQ(name.find('/'), std::string::npos);
    }
}

}  // namespace
}  // namespace cairn::test
