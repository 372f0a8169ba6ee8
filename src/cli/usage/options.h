#pragma once

// Options that several commands share, so that they read the same everywhere.

#include "cli/command.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace cairn::cli {

/// `--store` and `--json`, accepted before and after the command's name.
void add_common_options(CLI::App& app, Cli& cli);

/// Call it when all options exist. `--store "$STORE"` with an unset variable is a mistake, and must not mean the store
/// that would be used without it. Two options may be empty: a phase, and the text of a reason.
void refuse_empty_values(CLI::App& command);

CLI::Option* add_run_option(CLI::App& command, std::string& run_id);

/// `--thread` and `--user`: runs that they do not own are not found.
struct Owner {
    std::optional<std::string> thread_id;
    std::optional<std::string> user_id;
};
void add_owner_options(CLI::App& command, Owner& owner);

/// `--metadata` of a save: one JSON object, or KEY=VALUE any number of times.
void add_metadata_option(CLI::App& command, std::vector<std::string>& metadata);

/// Returns its JSON object; nothing if it was not given. Errors: kInvalidArgument, and those of `State::parse`.
[[nodiscard]] Result<std::optional<State>> read_metadata_option(const std::vector<std::string>& metadata,
                                                                const StateLimits& limits);

/// Reads KEY=VALUE of a `--metadata`: the key, and the value as JSON. A value that is not JSON is a string:
/// `attempt=3`, `branch=b`.
[[nodiscard]] Result<std::pair<std::string, std::string>> read_member(const std::string& text);

/// Returns the JSON object given to an option; nothing if none was. Errors: those of `State::parse`.
[[nodiscard]] Result<std::optional<State>> read_object_option(const std::string& option, const std::string& text,
                                                              const StateLimits& limits);

/// A whole decimal number, 0 or more (the library would also take "0x10", "-1" and read "010" as 8).
CLI::Option* add_number_option(CLI::App& command, const std::string& name, std::optional<std::int64_t>& value,
                               const std::string& description);

/// The number of rows that a command prints: 20 by default, 0 for all.
class RowLimit {
public:
    void add_option(CLI::App& command, const std::string& rows);

    /// Says whether `printed` rows are enough.
    bool reached(std::uint64_t printed) const { return rows() != 0 && printed >= rows(); }
    /// The size of the next page to ask for.
    std::size_t next_page(std::uint64_t printed) const;
    /// Tells a person, but not a program, that rows may have been left out.
    void mention_more() const;
    /// The number of rows for a query without pages.
    std::size_t or_all() const;

private:
    std::uint64_t rows() const { return static_cast<std::uint64_t>(value_.value_or(kDefault)); }

    static constexpr std::int64_t kDefault = 20;
    std::optional<std::int64_t> value_;
};

}  // namespace cairn::cli
