#include "base/nearest_name.h"
#include "config/settings.h"

#include <cairn/config.h>
#include <cairn/dotenv.h>

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <functional>
#include <set>
#include <utility>

namespace cairn {
namespace {

struct Found {
    std::string value;
    ConfigOrigin origin;
};

// An empty value counts as not set, so that `NAME= cairn …` removes a setting.
std::optional<Found> find_value(std::string_view variable, const EnvironmentLookup& environment,
                                const DotenvValues& dotenv) {
    auto value = environment(std::string(variable));
    if (value && !value->empty()) return Found{*std::move(value), ConfigOrigin::kEnvironment};
    const auto line = dotenv.find(variable);
    if (line != dotenv.end() && !line->second.empty()) return Found{line->second, ConfigOrigin::kDotenv};
    return std::nullopt;
}

// Values come from anywhere: an error message repeats only a short part of them, without control characters.
std::string for_message(std::string_view value) {
    constexpr std::size_t kCharactersMax = 80;
    std::string text(value.substr(0, kCharactersMax));
    for (char& c : text) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
    }
    return value.size() > kCharactersMax ? text + "…" : text;
}

bool is_ours(std::string_view name) {
    return std::ranges::any_of(settings(), [name](const Setting& setting) { return setting.variable == name; });
}

// A line of ours must be readable; other programs may write theirs in any way.
Status look_at(const DotenvProblem& problem, const std::string& file, LoadedConfig& loaded) {
    const std::string text = fmt::format("{} line {}: {}", file, problem.line, problem.what);
    if (is_ours(problem.name)) {
        return fail(ErrorCode::kInvalidConfig, fmt::format("{}; give {}=value", text, problem.name));
    }
    loaded.warnings.push_back(text + ": the line is skipped");
    return {};
}

Result<DotenvValues> read_file(const EnvironmentLookup& environment, const std::filesystem::path& path,
                               LoadedConfig& loaded) {
    constexpr const char* kEnvironment = "ENVIRONMENT";
    if (const auto name = environment(kEnvironment); name && !reads_dotenv_in(*name)) {
        loaded.dotenv_ignored = fmt::format("{}={}", kEnvironment, for_message(*name));
        return DotenvValues{};
    }
    auto file = read_dotenv(path);
    if (!file) return std::unexpected(std::move(file.error()));
    for (const DotenvProblem& problem : file->problems) {
        if (Status usable = look_at(problem, path.string(), loaded); !usable) return std::unexpected(usable.error());
    }
    return std::move(file->values);
}

// Variables that `command_agent` gives its program, which may call a cairn, and those of the project's own tools.
bool is_for_others(std::string_view name) {
    constexpr std::array<std::string_view, 7> kOfSteps{"CAIRN_RUN_ID",   "CAIRN_THREAD_ID", "CAIRN_USER_ID",
                                                       "CAIRN_PIPELINE", "CAIRN_STEP",      "CAIRN_ATTEMPT",
                                                       "CAIRN_WITH"};
    constexpr std::array<std::string_view, 3> kOfTools{"CAIRN_TEST_", "CAIRN_SOAK_", "CAIRN_SKIP_"};
    return std::ranges::find(kOfSteps, name) != kOfSteps.end() ||
           std::ranges::any_of(kOfTools, [&](std::string_view start) { return name.starts_with(start); });
}

// A misspelt setting is reported at every start. A name that only begins like ours may be a user's own, who does not
// want a report each time.
void note_unknown(const std::string& name, LoadedConfig& loaded) {
    if (is_ours(name) || is_for_others(name)) return;
    std::vector<std::string> names;
    for (const Setting& setting : settings()) names.emplace_back(setting.variable);
    const std::string meant = nearest_name(name, names);
    const bool is_near = !meant.empty() && meant.size() <= name.size() + 2;  // many names begin with CAIRN
    if (is_near) {
        loaded.warnings.push_back(fmt::format("{} is no setting: did you mean {}?", for_message(name), meant));
    } else if (name.starts_with("CAIRN_") || name.starts_with("OPTIMIZED_PERSISTENCE_")) {
        loaded.unknown.push_back(for_message(name));
    }
}

void note_unknown(const std::vector<std::string>& names, const DotenvValues& dotenv, LoadedConfig& loaded) {
    std::set<std::string, std::less<>> given(names.begin(), names.end());
    for (const auto& [name, value] : dotenv) given.insert(name);
    for (const std::string& name : given) note_unknown(name, loaded);
}

std::string_view where(ConfigOrigin origin) {
    return origin == ConfigOrigin::kDotenv ? "from .env" : "from the environment";
}

}  // namespace

std::string_view to_string(ConfigOrigin origin) noexcept {
    constexpr std::array<std::string_view, 3> kNames{"default", ".env", "environment"};
    return kNames[static_cast<std::size_t>(origin)];
}

EnvironmentLookup process_environment() {
    return [](const std::string& name) -> std::optional<std::string> {
        const char* value = std::getenv(name.c_str());
        if (value == nullptr) return std::nullopt;
        return value;
    };
}

std::vector<std::string> process_environment_names() {
    std::vector<std::string> names;
    for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
        const std::string_view line(*entry);
        names.emplace_back(line.substr(0, line.find('=')));
    }
    return names;
}

Result<LoadedConfig> load_config(const EnvironmentLookup& environment, const std::filesystem::path& dotenv,
                                 const std::vector<std::string>& names) {
    LoadedConfig loaded;
    const auto file = read_file(environment, dotenv, loaded);
    if (!file) return std::unexpected(file.error());
    note_unknown(names, *file, loaded);

    for (const Setting& setting : settings()) {
        const auto found = find_value(setting.variable, environment, *file);
        if (found && !setting.read(found->value, loaded.config)) {
            return fail(ErrorCode::kInvalidConfig,
                        fmt::format("{}=\"{}\" ({}) cannot be read: give {}", setting.variable,
                                    for_message(found->value), where(found->origin), setting.accepts));
        }
        loaded.entries.push_back({.variable = setting.variable,
                                  .value = setting.print(loaded.config),
                                  .origin = found ? found->origin : ConfigOrigin::kDefault,
                                  .accepts = setting.accepts,
                                  .description = setting.description});
    }
    return loaded;
}

OptimizedOptions persistence_options(const Config& config, const Runtime& runtime) {
    OptimizedOptions options{{.state_limits = config.state_limits(), .timeout = config.timeout, .runtime = runtime}};
    options.enable_deduplication = config.enable_deduplication;
    options.enable_compression = config.enable_compression;
    options.chain_limits = config.chain_limits;
    options.enable_monitoring = config.enable_monitoring;
    options.cache_max_size = config.cache_max_size;
    options.cache_max_bytes = config.cache_max_bytes;
    options.durability = config.durability;
    options.latest_only = config.latest_only;
    options.ignore_key_order = config.ignore_key_order;
    options.batch_limits = config.batch_limits;
    options.queue_limits = config.queue_limits;
    return options;
}

std::unique_ptr<StatePersistence> make_persistence(const Config& config, std::shared_ptr<Store> store,
                                                   const Runtime& runtime) {
    const OptimizedOptions options = persistence_options(config, runtime);
    if (!config.enable_optimized_persistence) {
        return std::make_unique<StatePersistenceService>(std::move(store), options);
    }
    return std::make_unique<OptimizedStatePersistence>(std::move(store), options);
}

}  // namespace cairn
