#pragma once

#include <cairn/error.h>
#include <cairn/persistence.h>
#include <cairn/retention.h>
#include <cairn/runtime.h>
#include <cairn/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cairn {

/// All settings, typed. The defaults are those of a process without any variable set.
struct Config {
    bool enable_optimized_persistence = false;    ///< ENABLE_OPTIMIZED_PERSISTENCE
    std::size_t cache_max_size = 1000;            ///< OPTIMIZED_PERSISTENCE_CACHE_SIZE
    bool enable_deduplication = true;             ///< OPTIMIZED_PERSISTENCE_DEDUPLICATION
    bool enable_compression = true;               ///< OPTIMIZED_PERSISTENCE_COMPRESSION
    bool enable_monitoring = true;                ///< OPTIMIZED_PERSISTENCE_MONITORING
    std::string store_url = "sqlite:cairn.db";    ///< CAIRN_STORE
    std::size_t cache_max_bytes = 256U << 20;     ///< CAIRN_CACHE_BYTES_MAX
    std::uint64_t state_bytes_max = 64ULL << 20;  ///< CAIRN_STATE_BYTES_MAX
    std::uint32_t state_depth_max = 1024;         ///< CAIRN_STATE_DEPTH_MAX
    ChainLimits chain_limits = {};                ///< CAIRN_CHAIN_FRAMES_MAX, CAIRN_CHAIN_BYTES_PERCENT_MAX
    Durability durability = Durability::kSync;    ///< CAIRN_DURABILITY
    bool latest_only = false;                     ///< CAIRN_LATEST_ONLY
    bool ignore_key_order = false;                ///< CAIRN_IGNORE_KEY_ORDER
    BatchLimits batch_limits = {};                ///< CAIRN_BATCH_SAVES_MAX, CAIRN_BATCH_BYTES_MAX
    QueueLimits queue_limits = {};   ///< CAIRN_QUEUE_SAVES_MAX, CAIRN_QUEUE_BYTES_MAX, CAIRN_QUEUE_AGE_MAX_MS
    RetentionPolicy retention = {};  ///< CAIRN_RETENTION_…: the default policy of `prune`. Off.
    std::chrono::milliseconds timeout{30'000};  ///< CAIRN_TIMEOUT_MS
    LogLevel log_level = LogLevel::kWarning;    ///< CAIRN_LOG_LEVEL
    std::uint32_t file_mode = 0600;             ///< CAIRN_FILE_MODE: of new stores, outputs and event files.

    StateLimits state_limits() const { return {.bytes_max = state_bytes_max, .depth_max = state_depth_max}; }
};

enum class ConfigOrigin : std::uint8_t { kDefault, kDotenv, kEnvironment };
std::string_view to_string(ConfigOrigin origin) noexcept;  ///< "default", ".env", "environment"

/// One setting as `cairn config` prints it.
struct ConfigEntry {
    std::string_view variable;
    std::string value;
    ConfigOrigin origin = ConfigOrigin::kDefault;
    std::string_view accepts;      ///< "true or false", "a whole number from 1 to …"
    std::string_view description;  ///< One line.
};

struct LoadedConfig {
    Config config;
    std::vector<ConfigEntry> entries;  ///< All variables, in the documentation's order.
    /// Skipped lines of `.env`, each with its number, and variables that look like a misspelt setting.
    std::vector<std::string> warnings;
    std::vector<std::string> unknown;  ///< Other variables that begin like ours.
    std::string dotenv_ignored;        ///< Reason for not reading `.env`, existing or not: "ENVIRONMENT=production".
};

/// Looks a variable up; `std::nullopt` if it is not set.
using EnvironmentLookup = std::function<std::optional<std::string>(const std::string& name)>;

/// The process environment.
EnvironmentLookup process_environment();
std::vector<std::string> process_environment_names();

/// Reads every variable: from `environment` first, else from the file `dotenv` (which need not exist), else the
/// default. An empty value counts as not set. In ENVIRONMENT=production or staging the file is not read.
/// `.env` syntax: `NAME=value` lines, `export ` allowed before, `#` comments, values bare, 'single' (as is) or "double"
///   quoted (\n \r \t \" \\ \$), quoted ones over several lines too, LF or CRLF; other names are allowed and ignored. A
///   line that cannot be read, and is not for one of these variables, is skipped with a warning.
/// `names`: all variables that are set in `environment`, to find misspelt ones. A misspelt variable is never an error.
/// Errors: kInvalidConfig naming the variable, the value and what is accepted, or the file and line number.
[[nodiscard]] Result<LoadedConfig> load_config(const EnvironmentLookup& environment = process_environment(),
                                               const std::filesystem::path& dotenv = ".env",
                                               const std::vector<std::string>& names = {});

/// Returns the options of a service that `config` holds, for callers that construct the service themselves.
[[nodiscard]] OptimizedOptions persistence_options(const Config& config, const Runtime& runtime = {});

/// The service that `config` chooses: the optimised one if ENABLE_OPTIMIZED_PERSISTENCE, otherwise the standard one.
[[nodiscard]] std::unique_ptr<StatePersistence> make_persistence(const Config& config, std::shared_ptr<Store> store,
                                                                 const Runtime& runtime = {});

}  // namespace cairn
