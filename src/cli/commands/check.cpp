#include "base/counted.h"
#include "cli/command.h"
#include "cli/terminal/output.h"
#include "cli/terminal/progress.h"
#include "wire/report_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn::cli {
namespace {

void print_text(const CheckReport& report, bool deep) {
    if (!report.findings.empty()) {
        Table table({{"RUN"}, {"SNAPSHOT"}, {"PROBLEM"}});
        for (const auto& finding : report.findings) {
            table.add({finding.run_id.empty() ? "(the store)" : finding.run_id, finding.snapshot_id, finding.problem});
        }
        table.print();
    }
    print_line(
        fmt::format("checked{} (runs: {}, snapshots: {}): {}", deep ? " and decoded every state" : "", report.runs,
                    report.snapshots,
                    report.findings.empty() ? "all is well" : fmt::format("findings: {}", report.findings.size())));
}

/// Shows how many of the store's snapshots have been read.
class WatchedStore final : public ForwardingStore {
public:
    using ForwardingStore::ForwardingStore;

    Result<CheckReport> check(Deadline deadline) override {
        auto report = ForwardingStore::check(deadline);
        if (report) progress_.emplace("Checking", report->snapshots);
        return report;
    }
    Result<std::vector<BaseFrame>> frames(std::string_view run_id, std::span<const std::int64_t> versions,
                                          Deadline deadline, Reading reading) override {
        if (progress_) progress_->advance(versions.size());
        return ForwardingStore::frames(run_id, versions, deadline, reading);
    }

private:
    std::optional<Progress> progress_;
};

Result<CheckReport> check_all_states(const Cli& cli, std::shared_ptr<Store> store) {
    WatchedStore watched(std::move(store));
    return check_deep(watched, Deadline::max(), cli.config().state_limits());
}

// A state that is too large for this program is not damage: a reader with a larger limit may read it.
Status verdict(const Cli& cli, const CheckReport& report) {
    const auto too_large = std::ranges::count(report.findings, ErrorCode::kLimitExceeded, &CheckReport::Finding::code);
    const auto damaged = std::ssize(report.findings) - too_large;
    if (damaged != 0) {
        return fail(ErrorCode::kCorrupt, fmt::format("{} is damaged (findings: {})", cli.store_label(), damaged));
    }
    if (too_large == 0) return {};
    return std::unexpected(advise(
        {.code = ErrorCode::kLimitExceeded,
         .message =
             fmt::format("not all was checked: {} cannot be read within CAIRN_STATE_BYTES_MAX ({}); nothing else is "
                         "wrong",
                         counted(static_cast<std::uint64_t>(too_large), "state"), cli.config().state_bytes_max)},
        "Raise CAIRN_STATE_BYTES_MAX and check again."));
}

Status check(const Cli& cli, bool deep) {
    const auto store = cli.open_for_reading();
    if (!store) return std::unexpected(store.error());
    const auto report = deep ? check_all_states(cli, *store) : (*store)->check(Deadline::max());
    if (!report) return std::unexpected(report.error());
    cli.json ? print_line(to_json(*report, deep)) : print_text(*report, deep);
    return verdict(cli, *report);
}

}  // namespace

void add_check_command(CLI::App& app, Cli& cli) {
    CLI::App* command = app.add_subcommand("check", "Look for damage in the store");
    const auto deep = std::make_shared<bool>(false);
    command->add_flag("--deep", *deep, "Decode every state and verify its checksum too");
    command->callback([&cli, deep] { cli.action = [&cli, deep] { return check(cli, *deep); }; });
    command->footer(
        fmt::format("Exits with {} if anything is damaged, and with {} if all that is wrong is a state larger than "
                    "this program may read\n(CAIRN_STATE_BYTES_MAX).\n\n"
                    "Examples:\n"
                    "  cairn check\n"
                    "  cairn check --deep --json | jq '.findings[]'",
                    error_info(ErrorCode::kCorrupt).exit_code, error_info(ErrorCode::kLimitExceeded).exit_code));
}

}  // namespace cairn::cli
