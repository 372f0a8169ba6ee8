// Functions of `Pipeline` about itself.

#include <cairn/checksum.h>
#include <cairn/pipeline.h>

#include <fmt/format.h>

namespace cairn {
namespace {

/// Writes fields one after another, each with its length before it, and each list with its count. So different
/// pipelines never give the same text.
class Description {
public:
    Description& add(std::string_view field) {
        text_ += fmt::format("{}:{},", field.size(), field);
        return *this;
    }
    Description& add(std::size_t number) { return add(std::string_view(fmt::format_int(number).c_str())); }

    void add_condition(const Condition& condition) {
        add(condition.members.size());
        for (const auto& member : condition.members) {
            add(member.pointer).add(static_cast<std::size_t>(member.test)).add(member.values.size());
            for (const std::string& value : member.values) add(value);
        }
        add(condition.steps.size());
        for (const auto& step : condition.steps) add(step.name).add(to_string(step.outcome));
    }

    void add_step(const Step& step) {
        add(step.name).add(step.agent).add(step.with.text()).add(step.phase.name()).add(step.may_fail ? "may" : "must");
        add_condition(step.when);
    }

    void add_stage(const Stage& stage) {
        add(static_cast<std::size_t>(stage.on_conflict)).add(stage.merger).add(stage.steps.size());
        for (const Step& step : stage.steps) add_step(step);
    }

    std::string_view text() const { return text_; }

private:
    std::string text_;
};

}  // namespace

// Stored with the snapshots of every run: its composition, and the numbers of the enumerations in it, never change.
std::string Pipeline::fingerprint() const {
    Description description;
    description.add("cairn pipeline 1").add(stages.size());
    for (const Stage& stage : stages) description.add_stage(stage);
    return Checksum::of(description.text()).to_hex();
}

std::size_t Pipeline::steps_total() const {
    std::size_t total = 0;
    for (const Stage& stage : stages) total += stage.steps.size();
    return total;
}

}  // namespace cairn
