#include "cli/command.h"

#include "config/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>
#include <system_error>

namespace cairn::cli {

std::string Cli::store_label() const {
    return without_password(config().store_url);
}

namespace {

// A store that does not exist was probably looked for in the wrong place.
Result<std::shared_ptr<Store>> open(const Cli& cli, OpenOptions options) {
    options.file_mode = cli.config().file_mode;
    options.runtime = cli.runtime;
    auto store = open_store(cli.config().store_url, options);
    if (store || store.error().code != ErrorCode::kNotFound) return store;
    return std::unexpected(
        advise(std::move(store.error()),
               "Name the store with --store or CAIRN_STORE; `cairn config` shows which one is used."));
}

}  // namespace

Result<std::shared_ptr<Store>> Cli::open_for_reading() const {
    return open(*this, {.read_only = true, .create = false});
}

Result<std::shared_ptr<Store>> Cli::open_for_writing() const {
    return open(*this, {});
}

Result<std::shared_ptr<Store>> Cli::open_existing_for_writing() const {
    return open(*this, {.create = false});
}

// Compares the file with the store under any of its names, and with the files that the engine keeps beside it.
Status Cli::check_output(const char* option, const std::string& path) const {
    constexpr std::string_view kScheme = "sqlite:";
    constexpr std::array<std::string_view, 5> kSuffixes{"", "-wal", "-shm", "-journal", "-lock"};
    namespace fs = std::filesystem;
    if (path.empty() || path == "-" || !config().store_url.starts_with(kScheme)) return {};
    const fs::path store = config().store_url.substr(kScheme.size());
    std::error_code ignored;
    const auto canonical = [&](const fs::path& name) { return fs::weakly_canonical(fs::absolute(name), ignored); };
    const auto is_output = [&](std::string_view suffix) {
        return canonical(path) == canonical(store).concat(suffix) ||
               fs::equivalent(path, fs::path(store).concat(suffix), ignored);
    };
    if (std::ranges::none_of(kSuffixes, is_output)) return {};
    return std::unexpected(advise({.code = ErrorCode::kInvalidArgument,
                                   .message = fmt::format("{} \"{}\" is a file of the store {}, which would be lost",
                                                          option, path, store_label())},
                                  "Give the output another name."));
}

}  // namespace cairn::cli
