// Goal: the one error table has a complete, unambiguous row for every code, and an Error prints as one useful line.
// Method: walks the whole enumeration. Rows that scripts rely on are compared with fixed values.

#include <cairn/error.h>

#include <gtest/gtest.h>

#include <cstddef>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn {
namespace {

constexpr auto kLastCode = static_cast<std::size_t>(kLastErrorCode);

// A new code that is missing here does not compile (-Wswitch), so nobody can forget the table.
constexpr bool is_listed(ErrorCode code) {
    switch (code) {
        case ErrorCode::kInvalidArgument:
        case ErrorCode::kInvalidState:
        case ErrorCode::kLimitExceeded:
        case ErrorCode::kInvalidConfig:
        case ErrorCode::kNotFound:
        case ErrorCode::kConflict:
        case ErrorCode::kAlreadyExists:
        case ErrorCode::kCorrupt:
        case ErrorCode::kUnavailable:
        case ErrorCode::kOutcomeUnknown:
        case ErrorCode::kStorageFull:
        case ErrorCode::kReadOnly:
        case ErrorCode::kIncompatible:
        case ErrorCode::kClosed:
        case ErrorCode::kAgentFailed:
        case ErrorCode::kInternal:
        case ErrorCode::kUnauthenticated:
        case ErrorCode::kPermissionDenied:
        case ErrorCode::kCancelled:
            return true;
    }
    return false;
}

bool is_snake_case(std::string_view name) {
    return !name.empty() && name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_") == std::string_view::npos;
}

TEST(ErrorTable, HasEveryCodeOnceInOrder) {
    ASSERT_EQ(error_table().size(), kLastCode + 1);
    for (std::size_t i = 0; i <= kLastCode; ++i) {
        const auto code = static_cast<ErrorCode>(i);
        EXPECT_TRUE(is_listed(code));
        EXPECT_EQ(error_table()[i].code, code);
        EXPECT_EQ(&error_info(code), &error_table()[i]);
    }
    EXPECT_FALSE(is_listed(static_cast<ErrorCode>(kLastCode + 1))) << "kLastErrorCode is no longer the last code";
}

TEST(ErrorTable, EveryRowIsFilledIn) {
    for (const ErrorInfo& info : error_table()) {
        EXPECT_TRUE(is_snake_case(info.name)) << info.name;
        EXPECT_GE(info.http_status, 400) << info.name;
        EXPECT_LT(info.http_status, 600) << info.name;
        EXPECT_GT(info.exit_code, 1) << info.name << ": 0 is success and 1 is the unexpected";
        EXPECT_LT(info.exit_code, 126) << info.name << ": shells use the higher ones";
        EXPECT_TRUE(info.python_exception.ends_with("Error")) << info.name;
        EXPECT_TRUE(info.node_code.starts_with("CAIRN_")) << info.name;
        EXPECT_TRUE(info.advice.ends_with('.')) << info.name;
    }
}

TEST(ErrorTable, NamesAndExitCodesTellTheCodesApart) {
    std::set<std::string_view> names;
    std::set<int> exit_codes;
    std::set<std::string_view> exceptions;
    std::set<std::string_view> node_codes;
    for (const ErrorInfo& info : error_table()) {
        EXPECT_TRUE(names.insert(info.name).second) << info.name;
        EXPECT_TRUE(exit_codes.insert(info.exit_code).second) << info.name;
        EXPECT_TRUE(exceptions.insert(info.python_exception).second) << info.name;
        EXPECT_TRUE(node_codes.insert(info.node_code).second) << info.name;
    }
}

TEST(ErrorTable, NodeCodeIsTheNameInCapitals) {
    for (const ErrorInfo& info : error_table()) {
        std::string expected = "CAIRN_";
        for (const char letter : info.name) expected += letter == '_' ? '_' : static_cast<char>(letter - 'a' + 'A');
        EXPECT_EQ(info.node_code, expected);
    }
}

TEST(ErrorTable, OnlyCallsThatLeftNothingBehindMayBeRetriedFreely) {
    const std::map<ErrorCode, Retry> retried{{ErrorCode::kCancelled, Retry::kYes},
                                             {ErrorCode::kUnavailable, Retry::kYes},
                                             {ErrorCode::kStorageFull, Retry::kYes},
                                             {ErrorCode::kOutcomeUnknown, Retry::kSameSnapshotId}};
    for (const ErrorInfo& info : error_table()) {
        const auto found = retried.find(info.code);
        EXPECT_EQ(info.retry, found == retried.end() ? Retry::kNo : found->second) << info.name;
    }
}

TEST(ErrorTable, ScriptsMayRelyOnTheseExitCodes) {
    EXPECT_EQ(error_info(ErrorCode::kInvalidArgument).exit_code, 2);
    EXPECT_EQ(error_info(ErrorCode::kInvalidState).exit_code, 3);
    EXPECT_EQ(error_info(ErrorCode::kNotFound).exit_code, 6);
    EXPECT_EQ(error_info(ErrorCode::kConflict).exit_code, 7);
    EXPECT_EQ(error_info(ErrorCode::kCorrupt).exit_code, 9);
    EXPECT_EQ(error_info(ErrorCode::kUnavailable).exit_code, 10);
}

// Numbers are stored and counted, and scripts rely on names and exit codes. So new codes are added at the end.
TEST(ErrorTable, NumbersNamesAndExitCodesAreForEver) {
    const std::vector<std::pair<std::string_view, int>> rows{
        {"invalid_argument", 2}, {"invalid_state", 3},    {"limit_exceeded", 4},
        {"invalid_config", 5},   {"not_found", 6},        {"conflict", 7},
        {"already_exists", 8},   {"corrupt", 9},          {"unavailable", 10},
        {"outcome_unknown", 11}, {"storage_full", 12},    {"read_only", 13},
        {"incompatible", 14},    {"closed", 15},          {"agent_failed", 16},
        {"internal", 70},        {"unauthenticated", 17}, {"permission_denied", 18},
        {"cancelled", 19}};
    ASSERT_GE(error_table().size(), rows.size());
    for (std::size_t i = 0; i < rows.size(); ++i) {
        EXPECT_EQ(error_table()[i].name, rows[i].first);
        EXPECT_EQ(error_table()[i].exit_code, rows[i].second) << rows[i].first;
    }
}

TEST(ErrorTable, AdviceSpeaksOfNoEngine) {
    for (const ErrorInfo& info : error_table()) {
        for (const std::string_view word : {"SQLite", "sqlite", "PostgreSQL", "file and its folder", "path"}) {
            EXPECT_EQ(info.advice.find(word), std::string_view::npos) << info.name << ": " << info.advice;
        }
    }
}

TEST(Error, PrintsNameMessageAndAdvice) {
    const Error error{.code = ErrorCode::kNotFound, .message = "no run \"r\""};
    EXPECT_EQ(error.to_string(),
              "not_found: no run \"r\". Check the name, or the id and its owner; `cairn runs` lists what there is.");
}

TEST(Error, PrintsTheDetailAndEveryCause) {
    const auto root = std::make_shared<const Error>(
        Error{.code = ErrorCode::kStorageFull, .message = "cannot append", .detail = "SQLITE_FULL (13)"});
    const auto middle =
        std::make_shared<const Error>(Error{.code = ErrorCode::kUnavailable, .message = "cannot write", .cause = root});
    const Error error{.code = ErrorCode::kInternal, .message = "save failed", .detail = "attempt 2", .cause = middle};
    EXPECT_EQ(error.to_string(),
              "internal: save failed [attempt 2] <- unavailable: cannot write <- storage_full: cannot append "
              "[SQLITE_FULL (13)]. Report it with the detail, unless the machine ran out of memory.");
}

TEST(Error, FailCarriesCodeMessageAndDetailThroughAnyResult) {
    const Result<int> number = fail(ErrorCode::kConflict, "moved", "engine");
    ASSERT_FALSE(number);
    EXPECT_EQ(number.error().code, ErrorCode::kConflict);
    EXPECT_EQ(number.error().message, "moved");
    EXPECT_EQ(number.error().detail, "engine");
    EXPECT_EQ(number.error().cause, nullptr);
    const Status status = fail(ErrorCode::kClosed, "closed");
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, ErrorCode::kClosed);
}

}  // namespace
}  // namespace cairn
