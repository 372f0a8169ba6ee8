#include "fault/soak/oracle.h"

#include "base/default_deadline.h"
#include "fault/soak/roles.h"
#include "support/built_program.h"

#include <cairn/persistence.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <ranges>
#include <set>
#include <utility>

namespace cairn::test {
namespace {

constexpr std::size_t kToldOfARule = 12;

const std::set<std::string, std::less<>> kDiskErrors{"unavailable", "storage_full", "outcome_unknown"};

// Says whether a call may end with this error, given that the disk may fail and the other processes may be busy.
bool may_end_with(const Call& call, std::string_view error) {
    if (kDiskErrors.contains(error)) return true;
    if (call.kind == "flush" && error == "conflict") return true;  // the conflict of a save that was queued
    if (error == "conflict") return !call.of("expected").empty() || call.kind == "recover";
    if (error == "not_found") {
        const std::string_view run = call.of("run");
        const bool may_be_gone = run.starts_with("doomed") || (run.starts_with("pruned") && !call.of("id").empty());
        return may_be_gone || call.kind == "prune" || call.kind == "delete";
    }
    return false;
}

bool is_saved(const Call& call) {
    const std::string_view outcome = call.answer("outcome");
    return call.is_success() && (outcome == "persisted" || outcome == "fallback" || outcome == "queued");
}

// Says whether the call was refused. Its state may then never be seen.
bool is_refused(const Call& call) {
    return call.is_answered() && !call.is_success() && !call.is_open();
}

}  // namespace

std::string SoakFigures::to_string() const {
    std::string text;
    for (const auto& [name, count] : calls) text += fmt::format("  {:<32} {:>8}\n", name, count);
    return text + fmt::format("  {:<32} {:>8}\n  {:<32} {:>8}\n", "never answered", unanswered,
                              "snapshots loaded at the end", snapshots);
}

Oracle::Oracle(std::vector<Call> calls) : calls_(std::move(calls)) {
    for (const char* run : kWholeRuns) runs_[run].is_whole = true;
    for (const char* run : kPrunedRuns) runs_[run].is_pruned = true;
    std::ranges::sort(calls_, {}, &Call::begun);
    sort_calls();
}

Violations Oracle::examine(const std::string& url, SoakFigures& figures) {
    for (const Call& call : calls_) {
        ++figures.calls[fmt::format("{}: {}", call.kind, call.outcome())];
        figures.unanswered += call.is_answered() ? 0U : 1U;
    }
    const auto store = open_store(url, {.create = false});
    if (!store) {
        violate("the store opens", store.error().to_string());
        return violations_;
    }
    read_store(**store, figures);
    add_what_was_seen();
    check_errors();
    for (const auto& [name, run] : runs_) {
        check_acknowledged(name, run);
        check_explained(name, run);
        check_recoveries(name, run);
        check_order(name, run);
        check_loads(name, run);
        check_deletions(name, run);
    }
    check_forks();
    check_newest_export();
    return violations_;
}

void Oracle::violate(std::string_view rule, const std::string& what) {
    std::size_t& told = violated_[std::string(rule)];
    if (told < kToldOfARule) {
        ++told;
        violations_.push_back({std::string(rule), what});
    } else {
        ++std::ranges::find(violations_ | std::views::reverse, rule, &Violation::rule)->times;
    }
}

// ---- the processes' calls ----

void Oracle::sort_calls() {
    std::set<std::pair<std::int32_t, std::string>>
        has_lost;  // a flush has reported a lost save; later flushes promise nothing
    std::vector<const Call*> flushes;
    for (const Call& call : calls_) {
        const std::string name(call.of("run"));
        if (call.kind == "fork") forks_.push_back(&call);
        if (call.kind == "save") runs_[name].saves.push_back(&call);
        if (call.kind == "recover") runs_[name].recoveries.push_back(&call);
        if (call.kind == "delete") runs_[name].deletions.push_back(&call);
        if (call.kind == "load") runs_[name].loads.push_back(&call);
        if (call.kind == "flush") flushes.push_back(&call);
    }
    for (const Call* flush : flushes) {
        const std::pair key(flush->process, std::string(flush->of("run")));
        if (!flush->is_success()) has_lost.insert(key);
        if (flush->is_success() && !has_lost.contains(key)) flushed_[key] = std::max(flushed_[key], flush->begun);
    }
}

// ---- the store's content ----

void Oracle::read_store(Store& store, SoakFigures& figures) {
    const auto look_at = [&](std::string_view what, const Result<CheckReport>& report) {
        if (!report) return violate(what, report.error().to_string());
        for (const auto& finding : report->findings) {
            violate(what, fmt::format("{} {}: {}", finding.run_id, finding.snapshot_id, finding.problem));
        }
    };
    look_at("check finds nothing", store.check(default_deadline()));
    look_at("check --deep finds nothing", check_deep(store, Deadline::max()));
    RunQuery query{.limit = 1'000};
    while (true) {
        const auto page = store.runs(query, default_deadline());
        if (!page) return violate("runs are listed", page.error().to_string());
        for (const RunInfo& info : page->items) read_run(store, info, figures);
        if (page->next_cursor.empty()) return;
        query.cursor = page->next_cursor;
    }
}

void Oracle::read_run(Store& store, const RunInfo& info, SoakFigures& figures) {
    Run& run = runs_[info.run_id];
    run.head_version = info.head_version;
    StatePersistenceService service(std::shared_ptr<Store>(&store, [](Store*) {}));
    HistoryQuery query{.run_id = info.run_id, .limit = 1'000};
    bool is_first = true;
    while (true) {
        const auto page = store.history(query, default_deadline());
        if (!page) return violate("history is listed", page.error().to_string());
        for (const SnapshotInfo& snapshot : *page) {
            const auto loaded = service.load_agent_state({.run_id = info.run_id, .snapshot_id = snapshot.snapshot_id});
            ++figures.snapshots;
            if (!loaded) violate("every snapshot loads", loaded.error().to_string());
            if (std::exchange(is_first, false) && snapshot.version != info.head_version) {
                violate("the head is the newest snapshot", info.run_id);
            }
            const bool is_new =
                run.snapshots
                    .emplace(snapshot.snapshot_id, Stored{.id = snapshot.snapshot_id,
                                                          .version = snapshot.version,
                                                          .type = snapshot.checkpoint_type.name(),
                                                          .author = loaded ? author_of(loaded->state) : "unknown",
                                                          .is_there = true})
                    .second;
            if (!is_new) violate("an id is there once", fmt::format("{} of {}", snapshot.snapshot_id, info.run_id));
        }
        if (page->size() < query.limit) return;
        query.after_version = page->back().version;
    }
}

void Oracle::add_what_was_seen() {
    for (auto& [name, run] : runs_) {
        for (const Call* load : run.loads) {
            if (!load->is_success()) continue;
            const std::string id(load->answer("id"));
            const auto found = run.snapshots
                                   .try_emplace(id, Stored{.id = id,
                                                           .version = load->version(),
                                                           .type = std::string(load->answer("type")),
                                                           .author = std::string(load->answer("author"))})
                                   .first;
            Stored& stored = found->second;
            stored.seen_begun = std::max(stored.seen_begun, load->begun);
            stored.seen_by = load->to_string();
            // Once a snapshot is pruned, its id is free: a save of unknown outcome that is repeated then is stored
            // anew.
            const std::int64_t distance = std::abs(stored.version - load->version());
            const bool may_be_anew =
                name.starts_with("doomed") || (run.is_pruned && distance >= static_cast<std::int64_t>(kKeptByPruning));
            const bool is_same = stored.author == load->answer("author") && (distance == 0 || may_be_anew);
            if (!is_same) violate("what is loaded is always the same", load->to_string());
            if (run.is_whole && !stored.is_there) violate("what was loaded is still there", load->to_string());
        }
    }
}

// ---- the rules ----

void Oracle::check_errors() {
    std::map<std::string, std::int64_t, std::less<>> begun;  // the time since which the run certainly exists
    for (const Call& call : calls_) {
        if (call.kind != "save" || !call.is_success() || call.answer("durability") != "sync") continue;
        std::int64_t& first = begun.try_emplace(std::string(call.of("run")), Call::kNever).first->second;
        first = std::min(first, call.ended);
    }
    for (const Call& call : calls_) {
        if (call.answer("findings") != "0" && call.told.contains("findings")) {
            violate("check finds nothing", call.to_string());
        }
        if (!call.is_answered() || call.is_success() || may_end_with(call, call.answer("error"))) continue;
        const auto run = begun.find(call.of("run"));
        const bool was_too_early =
            call.answer("error") == "not_found" && (run == begun.end() || call.begun < run->second);
        if (!was_too_early) violate("an error fits what happened", call.to_string());
    }
}

bool Oracle::is_on_disk(const Call& save) const {
    if (!save.is_success()) return false;
    if (save.answer("durability") == "sync") return true;
    const auto flushed = flushed_.find({save.process, std::string(save.of("run"))});
    return flushed != flushed_.end() && save.ended < flushed->second;
}

bool Oracle::must_be_there(const Run& run, const Call& save) const {
    if (!is_on_disk(save)) return false;
    if (run.is_whole) return true;
    if (run.is_pruned) {
        const bool is_old = run.head_version - save.version() >= static_cast<std::int64_t>(kKeptByPruning);
        const bool is_provisional = save.answer("durability") != "sync";
        return save.of("keep") == "1" || !(is_old || is_provisional);
    }
    // A deletion that may have happened after the save began may have deleted it.
    return std::ranges::all_of(run.deletions, [&](const Call* deletion) { return deletion->ended < save.begun; });
}

void Oracle::check_acknowledged(const std::string& name, const Run& run) {
    for (const Call* save : run.saves) {
        if (!save->is_success()) continue;
        const auto stored = run.snapshots.find(std::string(save->answer("id")));
        if (stored == run.snapshots.end() || !stored->second.is_there) {
            if (must_be_there(run, *save)) violate("what was acknowledged is there", save->to_string());
            continue;
        }
        if (stored->second.author != save->of("author")) {
            violate("what was acknowledged loads exactly",
                    fmt::format("{} holds the state of {}: {}", name, stored->second.author, save->to_string()));
        }
        const bool is_sure = save->answer("durability") == "sync" && !name.starts_with("doomed");
        if (is_sure && stored->second.version != save->version()) {
            violate("a receipt names the version",
                    fmt::format("it is {}: {}", stored->second.version, save->to_string()));
        }
    }
}

// Every snapshot that is there, or that some process has seen, was saved by one call that was not refused.
void Oracle::check_explained(const std::string& name, const Run& run) {
    std::map<std::string, std::vector<const Call*>> by_own_id;
    std::map<std::string, std::int64_t> open_saves;  // by author: each of these calls may have stored one snapshot
    std::set<std::string> acknowledged;
    for (const Call* save : run.saves) {
        if (!save->of("id").empty()) by_own_id[std::string(save->of("id"))].push_back(save);
        if (is_saved(*save)) acknowledged.emplace(save->answer("id"));
        if (save->of("id").empty() && save->is_open()) ++open_saves[std::string(save->of("author"))];
    }
    std::int64_t open_recoveries = 0;
    for (const Call* recovery : run.recoveries) {
        if (recovery->is_open()) ++open_recoveries;
        if (recovery->is_success()) acknowledged.emplace(recovery->answer("id"));
    }
    for (const auto& [id, stored] : run.snapshots) {
        const auto own = by_own_id.find(id);
        if (own != by_own_id.end()) {
            if (std::ranges::all_of(own->second, [](const Call* save) { return is_refused(*save); })) {
                violate("what was refused is never seen",
                        fmt::format("{} v{} is there after all, {}: {}", name, stored.version,
                                    stored.is_there ? "in the end" : "as was seen by " + stored.seen_by,
                                    own->second.front()->to_string()));
            }
            continue;
        }
        if (acknowledged.contains(id) || name.starts_with("fork-")) continue;
        std::int64_t& left = stored.type == "recovery" ? open_recoveries : open_saves[stored.author];
        if (--left >= 0) continue;
        violate("every snapshot is somebody's, once",
                fmt::format("{} v{} ({}, {}), the state of {}, was saved by no call that may have saved it{}", name,
                            stored.version, id, stored.type, stored.author,
                            stored.is_there ? "" : ", and was seen by " + stored.seen_by));
    }
}

// No recovery may find damage: none of these runs was ever damaged.
void Oracle::check_recoveries(const std::string& /*name*/, const Run& run) {
    for (const Call* recovery : run.recoveries) {
        if (recovery->answer("damaged") != "0" && recovery->told.contains("damaged")) {
            violate("what is intact is not called damaged", recovery->to_string());
        }
        const bool has_moved = recovery->answer("id") != recovery->answer("source");
        if (recovery->of("type") == "resume" && recovery->is_success() && has_moved) {
            violate("resume leaves an intact head alone", recovery->to_string());
        }
    }
}

// A save that began after another one was answered has the larger version, or names a head that is no older. A save
// that repeats a call of unknown outcome counts as begun with that call.
void Oracle::check_order(const std::string& name, const Run& run) {
    if (name.starts_with("doomed")) return;
    std::map<std::string_view, std::int64_t> first_begun;
    std::vector<const Call*> by_end;
    for (const auto* calls : {&run.saves, &run.recoveries}) {
        for (const Call* call : *calls) {
            if (!call->of("id").empty()) first_begun.try_emplace(call->of("id"), call->begun);
            const bool is_provisional = call->answer("outcome") == "queued";
            if (call->is_success() && call->told.contains("version") && !is_provisional) by_end.push_back(call);
        }
    }
    const auto begun = [&](const Call* call) {
        const auto first = first_begun.find(call->of("id"));
        return first == first_begun.end() ? call->begun : first->second;
    };
    std::vector<const Call*> by_begin = by_end;
    std::ranges::sort(by_end, {}, &Call::ended);
    std::ranges::sort(by_begin, {}, begun);
    std::int64_t newest = 0;
    const Call* newest_call = nullptr;
    auto ended = by_end.begin();
    for (const Call* call : by_begin) {
        for (; ended != by_end.end() && (*ended)->ended < begun(call); ++ended) {
            if ((*ended)->version() <= newest) continue;
            newest = (*ended)->version();
            newest_call = *ended;
        }
        if (call->version() > newest || (call->version() == newest && !is_saved(*call))) continue;
        violate("versions grow in call order",
                fmt::format("{} after {}", call->to_string(), newest_call == nullptr ? "" : newest_call->to_string()));
    }
}

// A load of the head sees every save that was acknowledged before it began. Every load returns a state that some
// process has saved.
void Oracle::check_loads(const std::string& name, const Run& run) {
    for (const Call* load : run.loads) {
        if (load->answer("author").starts_with("nobody")) violate("what is loaded was saved", load->to_string());
    }
    if (name.starts_with("doomed")) return;
    std::vector<const Call*> saves;
    std::ranges::copy_if(run.saves, std::back_inserter(saves),
                         [&](const Call* save) { return save->is_success() && save->answer("durability") == "sync"; });
    std::ranges::sort(saves, {}, &Call::ended);
    std::int64_t newest = 0;
    auto save = saves.begin();
    for (const Call* load : run.loads) {  // in the order in which they began
        for (; save != saves.end() && (*save)->ended < load->begun; ++save)
            newest = std::max(newest, (*save)->version());
        if (load->of("id").empty() && load->is_success() && load->version() < newest) {
            violate("a load sees what was acknowledged before it", fmt::format("v{}: {}", newest, load->to_string()));
        }
    }
}

// A snapshot that was saved before its run was deleted is not seen again.
void Oracle::check_deletions(const std::string& name, const Run& run) {
    std::map<std::string, std::int64_t> saved_at_last;  // the latest time at which a call could have saved it
    for (const Call* save : run.saves) {
        const std::string id(is_saved(*save) ? save->answer("id") : save->of("id"));
        const std::int64_t ended = save->answer("outcome") == "queued" ? save->died : save->ended;
        if (!id.empty() && !is_refused(*save)) saved_at_last[id] = std::max(saved_at_last[id], ended);
    }
    for (const Call* deletion : run.deletions) {
        const bool is_done = deletion->is_success() || deletion->answer("error") == "not_found";
        if (!is_done) continue;
        for (const auto& [id, stored] : run.snapshots) {
            const auto saved = saved_at_last.find(id);
            const bool is_older = saved != saved_at_last.end() && saved->second < deletion->begun;
            if (!is_older || (!stored.is_there && stored.seen_begun <= deletion->ended)) continue;
            violate("a deleted run stays deleted",
                    fmt::format("{} v{} ({}) is there after {}{}", name, stored.version, id, deletion->to_string(),
                                stored.is_there ? "" : ", seen by " + stored.seen_by));
        }
    }
}

void Oracle::check_forks() {
    for (const Call* fork : forks_) {
        const auto made = runs_.find(std::string(fork->of("to")));
        const bool is_there = made != runs_.end() && !made->second.snapshots.empty();
        if (is_refused(*fork) && is_there) violate("what was refused is never seen", fork->to_string());
        if (!fork->is_success()) continue;
        if (!is_there) {
            violate("what was acknowledged is there", fork->to_string());
            continue;
        }
        const auto& source_run = runs_[std::string(fork->of("run"))].snapshots;
        const auto source = source_run.find(std::string(fork->of("from")));
        const bool is_same =
            source != source_run.end() && source->second.author == made->second.snapshots.begin()->second.author;
        if (!is_same) violate("a fork begins with its source's state", fork->to_string());
    }
}

// An export has every save that was acknowledged before it began, and it can be read again.
void Oracle::check_newest_export() {
    const auto exported = std::ranges::find_if(
        calls_.rbegin(), calls_.rend(), [](const Call& call) { return call.kind == "export" && call.is_success(); });
    if (exported == calls_.rend()) return;
    const std::string path(exported->of("path"));
    const std::string url = "sqlite:" + path + ".db";
    const ProgramResult imported = run_cairn({"--store", url, "import", "--verify", path});
    if (imported.exit_code != 0) return violate("an export can be read again", imported.errors);
    const auto store = open_store(url, {.create = false});
    if (!store) return violate("an export can be read again", store.error().to_string());
    for (const char* name : kWholeRuns) {
        const auto history = (*store)->history({.run_id = name, .limit = 1'000'000}, default_deadline());
        if (!history) return violate("an export can be read again", history.error().to_string());
        std::set<std::string, std::less<>> ids;
        for (const SnapshotInfo& info : *history) ids.insert(info.snapshot_id);
        for (const Call* save : runs_[name].saves) {
            const bool is_wanted =
                save->is_success() && save->answer("durability") == "sync" && save->ended < exported->begun;
            if (!is_wanted || ids.contains(save->answer("id"))) continue;
            violate("an export has what was acknowledged before it",
                    fmt::format("{} lacks {}", exported->to_string(), save->to_string()));
        }
    }
}

}  // namespace cairn::test
