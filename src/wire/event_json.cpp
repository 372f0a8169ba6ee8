#include "wire/record_json.h"

#include <cairn/pipeline_events.h>

#include <nlohmann/json.hpp>

namespace cairn {
namespace {

using Type = PipelineEvent::Type;

bool has_duration(Type type) {
    return type == Type::kStepCompleted || type == Type::kStepFailed || type == Type::kCheckpoint ||
           type == Type::kCompleted;
}

void add_text(Json& object, const char* name, const std::string& text) {
    if (!text.empty()) object[name] = text;
}

}  // namespace

std::string to_json(const PipelineEvent& event) {
    Json object{{"type", to_string(event.type)},       {"run_id", event.run_id},
                {"thread_id", event.thread_id},        {"user_id", event.user_id},
                {"pipeline", event.pipeline},          {"sequence", event.sequence},
                {"time", format_timestamp(event.time)}};
    add_text(object, "step", event.step);
    if (event.attempt > 0) object["attempt"] = event.attempt;
    if (event.type == Type::kStepFailed) object["will_retry"] = event.will_retry;
    if (has_duration(event.type)) object["duration_us"] = event.duration.count();
    object["steps_completed"] = event.steps_completed;
    object["steps_total"] = event.steps_total;
    if (event.checkpoint_type) object["checkpoint_type"] = event.checkpoint_type->name();
    add_text(object, "agent_phase", event.agent_phase.name());
    if (event.receipt) object["receipt"] = receipt_object(*event.receipt);
    add_text(object, "status", event.status);
    add_text(object, "message", event.message);
    if (event.error) object["error"] = error_object(*event.error);
    if (event.dropped > 0) object["dropped"] = event.dropped;
    return to_line(object);
}

}  // namespace cairn
