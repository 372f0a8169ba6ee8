#pragma once

// Reads and changes a store's file as another program would: through the engine, or byte by byte.

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace cairn::test {

/// Returns the file's bytes, or nothing if there is no such file.
inline std::string content_of(const std::filesystem::path& path) {
    std::ostringstream content;
    content << std::ifstream(path, std::ios::binary).rdbuf();
    return content.str();
}

/// Opens the file as another program would, runs `sql` and closes the file.
inline void execute(const std::filesystem::path& path, const std::string& sql) {
    sqlite3* database = nullptr;
    ASSERT_EQ(sqlite3_open(path.c_str(), &database), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(database);
    sqlite3_close(database);
}

/// Returns the first column of the last row that `sql` finds.
inline std::string query(const std::filesystem::path& path, const std::string& sql) {
    sqlite3* database = nullptr;
    std::string answer = "no answer";
    sqlite3_open(path.c_str(), &database);
    sqlite3_exec(
        database, sql.c_str(),
        [](void* out, int, char** values, char**) {
            *static_cast<std::string*>(out) = values[0] == nullptr ? "NULL" : values[0];
            return 0;
        },
        &answer, nullptr);
    sqlite3_close(database);
    return answer;
}

}  // namespace cairn::test
