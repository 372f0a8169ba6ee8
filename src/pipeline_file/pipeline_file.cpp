#include "pipeline_file/pipeline_file.h"

#include "files/input_file.h"
#include "pipeline_file/condition_order.h"
#include "pipeline_file/yaml_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <set>
#include <utility>

namespace cairn {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kFileBytesMax = 1U << 20;
constexpr int kStepsMax = 10'000;
constexpr int kAttemptsMax = 1'000;

// Puts the name of the part in front of a problem inside it.
template <class Read>
auto in(const std::string& what, Read read) {
    try {
        return read();
    } catch (const YamlProblem& problem) {
        throw YamlProblem(problem.mark, what + ": " + problem.what());
    }
}

State to_state(const YamlNode& node, std::string_view key) {
    if (node.kind != YamlNode::Kind::kMap) refuse(node, key, "a map");
    return State::from_normal_text(to_json_text(node));
}

std::vector<std::string> read_command(const YamlNode& node) {
    std::vector<std::string> words;
    if (node.kind != YamlNode::Kind::kList || node.items.empty()) {
        refuse(node, "command", "a list of the program and its arguments: [program, --option, value]");
    }
    for (const YamlNode& item : node.items) {
        const bool is_text = item.kind == YamlNode::Kind::kScalar;
        if (!is_text || (words.empty() && item.text.empty())) refuse(item, "command", "text for every word of it");
        words.push_back(item.text);
    }
    return words;
}

std::map<std::string, std::string> read_environment(const YamlNode& node) {
    std::map<std::string, std::string> environment;
    if (node.kind != YamlNode::Kind::kMap) refuse(node, "environment", "a map of names and values");
    for (const YamlMember& member : node.members) {
        if (member.key.text.empty() || member.key.text.contains('=')) {
            throw YamlProblem(member.key.mark, describe(member.key) + " is no name of a variable");
        }
        if (member.value.kind != YamlNode::Kind::kScalar) refuse(member.value, member.key.text, "text");
        environment[member.key.text] = member.value.text;
    }
    return environment;
}

std::set<std::string> read_variables(const YamlNode& node) {
    constexpr std::string_view kAccepted = "a list of names of variables: [PATH, HOME]";
    if (node.kind != YamlNode::Kind::kList) refuse(node, "pass_environment", kAccepted);
    std::set<std::string> names;
    for (const YamlNode& item : node.items) {
        const bool is_name = item.kind == YamlNode::Kind::kScalar && !item.text.empty() && !item.text.contains('=');
        if (!is_name) refuse(item, "pass_environment", kAccepted);
        names.insert(item.text);
    }
    return names;
}

CommandOptions::Output read_output(const YamlNode& node) {
    const std::string output = read_text(node, "output");
    if (output == "state") return CommandOptions::Output::kState;
    if (output == "merge_patch") return CommandOptions::Output::kMergePatch;
    refuse(node, "output", "state or merge_patch");
}

CommandOptions read_agent(const YamlNode& node, const fs::path& folder) {
    const YamlFields fields(
        node, "an agent",
        {"command", "output", "environment", "pass_environment", "working_folder", "output_limit", "grace"});
    CommandOptions agent{.command = read_command(fields.require("command")), .working_folder = folder};
    if (const auto* value = fields.find("output")) agent.output = read_output(*value);
    if (const auto* value = fields.find("environment")) agent.environment = read_environment(*value);
    if (const auto* value = fields.find("pass_environment")) agent.pass_environment = read_variables(*value);
    if (const auto* value = fields.find("working_folder")) {
        agent.working_folder = (folder / read_text(*value, "working_folder")).lexically_normal();
    }
    if (const auto* value = fields.find("output_limit")) agent.output_bytes_max = read_size(*value, "output_limit");
    if (const auto* value = fields.find("grace")) agent.grace = read_duration(*value, "grace");
    return agent;
}

std::map<std::string, CommandOptions> read_agents(const YamlNode& node, const fs::path& folder) {
    if (node.kind != YamlNode::Kind::kMap) refuse(node, "agents", "a map of names and agents");
    std::map<std::string, CommandOptions> agents;
    for (const YamlMember& member : node.members) {
        const std::string name = read_name(member.key, "agents");
        agents[name] = in(fmt::format("agent \"{}\"", name), [&] { return read_agent(member.value, folder); });
    }
    return agents;
}

RetryPolicy read_retry(const YamlNode& node) {
    const YamlFields fields(node, "retry", {"attempts", "backoff", "backoff_max"});
    RetryPolicy retry;
    if (const auto* value = fields.find("attempts")) {
        retry.attempts_max = read_whole_number(*value, "attempts", 1, kAttemptsMax);
    }
    if (const auto* value = fields.find("backoff")) retry.backoff = read_duration(*value, "backoff");
    if (const auto* value = fields.find("backoff_max")) retry.backoff_max = read_duration(*value, "backoff_max");
    if (retry.backoff > retry.backoff_max) {
        throw YamlProblem(node.mark, "backoff is longer than backoff_max: they are 200ms and 30s unless given");
    }
    return retry;
}

bool is_pointer(std::string_view text) {
    if (!text.empty() && text.front() != '/') return false;
    for (auto at = text.find('~'); at != std::string_view::npos; at = text.find('~', at + 1)) {
        if (at + 1 == text.size() || (text[at + 1] != '0' && text[at + 1] != '1')) return false;
    }
    return true;
}

Condition::Member read_member_condition(const YamlNode& node) {
    using enum Condition::Test;
    const YamlFields fields(node, "a condition", {"member", "equals", "not_equals", "in", "exists"});
    const YamlNode& pointer = fields.require("member");
    if (pointer.kind != YamlNode::Kind::kScalar || !is_pointer(pointer.text)) {
        refuse(pointer, "member", "a JSON Pointer (/risk/level; ~ is written ~0, a / in a key ~1)");
    }
    if (node.members.size() != 2) {
        throw YamlProblem(node.mark, "a condition has one of equals, not_equals, in, exists");
    }
    Condition::Member member{.pointer = pointer.text};
    if (const auto* value = fields.find("equals")) {
        member.test = kEquals;
        member.values = {to_json_text(*value)};
    } else if (const auto* other = fields.find("not_equals")) {
        member.test = kNotEquals;
        member.values = {to_json_text(*other)};
    } else if (const auto* list = fields.find("in")) {
        member.test = kIn;
        for (const YamlNode& item : read_list(*list, "in")) member.values.push_back(to_json_text(item));
    } else {
        member.test = read_bool(fields.require("exists"), "exists") ? kExists : kMissing;
    }
    return member;
}

Condition::Step read_step_condition(const YamlNode& node) {
    const YamlFields fields(node, "a condition", {"step", "is"});
    Condition::Step step{.name = read_name(fields.require("step"), "step")};
    if (const auto* value = fields.find("is")) {
        const auto outcome = parse_step_outcome(read_text(*value, "is"));
        if (!outcome) refuse(*value, "is", "completed, skipped or failed");
        step.outcome = *outcome;
    }
    return step;
}

// Walks the file in order, and remembers places that later checks report.
class Reader {
public:
    Reader(const std::string& path, PipelineFile& file) : folder_(fs::absolute(path).parent_path()), file_(file) {}

    void read(const YamlNode& root) {
        const YamlFields fields(root, "a pipeline", {"name", "agents", "pass_environment", "steps"});
        file_.pipeline.name = read_name(fields.require("name"), "name");
        file_.agents = read_agents(fields.require("agents"), folder_);
        if (const auto* value = fields.find("pass_environment")) pass_to_all(read_variables(*value));
        for (const YamlNode& item : read_list(fields.require("steps"), "steps")) read_stage(item);
        check_conditions(file_.pipeline, conditions_);
    }

private:
    // An agent's own list overrides this one.
    void pass_to_all(const std::set<std::string>& names) {
        for (auto& [name, agent] : file_.agents) {
            if (!agent.pass_environment) agent.pass_environment = names;
        }
    }

    static bool has_key(const YamlNode& node, std::initializer_list<std::string_view> keys) {
        return node.kind == YamlNode::Kind::kMap && std::ranges::any_of(node.members, [&](const YamlMember& member) {
                   return std::ranges::find(keys, member.key.text) != keys.end();
               });
    }

    void read_stage(const YamlNode& node) {
        const bool is_group = has_key(node, {"parallel", "on_conflict", "at_once"});
        file_.pipeline.stages.push_back(is_group ? read_group(node) : Stage{.steps = {read_single(node)}});
    }

    Step read_single(const YamlNode& node) {
        return has_key(node, {"approve"}) ? read_approval(node) : read_step(node);
    }

    Stage read_group(const YamlNode& node) {
        const YamlFields fields(node, "a parallel group", {"parallel", "on_conflict", "at_once"});
        Stage stage;
        if (const auto* value = fields.find("at_once")) {
            stage.at_once_max = static_cast<std::size_t>(read_whole_number(*value, "at_once", 1, kStepsMax));
        }
        for (const YamlNode& item : read_list(fields.require("parallel"), "parallel")) {
            if (has_key(item, {"approve"}))
                throw YamlProblem(item.mark, "an approve step stands alone, not in a group");
            stage.steps.push_back(read_step(item));
        }
        if (const auto* value = fields.find("on_conflict")) read_conflict_policy(*value, stage);
        return stage;
    }

    static void read_conflict_policy(const YamlNode& node, Stage& stage) {
        constexpr std::string_view kAccepted = "fail, last, {merger: append} or {merger: merge}";
        if (node.kind == YamlNode::Kind::kMap) {
            const YamlFields fields(node, "on_conflict", {"merger"});
            const YamlNode& merger = fields.require("merger");
            stage.on_conflict = MergePolicy::kMerger;
            stage.merger = read_name(merger, "merger");
            if (stage.merger != "append" && stage.merger != "merge") refuse(merger, "merger", "append or merge");
        } else if (node.text == "last") {
            stage.on_conflict = MergePolicy::kLast;
        } else if (node.text != "fail") {
            refuse(node, "on_conflict", kAccepted);
        }
    }

    Step read_step(const YamlNode& node) {
        const YamlFields fields(node, "a step",
                                {"step", "agent", "phase", "with", "when", "retry", "timeout", "may_fail"});
        const YamlNode& name = fields.require("step");
        Step step{.name = read_name(name, "step"), .agent = name.text};
        const std::string label = fmt::format("step \"{}\"", step.name);
        in(label, [&] {
            add_name(name);
            read_members(fields, step);
        });
        return step;
    }

    Step read_approval(const YamlNode& node) {
        const YamlFields fields(node, "an approve step", {"approve", "phase", "when"});
        const YamlNode& name = fields.require("approve");
        Step step{.name = read_name(name, "approve"), .agent = {}, .needs_approval = true};
        in(fmt::format("step \"{}\"", step.name), [&] {
            add_name(name);
            read_place(fields, step);
        });
        return step;
    }

    // Reads the step's phase, and the condition under which it runs.
    void read_place(const YamlFields& fields, Step& step) {
        if (const auto* value = fields.find("phase")) step.phase = AgentPhase(read_name(*value, "phase"));
        if (const auto* value = fields.find("when")) step.when = read_condition(*value, step.name);
    }

    void add_name(const YamlNode& name) {
        if (file_.marks.size() == static_cast<std::size_t>(kStepsMax))
            throw YamlProblem(name.mark, fmt::format("a pipeline has at most {} steps", kStepsMax));
        const auto [known, is_new] = file_.marks.try_emplace(name.text, name.mark);
        if (is_new) return;
        throw YamlProblem(name.mark, fmt::format("line {} has a step of this name", known->second.line));
    }

    void read_members(const YamlFields& fields, Step& step) {
        const YamlNode* agent = fields.find("agent");
        if (agent != nullptr) step.agent = read_name(*agent, "agent");
        if (!file_.agents.contains(step.agent)) {
            throw YamlProblem(agent != nullptr ? agent->mark : file_.marks.find(step.name)->second,
                              fmt::format("there is no agent \"{}\"; there are: {}", step.agent, agent_names()));
        }
        read_place(fields, step);
        if (const auto* value = fields.find("with")) step.with = to_state(*value, "with");
        if (const auto* value = fields.find("retry")) step.retry = read_retry(*value);
        if (const auto* value = fields.find("timeout")) step.timeout = read_duration(*value, "timeout");
        if (const auto* value = fields.find("may_fail")) step.may_fail = read_bool(*value, "may_fail");
    }

    std::string agent_names() const {
        std::string names;
        for (const auto& [name, agent] : file_.agents) names += (names.empty() ? "" : ", ") + name;
        return names.empty() ? "none" : names;
    }

    Condition read_condition(const YamlNode& node, const std::string& step) {
        Condition condition;
        if (node.kind != YamlNode::Kind::kList) {
            add_condition(node, step, condition);
        } else {
            for (const YamlNode& item : read_list(node, "when")) add_condition(item, step, condition);
        }
        return condition;
    }

    void add_condition(const YamlNode& node, const std::string& step, Condition& condition) {
        const auto is_about_step = [](const YamlMember& member) { return member.key.text == "step"; };
        if (!std::ranges::any_of(node.members, is_about_step)) {
            condition.members.push_back(read_member_condition(node));
            return;
        }
        condition.steps.push_back(read_step_condition(node));
        conditions_.push_back({.step = step, .awaited = condition.steps.back().name, .mark = node.mark});
    }

    const fs::path folder_;
    PipelineFile& file_;
    std::vector<StepCondition> conditions_;
};

}  // namespace

std::string PipelineFile::place_of(std::string_view step) const {
    const auto found = marks.find(step);
    return found == marks.end() ? path : fmt::format("{}:{}:{}", path, found->second.line, found->second.column);
}

Result<PipelineFile> parse_pipeline_file(std::string_view text, const std::string& path) try {
    PipelineFile file{.path = path};
    Reader(path, file).read(parse_yaml(text));
    return file;
} catch (const YamlProblem& problem) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}:{}:{}: {}", path, problem.mark.line, problem.mark.column, problem.what()));
}

Result<PipelineFile> read_pipeline_file(const std::string& path) {
    if (path == "-") return fail(ErrorCode::kInvalidArgument, "a pipeline is read from a file, not from \"-\"");
    const auto text = read_input(path, kFileBytesMax);
    if (text) return parse_pipeline_file(*text, path);
    if (text.error().code != ErrorCode::kLimitExceeded) return std::unexpected(text.error());
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}:1:1: the file has more than {} bytes, too many for a pipeline", path, kFileBytesMax));
}

}  // namespace cairn
