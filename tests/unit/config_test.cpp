// Goal: every setting is read from the environment, from .env or from its default, and no unreadable value passes
// silently.
// Method: `load_config` with a map as the environment and a .env file in a folder of its own. The test walks the table
// of settings, so a new setting without good and bad examples here fails.

#include "config/settings.h"
#include "support/temp_dir.h"

#include <cairn/config.h>
#include <cairn/dotenv.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <map>

namespace cairn {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

using Variables = std::map<std::string, std::string>;

EnvironmentLookup environment_of(const Variables& variables) {
    return [variables](const std::string& name) -> std::optional<std::string> {
        const auto found = variables.find(name);
        if (found == variables.end()) return std::nullopt;
        return found->second;
    };
}

// Loads an environment and a .env file.
Result<LoadedConfig> load(const Variables& variables, const std::string& dotenv = "") {
    const test::TempDir folder;
    std::ofstream(folder / ".env", std::ios::binary) << dotenv;
    return load_config(environment_of(variables), folder / ".env");
}

const ConfigEntry& entry_of(const LoadedConfig& loaded, std::string_view variable) {
    for (const ConfigEntry& entry : loaded.entries) {
        if (entry.variable == variable) return entry;
    }
    throw std::out_of_range(std::string(variable));
}

struct Example {
    std::string text;
    std::string printed;  ///< The form in which `cairn config` prints it.
};

struct Examples {
    std::vector<Example> good;
    std::vector<std::string> bad;
};

Examples flag_examples() {
    return {.good = {{"true", "true"},
                     {"TRUE", "true"},
                     {"True", "true"},
                     {"1", "true"},
                     {"yes", "true"},
                     {"On", "true"},
                     {"false", "false"},
                     {"False", "false"},
                     {"0", "false"},
                     {"NO", "false"},
                     {"off", "false"}},
            .bad = {"maybe", "2", "t", "truee", " true", "true ", "-1", "tru\xC3\xA9"}};
}

Examples number_examples(const std::string& min, const std::string& below, const std::string& max,
                         const std::string& above) {
    return {.good = {{min, min}, {max, max}},
            .bad = {below, above, "lots", "-1", "+1", "1.0", "1e3", " 1", "1 ", "1x", "0x10", "18446744073709551616",
                    "99999999999999999999999"}};
}

Examples byte_examples(const std::string& min, const std::string& below, const std::string& max,
                       const std::string& above) {
    Examples examples = number_examples(min, below, max, above);
    examples.good.insert(examples.good.end(),
                         {{"64K", "65536"}, {"2m", "2097152"}, {"1G", "1073741824"}, {"3g", "3221225472"}});
    examples.bad.insert(examples.bad.end(), {"K", "1KB", "1 K", "1KK", "1T", "-1K", "18014398509481984K", "1.5M"});
    return examples;
}

Examples rule_examples(const std::string& max, const std::string& above) {
    Examples examples = number_examples("1", "0", max, above);
    examples.good.insert(examples.good.end(), {{"off", "off"}, {"OFF", "off"}});
    examples.bad.insert(examples.bad.end(), {"no", "of", "off "});
    return examples;
}

std::map<std::string, Examples, std::less<>> all_examples() {
    return {
        {"ENABLE_OPTIMIZED_PERSISTENCE", flag_examples()},
        {"OPTIMIZED_PERSISTENCE_CACHE_SIZE", number_examples("1", "0", "1000000000", "1000000001")},
        {"OPTIMIZED_PERSISTENCE_DEDUPLICATION", flag_examples()},
        {"OPTIMIZED_PERSISTENCE_COMPRESSION", flag_examples()},
        {"OPTIMIZED_PERSISTENCE_MONITORING", flag_examples()},
        {"CAIRN_STORE", {.good = {{"memory:", "memory:"}, {"sqlite:/a b/c.db", "sqlite:/a b/c.db"}}, .bad = {}}},
        {"CAIRN_CACHE_BYTES_MAX", byte_examples("1", "0", "1099511627776", "1099511627777")},
        {"CAIRN_STATE_BYTES_MAX", byte_examples("2", "1", "4294967231", "4294967232")},
        {"CAIRN_STATE_DEPTH_MAX", number_examples("1", "0", "10000", "10001")},
        {"CAIRN_CHAIN_FRAMES_MAX", number_examples("1", "0", "100000", "100001")},
        {"CAIRN_CHAIN_BYTES_PERCENT_MAX", number_examples("100", "99", "10000", "10001")},
        {"CAIRN_DURABILITY",
         {.good = {{"sync", "sync"}, {"ASYNC", "async"}, {"exit", "exit"}}, .bad = {"never", "queued", "1", "sync "}}},
        {"CAIRN_LATEST_ONLY", flag_examples()},
        {"CAIRN_IGNORE_KEY_ORDER", flag_examples()},
        {"CAIRN_BATCH_SAVES_MAX", number_examples("1", "0", "100000", "100001")},
        {"CAIRN_BATCH_BYTES_MAX", byte_examples("1", "0", "1099511627776", "1099511627777")},
        {"CAIRN_QUEUE_SAVES_MAX", number_examples("1", "0", "100000000", "100000001")},
        {"CAIRN_QUEUE_BYTES_MAX", byte_examples("1", "0", "1099511627776", "1099511627777")},
        {"CAIRN_QUEUE_AGE_MAX_MS", number_examples("1", "0", "3600000", "3600001")},
        {"CAIRN_RETENTION_KEEP_LAST", rule_examples("1000000000", "1000000001")},
        {"CAIRN_RETENTION_AGE_DAYS", rule_examples("36500", "36501")},
        {"CAIRN_RETENTION_EXPIRED", flag_examples()},
        {"CAIRN_TIMEOUT_MS", number_examples("1", "0", "3600000", "3600001")},
        {"CAIRN_LOG_LEVEL",
         {.good = {{"debug", "debug"}, {"INFO", "info"}, {"warning", "warning"}, {"error", "error"}},
          .bad = {"loud", "warn", "0", "debug "}}},
        {"CAIRN_FILE_MODE",
         {.good = {{"0600", "0600"}, {"640", "0640"}, {"0660", "0660"}, {"0666", "0666"}},
          .bad = {"0700", "0400", "0o600", "00600", "384", "rw-------", "0604", "0620", "600 "}}},
    };
}

TEST(Config, EverySettingHasExamplesHereAndIsPrintedInTheDocumentedOrder) {
    const auto loaded = load({});
    ASSERT_TRUE(loaded.has_value());
    const auto examples = all_examples();
    ASSERT_EQ(loaded->entries.size(), examples.size());
    for (const ConfigEntry& entry : loaded->entries) {
        EXPECT_TRUE(examples.contains(entry.variable)) << entry.variable;
        EXPECT_FALSE(entry.accepts.empty()) << entry.variable;
        EXPECT_FALSE(entry.description.empty()) << entry.variable;
    }
    EXPECT_EQ(loaded->entries[0].variable, "ENABLE_OPTIMIZED_PERSISTENCE");
    EXPECT_EQ(loaded->entries[5].variable, "CAIRN_STORE");
}

TEST(Config, WithoutAnyVariableEveryValueIsTheDocumentedDefault) {
    const auto loaded = load({});
    ASSERT_TRUE(loaded.has_value());
    const std::vector<std::pair<std::string, std::string>> defaults{
        {"ENABLE_OPTIMIZED_PERSISTENCE", "false"},
        {"OPTIMIZED_PERSISTENCE_CACHE_SIZE", "1000"},
        {"OPTIMIZED_PERSISTENCE_DEDUPLICATION", "true"},
        {"OPTIMIZED_PERSISTENCE_COMPRESSION", "true"},
        {"OPTIMIZED_PERSISTENCE_MONITORING", "true"},
        {"CAIRN_STORE", "sqlite:cairn.db"},
        {"CAIRN_CACHE_BYTES_MAX", "268435456"},
        {"CAIRN_STATE_BYTES_MAX", "67108864"},
        {"CAIRN_STATE_DEPTH_MAX", "1024"},
        {"CAIRN_CHAIN_FRAMES_MAX", "512"},
        {"CAIRN_CHAIN_BYTES_PERCENT_MAX", "400"},
        {"CAIRN_DURABILITY", "sync"},
        {"CAIRN_LATEST_ONLY", "false"},
        {"CAIRN_IGNORE_KEY_ORDER", "false"},
        {"CAIRN_BATCH_SAVES_MAX", "256"},
        {"CAIRN_BATCH_BYTES_MAX", "8388608"},
        {"CAIRN_QUEUE_SAVES_MAX", "10000"},
        {"CAIRN_QUEUE_BYTES_MAX", "67108864"},
        {"CAIRN_QUEUE_AGE_MAX_MS", "1000"},
        {"CAIRN_RETENTION_KEEP_LAST", "off"},
        {"CAIRN_RETENTION_AGE_DAYS", "off"},
        {"CAIRN_RETENTION_EXPIRED", "false"},
        {"CAIRN_TIMEOUT_MS", "30000"},
        {"CAIRN_LOG_LEVEL", "warning"},
    };
    for (const auto& [variable, value] : defaults) {
        EXPECT_EQ(entry_of(*loaded, variable).value, value) << variable;
        EXPECT_EQ(entry_of(*loaded, variable).origin, ConfigOrigin::kDefault) << variable;
    }
}

TEST(Config, EveryGoodValueIsTakenFromTheEnvironmentAndFromDotenv) {
    for (const auto& [variable, examples] : all_examples()) {
        for (const auto& [text, printed] : examples.good) {
            const auto from_environment = load({{variable, text}});
            ASSERT_TRUE(from_environment.has_value()) << from_environment.error().message;
            EXPECT_EQ(entry_of(*from_environment, variable).value, printed);
            EXPECT_EQ(entry_of(*from_environment, variable).origin, ConfigOrigin::kEnvironment);

            const auto from_dotenv = load({}, variable + "=" + text + "\n");
            ASSERT_TRUE(from_dotenv.has_value()) << from_dotenv.error().message;
            EXPECT_EQ(entry_of(*from_dotenv, variable).value, printed);
            EXPECT_EQ(entry_of(*from_dotenv, variable).origin, ConfigOrigin::kDotenv);
        }
    }
}

TEST(Config, EveryBadValueIsAnErrorThatNamesVariableValueAndWhatIsAccepted) {
    const auto defaults = load({});
    ASSERT_TRUE(defaults.has_value());
    for (const auto& [variable, examples] : all_examples()) {
        for (const std::string& text : examples.bad) {
            const auto loaded = load({{variable, text}});
            ASSERT_FALSE(loaded.has_value()) << variable << "=" << text;
            EXPECT_EQ(loaded.error().code, ErrorCode::kInvalidConfig);
            EXPECT_THAT(loaded.error().message, AllOf(HasSubstr(variable), HasSubstr('"' + text + '"'),
                                                      HasSubstr(std::string(entry_of(*defaults, variable).accepts))));
        }
    }
}

TEST(Config, ValuesArriveInTheTypedMembers) {
    const auto loaded = load({{"ENABLE_OPTIMIZED_PERSISTENCE", "yes"},
                              {"OPTIMIZED_PERSISTENCE_CACHE_SIZE", "7"},
                              {"OPTIMIZED_PERSISTENCE_DEDUPLICATION", "no"},
                              {"OPTIMIZED_PERSISTENCE_COMPRESSION", "off"},
                              {"OPTIMIZED_PERSISTENCE_MONITORING", "0"},
                              {"CAIRN_STORE", "memory:"},
                              {"CAIRN_CACHE_BYTES_MAX", "3K"},
                              {"CAIRN_STATE_BYTES_MAX", "5000"},
                              {"CAIRN_STATE_DEPTH_MAX", "12"},
                              {"CAIRN_CHAIN_FRAMES_MAX", "64"},
                              {"CAIRN_CHAIN_BYTES_PERCENT_MAX", "250"},
                              {"CAIRN_DURABILITY", "async"},
                              {"CAIRN_LATEST_ONLY", "yes"},
                              {"CAIRN_IGNORE_KEY_ORDER", "yes"},
                              {"CAIRN_BATCH_SAVES_MAX", "12"},
                              {"CAIRN_BATCH_BYTES_MAX", "13K"},
                              {"CAIRN_QUEUE_SAVES_MAX", "14"},
                              {"CAIRN_QUEUE_BYTES_MAX", "15K"},
                              {"CAIRN_QUEUE_AGE_MAX_MS", "16"},
                              {"CAIRN_RETENTION_KEEP_LAST", "9"},
                              {"CAIRN_RETENTION_AGE_DAYS", "30"},
                              {"CAIRN_RETENTION_EXPIRED", "on"},
                              {"CAIRN_TIMEOUT_MS", "250"},
                              {"CAIRN_LOG_LEVEL", "debug"}});
    ASSERT_TRUE(loaded.has_value());
    const Config& config = loaded->config;
    EXPECT_TRUE(config.enable_optimized_persistence);
    EXPECT_EQ(config.cache_max_size, 7U);
    EXPECT_FALSE(config.enable_deduplication);
    EXPECT_FALSE(config.enable_compression);
    EXPECT_FALSE(config.enable_monitoring);
    EXPECT_EQ(config.durability, Durability::kAsync);
    EXPECT_TRUE(config.latest_only);
    EXPECT_TRUE(config.ignore_key_order);
    EXPECT_EQ(config.batch_limits.saves_max, 12U);
    EXPECT_EQ(config.batch_limits.bytes_max, 13U << 10U);
    EXPECT_EQ(config.queue_limits.saves_max, 14U);
    EXPECT_EQ(config.queue_limits.bytes_max, 15U << 10U);
    EXPECT_EQ(config.queue_limits.age_max, std::chrono::milliseconds(16));
    EXPECT_EQ(config.store_url, "memory:");
    EXPECT_EQ(config.cache_max_bytes, 3072U);
    EXPECT_EQ(config.state_limits().bytes_max, 5000U);
    EXPECT_EQ(config.state_limits().depth_max, 12U);
    EXPECT_EQ(config.chain_limits.frames_max, 64U);
    EXPECT_EQ(config.chain_limits.bytes_percent_max, 250U);
    EXPECT_EQ(config.retention.keep_last, 9U);
    EXPECT_EQ(config.retention.age_max, std::chrono::days(30));
    EXPECT_TRUE(config.retention.expired);
    EXPECT_EQ(config.timeout, std::chrono::milliseconds(250));
    EXPECT_EQ(config.log_level, LogLevel::kDebug);
}

TEST(Config, ARetentionRuleOfDotenvCanBeSwitchedOff) {
    const auto loaded = load({{"CAIRN_RETENTION_KEEP_LAST", "off"}}, "CAIRN_RETENTION_KEEP_LAST=5\n");
    ASSERT_TRUE(loaded.has_value());
    EXPECT_EQ(loaded->config.retention.keep_last, std::nullopt);
}

TEST(Config, TheEnvironmentWinsOverDotenv) {
    const auto loaded = load({{"CAIRN_STORE", "memory:"}}, "CAIRN_STORE=sqlite:other.db\nCAIRN_TIMEOUT_MS=9\n");
    ASSERT_TRUE(loaded.has_value());
    EXPECT_EQ(loaded->config.store_url, "memory:");
    EXPECT_EQ(entry_of(*loaded, "CAIRN_STORE").origin, ConfigOrigin::kEnvironment);
    EXPECT_EQ(loaded->config.timeout, std::chrono::milliseconds(9));
}

TEST(Config, AnEmptyValueCountsAsNotSet) {
    const auto loaded = load({{"CAIRN_TIMEOUT_MS", ""}}, "CAIRN_TIMEOUT_MS=9\nCAIRN_LOG_LEVEL=\n");
    ASSERT_TRUE(loaded.has_value());
    EXPECT_EQ(loaded->config.timeout, std::chrono::milliseconds(9));
    EXPECT_EQ(loaded->config.log_level, LogLevel::kWarning);
    EXPECT_EQ(entry_of(*loaded, "CAIRN_LOG_LEVEL").origin, ConfigOrigin::kDefault);
}

TEST(Config, ALongOrUnprintableValueIsShortenedInTheMessage) {
    const auto loaded = load({{"CAIRN_TIMEOUT_MS", "\n" + std::string(5000, 'x')}});
    ASSERT_FALSE(loaded.has_value());
    EXPECT_LT(loaded.error().message.size(), 300U);
    EXPECT_THAT(loaded.error().message, Not(HasSubstr("\n")));
}

TEST(Config, TheProcessEnvironmentIsWhatLoadConfigReadsByItself) {
    ASSERT_EQ(setenv("CAIRN_TIMEOUT_MS", "77", 1), 0);
    ASSERT_EQ(unsetenv("CAIRN_LOG_LEVEL"), 0);
    EXPECT_EQ(process_environment()("CAIRN_TIMEOUT_MS"), "77");
    EXPECT_EQ(process_environment()("CAIRN_LOG_LEVEL"), std::nullopt);
}

TEST(Config, APasswordInAStoreUrlIsNeverPrinted) {
    const std::vector<std::pair<std::string, std::string>> cases{
        {"sqlite:cairn.db", "sqlite:cairn.db"},
        {"sqlite:/home/me@work/x:y.db", "sqlite:/home/me@work/x:y.db"},
        {"postgresql://host:5432/db", "postgresql://host:5432/db"},
        {"postgresql://me@host/db", "postgresql://me@host/db"},
        {"postgresql://me:secret@host:5432/db", "postgresql://me:***@host:5432/db"},
        {"postgresql://me:sec/r@et@host/db", "postgresql://me:***@host/db"},
        {"postgresql://host/db?user=me&password=secret&sslmode=require",
         "postgresql://host/db?user=me&password=***&sslmode=require"},
        {"postgresql://host/db?password=secret", "postgresql://host/db?password=***"},
    };
    for (const auto& [url, printed] : cases) {
        const auto loaded = load({{"CAIRN_STORE", url}});
        ASSERT_TRUE(loaded.has_value());
        EXPECT_EQ(loaded->config.store_url, url);
        EXPECT_EQ(entry_of(*loaded, "CAIRN_STORE").value, printed);
    }
}

TEST(Config, TheSwitchChoosesTheService) {
    const auto chooses_optimised = [](bool enabled) {
        const Config config{.enable_optimized_persistence = enabled};
        const auto service = make_persistence(config, open_store("memory:").value());
        return dynamic_cast<OptimizedStatePersistence*>(service.get()) != nullptr;
    };
    EXPECT_FALSE(chooses_optimised(false));
    EXPECT_TRUE(chooses_optimised(true));
}

TEST(Config, TheOptimisedServiceGetsTheSettings) {
    const Config config{.enable_optimized_persistence = true,
                        .cache_max_size = 7,
                        .enable_deduplication = false,
                        .enable_compression = false,
                        .cache_max_bytes = 4096};
    const auto service = make_persistence(config, open_store("memory:").value());
    const auto* optimised = dynamic_cast<OptimizedStatePersistence*>(service.get());
    ASSERT_NE(optimised, nullptr);
    const CacheStats stats = optimised->get_cache_stats();
    EXPECT_EQ(stats.cache_max_size, 7U);
    EXPECT_EQ(stats.cache_max_bytes, 4096U);
    EXPECT_FALSE(stats.deduplication_enabled);
    EXPECT_FALSE(stats.compression_enabled);
}

TEST(Config, TheOptimisedServiceKeepsItsChainsWithinTheLimit) {
    const auto store = open_store("memory:");
    ASSERT_TRUE(store.has_value());
    const Config config{.enable_optimized_persistence = true, .chain_limits = {.frames_max = 2}};
    const auto service = make_persistence(config, *store);
    for (int step = 1; step <= 9; ++step) {
        const std::string text = "{\"text\":\"" + std::string(3000, 'x') + "\",\"step\":" + std::to_string(step) + "}";
        ASSERT_TRUE(service->save_agent_state(
            {.run_id = "r", .thread_id = "t", .user_id = "u", .state_data = State::parse(text).value()}));
    }
    EXPECT_EQ((*store)->stats(Deadline::max())->chain_frames_max, 2U);
}

TEST(Dotenv, EveryFormOfTheSyntaxIsRead) {
    const std::vector<std::pair<std::string, std::string>> cases{
        {"N=value", "value"},
        {"N=value\n", "value"},
        {"N=value\r\n", "value"},
        {"\xEF\xBB\xBFN=value\n", "value"},
        {"  N=value  \n", "value"},
        {"N = value\n", "value"},
        {"export N=value\n", "value"},
        {"export\t N=value\n", "value"},
        {"N=\n", ""},
        {"N=two words\n", "two words"},
        {"N=value # comment\n", "value"},
        {"N=value\t# comment\n", "value"},
        {"N=a#b\n", "a#b"},
        {"N=#b\n", "#b"},
        {"N= # all comment\n", ""},
        {"N=a=b\n", "a=b"},
        {"N=it's\n", "it's"},
        {"N='single # $x \\n'\n", "single # $x \\n"},
        {"N='single' # comment\n", "single"},
        {"N=\"double # no comment\"\n", "double # no comment"},
        {"N=\"double\" # comment\n", "double"},
        {"N=\"a\\nb\\tc\\rd\\\"e\\\\f\\$g\"\n", "a\nb\tc\rd\"e\\f$g"},
        {"N=\"unknown \\x stays\"\n", "unknown \\x stays"},
        {"N=''\n", ""},
        {"N=\"it's\"\n", "it's"},
        {"N=first\nN=last\n", "last"},
        {"N=\"two\nlines\"\n", "two\nlines"},
        {"N='-----BEGIN KEY-----\nMIIB=\n# no comment\n-----END KEY-----' # comment\n",
         "-----BEGIN KEY-----\nMIIB=\n# no comment\n-----END KEY-----"},
        {"N=\"a\\\"\nb\"", "a\"\nb"},
        {"# comment\n\n \t\n  # another\nN=value", "value"},
    };
    for (const auto& [text, value] : cases) {
        const Dotenv dotenv = parse_dotenv(text);
        EXPECT_THAT(dotenv.problems, IsEmpty()) << text;
        EXPECT_THAT(dotenv.values, ElementsAre(Pair("N", value))) << text;
    }
}

TEST(Dotenv, NamesThatCairnDoesNotReadAreAllowed) {
    const auto values = parse_dotenv("OTHER_1=x\nexport_me=y\n_z='w'\n").values;
    EXPECT_THAT(values, UnorderedElementsAre(Pair("OTHER_1", "x"), Pair("export_me", "y"), Pair("_z", "w")));
}

TEST(Dotenv, AnEmptyFileHasNoValues) {
    for (const std::string_view text : {"", "\n", "\r\n", "\xEF\xBB\xBF"}) {
        EXPECT_THAT(parse_dotenv(text).values, IsEmpty());
    }
}

TEST(Dotenv, ALineOfAnotherProgramThatCannotBeReadIsSkippedWithAWarningThatNamesIt) {
    const std::vector<std::pair<std::string, std::string>> cases{
        {"no equals sign secret", "there is no '='"},
        {"export", "there is no '='"},
        {"=secret", "is not a name"},
        {"1N=secret", "is not a name"},
        {"MY-NAME=secret", "is not a name"},
        {"spring.datasource.url=secret", "is not a name"},
        {"MY NAME=secret", "is not a name"},
        {"N='secret", "quote is not closed"},
        {"N=\"secret", "quote is not closed"},
        {"N=\"secret\\\"", "quote is not closed"},
        {"N='secret' more", "after the closing quote"},
        {"N=\"secret\"more", "after the closing quote"},
    };
    for (const auto& [line, problem] : cases) {
        const auto loaded = load({}, "A=\"1\n2\"\r\n# comment\n" + line + "\nCAIRN_LOG_LEVEL=info\n");
        ASSERT_TRUE(loaded.has_value()) << line << ": " << loaded.error().message;
        EXPECT_EQ(loaded->config.log_level, LogLevel::kInfo) << line;
        EXPECT_THAT(loaded->warnings, ElementsAre(AllOf(HasSubstr(".env line 4:"), HasSubstr(problem),
                                                        HasSubstr("skipped"), Not(HasSubstr("secret")))));
    }
}

TEST(Dotenv, ALineOfOursThatCannotBeReadIsAnErrorWithItsNumberButWithoutItsContent) {
    const std::vector<std::pair<std::string, std::string>> cases{
        {"CAIRN_STORE secret", "there is no '='"},
        {"export CAIRN_STORE", "there is no '='"},
        {"CAIRN_STORE x=secret", "is not a name"},
        {"CAIRN_STORE='secret", "quote is not closed"},
        {"CAIRN_STORE='secret' more", "after the closing quote"},
    };
    for (const auto& [line, problem] : cases) {
        const auto loaded = load({}, "A=1\n" + line + "\nB=2\n");
        ASSERT_FALSE(loaded.has_value()) << line;
        EXPECT_EQ(loaded.error().code, ErrorCode::kInvalidConfig);
        EXPECT_THAT(loaded.error().message, AllOf(HasSubstr(".env line 2:"), HasSubstr(problem),
                                                  HasSubstr("give CAIRN_STORE=value"), Not(HasSubstr("secret"))));
    }
}

TEST(Dotenv, IsNotReadInProductionAndStaging) {
    const std::string dotenv = "CAIRN_LOG_LEVEL=info\nCAIRN_STORE='not closed\n";
    for (const std::string name : {"production", "Production", "staging", "STAGING"}) {
        const auto loaded = load({{"ENVIRONMENT", name}}, dotenv);
        ASSERT_TRUE(loaded.has_value()) << name;
        EXPECT_EQ(loaded->config.log_level, LogLevel::kWarning) << name;
        EXPECT_EQ(loaded->dotenv_ignored, "ENVIRONMENT=" + name);
    }
    for (const std::string name : {"development", "prod", "production ", ""}) {
        const auto loaded = load({{"ENVIRONMENT", name}}, "CAIRN_LOG_LEVEL=info\n");
        ASSERT_TRUE(loaded.has_value()) << name;
        EXPECT_EQ(loaded->config.log_level, LogLevel::kInfo) << name;
        EXPECT_EQ(loaded->dotenv_ignored, "");
    }
    EXPECT_EQ(load({}, "ENVIRONMENT=production\nCAIRN_LOG_LEVEL=info\n")->config.log_level, LogLevel::kInfo)
        << "only the environment says it, not the file itself";
}

TEST(Dotenv, APipeOfThatNameIsAnErrorAndNotWaitedFor) {
    const test::TempDir folder;
    ASSERT_EQ(::mkfifo((folder / ".env").c_str(), 0600), 0);
    const auto loaded = load_config(environment_of({}), folder / ".env");
    ASSERT_FALSE(loaded.has_value());
    EXPECT_EQ(loaded.error().code, ErrorCode::kInvalidConfig);
    EXPECT_THAT(loaded.error().message, HasSubstr("is not a file"));
}

TEST(Dotenv, ALinkIsFollowedToAFileOnly) {
    const test::TempDir folder;
    std::ofstream(folder / "settings") << "CAIRN_LOG_LEVEL=info\n";
    std::filesystem::create_symlink("settings", folder / ".env");
    EXPECT_EQ(load_config(environment_of({}), folder / ".env")->config.log_level, LogLevel::kInfo);
    std::filesystem::remove(folder / ".env");
    std::filesystem::create_symlink("/dev/zero", folder / ".env");
    EXPECT_EQ(load_config(environment_of({}), folder / ".env").error().code, ErrorCode::kInvalidConfig);
}

TEST(Dotenv, AnAbsentFileOrFolderIsFine) {
    const test::TempDir folder;
    EXPECT_TRUE(load_config(environment_of({}), folder / ".env").has_value());
    EXPECT_TRUE(load_config(environment_of({}), folder / "none" / ".env").has_value());
}

TEST(Dotenv, AFolderOfThatNameIsAnErrorThatNamesIt) {
    const test::TempDir folder;
    std::filesystem::create_directory(folder / ".env");
    const auto loaded = load_config(environment_of({}), folder / ".env");
    ASSERT_FALSE(loaded.has_value());
    EXPECT_EQ(loaded.error().code, ErrorCode::kInvalidConfig);
    EXPECT_THAT(loaded.error().message, HasSubstr((folder / ".env").string()));
    EXPECT_THAT(loaded.error().detail, HasSubstr("directory"));
}

TEST(Dotenv, AnUnreadableFileIsAnError) {
    if (geteuid() == 0) GTEST_SKIP() << "root reads every file";
    const test::TempDir folder;
    std::ofstream(folder / ".env") << "A=1\n";
    std::filesystem::permissions(folder / ".env", std::filesystem::perms::none);
    const auto loaded = load_config(environment_of({}), folder / ".env");
    ASSERT_FALSE(loaded.has_value());
    EXPECT_EQ(loaded.error().code, ErrorCode::kInvalidConfig);
}

TEST(Dotenv, AHugeFileIsAnErrorAndNotRead) {
    const auto loaded = load({}, std::string((1U << 20) + 1, '#'));
    ASSERT_FALSE(loaded.has_value());
    EXPECT_EQ(loaded.error().code, ErrorCode::kInvalidConfig);
    EXPECT_THAT(loaded.error().message, HasSubstr("larger than 1048576 bytes"));
}

}  // namespace
}  // namespace cairn
