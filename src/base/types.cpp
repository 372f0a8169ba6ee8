#include <cairn/types.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>

namespace cairn {

const CheckpointType CheckpointType::kManual{"manual"};
const CheckpointType CheckpointType::kRecovery{"recovery"};
const CheckpointType CheckpointType::kPhaseTransition{"phase_transition"};
const CheckpointType CheckpointType::kAuto{"auto"};
const CheckpointType CheckpointType::kIntermediate{"intermediate"};
const CheckpointType CheckpointType::kPipelineComplete{"pipeline_complete"};

const AgentPhase AgentPhase::kInitialization{"initialization"};
const AgentPhase AgentPhase::kTriage{"triage"};
const AgentPhase AgentPhase::kDataAnalysis{"data_analysis"};
const AgentPhase AgentPhase::kOptimization{"optimization"};
const AgentPhase AgentPhase::kActionPlanning{"action_planning"};
const AgentPhase AgentPhase::kReporting{"reporting"};
const AgentPhase AgentPhase::kCompletion{"completion"};

// Uses literals, not the constants above: a static object of another file may call this before those are made.
bool CheckpointType::is_critical() const noexcept {
    return name_ != "auto" && name_ != "intermediate" && name_ != "pipeline_complete";
}

std::string_view to_string(Outcome outcome) noexcept {
    constexpr std::array<std::string_view, 5> kNames{"persisted", "deduplicated", "fallback", "queued", "failed"};
    return kNames[static_cast<std::size_t>(outcome)];
}

namespace {

constexpr std::array<std::string_view, 3> kDurabilityNames{"sync", "async", "exit"};
constexpr std::array<std::string_view, 2> kOnConflictNames{"rebase", "fail"};
constexpr std::array<std::string_view, 3> kRecoveryTypeNames{"restart", "resume", "rollback"};

template <class Enum, std::size_t kCount>
std::optional<Enum> find_name(const std::array<std::string_view, kCount>& names, std::string_view text) noexcept {
    for (std::size_t i = 0; i < kCount; ++i) {
        if (names[i] == text) return static_cast<Enum>(i);
    }
    return std::nullopt;
}

}  // namespace

std::string_view to_string(Durability durability) noexcept {
    return kDurabilityNames[static_cast<std::size_t>(durability)];
}
std::string_view to_string(OnConflict on_conflict) noexcept {
    return kOnConflictNames[static_cast<std::size_t>(on_conflict)];
}
std::string_view to_string(RecoveryType type) noexcept {
    return kRecoveryTypeNames[static_cast<std::size_t>(type)];
}
std::optional<Durability> parse_durability(std::string_view text) noexcept {
    return find_name<Durability>(kDurabilityNames, text);
}
std::optional<OnConflict> parse_on_conflict(std::string_view text) noexcept {
    return find_name<OnConflict>(kOnConflictNames, text);
}
std::optional<RecoveryType> parse_recovery_type(std::string_view text) noexcept {
    return find_name<RecoveryType>(kRecoveryTypeNames, text);
}

std::string format_timestamp(Timestamp any) {
    constexpr Timestamp kFirst = std::chrono::sys_days(std::chrono::year(0) / 1 / 1);
    constexpr Timestamp kLast = std::chrono::sys_days(std::chrono::year(10'000) / 1 / 1) - std::chrono::microseconds(1);
    const Timestamp time = std::clamp(any, kFirst, kLast);  // only a time that can be read again
    const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
    const std::chrono::year_month_day date{std::chrono::floor<std::chrono::days>(time)};
    const std::chrono::hh_mm_ss clock{seconds - std::chrono::floor<std::chrono::days>(time)};
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", static_cast<int>(date.year()),
                       static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), clock.hours().count(),
                       clock.minutes().count(), clock.seconds().count(), (time - seconds).count());
}

namespace {

// Reads exactly `digits` digits from the front of `text`.
std::optional<int> take_number(std::string_view& text, std::size_t digits) {
    int value = 0;
    if (text.size() < digits) return std::nullopt;
    for (std::size_t i = 0; i < digits; ++i) {
        if (text[i] < '0' || text[i] > '9') return std::nullopt;
        value = value * 10 + (text[i] - '0');
    }
    text.remove_prefix(digits);
    return value;
}

bool take(std::string_view& text, char wanted) {
    if (text.empty() || text.front() != wanted) return false;
    text.remove_prefix(1);
    return true;
}

// Reads ".123" as microseconds; no fraction is 0.
std::optional<int> take_fraction(std::string_view& text) {
    if (!take(text, '.')) return 0;
    int micros = 0;
    int scale = 1'000'000;
    while (!text.empty() && text.front() >= '0' && text.front() <= '9' && scale > 1) {
        scale /= 10;
        micros += (text.front() - '0') * scale;
        text.remove_prefix(1);
    }
    if (scale == 1'000'000) return std::nullopt;
    return micros;
}

std::optional<Timestamp> read_timestamp(std::string_view text) {
    const auto year = take_number(text, 4);
    if (!year || !take(text, '-')) return std::nullopt;
    const auto month = take_number(text, 2);
    if (!month || !take(text, '-')) return std::nullopt;
    const auto day = take_number(text, 2);
    if (!day) return std::nullopt;
    const std::chrono::year_month_day date{std::chrono::year(*year), std::chrono::month(static_cast<unsigned>(*month)),
                                           std::chrono::day(static_cast<unsigned>(*day))};
    if (!date.ok()) return std::nullopt;
    const std::chrono::sys_days midnight{date};
    if (text.empty()) return midnight;

    if (!take(text, 'T')) return std::nullopt;
    const auto hour = take_number(text, 2);
    if (!hour || *hour > 23 || !take(text, ':')) return std::nullopt;
    const auto minute = take_number(text, 2);
    if (!minute || *minute > 59 || !take(text, ':')) return std::nullopt;
    const auto second = take_number(text, 2);
    if (!second || *second > 59) return std::nullopt;
    const auto micros = take_fraction(text);
    if (!micros || text != "Z") return std::nullopt;
    return midnight + std::chrono::hours(*hour) + std::chrono::minutes(*minute) + std::chrono::seconds(*second) +
           std::chrono::microseconds(*micros);
}

}  // namespace

Result<Timestamp> parse_timestamp(std::string_view text) {
    if (const auto time = read_timestamp(text)) return *time;
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("time \"{}\" cannot be read: give UTC as 2026-11-23 or 2026-11-23T16:07:47Z", text));
}

}  // namespace cairn
