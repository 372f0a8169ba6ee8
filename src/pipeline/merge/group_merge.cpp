#include "pipeline/merge/group_merge.h"

#include "pipeline/merge/three_way_merge.h"
#include "pipeline/messages.h"
#include "state/json_value.h"
#include "state/state_members.h"

#include <fmt/format.h>

#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <utility>
#include <vector>

namespace cairn {
namespace {

using Decision = Result<std::optional<std::string>>;

std::optional<std::string> owned(std::optional<std::string_view> text) {
    return text ? std::optional<std::string>(*text) : std::nullopt;
}

MemberConflict conflict_of(const ContestedMember& member, std::span<const Changed> results,
                           const std::stop_token& stop = {}) {
    MemberConflict conflict{unescaped_key(member.key), owned(member.before), {}, {}, stop};
    for (const auto& candidate : member.candidates) {
        conflict.candidates.push_back(owned(candidate.value));
        conflict.steps.push_back(results[candidate.copy].step);
    }
    return conflict;
}

Decision refuse(const MemberConflict& conflict) {
    return fail(ErrorCode::kConflict,
                fmt::format("steps {} {} changed the member {}, each in its own way: let one of them change it, or set "
                            "the stage's on_conflict to the last one or to a merger",
                            quoted_list(conflict.steps), conflict.steps.size() == 2 ? "both" : "all",
                            in_quotes(conflict.member)));
}

/// Calls the merger, which is the caller's code, and catches its exceptions.
Decision call(const Merger& merger, const MemberConflict& conflict) {
    try {
        return merger(conflict);
    } catch (const std::exception& thrown) {
        return fail(ErrorCode::kInternal, "it threw an exception", thrown.what());
    } catch (...) {
        return fail(ErrorCode::kInternal, "it threw what is no std::exception");
    }
}

class MergerDecision {
public:
    MergerDecision(const Stage& stage, const Merger* merger, const StateLimits& limits)
        : name_(in_quotes(stage.merger)), merger_(merger), limits_(limits) {}

    Decision decide(const MemberConflict& conflict) const {
        if (merger_ == nullptr || !*merger_) {
            return fail(ErrorCode::kInvalidArgument, fmt::format("the merger {} is not known", name_));
        }
        Decision decision = call(*merger_, conflict);
        if (!decision) return merger_error("could not decide", conflict, std::move(decision.error()));
        const std::optional<std::string>& answer = *decision;
        if (!answer) return std::nullopt;
        Result<std::string> value = normal_json_value(*answer, limits_);
        if (!value) return merger_error("gave a value that cannot be used for", conflict, std::move(value.error()));
        return *std::move(value);
    }

private:
    Decision merger_error(std::string_view what, const MemberConflict& conflict, Error cause) const {
        Error error{.code = cause.code,
                    .message = fmt::format("the merger {} {} the member {}, which steps {} have changed", name_, what,
                                           in_quotes(conflict.member), quoted_list(conflict.steps))};
        error.cause = std::make_shared<const Error>(std::move(cause));
        return std::unexpected(std::move(error));
    }

    std::string name_;
    const Merger* merger_;
    StateLimits limits_;
};

/// Returns the one state that differs from the base, the base if none does, or nothing if several do.
std::optional<State> only_changed(const State& base, std::span<const Changed> results) {
    const State* changed = nullptr;
    for (const Changed& result : results) {
        if (result.state == base) continue;
        if (changed != nullptr) return std::nullopt;
        changed = &result.state;
    }
    return changed == nullptr ? base : *changed;
}

Result<std::string> merged_text(const State& base, std::span<const Changed> results, const Stage& stage,
                                const MergerDecision& merger, const std::stop_token& stop) {
    std::vector<std::string_view> copies;
    for (const Changed& result : results) copies.push_back(result.state.text());
    const auto decide = [&](const ContestedMember& member) -> Decision {
        switch (stage.on_conflict) {
            case MergePolicy::kLast:
                return owned(member.candidates.back().value);
            case MergePolicy::kMerger:
                return merger.decide(conflict_of(member, results, stop));
            case MergePolicy::kFail:
                break;
        }
        return refuse(conflict_of(member, results));
    };
    return merge_copies(base.text(), copies, decide, stop);
}

}  // namespace

Result<State> merge_results(const State& base, std::span<const Changed> results, const Stage& stage,
                            const Merger* merger, const StateLimits& limits, const std::stop_token& stop) try {
    if (auto state = only_changed(base, results)) return *std::move(state);
    Result<std::string> text = merged_text(base, results, stage, MergerDecision(stage, merger, limits), stop);
    if (!text) return std::unexpected(std::move(text.error()));
    return State::parse(std::move(*text), limits);
} catch (const std::bad_alloc&) {
    return fail(ErrorCode::kInternal, fmt::format("out of memory while {} states are merged", results.size()));
}

}  // namespace cairn
