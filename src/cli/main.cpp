// The program `cairn`: reads the command line and the configuration, runs the command, reports its error.

#include "cli/command.h"
#include "cli/terminal/interruption.h"
#include "cli/terminal/log_sink.h"
#include "cli/terminal/output.h"
#include "cli/usage/options.h"
#include "cli/usage/usage_error.h"
#include "config/settings.h"

#include <fmt/format.h>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <exception>
#include <map>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace cairn::cli {
namespace {

constexpr int kUnexpected = 1;

void add_commands(CLI::App& app, Cli& cli) {
    add_run_command(app, cli);
    add_approve_command(app, cli);
    add_save_command(app, cli);
    add_load_command(app, cli);
    add_log_command(app, cli);
    add_fork_command(app, cli);
    add_runs_command(app, cli);
    add_diff_command(app, cli);
    add_recover_command(app, cli);
    add_stats_command(app, cli);
    add_check_command(app, cli);
    add_prune_command(app, cli);
    add_delete_command(app, cli);
    add_export_command(app, cli);
    add_import_command(app, cli);
    add_config_command(app, cli);
    add_replay_command(app, cli);
    add_help_command(app, cli);
    add_version_command(app, cli);
    add_describe_command(app, cli);
}

std::string exit_codes() {
    std::map<int, std::string_view> meanings{{0, "success"},
                                             {1, "unexpected"},
                                             {20, "a run waits for approval"},
                                             {128 + SIGHUP, "hung up"},
                                             {128 + SIGINT, "Ctrl-C"},
                                             {128 + SIGTERM, "terminated"}};
    for (const ErrorInfo& info : error_table()) meanings.emplace(info.exit_code, info.name);
    std::string text = "Exit codes:\n ";
    std::size_t line_start = 0;
    for (const auto& [code, meaning] : meanings) {
        const bool full = text.size() - line_start > 80;
        if (full) line_start = text.size();
        text += fmt::format("{}{} {}", full ? ",\n  " : code == 0 ? " " : ", ", code, meaning);
    }
    return text;
}

void set_up(CLI::App& app, Cli& cli) {
    app.require_subcommand(0, 1);
    app.set_version_flag("-V,--version", "cairn " CAIRN_VERSION, "Print the version");
    app.get_formatter()->column_width(34);
    app.footer("Settings come from the environment and from .env (`cairn config` shows them).\n\n" + exit_codes() +
               ".\n\n"
               "Examples:\n"
               "  cairn run pipeline.yaml\n"
               "  echo '{\"step\":1}' | cairn save --run r1 --thread t1 --user u1\n"
               "  cairn load --run r1 | jq .\n"
               "  cairn log --run r1\n"
               "  cairn diff --run r1\n"
               "  cairn COMMAND --help");
    add_commands(app, cli);
    add_common_options(app, cli);
    for (CLI::App* command : app.get_subcommands({})) add_common_options(*command, cli);
    refuse_empty_values(app);
    for (CLI::App* command : app.get_subcommands({})) refuse_empty_values(*command);
}

// `--store` overrides CAIRN_STORE, and is shown as its value.
void apply_store_option(Cli& cli) {
    if (cli.store_option.empty()) return;
    cli.loaded.config.store_url = cli.store_option;
    for (ConfigEntry& entry : cli.loaded.entries) {
        if (entry.variable == "CAIRN_STORE") entry.value = without_password(cli.store_option);
    }
}

Status run_action(Cli& cli) {
    if (!cli.needs_settings) return cli.action();
    auto loaded = load_config(process_environment(), ".env", process_environment_names());
    if (!loaded) return std::unexpected(loaded.error());
    cli.loaded = *std::move(loaded);
    apply_store_option(cli);
    cli.runtime.log = make_log_sink(cli.config().log_level);
    for (const std::string& warning : cli.loaded.warnings) {
        cli.runtime.log({.level = LogLevel::kWarning, .event = "setting_skipped", .message = warning});
    }
    return cli.action();
}

int report(const Error& error, bool json) {
    std::fflush(stdout);  // results before the error about them
    print_error(error, json);
    return error_info(error.code).exit_code;
}

int run_command(Cli& cli) try {
    const Status done = run_action(cli);
    return done ? cli.exit_code : report(done.error(), cli.json);
} catch (const std::bad_alloc&) {
    return report({.code = ErrorCode::kInternal, .message = "out of memory"}, cli.json);
} catch (const std::exception& error) {
    return report({.code = ErrorCode::kInternal, .message = "unexpected", .detail = error.what()}, cli.json);
}

int run(int argument_count, char** arguments) {
    Cli cli;
    CLI::App app("cairn keeps the states of AI agents: every step saved, exactly, for little.", "cairn");
    set_up(app, cli);
    try {
        app.parse(argument_count, arguments);
    } catch (const CLI::Success& help_or_version) {
        return app.exit(help_or_version);
    } catch (const CLI::ParseError& error) {
        const std::vector<std::string> words(arguments + std::min(argument_count, 1), arguments + argument_count);
        return report(usage_error(app, error, words), std::ranges::find(words, "--json") != words.end());
    }
    if (!cli.action) {
        print(app.help());
        return 0;
    }
    return run_command(cli);
}

// A result that nobody received is not a success: for example, the disk is full behind `cairn load … > file`.
int flush_output(int exit_code) {
    const bool is_written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
    if (exit_code != 0 || is_written) return exit_code;  // an error was printed already
    print_message(fmt::format("cairn: cannot write to standard output: {}\n", std::generic_category().message(errno)));
    return kUnexpected;
}

// If a standard descriptor is missing at the start (`2>&-`), the first opened file would get its number, and output
// would be written to it. The replacement is also unusable: it only takes the number.
void occupy_standard_descriptors() {
    for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
        if (fcntl(descriptor, F_GETFD) >= 0) continue;
        const int useless = descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY;
        [[maybe_unused]] const int lowest_free = open("/dev/null", useless);
    }
}

}  // namespace
}  // namespace cairn::cli

int main(int argument_count, char** arguments) {
    cairn::cli::occupy_standard_descriptors();
    cairn::cli::prepare_signals();
    return cairn::cli::flush_output(cairn::cli::run(argument_count, arguments));
}
