#include "base/default_deadline.h"
#include "fault/soak/roles.h"

#include <cairn/persistence.h>

#include <fmt/format.h>

#include <string>
#include <utility>

namespace cairn::test {
namespace {

class Reader {
public:
    Reader(Workplace& place, std::shared_ptr<Store> store)
        : place_(place), store_(std::move(store)), service_(store_, {.timeout = std::chrono::milliseconds(100)}) {}

    void work(Dice& dice) {
        const std::string run = dice.percent(70)   ? dice.pick(kWholeRuns)
                                : dice.percent(50) ? dice.pick(kPrunedRuns)
                                                   : dice.pick(kDoomedRuns);
        dice.percent(60) ? load(run, "") : load_older(run, dice);
    }

private:
    void load(const std::string& run, const std::string& id) {
        const std::int64_t call = ++calls_;
        place_.ledger.begin(call, "load", {{"run", run}, {"id", id}});
        LoadRequest request{.run_id = run, .thread_id = kSoakThread, .user_id = kSoakUser};
        if (!id.empty()) request.snapshot_id = id;
        const Result<LoadedState> loaded = service_.load_agent_state(request);
        if (!loaded) return place_.ledger.end(call, told_of(loaded.error()));
        place_.ledger.end(call, {{"id", loaded->info.snapshot_id},
                                 {"version", fmt::to_string(loaded->info.version)},
                                 {"type", loaded->info.checkpoint_type.name()},
                                 {"author", author_of(loaded->state)}});
    }

    // Loads one of the newest snapshots, of which the last answers can still be true.
    void load_older(const std::string& run, Dice& dice) {
        const std::int64_t call = ++calls_;
        place_.ledger.begin(call, "history", {{"run", run}});
        const auto page = store_->history({.run_id = run, .limit = 30}, default_deadline());
        place_.ledger.end(call, page ? Fields{} : told_of(page.error()));
        if (page && !page->empty()) load(run, dice.pick(*page).snapshot_id);
    }

    Workplace& place_;
    std::shared_ptr<Store> store_;
    StatePersistenceService service_;
    std::int64_t calls_ = 0;
};

}  // namespace

void read_for_ever(Workplace& place) {
    Dice dice(place.seed);
    Reader reader(place, open_for_ever(place, dice.percent(50)));
    while (true) {
        reader.work(dice);
        dice.rest();
    }
}

}  // namespace cairn::test
