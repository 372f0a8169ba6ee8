#pragma once

// The fixture of the tests of the program's commands. It runs the program, reads its output and knows the form of its
// errors.

#include "support/built_program.h"
#include "support/paths.h"
#include "support/temp_dir.h"

#include <cairn/error.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include <fstream>
#include <sstream>

namespace cairn::test {

using Json = nlohmann::ordered_json;
using Environment = std::map<std::string, std::string>;

inline int exit_code_of(ErrorCode code) {
    return error_info(code).exit_code;
}

inline std::vector<std::string> keys_of(const Json& object) {
    std::vector<std::string> keys;
    for (const auto& [key, value] : object.items()) keys.push_back(key);
    return keys;
}

inline std::vector<std::string> operator+(std::vector<std::string> left, const std::vector<std::string>& right) {
    left.insert(left.end(), right.begin(), right.end());
    return left;
}

/// Each test has its own store, in a folder of its own that is the program's working folder. nlohmann::json reads JSON
/// output.
class Cairn : public ::testing::Test {
protected:
    const Environment kOptimised{{"ENABLE_OPTIMIZED_PERSISTENCE", "true"}};

    ProgramResult run(const std::vector<std::string>& arguments, std::string_view input = {},
                      const Environment& environment = {}) {
        return run_cairn(arguments,
                         {.standard_input = input, .environment = environment, .working_folder = folder_.path()});
    }

    ProgramResult run_shell(const std::string& script) {
        return run_program("/bin/sh", {"-c", script},
                           {.environment = {{"CAIRN", cairn_program()}}, .working_folder = folder_.path()});
    }

    ProgramResult save(std::string_view state, const std::vector<std::string>& more = {},
                       const Environment& environment = {}) {
        return run(std::vector<std::string>{"save", "--run", "r1", "--thread", "t1", "--user", "u1"} + more, state,
                   environment);
    }

    // Makes a save that must succeed. Returns its receipt.
    Json saved(std::string_view state, const std::vector<std::string>& more = {}, const Environment& environment = {}) {
        return parsed(save(state, std::vector<std::string>{"--json"} + more, environment));
    }

    static Json parsed(const ProgramResult& result) {
        EXPECT_EQ(result.exit_code, 0) << result.errors;
        EXPECT_THAT(result.errors, ::testing::IsEmpty());
        return Json::parse(result.output, nullptr, false);
    }

    // Returns the last line. On standard error, log lines stand before it.
    static std::string last_line_of(const std::string& text) {
        const auto end = text.empty() ? std::string::npos : text.rfind('\n', text.size() - 2);
        return end == std::string::npos ? text : text.substr(end + 1);
    }

    // Returns the error object.
    static Json error_of(const ProgramResult& result) {
        EXPECT_THAT(result.output, ::testing::IsEmpty());
        const Json object = Json::parse(last_line_of(result.errors), nullptr, false);
        EXPECT_THAT(keys_of(object), ::testing::ElementsAre("error")) << result.errors;
        EXPECT_THAT(keys_of(object.value("error", Json())),
                    ::testing::ElementsAre("code", "message", "detail", "advice"));
        return object.value("error", Json());
    }

    static void expect_error(const ProgramResult& result, ErrorCode code, const std::string& words) {
        EXPECT_EQ(result.exit_code, exit_code_of(code)) << result.errors;
        EXPECT_THAT(result.output, ::testing::IsEmpty());
        const std::string error = last_line_of(result.errors);
        EXPECT_THAT(error, ::testing::StartsWith("cairn: " + std::string(error_info(code).name) + ": "));
        EXPECT_THAT(error, ::testing::HasSubstr(words));
    }

    void write(const std::string& name, std::string_view bytes) const {
        std::ofstream(folder_ / name, std::ios::binary) << bytes;
    }

    std::string read(const std::string& name) const {
        std::stringstream text;
        text << std::ifstream(folder_ / name, std::ios::binary).rdbuf();
        return text.str();
    }

    Json log(const std::vector<std::string>& more = {}) {
        return parsed(run(std::vector<std::string>{"log", "--run", "r1", "--json"} + more));
    }

    // Damages, on disk, the stored text of every snapshot that contains `marker`.
    void damage(const std::string& marker) const {
        std::string bytes = read("cairn.db");
        for (auto at = bytes.find(marker); at != std::string::npos; at = bytes.find(marker, at + 1)) bytes[at] ^= 1;
        write("cairn.db", bytes);
    }

    TempDir folder_;
};

/// Runs the pipeline in "p.yaml", whose agents write a line each to the file "journal".
class CairnPipeline : public Cairn {
protected:
    static constexpr std::string_view kNote = R"(echo "$CAIRN_STEP $CAIRN_ATTEMPT" >> journal)";

    // Makes an agent that writes to the journal and adds a member: its key is the step's name, its value is `value`,
    // JSON as the shell prints it.
    static std::string marking_agent(const std::string& name, const std::string& value) {
        return "  " + name + ":\n    command: [sh, -c, '" + std::string(kNote) +
               "; printf \"{\\\"%s\\\":%s}\" \"$CAIRN_STEP\" \"" + value + "\"']\n    output: merge_patch\n";
    }

    ProgramResult run_demo(const std::vector<std::string>& more = {}, std::string_view input = {},
                           const Environment& environment = {}) {
        return run(std::vector<std::string>{"run", "p.yaml"} + more, input, environment);
    }

    Json only_run() { return parsed(run({"runs", "--json"}))[0]; }
};

}  // namespace cairn::test
