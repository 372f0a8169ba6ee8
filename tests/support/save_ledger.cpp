#include "support/save_ledger.h"

#include "persistence/reading/snapshot_reader.h"
#include "support/make.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <optional>
#include <random>
#include <set>
#include <string_view>
#include <utility>

namespace cairn::test {
namespace {

std::string id_of(const std::string& run_id, std::size_t index) {
    return fmt::format("{}#{}", run_id, index);
}

std::optional<std::size_t> index_of(const std::string& run_id, std::string_view snapshot_id) {
    if (!snapshot_id.starts_with(run_id + "#")) return std::nullopt;
    snapshot_id.remove_prefix(run_id.size() + 1);
    std::size_t index = 0;
    const char* const end = snapshot_id.data() + snapshot_id.size();
    const auto parsed = std::from_chars(snapshot_id.data(), end, index);
    if (parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
    return index;
}

// Says whether the state repeats the one before. A save may skip such a state.
bool is_repeated(std::size_t index) {
    return index % 7 == 6;
}

// Neighbours differ by a little, so deltas pay. Some states take several pages, and some are equal.
std::string text_of(const std::string& run_id, std::size_t index) {
    std::mt19937_64 random(std::hash<std::string>{}(run_id));
    const std::size_t step = is_repeated(index) ? index - 1 : index;
    const int notes = step % 8 == 5 ? 1200 : 40;
    std::string text = fmt::format(R"({{"step":{},"notes":[)", step);
    for (int i = 0; i < notes; ++i) text += fmt::format(R"("{:016x}",)", random());
    return text + fmt::format(R"("{}"]}})", step * step);
}

bool nothing_is_known_after(ErrorCode code) {
    return code == ErrorCode::kOutcomeUnknown || code == ErrorCode::kInternal;
}

// Compares one run of a store with what was promised of it.
class RunAudit {
public:
    RunAudit(Store& store, const std::string& run_id, const std::vector<Told>& promised, const Expectation& expectation)
        : store_(store), run_id_(run_id), promised_(promised), expectation_(expectation) {}

    std::string problems() {
        read();
        for (std::size_t index = 0; index < promised_.size(); ++index) judge(index);
        return std::move(problems_);
    }
    const std::set<std::size_t>& found() const { return found_; }

private:
    void complain(std::size_t index, std::string_view what) {
        problems_ += fmt::format("{} {}\n", id_of(run_id_, index), what);
    }

    void read() {
        const auto history =
            store_.history({.run_id = run_id_, .order = HistoryQuery::Order::kOldestFirst, .limit = 1'000'000}, soon());
        if (!history) return static_cast<void>(problems_ += history.error().to_string() + "\n");
        for (const SnapshotInfo& info : *history) note(info);
    }

    void note(const SnapshotInfo& info) {
        const auto index = index_of(run_id_, info.snapshot_id);
        if (!index || *index >= promised_.size()) {
            return static_cast<void>(problems_ += fmt::format("{}: nobody asked for it\n", info.snapshot_id));
        }
        if (!found_.empty() && *index <= *found_.rbegin()) complain(*index, "is there twice, or out of order");
        found_.insert(*index);
        const auto loaded =
            load_snapshot(store_, {.run_id = run_id_, .snapshot_id = info.snapshot_id}, StateLimits{}, soon());
        if (!loaded) return complain(*index, "does not load: " + loaded.error().to_string());
        if (loaded->state.text() != text_of(run_id_, *index)) complain(*index, "loads another text");
    }

    void judge(std::size_t index) {
        const Told told = promised_[index];
        const bool is_there = found_.contains(index);
        if (is_there && told == Told::kAbsent) return complain(index, "was refused, skipped or lost, and is there");
        if (is_there || told == Told::kAbsent) return;
        const auto newer = static_cast<std::size_t>(std::distance(found_.upper_bound(index), found_.end()));
        const auto kept = expectation_.pruned_to.find(run_id_);
        if (kept != expectation_.pruned_to.end() && newer >= kept->second) return;
        if (told == Told::kNothing && is_repeated(index) && found_.contains(index - 1)) return;
        if (told == Told::kDurable) return complain(index, "was acknowledged as durable and is gone");
        if (expectation_.losses_are_a_suffix && newer != 0) complain(index, "is missing, and a newer one is there");
    }

    Store& store_;
    const std::string& run_id_;
    const std::vector<Told>& promised_;
    const Expectation& expectation_;
    std::set<std::size_t> found_;
    std::string problems_;
};

std::string findings_of(Store& store) {
    const Result<CheckReport> report = check_deep(store, Deadline::max());
    if (!report) return "check_deep: " + report.error().to_string() + "\n";
    std::string problems;
    for (const auto& finding : report->findings) {
        problems += fmt::format("check_deep: {} {}: {}\n", finding.run_id, finding.snapshot_id, finding.problem);
    }
    return problems;
}

std::string unknown_runs(Store& store, const Promises& promises) {
    const auto runs = store.runs({.limit = 1'000'000}, soon());
    if (!runs) return runs.error().to_string() + "\n";
    std::string problems;
    for (const RunInfo& run : runs->items) {
        if (!promises.contains(run.run_id)) problems += fmt::format("run {}: nobody asked for it\n", run.run_id);
    }
    return problems;
}

}  // namespace

StatePersistenceRequest SaveLedger::ask(const std::string& run_id, CheckpointType type) {
    const std::lock_guard lock(mutex_);
    std::vector<Told>& run = promises_[run_id];
    StatePersistenceRequest request = make_request(run_id, text_of(run_id, run.size()), std::move(type));
    request.snapshot_id = id_of(run_id, run.size());
    run.push_back(Told::kNothing);
    return request;
}

void SaveLedger::tell(const StatePersistenceRequest& request, const Result<Receipt>& result) {
    const std::lock_guard lock(mutex_);
    std::vector<Told>& run = promises_.at(request.run_id);
    Told& own = run.at(index_of(request.run_id, request.snapshot_id).value());
    if (!result) {
        own = nothing_is_known_after(result.error().code) ? Told::kNothing : Told::kAbsent;
        return;
    }
    if (result->snapshot_id != request.snapshot_id) own = Told::kAbsent;
    Told& meant = run.at(index_of(request.run_id, result->snapshot_id).value());
    const bool is_durable = result->durability == Durability::kSync;
    if (is_durable || meant != Told::kDurable) meant = is_durable ? Told::kDurable : Told::kQueued;
}

void SaveLedger::tell_flushed(const std::string& run_id, const Status& status) {
    const std::lock_guard lock(mutex_);
    std::ranges::replace(promises_[run_id], Told::kQueued, status ? Told::kDurable : Told::kNothing);
}

Promises SaveLedger::promises() const {
    const std::lock_guard lock(mutex_);
    return promises_;
}

std::string broken_promises(Store& store, const Promises& promises, const Expectation& expectation, Promises* found) {
    std::string problems = findings_of(store) + unknown_runs(store, promises);
    for (const auto& [run_id, promised] : promises) {
        RunAudit audit(store, run_id, promised, expectation);
        problems += audit.problems();
        if (found == nullptr) continue;
        std::vector<Told>& there = (*found)[run_id];
        there.assign(promised.size(), Told::kAbsent);
        for (const std::size_t index : audit.found()) there.at(index) = Told::kDurable;
    }
    return problems;
}

}  // namespace cairn::test
