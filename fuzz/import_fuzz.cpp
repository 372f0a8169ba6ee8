// Goal: no import stream makes the importer crash, or makes a store that it cannot read. Every imported snapshot loads
// as it was in its line. Method: the input is a stream of lines, imported into a store in memory. A line whose checksum
// does not fit gets one that does, so that all of the importer is reached. Then everything is loaded.

#include "base/base64.h"
#include "fuzz_input.h"
#include "transfer/importer.h"
#include "transfer/transfer_line.h"

#include <cairn/persistence.h>

#include <fmt/format.h>

#include <map>
#include <optional>
#include <string>

namespace {

using namespace cairn;

constexpr StateLimits kLimits{.bytes_max = 16U << 10};

std::optional<State> state_in(const State& line) {
    if (const auto text = line.member("state")) return State::from_normal_text(std::string(*text));
    const auto base64 = line.member("state_base64");
    const auto type = line.member("state_type");
    if (!base64 || !type || base64->size() < 2 || type->size() < 2) return std::nullopt;
    auto bytes = from_base64(base64->substr(1, base64->size() - 2));
    if (!bytes) return std::nullopt;
    auto state = State::opaque(type->substr(1, type->size() - 2), *std::move(bytes));
    return state ? std::optional(*std::move(state)) : std::nullopt;
}

// Returns the line with the checksum and the length of its state.
std::string with_fitting_checksum(const std::string& line) {
    const auto parsed = State::parse(line);
    const auto state = parsed ? state_in(*parsed) : std::nullopt;
    if (!state) return line;
    std::string fitting(parsed->text());
    fitting.pop_back();  // of duplicate keys the last counts
    return fitting +
           fmt::format(R"(,"checksum":"{}","state_bytes":{}}})", state->checksum().to_hex(), state->size_bytes());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input(data, size);
    const auto store = open_store("memory:").value();
    Importer importer(*store, {.state_limits = kLimits});
    std::string_view rest = input.rest();
    for (std::uint64_t number = 1; !rest.empty(); ++number) {
        const std::string line(rest.substr(0, rest.find('\n')));
        rest.remove_prefix(std::min(line.size() + 1, rest.size()));
        auto parsed = parse_transfer_line(std::string(line), kLimits);
        if (!parsed && parsed.error().code == ErrorCode::kCorrupt) {
            parsed = parse_transfer_line(with_fitting_checksum(line), kLimits);
        }
        if (!parsed || !std::holds_alternative<LoadedState>(*parsed)) continue;
        static_cast<void>(importer.add(std::get<LoadedState>(*std::move(parsed)), number));
    }
    static_cast<void>(importer.flush());
    fuzz::require(check_deep(*store, Deadline::max(), kLimits).value().findings.empty());
    for (const RunInfo& run : store->runs({}, Deadline::max()).value().items) {
        StatePersistenceService service(store);
        const auto loaded = service.load_agent_state({.run_id = run.run_id});
        fuzz::require(loaded && loaded->info.version == run.head_version);
        // An imported run can be continued.
        fuzz::require(service
                          .save_agent_state({.run_id = run.run_id,
                                             .thread_id = run.thread_id,
                                             .user_id = run.user_id,
                                             .state_data = State::parse(R"({"goes":"on"})").value()})
                          .has_value());
    }
    return 0;
}
