#pragma once

// A small agent that gets to know a source tree. It surveys the tree, counts, picks the files that the others lean on,
// reads how they introduce themselves, looks for places that deserve a second look, and writes a report. It has rules
// instead of a language model, so that it runs anywhere and repeats itself exactly. Its state is like that of real
// agents.

#include "tools.h"

#include <cairn/error.h>
#include <cairn/types.h>

#include <nlohmann/json.hpp>

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace repo_analyst {

/// Keeps keys in the order in which the agent made them.
using Json = nlohmann::ordered_json;

/// Called with the agent's whole state after every step, and expected to persist it before it returns.
using SaveState = std::function<cairn::Status(const Json& state, cairn::CheckpointType, cairn::AgentPhase)>;

struct AgentLimits {
    std::size_t folders_max = 150;
    std::size_t files_max = 2000;
    std::size_t key_files = 8;  ///< Read in detail.
    std::size_t lines_read = 40;
};

class Agent {
public:
    Agent(const SourceTree& tree, const std::string& tree_name, SaveState save, AgentLimits limits = {});

    /// Works through the plan and returns the last state. A failed save is an error: the agent does not continue with
    /// work that would be lost.
    cairn::Result<Json> run();

private:
    cairn::Status initialize();
    cairn::Status survey();
    cairn::Status count_lines();
    cairn::Status choose_key_files();
    cairn::Status read_key_files();
    cairn::Status search_concerns();
    cairn::Status check_for_changes();
    cairn::Status write_report();

    cairn::Status enter_phase(cairn::AgentPhase phase, std::string_view goal);
    void finish_goal();
    void observe(std::string_view tool, Json arguments, std::string observation);
    cairn::Status save(const cairn::CheckpointType& type);

    struct Folder {
        std::string path;
        std::vector<Entry> entries;
    };

    const SourceTree& tree_;
    SaveState save_;
    AgentLimits limits_;

    Json state_;
    cairn::AgentPhase phase_;
    std::vector<Folder> folders_;            ///< As surveyed.
    std::vector<Entry> files_;               ///< All files of `folders_`.
    std::vector<std::string> source_paths_;  ///< Paths of files in a programming language.
};

/// The report in a state, for a person.
std::string render_report(const Json& state);

}  // namespace repo_analyst
