#include "cli/command.h"
#include "cli/history/snapshot_reference.h"
#include "cli/retention/retention_run.h"
#include "cli/usage/options.h"

#include <cairn/retention.h>

#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <memory>

namespace cairn::cli {
namespace {

struct PruneOptions {
    std::optional<std::int64_t> keep_last;
    std::string older_than;
    bool expired = false;
    bool include_recovery_points = false;
    std::optional<std::string> run_id;
    std::optional<std::string> thread_id;
    std::optional<std::string> user_id;
    bool confirmed = false;

    bool has_rule() const { return keep_last || !older_than.empty() || expired; }
};

std::optional<std::chrono::minutes> unit_of(char letter) {
    switch (letter) {
        case 'd':
            return std::chrono::days(1);
        case 'h':
            return std::chrono::hours(1);
        case 'm':
            return std::chrono::minutes(1);
        default:
            return std::nullopt;
    }
}

// "30d", "12h", "90m".
Result<std::chrono::minutes> read_age(const std::string& text) {
    constexpr std::int64_t kNumberMax = 1'000'000;
    std::int64_t number = 0;
    const auto unit = unit_of(text.back());
    const char* end = text.data() + text.size() - 1;
    const auto [stopped, error] = std::from_chars(text.data(), end, number);
    if (unit && error == std::errc() && stopped == end && number >= 0 && number <= kNumberMax) return number * *unit;
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("--older-than: \"{}\" is no age: give a number up to {} and its unit, 30d, 12h or 90m",
                            text, kNumberMax));
}

// Rules on the command line replace all rules in the settings: nothing is deleted that nobody here asked for.
Result<RetentionPolicy> to_policy(const PruneOptions& options, const RetentionPolicy& settings) {
    RetentionPolicy policy;
    if (!options.has_rule()) policy = settings;
    if (options.keep_last) policy.keep_last = static_cast<std::size_t>(*options.keep_last);
    if (!options.older_than.empty()) {
        const auto age = read_age(options.older_than);
        if (!age) return std::unexpected(age.error());
        policy.age_max = *age;
    }
    policy.expired |= options.expired;
    policy.include_recovery_points = options.include_recovery_points;
    policy.run_id = options.run_id;
    policy.thread_id = options.thread_id;
    policy.user_id = options.user_id;
    if (policy.keep_last || policy.age_max || policy.expired) return policy;
    return fail(ErrorCode::kInvalidArgument,
                "no rule says what may go: give --keep-last N, --older-than AGE or --expired, or set "
                "CAIRN_RETENTION_KEEP_LAST, CAIRN_RETENTION_AGE_DAYS or CAIRN_RETENTION_EXPIRED");
}

Status prune(const Cli& cli, const PruneOptions& options) {
    const auto policy = to_policy(options, cli.config().retention);
    if (!policy) return std::unexpected(policy.error());
    return run_deletion(
        cli, options.confirmed, [&](Store& store, const RetentionOptions& how) -> Result<RetentionReport> {
            if (options.run_id) {
                const auto found = require_run(store, *options.run_id, {options.thread_id, options.user_id});
                if (!found) return std::unexpected(found.error());
            }
            return cairn::prune(store, *policy, how);
        });
}

void add_options(CLI::App& command, PruneOptions& options) {
    add_number_option(command, "--keep-last", options.keep_last, "All but the newest N of each run");
    command.add_option("--older-than", options.older_than, "What was saved longer ago: 30d, 12h, 90m")
        ->type_name("AGE");
    command.add_flag("--expired", options.expired, "What its --expires-at says may go by now");
    command.add_flag("--include-recovery-points", options.include_recovery_points, "They are kept otherwise");
    command.add_option("--run", options.run_id, "Only in this run")->type_name("RUN");
    command.add_option("--thread", options.thread_id, "Only in runs of this thread")->type_name("THREAD");
    command.add_option("--user", options.user_id, "Only in what this user owns")->type_name("USER");
    add_confirmation_option(command, options.confirmed);
}

}  // namespace

void add_prune_command(CLI::App& app, Cli& cli) {
    CLI::App* command = app.add_subcommand("prune", "Delete old snapshots; a run's head always stays");
    const auto options = std::make_shared<PruneOptions>();
    add_options(*command, *options);
    command->callback([&cli, options] { cli.action = [&cli, options] { return prune(cli, *options); }; });
    command->footer(
        "A snapshot goes if any of the rules says so; without rules here, those of the settings CAIRN_RETENTION_…\n"
        "count. What stays remains loadable, and writers keep going meanwhile. Ctrl-C stops between two steps.\n\n"
        "Examples:\n"
        "  cairn prune --keep-last 100\n"
        "  cairn prune --older-than 30d --expired --yes\n"
        "  cairn prune --thread t1 --keep-last 1 --include-recovery-points --yes --json");
}

}  // namespace cairn::cli
