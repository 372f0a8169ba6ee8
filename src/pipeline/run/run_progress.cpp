#include "pipeline/run/run_progress.h"

#include <cairn/checksum.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <array>
#include <charconv>
#include <exception>
#include <limits>
#include <system_error>
#include <utility>

namespace cairn {
namespace {

using Json = nlohmann::ordered_json;  // written members keep their order
using ReadJson = nlohmann::json;      // text that others may have written is not searched key by key for each key

// Anybody may have saved metadata that looks like a pipeline's. The library would convert wrong numbers instead of
// refusing them.
struct NoSuchNumber : std::exception {};

constexpr std::int64_t kCountMax = 1'000'000'000;

std::int64_t number_in(const ReadJson& value, std::int64_t most) {
    const bool is_small = value.is_number_unsigned() && value.get<std::uint64_t>() <= static_cast<std::uint64_t>(most);
    if (!is_small) throw NoSuchNumber();
    return value.get<std::int64_t>();
}

std::size_t count_in(const ReadJson& document, const char* name) {
    return static_cast<std::size_t>(number_in(document.at(name), kCountMax));
}

std::optional<PipelineStatus> parse_status(std::string_view text) {
    for (const PipelineStatus status : {PipelineStatus::kRunning, PipelineStatus::kCompleted, PipelineStatus::kFailed,
                                        PipelineStatus::kInterrupted, PipelineStatus::kPaused}) {
        if (to_string(status) == text) return status;
    }
    return std::nullopt;
}

Json names_of(const RunProgress& progress, StepOutcome outcome) {
    Json names = Json::array();
    for (const auto& [step, how] : progress.exceptions) {
        if (how == outcome) names.push_back(step);
    }
    return names;
}

void read_names(const ReadJson& document, StepOutcome outcome, RunProgress& progress) {
    const auto found = document.find(to_string(outcome));
    if (found == document.end()) return;
    for (const ReadJson& name : *found) progress.exceptions.emplace(name.get<std::string>(), outcome);
}

// An unknown decision counts as none: the run then waits for one.
Approval read_approval(const ReadJson& document) {
    Approval approval{.step = document.at("step").get<std::string>(), .by = document.value("by", "")};
    for (const auto decision : {Approval::Decision::kApproved, Approval::Decision::kRejected}) {
        if (document.value("decision", "") == to_string(decision)) approval.decision = decision;
    }
    return approval;
}

Json to_json(const Approval& approval) {
    Json document = {{"step", approval.step}};
    if (approval.is_decided()) {
        document["decision"] = to_string(approval.decision);
        document["by"] = approval.by;
    }
    return document;
}

std::optional<RunProgress> read(const ReadJson& document) {
    RunProgress progress;
    const std::optional<PipelineStatus> status = parse_status(document.at("status").get<std::string>());
    if (!status) return std::nullopt;
    progress.status = *status;
    progress.pipeline = document.at("pipeline");
    progress.fingerprint = document.at("fingerprint");
    progress.epoch = number_in(document.at("epoch"), std::numeric_limits<std::int64_t>::max());
    progress.stages_completed = count_in(document, "stages_completed");
    progress.steps_completed = count_in(document, "steps_completed");
    progress.steps_total = count_in(document, "steps_total");
    progress.step = document.value("step", "");
    progress.phase = AgentPhase(document.value("phase", ""));
    progress.error = document.value("error", "");
    if (progress.stages_completed > 0) progress.ended = StepsDigest::parse(document.value("ended", ""));
    read_names(document, StepOutcome::kSkipped, progress);
    read_names(document, StepOutcome::kFailed, progress);
    if (const auto attempts = document.find("attempts"); attempts != document.end()) {
        for (const auto& [step, count] : attempts->items()) {
            progress.attempts.emplace(step, static_cast<int>(number_in(count, kCountMax)));
        }
    }
    if (const auto group = document.find("group"); group != document.end()) {
        progress.group_base = group->at("base");
        for (const auto& [step, id] : group->at("finished").items()) {
            progress.group_finished.emplace(step, id.get<std::string>());
        }
    }
    if (const auto approval = document.find("approval"); approval != document.end()) {
        progress.approval = read_approval(*approval);
    }
    return progress;
}

}  // namespace

// Part of the stored format: the sum, modulo 2^64, of the low halves of the names' checksums.
StepsDigest& StepsDigest::add(std::string_view step) {
    sum_ += Checksum::of(step).low;
    return *this;
}

StepsDigest& StepsDigest::remove(std::string_view step) {
    sum_ -= Checksum::of(step).low;
    return *this;
}

std::string StepsDigest::to_hex() const {
    return fmt::format("{:016x}", sum_);
}

std::optional<StepsDigest> StepsDigest::parse(std::string_view hex) {
    StepsDigest digest;
    const auto [stopped, error] = std::from_chars(hex.data(), hex.data() + hex.size(), digest.sum_, 16);
    if (hex.size() != 16 || error != std::errc() || stopped != hex.data() + hex.size()) return std::nullopt;
    return digest;
}

// Empty members are left out: this is stored with every step.
State RunProgress::to_metadata() const {
    Json document = {{"pipeline", pipeline},
                     {"status", to_string(status)},
                     {"steps_completed", steps_completed},
                     {"steps_total", steps_total}};
    if (!step.empty()) document["step"] = step;
    if (!phase.name().empty()) document["phase"] = phase.name();
    document["stages_completed"] = stages_completed;
    if (ended && stages_completed > 0) document["ended"] = ended->to_hex();
    document["fingerprint"] = fingerprint;
    document["epoch"] = epoch;
    for (const StepOutcome outcome : {StepOutcome::kSkipped, StepOutcome::kFailed}) {
        if (const Json names = names_of(*this, outcome); !names.empty())
            document[std::string(to_string(outcome))] = names;
    }
    if (!attempts.empty()) document["attempts"] = attempts;
    if (!group_base.empty()) document["group"] = {{"base", group_base}, {"finished", group_finished}};
    if (approval) document["approval"] = to_json(*approval);
    if (!error.empty()) document["error"] = error;
    return State::from_normal_text(document.dump(-1, ' ', false, Json::error_handler_t::replace));
}

std::optional<RunProgress> RunProgress::parse(std::string_view metadata) {
    const ReadJson document = ReadJson::parse(metadata, nullptr, false);
    if (!document.is_object()) return std::nullopt;
    try {
        return read(document);
    } catch (const ReadJson::exception&) {
        return std::nullopt;
    } catch (const NoSuchNumber&) {
        return std::nullopt;
    }
}

}  // namespace cairn
