#include "fault/kill/witness.h"

#include "fault/kill/busy_saver.h"
#include "support/chained_run.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <set>
#include <utility>

namespace cairn::test {
namespace {

using Kind = Report::Kind;

std::string name_of(const Report& report) {
    return fmt::format("process {} thread {} call {} (step {}, {} v{} {}) of {}", report.process, report.thread,
                       report.call, report.step, to_string(report.durability), report.version, report.snapshot_id.str(),
                       report.run.str());
}

void expect_no_findings(const Result<CheckReport>& report, std::string_view what) {
    ASSERT_TRUE(report.has_value()) << what << ": " << report.error().to_string();
    for (const auto& finding : report->findings) {
        ADD_FAILURE() << what << ": " << finding.run_id << " " << finding.snapshot_id << ": " << finding.problem;
    }
}

std::int64_t number_in(const State& state, std::string_view key) {
    const std::string_view text = state.member(key).value_or("");
    std::int64_t number = -1;
    std::from_chars(text.data(), text.data() + text.size(), number);
    return number;
}

// For each process and run, the time when it began its last call that puts all earlier acknowledged saves on disk.
class OnDiskSince {
public:
    explicit OnDiskSince(const std::vector<Report>& reports) {
        for (const Report& report : reports) {
            const bool is_sync_save = report.kind == Kind::kSaved && report.durability == Durability::kSync;
            if (report.kind == Kind::kAllOnDisk) raise(all_[report.process], report.begun);
            if (report.kind == Kind::kRunOnDisk || is_sync_save) {
                raise(runs_[{report.process, report.run.str()}], report.begun);
            }
        }
    }
    std::uint64_t of(const Report& report) const {
        const auto all = all_.find(report.process);
        const auto run = runs_.find({report.process, report.run.str()});
        return std::max(all == all_.end() ? 0 : all->second, run == runs_.end() ? 0 : run->second);
    }

private:
    static void raise(std::uint64_t& value, std::uint64_t to) { value = std::max(value, to); }

    std::map<std::int32_t, std::uint64_t> all_;
    std::map<std::pair<std::int32_t, std::string>, std::uint64_t> runs_;
};

// Says whether `first` was called before `second`. In one thread, its count tells. Between threads, `first` must have
// been answered before `second` began.
bool is_before(const Report& first, const Report& second) {
    return first.thread == second.thread ? first.call < second.call : first.ended < second.begun;
}

// Expects that if a save is lost, every later save is lost too.
template <class SavesOfRun>
void expect_losses_to_be_the_last(const SavesOfRun& saves) {
    for (const auto& lost : saves) {
        if (lost.stored != nullptr) continue;
        for (const auto& kept : saves) {
            EXPECT_FALSE(kept.stored != nullptr && is_before(*lost.report, *kept.report))
                << name_of(*kept.report) << " is there, and " << name_of(*lost.report) << " before it is not";
        }
    }
}

// Expects that versions grow in the order of the calls. A skipped save may name the head before it, but no older one.
template <class SavesOfRun>
void expect_versions_in_call_order(const SavesOfRun& saves) {
    for (const auto& first : saves) {
        for (const auto& second : saves) {
            if (first.stored == nullptr || second.stored == nullptr || !is_before(*first.report, *second.report)) {
                continue;
            }
            const bool is_skip = first.stored == second.stored || second.report->outcome == Outcome::kDeduplicated;
            EXPECT_TRUE(first.stored->version < second.stored->version ||
                        (is_skip && first.stored->version == second.stored->version))
                << name_of(*first.report) << " is stored as v" << first.stored->version << ", but "
                << name_of(*second.report) << " after it as v" << second.stored->version;
        }
    }
}

}  // namespace

std::string KillFigures::to_string() const {
    std::string text = fmt::format("{} rounds", rounds);
    for (const auto& [durability, of] : saves) {
        text += fmt::format("; {}: {} acknowledged, {} of them to be on disk, {} lost", cairn::to_string(durability),
                            of.acknowledged, of.hardened, of.lost);
    }
    return text + fmt::format(
                      "; {} deduplicated, {} critical, {} refused, {} flushes and loads, {} stored without an "
                      "answer; {} snapshots loaded and compared",
                      deduplicated, critical, refused, flushes, unacknowledged, snapshots);
}

void Witness::examine(const std::vector<Report>& reports, KillFigures& figures) {
    const auto store = open_store(url_, {.create = false});
    ASSERT_TRUE(store.has_value()) << store.error().to_string();
    StatePersistenceService service(*store);
    expect_no_findings((*store)->check(soon()), "check");
    expect_no_findings(check_deep(**store, Deadline::max()), "check_deep");
    read_runs(**store);
    check_seen_before();

    const OnDiskSince on_disk_since(reports);
    const Saves saves = find_saves(reports);
    for (const auto& [run, of_run] : saves) {
        for (const Saved& saved : of_run) check_saved(saved, on_disk_since.of(*saved.report), figures);
    }
    check_losses(saves, reports);
    load_what_is_new(service, saves, figures);
    check_authors(reports, saves);
    for (const Report& report : reports) {
        EXPECT_NE(report.kind, Kind::kUnexpected) << report.message.str() << " at " << name_of(report);
        figures.refused += report.kind == Kind::kRefused ? 1 : 0;
        figures.flushes += report.kind == Kind::kRunOnDisk || report.kind == Kind::kAllOnDisk ? 1 : 0;
    }
    ++figures.rounds;
    EXPECT_TRUE((*store)->close().has_value());
}

void Witness::examine_all(KillFigures& figures) {
    const auto store = open_store(url_, {.create = false}).value();
    StatePersistenceService service(store);
    read_runs(*store);
    check_seen_before();
    seen_.clear();
    load_what_is_new(service, {}, figures);
    EXPECT_TRUE(store->close().has_value());
}

void Witness::read_runs(Store& store) {
    runs_.clear();
    RunQuery query;
    query.limit = 1000;
    const Page<RunInfo> page = store.runs(query, soon()).value();
    for (const RunInfo& run : page.items) {
        RunOnDisk& on_disk = runs_[run.run_id];
        on_disk.history = history(store, run.run_id);
        for (const SnapshotInfo& info : on_disk.history) on_disk.by_id[info.snapshot_id] = &info;
        ASSERT_FALSE(on_disk.history.empty()) << run.run_id << " has a head and no snapshots";
        EXPECT_EQ(on_disk.by_id.size(), on_disk.history.size()) << "a snapshot id is there twice in " << run.run_id;
        EXPECT_EQ(run.head_version, on_disk.history.back().version) << run.run_id;
        EXPECT_EQ(run.head_snapshot_id, on_disk.history.back().snapshot_id) << run.run_id;
        check_versions(run.run_id, on_disk.history);
    }
}

// Expects that versions grow, without a gap if nothing of the run is deleted.
void Witness::check_versions(const std::string& run, const std::vector<SnapshotInfo>& history) const {
    const bool is_whole = !is_pruned(run) && !is_doomed(run);
    std::int64_t before = 0;
    for (const SnapshotInfo& info : history) {
        EXPECT_GT(info.version, before) << run;
        if (is_whole) {
            EXPECT_EQ(info.version, before + 1) << run;
        }
        before = info.version;
    }
}

const SnapshotInfo* Witness::find(const std::string& run, const std::string& snapshot_id) const {
    const auto on_disk = runs_.find(run);
    if (on_disk == runs_.end()) return nullptr;
    const auto found = on_disk->second.by_id.find(snapshot_id);
    return found == on_disk->second.by_id.end() ? nullptr : found->second;
}

void Witness::check_seen_before() const {
    for (const auto& [run, snapshots] : seen_) {
        if (is_pruned(run) || is_doomed(run)) continue;
        for (const auto& [id, seen] : snapshots) {
            const SnapshotInfo* const info = find(run, id);
            ASSERT_NE(info, nullptr) << id << " of " << run << " was there in an earlier round";
            EXPECT_EQ(info->version, seen.second) << id << " of " << run;
        }
    }
}

Witness::Saves Witness::find_saves(const std::vector<Report>& reports) const {
    Saves saves;
    for (const Report& report : reports) {
        if (report.kind != Kind::kSaved) continue;
        const std::string run = report.run.str();
        saves[{report.process, run}].push_back({&report, find(run, report.snapshot_id.str())});
    }
    return saves;
}

// Says whether some process was asked to delete the snapshot.
bool Witness::may_be_gone(const Report& report) const {
    const std::string run = report.run.str();
    if (is_doomed(run)) return true;
    if (!is_pruned(run)) return false;
    const auto on_disk = runs_.find(run);
    if (on_disk == runs_.end()) return false;
    const auto newer =
        std::ranges::count_if(on_disk->second.history, [&](const auto& info) { return info.version > report.version; });
    return report.durability != Durability::kSync || static_cast<std::size_t>(newer) >= kKeptVersions;
}

void Witness::check_saved(const Saved& saved, std::uint64_t on_disk_since, KillFigures& figures) const {
    const Report& report = *saved.report;
    const bool is_on_disk = report.durability == Durability::kSync || report.ended < on_disk_since;
    KillFigures::Of& of = figures.saves[report.durability];
    ++of.acknowledged;
    of.hardened += is_on_disk ? 1 : 0;
    figures.deduplicated += report.outcome == Outcome::kDeduplicated ? 1 : 0;
    figures.critical += report.is_critical ? 1 : 0;
    EXPECT_TRUE(!report.is_critical || report.durability == Durability::kSync) << name_of(report);
    if (saved.stored != nullptr) return check_stored(saved);
    if (may_be_gone(report)) return;
    ++of.lost;
    EXPECT_FALSE(is_on_disk) << name_of(report) << " is gone, and was to be on disk";
}

void Witness::check_stored(const Saved& saved) const {
    const Report& report = *saved.report;
    const SnapshotInfo& info = *saved.stored;
    EXPECT_EQ(info.checksum, report.checksum) << name_of(report) << " is another state";
    if (report.durability == Durability::kSync || !is_shared_) {
        EXPECT_EQ(info.version, report.version) << name_of(report);
    }
    if (report.outcome == Outcome::kDeduplicated) return;
    const bool may_share_another_save = report.step != report.call && !report.has_metadata;
    EXPECT_TRUE(may_share_another_save ||
                info.metadata == (report.has_metadata ? metadata_text(report.step) : std::string()))
        << name_of(report) << " has the metadata " << info.metadata;
    EXPECT_TRUE(!report.is_critical || info.base_version == 0) << name_of(report) << " needs another one's frame";
    const bool is_its_parent =
        report.parent_id.str() == report.snapshot_id.str();  // the parent was the head, so the save was skipped
    if (report.parent_id.str().empty() || is_its_parent) return;
    const SnapshotInfo* const parent = find(report.run.str(), report.parent_id.str());
    ASSERT_NE(parent, nullptr) << name_of(report) << " grew from " << report.parent_id.str() << ", which is gone";
    EXPECT_EQ(info.parent_version, parent->version) << name_of(report);
}

void Witness::check_losses(const Saves& saves, const std::vector<Report>&) const {
    std::map<std::int32_t, std::map<std::string, std::uint64_t>> lost;  // for each process: bytes by snapshot id
    for (const auto& [process_and_run, of_run] : saves) {
        const auto& [process, run] = process_and_run;
        if (is_pruned(run) || is_doomed(run)) continue;
        expect_losses_to_be_the_last(of_run);
        expect_versions_in_call_order(of_run);
        for (const Saved& saved : of_run) {
            if (saved.stored == nullptr) lost[process][saved.report->snapshot_id.str()] = saved.report->state_bytes;
        }
    }
    for (const auto& [process, snapshots] : lost) {
        std::uint64_t bytes = 0;
        for (const auto& [id, size] : snapshots) bytes += size;
        EXPECT_LE(snapshots.size(), BusySaver::kQueuedSavesMax) << "lost by process " << process;
        EXPECT_LE(bytes, BusySaver::kQueuedBytesMax) << "lost by process " << process;
    }
}

// Expects that every snapshot is exactly a state that some call has saved, even if that call was never answered.
void Witness::load_what_is_new(StatePersistence& service, const Saves& saves, KillFigures& figures) {
    std::set<std::pair<std::string, std::string>> acknowledged;
    for (const auto& [process_and_run, of_run] : saves) {
        for (const Saved& saved : of_run) acknowledged.emplace(process_and_run.second, saved.report->snapshot_id.str());
    }
    for (const auto& [run, on_disk] : runs_) {
        for (const SnapshotInfo& info : on_disk.history) {
            if (seen_[run].contains(info.snapshot_id)) continue;
            const auto loaded = service.load_agent_state(
                {.run_id = run, .snapshot_id = info.snapshot_id, .thread_id = "thread", .user_id = "user"});
            ASSERT_TRUE(loaded.has_value()) << run << ": " << loaded.error().to_string();
            const Author author{number_in(loaded->state, "process"), number_in(loaded->state, "thread"),
                                number_in(loaded->state, "step")};
            const auto [process, thread, step] = author;
            ASSERT_EQ(loaded->state.text(), state_of(run, process, thread, step).text()) << run << " v" << info.version;
            seen_[run][info.snapshot_id] = {author, info.version};
            ++figures.snapshots;
            figures.unacknowledged += acknowledged.contains({run, info.snapshot_id}) ? 0U : 1U;
        }
    }
}

// Expects that no snapshot comes after a lost save of its thread, and that none of them was refused.
void Witness::check_authors(const std::vector<Report>& reports, const Saves& saves) const {
    std::map<std::pair<std::string, std::pair<std::int32_t, std::int32_t>>, std::int64_t> first_lost;
    for (const auto& [process_and_run, of_run] : saves) {
        const auto& [process, run] = process_and_run;
        if (is_pruned(run) || is_doomed(run)) continue;
        for (const Saved& saved : of_run) {
            if (saved.stored != nullptr) continue;
            const auto at = first_lost.emplace(std::pair{run, std::pair{process, saved.report->thread}},
                                               std::numeric_limits<std::int64_t>::max());
            at.first->second = std::min(at.first->second, saved.report->call);
        }
    }
    std::set<std::pair<std::string, Author>> refused;
    for (const Report& report : reports) {
        if (report.kind != Kind::kRefused) continue;
        refused.emplace(report.run.str(), Author{report.process, report.thread, report.step});
    }
    for (const auto& [run, snapshots] : seen_) {
        for (const auto& [id, seen] : snapshots) {
            const auto& [process, thread, step] = seen.first;
            EXPECT_FALSE(refused.contains({run, seen.first})) << id << " of " << run << " was refused and is there";
            const auto lost = first_lost.find({run, {process, thread}});
            if (lost == first_lost.end()) continue;
            EXPECT_LT(step, lost->second) << id << " of " << run << " is there; call " << lost->second
                                          << " of its thread " << thread << " before it is not";
        }
    }
}

}  // namespace cairn::test
