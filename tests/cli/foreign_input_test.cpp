// Goal: the program accepts foreign input, be it a stream of snapshots or a store's file, only as far as it can be
// right.
// Method: runs the built program on lines and files that were changed by hand.

#include "cli/program_fixture.h"
#include "frame/frame.h"
#include "support/database_bytes.h"

#include <sqlite3.h>

namespace cairn::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class CairnForeignInput : public Cairn {
protected:
    std::string export_with(const std::string& member, const std::string& value) {
        std::string text = run({"export"}).output;
        const auto at = text.find("\"" + member + "\":") + member.size() + 3;
        text.replace(at, text.find(',', at) - at, value);
        return text;
    }
};

TEST_F(CairnForeignInput, AVersionAfterWhichNoOtherFollowsIsRefused) {
    saved(R"({"a":1})");
    for (const char* version : {"9223372036854775806", "9223372036854775807", "9007199254740992", "1e3", "0", "-1"}) {
        const std::string text = export_with("version", version);
        const auto result = run({"import", "--store", "sqlite:new.db"}, text);
        expect_error(result, ErrorCode::kInvalidArgument,
                     "\"version\" is not a whole number from 1 to 9007199254740991");
    }
    const std::string text = export_with("version", "9007199254740991");
    EXPECT_EQ(run({"import", "--store", "sqlite:last.db"}, text).exit_code, 0);
    expect_error(save(R"({"a":2})", {"--store", "sqlite:last.db"}), ErrorCode::kLimitExceeded, "9007199254740991");
}

TEST_F(CairnForeignInput, ATextThatIsNoStateIsNeverPrinted) {
    saved(R"({"a":0})");
    saved(R"({"a":1})");
    const std::string text = "\x1b[31m secret";
    const Checksum checksum = Checksum::of(text);
    const auto bytes = checksum.to_bytes();
    const std::string frame = encode_full_frame(text, checksum, {.compression = false}).value();
    sqlite3* database = nullptr;
    ASSERT_EQ(sqlite3_open((folder_ / "cairn.db").c_str(), &database), SQLITE_OK);
    sqlite3_stmt* update = nullptr;
    sqlite3_prepare_v2(database, "UPDATE snapshots SET frame = ?, checksum = ?, state_bytes = ?", -1, &update, nullptr);
    sqlite3_bind_blob(update, 1, frame.data(), static_cast<int>(frame.size()), SQLITE_STATIC);
    sqlite3_bind_blob(update, 2, bytes.data(), static_cast<int>(bytes.size()), SQLITE_STATIC);
    sqlite3_bind_int64(update, 3, static_cast<std::int64_t>(text.size()));
    EXPECT_EQ(sqlite3_step(update), SQLITE_DONE);
    sqlite3_finalize(update);
    sqlite3_close(database);
    for (const std::vector<std::string>& command :
         {std::vector<std::string>{"load", "--run", "r1"}, {"diff", "--run", "r1"}, {"export"}, {"check", "--deep"}}) {
        const auto result = run(command);
        EXPECT_EQ(result.exit_code, exit_code_of(ErrorCode::kCorrupt)) << command[0] << result.errors;
        EXPECT_THAT(result.output + result.errors, Not(HasSubstr("secret"))) << command[0];
    }
}

TEST_F(CairnForeignInput, ATriggerInTheFileIsNamedByEveryCommand) {
    saved(R"({"a":1})");
    execute(folder_ / "cairn.db", "CREATE TRIGGER gone AFTER INSERT ON snapshots BEGIN DELETE FROM snapshots; END");
    for (const std::vector<std::string>& command :
         {std::vector<std::string>{"load", "--run", "r1"}, {"runs"}, {"check"}, {"prune", "--keep-last", "1"}}) {
        expect_error(run(command), ErrorCode::kIncompatible, "trigger \"gone\"");
    }
    expect_error(save(R"({"a":2})"), ErrorCode::kIncompatible, "trigger \"gone\"");
}

}  // namespace
}  // namespace cairn::test
