#include "fault/soak/roles.h"

#include "fault/kill/report.h"

#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <thread>

namespace cairn::test {
namespace {

std::int64_t number_in(const State& state, std::string_view key) {
    const std::string_view text = state.member(key).value_or("");
    std::int64_t number = -1;
    std::from_chars(text.data(), text.data() + text.size(), number);
    return number;
}

}  // namespace

void Dice::rest() {
    if (percent(50)) std::this_thread::sleep_for(std::chrono::microseconds(below(3'000)));
}

std::shared_ptr<Store> open_for_ever(Workplace& place, bool read_only) {
    for (std::int64_t attempt = -1;; --attempt) {  // calls count up from 1
        place.ledger.begin(attempt, "open", {{"read_only", read_only ? "1" : "0"}});
        auto store = open_store(place.url, {.read_only = read_only, .create = false});
        place.ledger.end(attempt, store ? Fields{} : told_of(store.error()));
        if (store) return *std::move(store);
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
}

Fields told_of(const Error& error) {
    return {{"error", std::string(error_info(error.code).name)}, {"message", error.to_string()}};
}

std::string author_of(const State& state) {
    const std::string_view quoted = state.member("run").value_or("\"\"");
    const std::string_view run = quoted.substr(1, quoted.size() - 2);
    const auto process = static_cast<std::int32_t>(number_in(state, "process"));
    const auto thread = static_cast<std::int32_t>(number_in(state, "thread"));
    const std::int64_t step = number_in(state, "step");
    if (state.text() != state_text(run, process, thread, step)) return "nobody: the state is not what was saved";
    return fmt::format("{}.{}.{}", process, thread, step);
}

}  // namespace cairn::test
