#include "replay/trajectory.h"

#include "replay/tokens.h"

#include <fmt/format.h>
#include <fmt/std.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>
#include <utility>

namespace cairn {
namespace {

using Json = nlohmann::ordered_json;  // keeps the order of keys, as every state must

/// The document is printed recursively, so deeper ones are refused whatever the state limit is.
constexpr std::uint32_t kDepthMax = 10'000;
constexpr std::uint32_t kDepthOfValueMax = 5;  ///< Run, steps, step, patch, operation: the levels around a value.

Error invalid_trajectory_error(std::string message) {
    return {.code = ErrorCode::kInvalidState, .message = std::move(message)};
}

/// Puts the place in front of an error.
Error at_place(std::string_view place, Error error) {
    error.message = fmt::format("{}: {}", place, error.message);
    return error;
}

Result<Json> parse_line(std::string_view line, const StateLimits& limits) {
    const std::uint32_t depth_max = std::min(kDepthMax, limits.depth_max) + kDepthOfValueMax;
    const Result<std::string> shielded = shield_tokens(line, depth_max);
    if (!shielded) return std::unexpected(shielded.error());
    try {
        return Json::parse(*shielded);
    } catch (const Json::parse_error& error) {
        return std::unexpected(invalid_trajectory_error(fmt::format("not a JSON text (near byte {})", error.byte)));
    }
}

Result<std::string> text_member(const Json& object, const char* name) {
    const auto member = object.find(name);
    if (member == object.end())
        return std::unexpected(invalid_trajectory_error(fmt::format("member \"{}\" is missing", name)));
    if (!member->is_string())
        return std::unexpected(invalid_trajectory_error(fmt::format("member \"{}\" is not a string", name)));
    return member->get<std::string>();
}

Status apply_one(Json& document, Json operation);

/// A move is a removal and an addition. It is done in two parts because the library checks less of a move.
Status apply_move(Json& document, const Json& operation) {
    const std::string& from = operation.at("from").get_ref<const std::string&>();
    Json value = document.at(Json::json_pointer(from));
    const Status removed = apply_one(document, {{"op", "remove"}, {"path", from}});
    if (!removed) return removed;
    return apply_one(document, {{"op", "add"}, {"path", operation.at("path")}, {"value", std::move(value)}});
}

/// The library's own `test` requires keys in the same order; RFC 6902 does not.
Status apply_test(const Json& document, const Json& operation) {
    const Json& actual = document.at(Json::json_pointer(operation.at("path").get<std::string>()));
    if (nlohmann::json(actual) == nlohmann::json(operation.at("value"))) return {};
    return std::unexpected(invalid_trajectory_error("the test failed"));
}

/// The library only asserts that the target of an addition is an object or an array.
Status require_container(const Json& document, const Json& operation) {
    const Json::json_pointer path(operation.at("path").get<std::string>());
    if (path.empty() || document.at(path.parent_pointer()).is_structured()) return {};
    return std::unexpected(invalid_trajectory_error("its path leads into a value that is neither object nor array"));
}

/// Throws the library's exceptions.
Status apply_one(Json& document, Json operation) {
    const std::string name = operation.at("op").get<std::string>();
    if (name == "move") return apply_move(document, operation);
    if (name == "test") return apply_test(document, operation);
    if (name == "add" || name == "copy") {
        const Status container = require_container(document, operation);
        if (!container) return container;
    }
    Json patch = Json::array();
    patch.push_back(std::move(operation));
    document.patch_inplace(patch);  // in place: copying the document at each step would be quadratic
    return {};
}

/// The library's own messages quote values, so they are not passed on.
std::string_view reason(const Json::exception& error) {
    switch (error.id) {
        case 401:
        case 402:
            return "an array index of its path is out of range";
        case 403:
        case 404:
            return "its path, or a member of the operation, is not there";
        case 105:
            return "its op is unknown, or a member is missing or of the wrong type";
        case 106:
        case 107:
        case 108:
        case 109:
            return "its path is not a JSON pointer";
        default:
            return "it does not fit the state";
    }
}

Status apply_operation(Json& document, Json operation) {
    try {
        return apply_one(document, std::move(operation));
    } catch (const Json::exception& error) {
        return std::unexpected(invalid_trajectory_error(std::string(reason(error))));
    }
}

/// Returns "operation 2 (replace /a/b)": as much of it as can be read.
std::string operation_place(std::size_t index, const Json& operation) {
    if (!operation.is_object()) return fmt::format("operation {}", index + 1);
    const auto text = [&](const char* name) { return text_member(operation, name).value_or("?"); };
    return fmt::format("operation {} ({} {})", index + 1, text("op"), text("path"));
}

Status apply_patch(Json& document, Json& patch) {
    for (std::size_t index = 0; index < patch.size(); ++index) {
        const std::string place = operation_place(index, patch[index]);
        const Status applied = apply_operation(document, std::move(patch[index]));
        if (!applied) return std::unexpected(at_place(place, applied.error()));
    }
    return {};
}

Result<State> print_state(const Json& document, const StateLimits& limits) {
    try {
        return State::parse(restore_tokens(document.dump()), limits);
    } catch (const Json::exception&) {
        return std::unexpected(invalid_trajectory_error("holds a string that is not UTF-8"));
    }
}

/// Applies `step` to the document of the state before.
Result<TrajectoryStep> expand_step(Json& document, Json& step, const StateLimits& limits) {
    if (!step.is_object()) return std::unexpected(invalid_trajectory_error("not an object"));
    const Result<std::string> phase = text_member(step, "agent_phase");
    if (!phase) return std::unexpected(phase.error());
    CheckpointType type = CheckpointType::kAuto;
    if (step.contains("checkpoint_type")) {
        Result<std::string> name = text_member(step, "checkpoint_type");
        if (!name) return std::unexpected(name.error());
        type = CheckpointType(*std::move(name));
    }
    const auto patch = step.find("patch");
    if (patch == step.end() || !patch->is_array())
        return std::unexpected(invalid_trajectory_error("member \"patch\" is not an array"));
    if (const Status applied = apply_patch(document, *patch); !applied) return std::unexpected(applied.error());

    Result<State> state = print_state(document, limits);
    if (!state) return std::unexpected(state.error());
    return TrajectoryStep{*std::move(state), std::move(type), AgentPhase(*phase)};
}

Result<TrajectoryRun> read_owner(const Json& line) {
    TrajectoryRun run;
    for (const auto& [name, target] : {std::pair{"run_id", &run.run_id}, std::pair{"thread_id", &run.thread_id},
                                       std::pair{"user_id", &run.user_id}}) {
        Result<std::string> text = text_member(line, name);
        if (!text) return std::unexpected(text.error());
        *target = *std::move(text);
    }
    return run;
}

Status check_shape(const Json& line) {
    if (!line.is_object()) return std::unexpected(invalid_trajectory_error("not a JSON object"));
    if (!line.contains("base_state"))
        return std::unexpected(invalid_trajectory_error("member \"base_state\" is missing"));
    if (!line.contains("steps") || !line["steps"].is_array()) {
        return std::unexpected(invalid_trajectory_error("member \"steps\" is not an array"));
    }
    const std::size_t steps = line["steps"].size();
    if (line.contains("n_steps") && line["n_steps"] != steps) {
        return std::unexpected(
            invalid_trajectory_error(fmt::format("holds {} steps, which is not what \"n_steps\" says", steps)));
    }
    return {};
}

Result<TrajectoryRun> expand_line(Json& line, const StateLimits& limits) {
    if (const Status shape = check_shape(line); !shape) return std::unexpected(shape.error());
    Result<TrajectoryRun> run = read_owner(line);
    if (!run) return run;

    Json document = std::move(line["base_state"]);
    Result<State> first = print_state(document, limits);
    if (!first) return std::unexpected(at_place("base_state", first.error()));
    run->steps.reserve(line["steps"].size() + 1);
    run->steps.push_back({*std::move(first), CheckpointType::kAuto, AgentPhase("init")});
    for (Json& step : line["steps"]) {
        Result<TrajectoryStep> expanded = expand_step(document, step, limits);
        if (!expanded) {
            return std::unexpected(at_place(fmt::format("step {}", run->steps.size()), expanded.error()));
        }
        run->steps.push_back(*std::move(expanded));
    }
    return run;
}

Result<std::vector<std::filesystem::path>> files_below(const std::filesystem::path& folder) {
    std::vector<std::filesystem::path> files;
    std::error_code error;
    for (std::filesystem::recursive_directory_iterator at(folder, error), end; !error && at != end;
         at.increment(error)) {
        if (at->path().extension() == ".jsonl" && !at->is_directory(error)) files.push_back(at->path());
    }
    if (error) return fail(ErrorCode::kUnavailable, fmt::format("{} cannot be read", folder), error.message());
    if (files.empty()) return fail(ErrorCode::kNotFound, fmt::format("no *.jsonl file below {}", folder));
    std::ranges::sort(files);
    return files;
}

bool is_blank(std::string_view line) {
    return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

/// Expands a line, and turns its states into opaque ones where the options say so.
Result<TrajectoryRun> expand_run(std::string_view line, const ExpandOptions& options) {
    Result<TrajectoryRun> run = expand_run(line, options.state_limits);
    if (!run || options.state_type.empty()) return run;
    for (TrajectoryStep& step : run->steps) {
        Result<State> opaque = State::opaque(options.state_type, step.state.text(), options.state_limits);
        if (!opaque) return std::unexpected(std::move(opaque.error()));
        step.state = *std::move(opaque);
    }
    return run;
}

/// Appends the runs of `file` to `runs`, until there are `options.runs_max`.
Status expand_file(const std::filesystem::path& file, const ExpandOptions& options, std::vector<TrajectoryRun>& runs) {
    std::ifstream stream(file, std::ios::binary);
    if (!stream) return fail(ErrorCode::kUnavailable, fmt::format("{} cannot be opened", file));
    std::string line;
    for (std::size_t number = 1; runs.size() < options.runs_max && std::getline(stream, line); ++number) {
        if (!is_blank(line)) {
            Result<TrajectoryRun> run = expand_run(line, options);
            if (!run) return std::unexpected(at_place(fmt::format("{} line {}", file, number), run.error()));
            runs.push_back(*std::move(run));
        }
        if (options.on_bytes_read) options.on_bytes_read(line.size() + 1);
    }
    if (stream.bad()) return fail(ErrorCode::kUnavailable, fmt::format("{} cannot be read to its end", file));
    return {};
}

}  // namespace

Result<std::vector<std::filesystem::path>> find_trajectory_files(const std::vector<std::string>& paths) {
    std::vector<std::filesystem::path> files;
    for (const std::filesystem::path path : paths) {
        std::error_code ignored;
        if (!std::filesystem::exists(path, ignored)) {
            return std::unexpected(
                advise({.code = ErrorCode::kNotFound, .message = fmt::format("no file or folder {}", path)},
                       "Check the path."));
        }
        if (!std::filesystem::is_directory(path, ignored)) {
            files.push_back(path);
            continue;
        }
        const Result<std::vector<std::filesystem::path>> found = files_below(path);
        if (!found) return found;
        files.insert(files.end(), found->begin(), found->end());
    }
    return files;
}

StatePersistenceRequest request_of(const TrajectoryRun& run, const TrajectoryStep& step) {
    return {.run_id = run.run_id,
            .thread_id = run.thread_id,
            .user_id = run.user_id,
            .state_data = step.state,
            .checkpoint_type = step.checkpoint_type,
            .agent_phase = step.agent_phase};
}

Result<TrajectoryRun> expand_run(std::string_view line, const StateLimits& limits) {
    Result<Json> document = parse_line(line, limits);
    if (!document) return std::unexpected(document.error());
    return expand_line(*document, limits);
}

Result<std::vector<TrajectoryRun>> expand_trajectories(const std::vector<std::filesystem::path>& files,
                                                       const ExpandOptions& options) {
    std::vector<TrajectoryRun> runs;
    for (const std::filesystem::path& file : files) {
        const Status expanded = expand_file(file, options, runs);
        if (!expanded) return std::unexpected(expanded.error());
    }
    return runs;
}

}  // namespace cairn
