#include "pipeline/merge/mergers.h"
#include "pipeline/rules/pipeline_rules.h"

#include <cairn/pipeline.h>

#include <fmt/format.h>

#include <map>
#include <set>
#include <utility>

namespace cairn {
namespace {

template <class Value>
using ByName = std::map<std::string, Value, std::less<>>;

template <class Value>
Status add(ByName<Value>& known, std::string_view what, std::string name, Value value) {
    if (name.empty()) return fail(ErrorCode::kInvalidArgument, fmt::format("the {}'s name is empty", what));
    if (!value) {
        return fail(ErrorCode::kInvalidArgument, fmt::format("{} \"{}\" is an empty function", what, name));
    }
    if (known.contains(name)) {
        return fail(ErrorCode::kAlreadyExists, fmt::format("{} \"{}\" is there already", what, name));
    }
    known.emplace(std::move(name), std::move(value));
    return {};
}

template <class Value>
const Value* find(const ByName<Value>& known, std::string_view name) {
    const auto found = known.find(name);
    return found == known.end() ? nullptr : &found->second;
}

template <class Value>
std::set<std::string, std::less<>> names_of(const ByName<Value>& known) {
    std::set<std::string, std::less<>> names;
    for (const auto& [name, value] : known) names.insert(name);
    return names;
}

}  // namespace

struct ExecutionEngine::Impl {
    ByName<Agent> agents;
    ByName<Merger> mergers{{"append", append_lists}, {"merge", merge_objects}};
};

ExecutionEngine::ExecutionEngine() : impl_(std::make_unique<Impl>()) {}
ExecutionEngine::~ExecutionEngine() = default;
ExecutionEngine::ExecutionEngine(ExecutionEngine&&) noexcept = default;
ExecutionEngine& ExecutionEngine::operator=(ExecutionEngine&&) noexcept = default;

Status ExecutionEngine::add_agent(std::string name, Agent agent) {
    return add(impl_->agents, "agent", std::move(name), std::move(agent));
}

Status ExecutionEngine::add_merger(std::string name, Merger merger) {
    return add(impl_->mergers, "merger", std::move(name), std::move(merger));
}

const Agent* ExecutionEngine::find_agent(std::string_view name) const {
    return find(impl_->agents, name);
}

const Merger* ExecutionEngine::find_merger(std::string_view name) const {
    return find(impl_->mergers, name);
}

Status ExecutionEngine::check(const Pipeline& pipeline) const {
    return check_pipeline(pipeline, {.agents = names_of(impl_->agents), .mergers = names_of(impl_->mergers)});
}

}  // namespace cairn
