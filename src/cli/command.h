#pragma once

// What every command of the program shares. One file a command: each registers its options and, when chosen, sets
// `Cli::action`; main loads the configuration and then runs it.

#include <cairn/cairn.h>

#include <CLI/CLI.hpp>

#include <functional>
#include <memory>
#include <string>

namespace cairn::cli {

struct Cli {
    std::string store_option;  ///< `--store`; empty: not given.
    bool json = false;         ///< `--json`: for machines.
    LoadedConfig loaded;       ///< With `--store` applied. Valid when the action runs.
    Runtime runtime;           ///< Logs to standard error at the configured level. Valid when the action runs.
    std::function<Status()> action;
    int exit_code = 0;           ///< Of an action that ends without an error, but has more to say than that.
    bool needs_settings = true;  ///< The action's: what explains the program works whatever the settings are.

    const Config& config() const { return loaded.config; }
    /// The store's URL for people: a password in it is hidden.
    std::string store_label() const;

    /// Opens the configured store; commands that only read open it read-only, so that they never make one.
    Result<std::shared_ptr<Store>> open_for_reading() const;
    Result<std::shared_ptr<Store>> open_for_writing() const;
    /// For commands that change what is there: a store that does not exist is kNotFound.
    Result<std::shared_ptr<Store>> open_existing_for_writing() const;

    /// Before a file is written: that it is none of the store's own. `option` is the one that names it.
    Status check_output(const char* option, const std::string& path) const;
};

void add_run_command(CLI::App& app, Cli& cli);
void add_approve_command(CLI::App& app, Cli& cli);
void add_save_command(CLI::App& app, Cli& cli);
void add_load_command(CLI::App& app, Cli& cli);
void add_log_command(CLI::App& app, Cli& cli);
void add_fork_command(CLI::App& app, Cli& cli);
void add_runs_command(CLI::App& app, Cli& cli);
void add_diff_command(CLI::App& app, Cli& cli);
void add_recover_command(CLI::App& app, Cli& cli);
void add_stats_command(CLI::App& app, Cli& cli);
void add_check_command(CLI::App& app, Cli& cli);
void add_prune_command(CLI::App& app, Cli& cli);
void add_delete_command(CLI::App& app, Cli& cli);
void add_export_command(CLI::App& app, Cli& cli);
void add_import_command(CLI::App& app, Cli& cli);
void add_config_command(CLI::App& app, Cli& cli);
void add_replay_command(CLI::App& app, Cli& cli);
void add_help_command(CLI::App& app, Cli& cli);
void add_version_command(CLI::App& app, Cli& cli);
void add_describe_command(CLI::App& app, Cli& cli);

}  // namespace cairn::cli
