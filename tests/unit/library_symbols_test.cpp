// Goal: an embedded library never aborts, never exits and never prints. Only the host program may do that.
// Method: nm lists the functions that each of our object files calls. Functions that abort, exit or print must not be
// among them.

#include "support/run_program.h"
#include "support/source_files.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace cairn::test {
namespace {

const std::set<std::string, std::less<>> kForbidden{
    "abort",     "exit",      "_exit",        "_Exit",         "quick_exit",     "__assert_fail", "raise",
    "printf",    "fprintf",   "vprintf",      "vfprintf",      "puts",           "fputs",         "putchar",
    "fputc",     "perror",    "__printf_chk", "__fprintf_chk", "__vfprintf_chk", "stdout",        "stderr",
    "_ZSt4cout", "_ZSt4cerr", "_ZSt4clog",    "syslog",
};

TEST(LibrarySymbols, TheLibraryNeverAbortsExitsOrPrints) {
#ifdef CAIRN_SANITIZED
    GTEST_SKIP() << "a sanitiser adds calls of its own; the plain build checks this";
#endif
    const ProgramResult nm = run_program("nm", {"--undefined-only", "--print-file-name", CAIRN_LIBRARY});
    ASSERT_EQ(nm.exit_code, 0) << nm.errors;
    std::size_t symbols = 0;
    for (const std::string& line : lines_of(nm.output)) {
        const std::string symbol = line.substr(line.find_last_of(' ') + 1);
        ++symbols;
        EXPECT_FALSE(kForbidden.contains(symbol)) << line;
    }
    EXPECT_GT(symbols, 200U) << "the test no longer sees the library's symbols";
}

}  // namespace
}  // namespace cairn::test
