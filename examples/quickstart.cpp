// The README's first program. A test runs it, and checks that the part between the markers is the same in both.

// README: begin
#include <cairn/cairn.h>

#include <iostream>

int main() {
    auto store = cairn::open_store("sqlite:quickstart.db");
    auto state = cairn::State::parse(R"({"step": 1, "messages": ["hello"]})");
    if (!store || !state) return 1;

    cairn::OptimizedStatePersistence persistence(*store);
    auto receipt = persistence.save_agent_state(
        {.run_id = "run-1", .thread_id = "thread-1", .user_id = "user-1", .state_data = *state});
    auto loaded = persistence.load_agent_state({.run_id = "run-1"});
    if (!receipt || !loaded) return 1;

    std::cout << to_string(receipt->outcome) << ": " << loaded->state.text() << '\n';
}
// README: end
