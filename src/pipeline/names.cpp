#include <cairn/pipeline.h>

#include <algorithm>
#include <array>
#include <utility>

namespace cairn {
namespace {

using Type = PipelineEvent::Type;

template <class Value, std::size_t kCount>
using Names = std::array<std::pair<Value, std::string_view>, kCount>;

constexpr Names<StepOutcome, 3> kOutcomes = {
    {{StepOutcome::kCompleted, "completed"}, {StepOutcome::kSkipped, "skipped"}, {StepOutcome::kFailed, "failed"}}};

constexpr Names<PipelineStatus, 6> kStatuses = {{{PipelineStatus::kRunning, "running"},
                                                 {PipelineStatus::kCompleted, "completed"},
                                                 {PipelineStatus::kFailed, "failed"},
                                                 {PipelineStatus::kInterrupted, "interrupted"},
                                                 {PipelineStatus::kPaused, "paused"},
                                                 {PipelineStatus::kApproved, "approved"}}};

constexpr Names<Type, 8> kTypes = {{{Type::kStarted, "started"},
                                    {Type::kStepStarted, "step_started"},
                                    {Type::kStepProgress, "step_progress"},
                                    {Type::kStepCompleted, "step_completed"},
                                    {Type::kStepFailed, "step_failed"},
                                    {Type::kStepSkipped, "step_skipped"},
                                    {Type::kCheckpoint, "checkpoint"},
                                    {Type::kCompleted, "completed"}}};

template <class Value, std::size_t kCount>
std::string_view name_of(const Names<Value, kCount>& names, Value value) noexcept {
    const auto found = std::ranges::find(names, value, [](const auto& entry) { return entry.first; });
    return found == names.end() ? "unknown" : found->second;
}

}  // namespace

std::string_view to_string(StepOutcome outcome) noexcept {
    return name_of(kOutcomes, outcome);
}

std::string_view to_string(PipelineStatus status) noexcept {
    return name_of(kStatuses, status);
}

std::string_view to_string(PipelineEvent::Type type) noexcept {
    return name_of(kTypes, type);
}

std::optional<StepOutcome> parse_step_outcome(std::string_view text) noexcept {
    const auto found = std::ranges::find(kOutcomes, text, [](const auto& entry) { return entry.second; });
    if (found == kOutcomes.end()) return std::nullopt;
    return found->first;
}

}  // namespace cairn
