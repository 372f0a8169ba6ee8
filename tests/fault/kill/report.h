#pragma once

// The report of one call by a process that is going to be killed. The process writes it after the call has ended. A
// report is one fixed record, so small that the pipe takes it whole, however many threads write.

#include <cairn/checksum.h>
#include <cairn/persistence.h>

#include <fmt/format.h>

#include <algorithm>
#include <climits>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <type_traits>

namespace cairn::test {

/// A text of bounded length in a record.
template <std::size_t kBytes>
struct ShortText {
    char bytes[kBytes] = {};

    ShortText() = default;
    explicit ShortText(std::string_view text) { std::copy_n(text.begin(), std::min(text.size(), kBytes - 1), bytes); }
    std::string str() const { return bytes; }
};

struct Report {
    enum class Kind : std::uint8_t {
        kSaved,       ///< The save returned this receipt.
        kRefused,     ///< The save was meant to be refused, and was: its state must not be there.
        kRunOnDisk,   ///< `flush` of the run, or a load of its head, has returned.
        kAllOnDisk,   ///< `flush_all` has returned.
        kUnexpected,  ///< A call failed that should have succeeded.
    };

    Kind kind = Kind::kSaved;
    Outcome outcome = Outcome::kPersisted;
    Durability durability = Durability::kSync;  ///< The one in the receipt.
    bool is_critical = false;
    bool has_metadata = false;
    std::int32_t process = 0;
    std::int32_t thread = 0;
    std::int64_t call = 0;  ///< Counts this thread's calls.
    /// The state is `state_text(run, process, thread, step)`. A repetition has the step of an earlier call.
    std::int64_t step = 0;
    std::uint64_t begun = 0;  ///< When the call began, in the process's own order of events.
    std::uint64_t ended = 0;  ///< When it was answered, in the same order.
    std::int64_t version = 0;
    std::uint64_t state_bytes = 0;
    Checksum checksum;
    ShortText<24> run;
    ShortText<64> snapshot_id;
    ShortText<64> parent_id;  ///< Only for a fork.
    ShortText<160> message;   ///< Only for an error.
};
static_assert(std::is_trivially_copyable_v<Report> && sizeof(Report) <= PIPE_BUF);

/// Makes a state that says who made it. States of one run are alike, so deltas pay. Parts of a state depend on the
/// step.
inline std::string state_text(std::string_view run, std::int32_t process, std::int32_t thread, std::int64_t step) {
    std::mt19937_64 common(std::hash<std::string_view>{}(run));
    std::mt19937_64 own(static_cast<std::uint64_t>(step) * 64 + static_cast<std::uint64_t>(thread));
    std::string text =
        fmt::format(R"({{"process":{},"thread":{},"step":{},"run":"{}","notes":[)", process, thread, step, run);
    const auto notes = 4 + common() % 40;
    for (std::uint64_t i = 0; i < notes; ++i) text += fmt::format(R"("{:016x}",)", i % 16 == 7 ? own() : common());
    return text + fmt::format(R"("{}{:x}"]}})", std::string(own() % 64, '-'), own());
}

inline State state_of(std::string_view run, std::int32_t process, std::int32_t thread, std::int64_t step) {
    return State::parse(state_text(run, process, thread, step)).value();
}

/// Returns the metadata of a snapshot that has any.
inline std::string metadata_text(std::int64_t step) {
    return fmt::format(R"({{"step":{}}})", step);
}

}  // namespace cairn::test
