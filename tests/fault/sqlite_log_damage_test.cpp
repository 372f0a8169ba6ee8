// Goal: `check` and a writer tell acknowledged commits that a damaged log hides from what a power cut or a kill leaves,
// and nobody writes over such commits before they are kept. Method: processes that die without closing leave logs.
// Their bytes are changed as a disk or a power cut changes them. A reader opens some of them first: it may not keep
// anything, and a writer that comes later cannot examine the log at its opening.

#include "fault/log_frames.h"
#include "store/sqlite/sqlite_store.h"
#include "support/child_process.h"
#include "support/database_bytes.h"
#include "support/make.h"
#include "support/temp_dir.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn::test {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::size_t kPageCountOffset = 4;
constexpr std::size_t kSaltsOffset = 8;

std::uint32_t read_number(std::string_view bytes, std::size_t offset, bool is_big_endian = true) {
    std::uint32_t number = 0;
    for (std::size_t i = 0; i < 4; ++i) {
        number = number << 8U | static_cast<unsigned char>(bytes[offset + (is_big_endian ? i : 3 - i)]);
    }
    return number;
}

void write_number(std::string& bytes, std::size_t offset, std::uint32_t number) {
    for (std::size_t i = 0; i < 4; ++i) bytes[offset + i] = static_cast<char>(number >> (24 - 8 * i));
}

std::size_t offset_of_frame(std::size_t index) {
    return kLogHeaderBytes + index * kFrameBytes;
}

std::size_t count_frames(const std::string& log) {
    return (log.size() - kLogHeaderBytes) / kFrameBytes;
}

// Appends a frame of this page to a log of this machine. A frame with a checksum that does not fit is damaged.
void append_frame(std::string& log, std::uint32_t page, std::uint32_t pages_after_commit, std::string_view content,
                  bool is_damaged) {
    const std::size_t last = offset_of_frame(count_frames(log) - 1);
    std::uint32_t first_sum = read_number(log, last + 16);
    std::uint32_t second_sum = read_number(log, last + 20);
    std::string header(kFrameHeaderBytes, '\0');
    write_number(header, 0, page);
    write_number(header, kPageCountOffset, pages_after_commit);
    header.replace(kSaltsOffset, 8, log, 16, 8);
    for (const std::string_view part : {std::string_view(header).substr(0, 8), content}) {
        for (std::size_t i = 0; i < part.size(); i += 8) {
            first_sum += read_number(part, i, false) + second_sum;
            second_sum += read_number(part, i + 4, false) + first_sum;
        }
    }
    write_number(header, 16, first_sum + (is_damaged ? 1 : 0));
    write_number(header, 20, second_sum);
    log += header;
    log += content;
}

// Collects the warnings about logs that were kept under another name.
struct Told {
    std::vector<std::string> messages = {};

    OpenOptions options() {
        return {.runtime = {.log = [this](const LogRecord& record) {
                    if (record.event == "store_log_set_aside") messages.push_back(record.message);
                }}};
    }
};

std::vector<std::string> problems_of(Store& store) {
    std::vector<std::string> problems;
    const CheckReport report = store.check(soon()).value();
    for (const auto& finding : report.findings) problems.push_back(finding.problem);
    return problems;
}

class SqliteLogDamage : public testing::Test {
protected:
    // In another process, which ends without closing the store. `work` returns whether it did what it should.
    void in_a_process_that_dies(const std::function<bool(Store&)>& work) {
        ChildProcess child([&](const Channel&) {
            const auto store = open_sqlite_store(database_);
            std::_Exit(store && work(**store) ? 0 : 1);
            return 1;
        });
        ASSERT_EQ(child.wait(), 0);
    }

    // As another program would, beside our store.
    bool run_sql(const char* sql) const {
        sqlite3* engine = nullptr;
        const bool has_run = sqlite3_open(database_.c_str(), &engine) == SQLITE_OK &&
                             sqlite3_exec(engine, sql, nullptr, nullptr, nullptr) == SQLITE_OK;
        sqlite3_close(engine);
        return has_run;
    }
    bool move_log_into_database() const { return run_sql("PRAGMA wal_checkpoint(PASSIVE)"); }

    std::string log() const { return content_of(log_); }
    void set_log(const std::string& content) const { std::ofstream(log_, std::ios::binary) << content; }
    void flip(std::size_t offset) const {
        std::string content = log();
        ASSERT_LT(offset, content.size());
        content[offset] = static_cast<char>(content[offset] ^ 0xFF);
        set_log(content);
    }
    // Only so many bytes of the next log's header were written over this one.
    void tear_header_at(std::size_t bytes) const {
        std::string content = log();
        std::string next = content.substr(0, kLogHeaderBytes);
        write_number(next, 12, read_number(next, 12) + 1);
        write_number(next, 16, read_number(next, 16) + 1);
        write_number(next, 20, 0x5A5A5A5A);
        set_log(content.replace(0, bytes, next, 0, bytes));
    }

    std::vector<std::string> logs_set_aside() const {
        std::vector<std::string> names;
        for (const auto& entry : fs::directory_iterator(dir_.path())) {
            std::string name = entry.path().filename().native();
            if (name.starts_with("cairn.db-wal.")) names.push_back(std::move(name));
        }
        return names;
    }

    // Neither a reader nor a writer makes anything of the log.
    void expect_no_damage(std::int64_t head) {
        {
            const auto reader = open_sqlite_store(database_, {.read_only = true});
            ASSERT_TRUE(reader.has_value()) << reader.error().to_string();
            EXPECT_EQ((*reader)->head("run", soon()).value()->version, head);
            EXPECT_THAT(problems_of(**reader), IsEmpty());
        }
        Told told;
        const auto store = open_sqlite_store(database_, told.options()).value();
        EXPECT_EQ(store->head("run", soon()).value()->version, head);
        EXPECT_THAT(problems_of(*store), IsEmpty());
        EXPECT_THAT(told.messages, IsEmpty());
        EXPECT_THAT(logs_set_aside(), IsEmpty());
    }

    TempDir dir_;
    fs::path database_ = dir_ / "cairn.db";
    fs::path log_ = dir_ / "cairn.db-wal";
};

// ---- what a power cut leaves is no damage ----

// The last commit has cut the database off. The log still holds pages behind its end.
TEST_F(SqliteLogDamage, AHeaderThatIsTornWhenTheLogStartsAnewIsNoneAfterTheDatabaseShrank) {
    in_a_process_that_dies([this](Store& store) {
        return save_up_to(10, store) && save(store, "big", 1, 300'000) &&
               commit_run(store, make_run_deletion("big"), soon()).has_value() && save_up_to(20, store) &&
               run_sql("PRAGMA incremental_vacuum") && move_log_into_database();
    });
    const std::string whole = log();
    std::uint32_t largest_page = 0;
    for (std::size_t i = 0; i < count_frames(whole); ++i) {
        largest_page = std::max(largest_page, read_number(whole, offset_of_frame(i)));
    }
    ASSERT_GT(std::size_t{largest_page} * kPageBytes, fs::file_size(database_)) << "the database did not shrink";
    tear_header_at(20);
    expect_no_damage(20);
}

// The engine takes the salts of the torn header for its next log. The frames of the old log then look like frames of
// the new one, behind its end.
TEST_F(SqliteLogDamage, AHeaderThatIsTornBeforeItsSaltsIsNoneAfterTheNextCommits) {
    in_a_process_that_dies([this](Store& store) { return save_up_to(20, store) && move_log_into_database(); });
    tear_header_at(16);
    in_a_process_that_dies([](Store& store) { return save_up_to(22, store); });
    expect_no_damage(22);
}

TEST_F(SqliteLogDamage, AHeaderThatIsTornInAnEmptyLogIsNone) {
    in_a_process_that_dies([](Store& store) { return save_up_to(3, store); });
    const std::string header = log().substr(0, kLogHeaderBytes);
    ASSERT_TRUE(open_sqlite_store(database_).value()->close().has_value());
    for (const std::size_t bytes : {4U, 20U, 28U}) {
        set_log(header.substr(0, bytes) + std::string(kLogHeaderBytes - bytes, '\x5A'));
        expect_no_damage(3);
    }
}

// Only the second sector of that frame's header was written. The first one still has a commit of an older log.
TEST_F(SqliteLogDamage, AFrameHeaderThatIsTornBetweenTwoSectorsIsNone) {
    constexpr std::size_t kFrame = 41;
    static_assert((kLogHeaderBytes + kFrame * kFrameBytes) % 512 == 504);
    in_a_process_that_dies([](Store& store) { return save_up_to(3, store) && save(store, "run", 4, 500'000); });
    std::string torn = log();
    ASSERT_GT(count_frames(torn), kFrame + 2);
    write_number(torn, offset_of_frame(kFrame) + kPageCountOffset, 9);
    set_log(torn);
    expect_no_damage(3);
}

// A commit whose frames are torn writes the same pages as the acknowledged one before it, except for its last page,
// which the database happens to have already.
TEST_F(SqliteLogDamage, ATornCommitHidesNoAcknowledgedOneBeforeIt) {
    ASSERT_TRUE(save_up_to(5, *open_sqlite_store(database_).value()));
    const std::string before = content_of(database_);
    in_a_process_that_dies([](Store& store) { return save_up_to(6, store); });
    std::string torn = log();
    const std::size_t frames = count_frames(torn);
    std::vector<std::uint32_t> pages;
    for (std::size_t i = 0; i < frames; ++i) pages.push_back(read_number(torn, offset_of_frame(i)));
    for (const std::uint32_t page : pages) append_frame(torn, page, 0, std::string(kPageBytes, 'x'), true);
    std::uint32_t other = 2;
    while (std::ranges::find(pages, other) != pages.end()) ++other;
    const auto pages_of_database = static_cast<std::uint32_t>(before.size() / kPageBytes);
    ASSERT_LE(other, pages_of_database);
    append_frame(torn, other, pages_of_database, before.substr((other - 1) * kPageBytes, kPageBytes), false);
    set_log(torn);
    expect_no_damage(6);
}

// Two programs have written the first page, so the log has two headers of the database.
TEST_F(SqliteLogDamage, ADatabaseHeaderThatIsTornWhenTheLogIsMovedIsNone) {
    ASSERT_TRUE(save_up_to(3, *open_sqlite_store(database_).value()));
    std::string database = content_of(database_);
    ChildProcess first([this](const Channel& parent) {
        const auto store = open_sqlite_store(database_).value();
        if (!save_up_to(4, *store)) return 1;
        parent.say(1);
        parent.hear();
        return 2;
    });
    ASSERT_TRUE(first.channel().hear().has_value());
    in_a_process_that_dies([](Store& store) { return save(store, "run", 5, 300'000).has_value(); });
    first.kill();
    std::string header;
    const std::string whole = log();
    for (std::size_t i = 0; i < count_frames(whole); ++i) {
        const std::size_t frame = offset_of_frame(i);
        if (read_number(whole, frame) == 1) header = whole.substr(frame + kFrameHeaderBytes, 100);
    }
    ASSERT_GE(read_number(header, 24), read_number(database, 24) + 2) << "there is one header only";
    std::ofstream(database_, std::ios::binary) << database.replace(0, 40, header, 0, 40);
    expect_no_damage(5);
}

// ---- real damage is told, whatever it has hit ----

struct Damage {
    std::string name;
    std::function<void(std::string&)> apply;
};

void PrintTo(const Damage& damage, std::ostream* out) {
    *out << damage.name;
}

std::function<void(std::string&)> flipped(std::size_t offset, char bits = '\xFF') {
    return [=](std::string& log) { log[offset] = static_cast<char>(log[offset] ^ bits); };
}

std::function<void(std::string&)> filled(std::size_t bytes, char with) {
    return [=](std::string& log) { log.replace(0, bytes, bytes, with); };
}

class DamagedLog : public SqliteLogDamage, public testing::WithParamInterface<Damage> {
protected:
    static constexpr std::int64_t kSaved = 30;

    void SetUp() override {
        in_a_process_that_dies([](Store& store) { return save_up_to(kSaved, store); });
        damaged_ = log();
        GetParam().apply(damaged_);
        set_log(damaged_);
    }

    // A process that opens the store for reading, and keeps it open until this ends.
    std::unique_ptr<ChildProcess> begin_to_read() const {
        auto reader = std::make_unique<ChildProcess>([this](const Channel& parent) {
            const auto store = open_sqlite_store(database_, {.read_only = true});
            if (!store) return 1;
            const auto head = (*store)->head("run", soon()).value();
            parent.say(head ? head->version : 0);
            parent.hear();
            return 0;
        });
        const auto head = reader->channel().hear();
        EXPECT_TRUE(head.has_value() && *head < kSaved) << "there is no damage, or the reader is refused";
        return reader;
    }

    void expect_kept(const std::vector<std::string>& told) {
        const auto kept = logs_set_aside();
        ASSERT_THAT(kept, ElementsAre(HasSubstr(".damaged-")));
        EXPECT_TRUE(content_of(dir_ / kept.front()) == damaged_);
        EXPECT_THAT(told, ElementsAre(HasSubstr(kept.front())));
        const auto store = open_sqlite_store(database_).value();
        EXPECT_THAT(problems_of(*store), ElementsAre(HasSubstr(kept.front())));
    }

    std::string damaged_;
};

INSTANTIATE_TEST_SUITE_P(
    InThe, DamagedLog,
    testing::Values(Damage{"OrderOfBytesInTheHeader", flipped(3, 1)}, Damage{"HeadersSalts", flipped(17)},
                    Damage{"HeadersChecksum", flipped(30)}, Damage{"HeaderThatIsZero", filled(kLogHeaderBytes, '\0')},
                    Damage{"FirstSector", filled(512, '\x5A')}, Damage{"FirstBlock", filled(4096, '\x5A')},
                    Damage{"FirstPage", flipped(offset_of_frame(0) + 4'000)},
                    Damage{"PageNumberOfTheFirstFrame", flipped(offset_of_frame(0))},
                    Damage{"PageInTheMiddle", flipped(offset_of_frame(40) + 4'000)},
                    Damage{"SaltsOfAFrameInTheMiddle", flipped(offset_of_frame(40) + kSaltsOffset)}),
    [](const auto& instance) { return instance.param.name; });

TEST_P(DamagedLog, IsAFindingForAReaderAndIsKeptByAWriter) {
    {
        const auto reader = open_sqlite_store(database_, {.read_only = true}).value();
        EXPECT_THAT(problems_of(*reader), ElementsAre(HasSubstr("of the log (-wal) is damaged")));
    }
    Told told;
    {
        const auto store = open_sqlite_store(database_, told.options()).value();
        ASSERT_TRUE(save(*store, "other", 1).has_value());
    }
    expect_kept(told.messages);
}

TEST_P(DamagedLog, IsKeptByAWriterThatComesAfterAReader) {
    const auto reader = begin_to_read();
    Told told;
    {
        const auto store = open_sqlite_store(database_, told.options()).value();
        EXPECT_THAT(problems_of(*store), ElementsAre(HasSubstr("of the log (-wal) is damaged")));
        for (std::int64_t version = 1; version <= 3; ++version) ASSERT_TRUE(save(*store, "other", version).has_value());
    }
    expect_kept(told.messages);
}

TEST_P(DamagedLog, IsKeptByAWriterThatComesAfterAReaderAndOnlyGivesTheLogUp) {
    for (const bool empties_log : {true, false}) {
        set_log(damaged_);
        auto reader = begin_to_read();
        Told told;
        const auto store = open_sqlite_store(database_, told.options()).value();
        if (empties_log) {
            ASSERT_TRUE(store->stats(soon()).has_value());
        }
        reader.reset();
        ASSERT_TRUE(store->close().has_value());
        expect_kept(told.messages);
        for (const std::string& name : logs_set_aside()) fs::remove(dir_ / name);
    }
}

// A folder at the name of the copy's draft is in the way.
TEST_F(SqliteLogDamage, ALogThatCannotBeKeptIsNotWrittenOver) {
    in_a_process_that_dies([](Store& store) { return save_up_to(20, store); });
    flip(offset_of_frame(0) + 4'000);
    const std::string damaged = log();
    std::string salts;
    for (const char byte : damaged.substr(16, 8)) salts += fmt::format("{:02x}", static_cast<unsigned char>(byte));
    const fs::path obstacle = dir_ / fmt::format("cairn.db-wal.damaged-{}-1.new", salts);
    fs::create_directory(obstacle);
    ChildProcess reader([this](const Channel& parent) {
        const auto store = open_sqlite_store(database_, {.read_only = true}).value();
        static_cast<void>(store->head("run", soon()));
        parent.say(1);
        parent.hear();
        return 0;
    });
    ASSERT_TRUE(reader.channel().hear().has_value());
    const auto store = open_sqlite_store(database_).value();
    for (int attempt = 0; attempt < 2; ++attempt) {
        const Status refused = save(*store, "other", 1);
        ASSERT_FALSE(refused.has_value());
        EXPECT_THAT(refused.error().message, HasSubstr("the damaged log cannot be copied"));
        EXPECT_TRUE(log() == damaged);
    }
    fs::remove(obstacle);
    ASSERT_TRUE(save(*store, "other", 1).has_value());
    ASSERT_THAT(logs_set_aside(), ElementsAre(HasSubstr(".damaged-")));
    EXPECT_TRUE(content_of(dir_ / logs_set_aside().front()) == damaged);
}

}  // namespace
}  // namespace cairn::test
