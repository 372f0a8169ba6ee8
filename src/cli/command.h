#pragma once

// The part that all commands of the program share. Each command has a file of its own. It registers its options and,
// when chosen, sets `Cli::action`; main loads the configuration and then runs the action.

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
    int exit_code = 0;           ///< Set by an action that ends without an error, but not with plain success.
    bool needs_settings = true;  ///< Set by the action: false for commands that only explain the program.

    const Config& config() const { return loaded.config; }
    /// The store's URL for people, with any password hidden.
    std::string store_label() const;

    /// Opens the configured store; commands that only read open it read-only, so that they never make a store.
    Result<std::shared_ptr<Store>> open_for_reading() const;
    Result<std::shared_ptr<Store>> open_for_writing() const;
    /// For commands that change existing data: a store that does not exist is kNotFound.
    Result<std::shared_ptr<Store>> open_existing_for_writing() const;

    /// Checks, before a file is written, that it is not one of the store's own. `option` is the option that names it.
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
