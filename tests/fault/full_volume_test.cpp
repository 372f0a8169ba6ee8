// Goal: on a full volume that holds only the store, deleting works, or the error says truthfully how much room it
// needs: with that room it works, and with a fifth less it does not. No remaining snapshot is lost.
// Method: a process fills a small volume in memory and dies with the last save. Then the volume grows by four fifths of
// the bytes that the error asks for, and then by all of them. The test needs root to mount the volume. A limit on the
// size of files is the same to a process: it gets the same error, and goes on when there is room again.

#include "store/sqlite/sqlite_store.h"
#include "support/make.h"
#include "support/small_volume.h"
#include "support/temp_dir.h"

#include <cairn/persistence.h>
#include <cairn/retention.h>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdint>
#include <filesystem>
#include <random>
#include <string>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cairn::test {
namespace {

std::string noise(std::uint64_t seed, std::size_t bytes) {
    std::mt19937_64 random(seed);
    std::string text;
    while (text.size() < bytes) text += fmt::format("{:016x}", random());
    return fmt::format(R"({{"n":{},"x":"{}"}})", seed, text);
}

// Fills the volume in a process that ends without closing anything. Returns 0 if the volume was full.
int fill(const std::filesystem::path& path, std::size_t state_bytes) {
    const pid_t child = ::fork();
    if (child == 0) {
        const auto store = open_sqlite_store(path).value();
        StatePersistenceService service(store);
        for (std::uint64_t i = 0; i < 10'000; ++i) {
            const auto saved =
                service.save_agent_state(make_request(fmt::format("run {}", i % 5), noise(i, state_bytes)));
            if (!saved) ::_exit(saved.error().code == ErrorCode::kStorageFull ? 0 : 1);
        }
        ::_exit(2);
    }
    int status = -1;
    ::waitpid(child, &status, 0);
    return status;
}

std::uint64_t bytes_to_free(const Error& error) {
    const auto at = error.message.find("free ");
    return at == std::string::npos ? 0 : std::stoull(error.message.substr(at + 5));
}

class FullVolume : public testing::TestWithParam<std::size_t> {};

TEST_P(FullVolume, PruningWorksWithNoMoreRoomThanItSaysItNeeds) {
    constexpr std::uint64_t kBytes = 24U << 20;
    constexpr std::uint64_t kPageBytes = 8192;
    const TempDir dir;
    const SmallVolume volume(dir / "small", kBytes);
    if (!volume.is_there()) GTEST_SKIP() << "a small volume cannot be mounted here (needs root)";
    const std::filesystem::path path = volume / "cairn.db";
    ASSERT_EQ(fill(path, GetParam()), 0);

    const auto store = open_sqlite_store(path);
    ASSERT_TRUE(store.has_value()) << store.error().to_string();
    Result<RetentionReport> pruned = prune(**store, {.keep_last = 3});
    if (!pruned) {
        ASSERT_EQ(pruned.error().code, ErrorCode::kStorageFull) << pruned.error().to_string();
        const std::uint64_t needed = bytes_to_free(pruned.error());
        std::cout << "needs " << needed << " bytes\n";
        ASSERT_GT(needed, 0U) << pruned.error().to_string();
        ASSERT_LE(needed, kBytes / 2);
        ASSERT_TRUE(volume.resize(kBytes + needed * 4 / 5));
        pruned = prune(**store, {.keep_last = 3});
        ASSERT_FALSE(pruned.has_value()) << "it asked for more than it needs";
        ASSERT_EQ(pruned.error().code, ErrorCode::kStorageFull) << pruned.error().to_string();
        EXPECT_LE(bytes_to_free(pruned.error()), needed / 5 + kPageBytes) << "what it has got counts";
        ASSERT_TRUE(volume.resize(kBytes + needed));
        pruned = prune(**store, {.keep_last = 3});
    }
    ASSERT_TRUE(pruned.has_value()) << pruned.error().to_string();
    EXPECT_TRUE(check_deep(**store, Deadline::max()).value().findings.empty());
    EXPECT_EQ((*store)->stats(soon()).value().snapshots, 15U);
    EXPECT_TRUE((*store)->close().has_value());
    EXPECT_LE(std::filesystem::file_size(path), 15 * (GetParam() + 20'000) + 500'000);
}

// A child limits the size of its own files, and says by its exit code what went wrong.
int save_up_to_a_limit_on_files(const std::filesystem::path& path) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limited{.rlim_cur = 400'000, .rlim_max = RLIM_INFINITY};
    const rlimit free{.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
    const auto store = open_sqlite_store(path).value();
    if (::setrlimit(RLIMIT_FSIZE, &limited) != 0) return 1;
    std::int64_t version = 0;
    Status saved;
    while (saved && version < 1'000) {
        ++version;
        saved = commit_run(*store, make_batch(make_snapshot("run", version, noise(7, 20'000))), soon());
    }
    if (saved || saved.error().code != ErrorCode::kStorageFull) return 2;
    if (saved.error().message.find("a file may not grow further") == std::string::npos) return 3;
    if (store->head("run", soon()).value()->version != version - 1) return 4;
    if (::setrlimit(RLIMIT_FSIZE, &free) != 0) return 5;
    if (!commit_run(*store, make_batch(make_snapshot("run", version)), soon())) return 6;
    return store->check(soon()).value().findings.empty() ? 0 : 7;
}

TEST(FullFile, AFileThatMayNotGrowIsAFullVolumeAndNothingIsApplied) {
    const TempDir dir;
    const pid_t child = ::fork();
    if (child == 0) ::_exit(save_up_to_a_limit_on_files(dir / "cairn.db"));
    int status = -1;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
}

INSTANTIATE_TEST_SUITE_P(StatesOf, FullVolume, testing::Values(2'000, 80'000, 400'000));

}  // namespace
}  // namespace cairn::test
