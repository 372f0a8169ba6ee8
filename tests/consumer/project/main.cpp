// Saves and loads one state through the installed library.
#include <cairn/cairn.h>
#include <cairn/state_json.h>

#include <cstdio>

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    auto store = cairn::open_store(argv[1]);
    auto state = cairn::state_from_json(nlohmann::ordered_json{{"step", 1}, {"note", "from a consumer"}});
    if (!store || !state) return 1;

    cairn::StatePersistenceService persistence(*store);
    auto receipt =
        persistence.save_agent_state({.run_id = "run", .thread_id = "thread", .user_id = "user", .state_data = *state});
    auto loaded = persistence.load_agent_state({.run_id = "run"});
    if (!receipt || !loaded || loaded->state.text() != state->text()) return 1;
    std::puts(std::string(loaded->state.text()).c_str());
    return 0;
}
