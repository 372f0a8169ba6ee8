// Goal: a read that the system refuses (EIO), once or for good, means that the disk fails. It is not taken for damage,
// and no recovery moves a head because of it.
// Method: replaces the engine's system call, so that the engine meets the failure where a real disk would show it. Each
// read of a recovery fails in turn.

#include "support/forwarding_vfs.h"
#include "support/make.h"
#include "support/temp_dir.h"

#include <cairn/persistence.h>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <memory>
#include <string>
#include <string_view>

namespace cairn::test {
namespace {

using ReadAt = ssize_t (*)(int, void*, size_t, off_t);

/// Refuses one positioned read of the engine, or all from that one on. There can be only one instance at a time.
class RefusedReads {
public:
    RefusedReads() {
        for (const char* name : {"pread", "pread64"}) {
            const sqlite3_syscall_ptr found = vfs_->xGetSystemCall(vfs_, name);
            if (found == nullptr) continue;
            real_ = reinterpret_cast<ReadAt>(found);
            vfs_->xSetSystemCall(vfs_, name, reinterpret_cast<sqlite3_syscall_ptr>(&RefusedReads::read));
        }
    }
    ~RefusedReads() {
        for (const char* name : {"pread", "pread64"}) vfs_->xSetSystemCall(vfs_, name, nullptr);
        real_ = nullptr;
    }
    RefusedReads(const RefusedReads&) = delete;
    RefusedReads& operator=(const RefusedReads&) = delete;

    static bool is_possible() { return real_ != nullptr; }
    void arm(int nth, bool for_good) {
        nth_ = nth;
        for_good_ = for_good;
        count_ = 0;
    }
    void disarm() { nth_ = 0; }
    bool has_struck() const { return nth_ != 0 && count_ >= nth_; }

private:
    static ssize_t read(int file, void* bytes, size_t count, off_t offset) {
        const int number = ++count_;
        if (nth_ != 0 && (number == nth_ || (for_good_ && number > nth_))) {
            errno = EIO;
            return -1;
        }
        return real_.load()(file, bytes, count, offset);
    }

    sqlite3_vfs* const vfs_ = sqlite3_vfs_find("unix");
    static inline std::atomic<ReadAt> real_ = nullptr;
    static inline std::atomic<int> nth_ = 0;
    static inline std::atomic<bool> for_good_ = false;
    static inline std::atomic<int> count_ = 0;
};

class RefusedReadsTest : public testing::Test {
protected:
    void SetUp() override {
        if (!RefusedReads::is_possible()) GTEST_SKIP() << "this SQLite reads by other calls than pread";
        const auto store = open_store(folder_.sqlite_url()).value();
        StatePersistenceService service(store);
        for (int step = 1; step <= 3; ++step) {
            StatePersistenceRequest request =
                make_request("run", fmt::format(R"({{"step":{},"text":"{}"}})", step, std::string(20'000, 'x')));
            request.snapshot_id = fmt::format("s{}", step);
            ASSERT_TRUE(service.save_agent_state(request));
        }
    }

    Result<RecoveryResult> resume() {
        const auto store = open_store(folder_.sqlite_url());
        if (!store) return std::unexpected(store.error());
        return StatePersistenceService(*store).recover_agent_state({.run_id = "run"});
    }
    void expect_intact() {
        const auto store = open_store(folder_.sqlite_url()).value();
        EXPECT_EQ(store->head("run", soon()).value()->snapshot_id, "s3");
        EXPECT_EQ(store->history({.run_id = "run"}, soon()).value().size(), 3U);
        EXPECT_TRUE(check_deep(*store, Deadline::max()).value().findings.empty());
    }

    RefusedReads reads_;
    TempDir folder_;
};

TEST_F(RefusedReadsTest, AReadThatIsRefusedMovesNoHeadAndIsNoDamage) {
    for (const bool for_good : {false, true}) {
        int failures = 0;
        for (int nth = 1;; ++nth) {
            SCOPED_TRACE(fmt::format("read {}{}", nth, for_good ? " and all that follow" : ""));
            reads_.arm(nth, for_good);
            const Result<RecoveryResult> resumed = resume();
            const bool has_struck = reads_.has_struck();
            reads_.disarm();
            if (resumed) {
                EXPECT_EQ(resumed->snapshot_id, "s3");
                EXPECT_TRUE(resumed->damaged.empty());
            } else {
                EXPECT_EQ(resumed.error().code, ErrorCode::kUnavailable) << resumed.error().to_string();
                ++failures;
            }
            ASSERT_NO_FATAL_FAILURE(expect_intact());
            if (!has_struck || HasFailure()) break;
        }
        EXPECT_GT(failures, 3);
    }
}

TEST_F(RefusedReadsTest, ALoadAndACheckSayThatTheDiskFails) {
    const auto store = open_store(folder_.sqlite_url()).value();
    ASSERT_TRUE(store->head("run", soon()));
    reads_.arm(1, true);
    static_cast<void>(store->get("run", std::nullopt, soon(), Store::Reading::kAfresh));
    const auto loaded = StatePersistenceService(store).load_agent_state({.run_id = "run"});
    const auto checked = check_deep(*store, Deadline::max());
    reads_.disarm();
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error().code, ErrorCode::kUnavailable) << loaded.error().to_string();
    ASSERT_FALSE(checked);
    EXPECT_EQ(checked.error().code, ErrorCode::kUnavailable) << checked.error().to_string();
    expect_intact();
}

// The engine's check calls some pages damaged that it could not read, and gives no code with them.
TEST_F(RefusedReadsTest, NoReadThatACheckIsRefusedIsDamage) {
    for (const bool for_good : {false, true}) {
        int failures = 0;
        for (int nth = 1;; ++nth) {
            SCOPED_TRACE(fmt::format("read {}{}", nth, for_good ? " and all that follow" : ""));
            const auto store = open_store(folder_.sqlite_url()).value();
            reads_.arm(nth, for_good);
            const Result<CheckReport> checked = store->check(soon());
            const bool has_struck = reads_.has_struck();
            reads_.disarm();
            if (!checked) {
                EXPECT_EQ(checked.error().code, ErrorCode::kUnavailable) << checked.error().to_string();
                ++failures;
            } else if (!checked->findings.empty()) {
                ADD_FAILURE() << checked->findings.front().problem;
            }
            if (!has_struck || HasFailure()) break;
        }
        EXPECT_GT(failures, 3);
    }
}

/// Counts how many times a database file is opened.
class CountingVfs final : public ForwardingVfs {
public:
    int on_call(DiskCall& call) override {
        const bool is_database = call.path != nullptr && std::string_view(call.path).ends_with(".db");
        if (call.operation == DiskOperation::kOpen && is_database) ++opened;
        return call.forward();
    }
    std::atomic<int> opened = 0;
};

TEST(ReadingAfresh, ReadsByConnectionsThatAreOpenedForIt) {
    const TempDir folder;
    CountingVfs vfs;
    const auto store = open_store(folder.sqlite_url()).value();
    ASSERT_TRUE(commit_run(*store, make_batch(make_snapshot("run", 1)), soon()));
    ASSERT_TRUE(store->get("run", std::nullopt, soon()).value());
    const int before = vfs.opened;
    ASSERT_TRUE(store->get("run", std::nullopt, soon()).value());
    EXPECT_EQ(vfs.opened, before);
    ASSERT_TRUE(store->get("run", std::nullopt, soon(), Store::Reading::kAfresh).value());
    EXPECT_EQ(vfs.opened, before + 1);
    ASSERT_TRUE(store->get("run", std::nullopt, soon()).value());
    EXPECT_EQ(vfs.opened, before + 1);
    ASSERT_TRUE(store->close());
}

}  // namespace
}  // namespace cairn::test
