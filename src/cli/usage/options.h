#pragma once

// Options that several commands have, so that they read the same everywhere.

#include "cli/command.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace cairn::cli {

/// `--store` and `--json`, accepted before and after the command's name.
void add_common_options(CLI::App& app, Cli& cli);

/// For when all options are there. `--store "$STORE"` of a variable that is not set is a mistake, and must not mean the
/// store that would be used without it. What may be empty: a phase, and the text of a reason.
void refuse_empty_values(CLI::App& command);

CLI::Option* add_run_option(CLI::App& command, std::string& run_id);

/// `--thread` and `--user`: what they do not own is not found.
struct Owner {
    std::optional<std::string> thread_id;
    std::optional<std::string> user_id;
};
void add_owner_options(CLI::App& command, Owner& owner);

/// `--metadata` of what is saved: one JSON object, or KEY=VALUE as often as wanted.
void add_metadata_option(CLI::App& command, std::vector<std::string>& metadata);

/// The JSON object that it says; nothing if it was not given. Errors: kInvalidArgument, and those of `State::parse`.
[[nodiscard]] Result<std::optional<State>> read_metadata_option(const std::vector<std::string>& metadata,
                                                                const StateLimits& limits);

/// KEY=VALUE of a `--metadata`: the key, and the value as JSON. What is no JSON is a string: `attempt=3`, `branch=b`.
[[nodiscard]] Result<std::pair<std::string, std::string>> read_member(const std::string& text);

/// The JSON object that an option was given; nothing if it was not. Errors: those of `State::parse`.
[[nodiscard]] Result<std::optional<State>> read_object_option(const std::string& option, const std::string& text,
                                                              const StateLimits& limits);

/// A whole decimal number, 0 or more (the library would also take "0x10", "-1" and read "010" as 8).
CLI::Option* add_number_option(CLI::App& command, const std::string& name, std::optional<std::int64_t>& value,
                               const std::string& description);

/// How many rows a command prints: 20 unless told, 0 for all.
class RowLimit {
public:
    void add_option(CLI::App& command, const std::string& rows);

    /// Whether `printed` rows are all that is wanted.
    bool reached(std::uint64_t printed) const { return rows() != 0 && printed >= rows(); }
    /// The size of the page to ask for next.
    std::size_t next_page(std::uint64_t printed) const;
    /// Tells a person, and nobody else, that rows may have been left out.
    void mention_more() const;
    /// For a query without pages.
    std::size_t or_all() const;

private:
    std::uint64_t rows() const { return static_cast<std::uint64_t>(value_.value_or(kDefault)); }

    static constexpr std::int64_t kDefault = 20;
    std::optional<std::int64_t> value_;
};

}  // namespace cairn::cli
