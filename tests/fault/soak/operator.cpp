#include "base/default_deadline.h"
#include "fault/soak/roles.h"
#include "support/built_program.h"

#include <cairn/persistence.h>
#include <cairn/retention.h>

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>

namespace cairn::test {
namespace {

class Operator {
public:
    Operator(Workplace& place, std::shared_ptr<Store> store) : place_(place), store_(std::move(store)) {}

    void work(Dice& dice) {
        const auto choice = dice.below(100);
        if (choice < 25) return prune_run(dice.pick(kPrunedRuns), dice);
        if (choice < 40) return delete_run(dice.pick(kDoomedRuns), dice);
        if (choice < 65) return recover(dice);
        if (choice < 75) return fork_in_run(dice);
        if (choice < 83) return check(dice.percent(50));
        if (choice < 91) return fork_to_new_run(dice);
        if (choice < 97) return export_all(dice);
        recover_by_program(dice);
    }

private:
    template <class Work>
    auto noted(std::string_view kind, const Fields& asked, const Work& work) {
        const std::int64_t call = ++calls_;
        place_.ledger.begin(call, kind, asked);
        auto result = work();
        return std::pair(call, std::move(result));
    }

    template <class Value, class ToFields>
    void note(const std::pair<std::int64_t, Result<Value>>& ended, const ToFields& to_fields) {
        place_.ledger.end(ended.first, ended.second ? to_fields(*ended.second) : told_of(ended.second.error()));
    }

    void prune_run(const std::string& run, Dice& dice) {
        const RetentionOptions options{.snapshots_per_commit = 1 + dice.below(20), .timeout = dice.deadline()};
        note(noted("prune", {{"run", run}},
                   [&] { return prune(*store_, {.keep_last = kKeptByPruning, .run_id = run}, options); }),
             [](const RetentionReport& report) {
                 return Fields{{"snapshots", fmt::to_string(report.snapshots_deleted)}};
             });
    }

    void delete_run(const std::string& run, Dice& dice) {
        note(noted("delete", {{"run", run}},
                   [&] { return delete_runs(*store_, {.run_id = run}, {.timeout = dice.deadline()}); }),
             [](const RetentionReport& report) { return Fields{{"runs", fmt::to_string(report.runs_deleted)}}; });
    }

    void recover(Dice& dice) {
        const std::string run = dice.pick(kWholeRuns);
        StateRecoveryRequest request{.run_id = run, .recovery_type = RecoveryType::kResume, .failure_reason = "soak"};
        if (dice.percent(25)) {
            request.recovery_type = RecoveryType::kRollback;
            request.target_snapshot_id = some_snapshot(run, dice);
            if (request.target_snapshot_id->empty()) return;
        } else if (dice.percent(10)) {
            request.recovery_type = RecoveryType::kRestart;
        }
        StatePersistenceService service(store_, {.timeout = dice.deadline()});
        note(noted("recover",
                   {{"run", run},
                    {"type", std::string(to_string(request.recovery_type))},
                    {"target", request.target_snapshot_id.value_or("")}},
                   [&] { return service.recover_agent_state(request); }),
             [](const RecoveryResult& result) {
                 return Fields{{"id", result.snapshot_id},
                               {"source", result.source_snapshot_id},
                               {"version", fmt::to_string(result.version)},
                               {"author", author_of(result.state)},
                               {"damaged", fmt::to_string(result.damaged.size())}};
             });
    }

    // Saves a snapshot that grows from an older one of its run.
    void fork_in_run(Dice& dice) {
        const std::string run = dice.pick(kWholeRuns);
        const std::string from = some_snapshot(run, dice);
        if (from.empty()) return;
        StatePersistenceService service(store_, {.timeout = dice.deadline()});
        const auto source = service.load_agent_state({.run_id = run, .snapshot_id = from});
        if (!source) return;
        StatePersistenceRequest request{.run_id = run, .thread_id = kSoakThread, .user_id = kSoakUser};
        request.state_data = source->state;
        request.parent_snapshot_id = from;
        request.snapshot_id = fmt::format("p{}-f{}", place_.process, calls_ + 1);
        note(noted("save",
                   {{"run", run},
                    {"id", request.snapshot_id},
                    {"author", author_of(source->state)},
                    {"parent", from},
                    {"durability", "sync"}},
                   [&] { return service.save_agent_state(request); }),
             [](const Receipt& receipt) {
                 return Fields{{"outcome", std::string(to_string(receipt.outcome))},
                               {"durability", std::string(to_string(receipt.durability))},
                               {"id", receipt.snapshot_id},
                               {"version", fmt::to_string(receipt.version)}};
             });
    }

    void check(bool is_deep) {
        note(noted(is_deep ? "check_deep" : "check", {},
                   [&] { return is_deep ? check_deep(*store_, Deadline::max()) : store_->check(default_deadline()); }),
             [](const CheckReport& report) {
                 if (report.findings.empty()) return Fields{{"findings", "0"}};
                 const auto& first = report.findings.front();
                 return Fields{{"findings", fmt::to_string(report.findings.size())},
                               {"finding", fmt::format("{} {}: {}", first.run_id, first.snapshot_id, first.problem)}};
             });
    }

    // ---- calls of the command-line program, as an operator makes them ----

    void fork_to_new_run(Dice& dice) {
        const std::string run = dice.pick(kWholeRuns);
        const std::string from = some_snapshot(run, dice);
        if (from.empty()) return;
        const std::string to = fmt::format("fork-{}-{}", place_.process, calls_ + 1);
        call_program("fork", {{"run", run}, {"from", from}, {"to", to}},
                     {"fork", "--run", run, "--from", from, "--to-run", to}, dice);
    }

    void export_all(Dice& dice) {
        const std::string path =
            fmt::format("{}/export-{}-{}.jsonl", std::filesystem::current_path().string(), place_.process, calls_ + 1);
        call_program("export", {{"path", path}}, {"export", "--output", path}, dice);
    }

    void recover_by_program(Dice& dice) {
        const std::string run = dice.pick(kWholeRuns);
        call_program("recover", {{"run", run}, {"type", "resume"}}, {"recover", "--run", run, "--type", "resume"},
                     dice);
    }

    void call_program(std::string_view kind, const Fields& asked, std::vector<std::string> arguments, Dice& dice) {
        arguments.insert(arguments.begin(), {"--json", "--store", place_.url});
        const ProgramOptions options{
            .environment = {{"CAIRN_TIMEOUT_MS", fmt::to_string(std::max(dice.deadline().count(), std::int64_t{20}))}}};
        const auto [call, result] = noted(kind, asked, [&] { return run_cairn(arguments, options); });
        Fields told{{"exit", fmt::to_string(result.exit_code)}};
        if (result.exit_code != 0) told = {{"error", error_with(result.exit_code)}, {"message", result.errors}};
        if (kind == "recover" && result.exit_code == 0) told.merge(recovery_in(result.output));
        place_.ledger.end(call, told);
    }

    static Fields recovery_in(const std::string& output) {
        const State answer = State::parse(output).value_or(State());
        const auto text = [&](std::string_view key) {
            const std::string_view quoted = answer.member(key).value_or("\"\"");
            return std::string(quoted.substr(1, quoted.size() - 2));
        };
        return {{"id", text("snapshot_id")},
                {"source", text("source_snapshot_id")},
                {"version", std::string(answer.member("version").value_or(""))},
                {"damaged", answer.member("damaged") == "[]" ? "0" : "some"}};
    }

    static std::string error_with(int exit_code) {
        const auto found = std::ranges::find(error_table(), exit_code, &ErrorInfo::exit_code);
        return found == error_table().end() ? fmt::format("exit code {}", exit_code) : std::string(found->name);
    }

    std::string some_snapshot(const std::string& run, Dice& dice) {
        const auto page = store_->history({.run_id = run, .limit = 100}, default_deadline());
        return page && !page->empty() ? dice.pick(*page).snapshot_id : "";
    }

    Workplace& place_;
    std::shared_ptr<Store> store_;
    std::int64_t calls_ = 0;
};

}  // namespace

void operate_for_ever(Workplace& place) {
    Dice dice(place.seed);
    Operator person(place, open_for_ever(place, false));
    while (true) {
        person.work(dice);
        dice.rest();
    }
}

}  // namespace cairn::test
