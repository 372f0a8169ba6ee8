// Goal: export and import are a library. A server or a binding that has lines and a place for them needs no program.
// Method: lines go into a list and come from a list, and the results are compared in two stores in memory.
// tests/cli/transfer_test.cpp tests the format, damage and interruptions with the program.

#include "support/make.h"
#include "transfer/exporter.h"
#include "transfer/import_lines.h"
#include "transfer/transfer_line.h"

#include <cairn/faulty_store.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <deque>

namespace cairn::test {
namespace {

class Transfer : public testing::Test {
protected:
    void SetUp() override {
        StatePersistenceService service(from_, {.runtime = make_runtime()});
        for (const std::string run_id : {"late", "early"}) {
            for (const std::string text : {R"({"n":1})", R"({"n":1.0})", R"({"n":3})"}) {
                ASSERT_TRUE(service.save_agent_state(make_request(run_id, text)).has_value());
            }
        }
    }

    LineSink into(std::deque<std::string>& lines) {
        return [&lines](std::string line) -> Status {
            lines.push_back(std::move(line));
            return {};
        };
    }
    std::deque<std::string> exported(Store& store) {
        std::deque<std::string> lines;
        const auto runs = list_runs_to_export(store);
        EXPECT_TRUE(export_runs(store, runs.value(), into(lines)).has_value());
        return lines;
    }
    Status import(std::deque<std::string> lines) { return import(std::move(lines), importer_); }
    static Status import(std::deque<std::string> lines, Importer& importer) {
        const auto next = [&]() -> Result<std::optional<LineReader::Line>> {
            if (lines.empty()) return std::nullopt;
            LineReader::Line line{.text = std::move(lines.front()), .is_whole = true};
            lines.pop_front();
            return line;
        };
        return import_lines({.name = "the list", .next = next}, importer, {});
    }

    const std::shared_ptr<Store> from_ = open_store("memory:").value();
    const std::shared_ptr<Store> to_ = open_store("memory:").value();
    Importer importer_{*to_, {}};
};

TEST_F(Transfer, AnExportImportsAsItStood) {
    const std::deque<std::string> lines = exported(*from_);
    ASSERT_EQ(lines.size(), 7U);
    ASSERT_TRUE(import(lines).has_value());
    EXPECT_EQ(importer_.imported(), 6U);
    EXPECT_EQ(exported(*to_), lines);
    std::vector<std::uint64_t> progress;
    EXPECT_EQ(verify_runs(*to_, importer_.runs(), {}, [&](std::uint64_t done) { progress.push_back(done); }).value(),
              6U);
    EXPECT_EQ(progress, (std::vector<std::uint64_t>{1, 2, 3, 4, 5, 6}));
}

TEST_F(Transfer, OpaqueStatesAreExportedInBase64WithTheirType) {
    StatePersistenceService service(from_, {.runtime = make_runtime()});
    StatePersistenceRequest request = make_request("opaque");
    const std::string bytes("\xff\0{}", 4);
    for (const std::string type : {"msgpack", "a\"b\\+"}) {
        for (const std::string& each : {bytes, std::string()}) {
            request.state_data = State::opaque(type, each).value();
            ASSERT_TRUE(service.save_agent_state(request).has_value());
        }
    }
    const std::deque<std::string> lines = exported(*from_);
    const auto has = [&](std::string_view words) {
        return std::ranges::any_of(lines, [&](const std::string& line) { return line.contains(words); });
    };
    EXPECT_TRUE(has(R"("state_type":"msgpack","state_base64":"/wB7fQ=="})"));
    EXPECT_TRUE(has(R"("state_type":"a\"b\\+","state_base64":""})"));
    ASSERT_TRUE(import(lines).has_value());
    EXPECT_EQ(exported(*to_), lines);
    const auto loaded = StatePersistenceService(to_).load_agent_state({.run_id = "opaque"});
    EXPECT_EQ(loaded.value().state, request.state_data);
}

TEST_F(Transfer, ALineWhoseOpaqueStateCannotBeReadIsRefused) {
    StatePersistenceService service(from_, {.runtime = make_runtime()});
    StatePersistenceRequest request = make_request("opaque");
    request.state_data = State::opaque("msgpack", std::string_view("bytes!")).value();
    ASSERT_TRUE(service.save_agent_state(request).has_value());
    const std::deque<std::string> lines = exported(*from_);
    const auto line = std::ranges::find_if(lines, [](const std::string& each) { return each.contains("base64"); });
    ASSERT_NE(line, lines.end());
    struct Case {
        std::string from;
        std::string to;
        ErrorCode code;
        std::string words;
    };
    using enum ErrorCode;
    const std::string not_base64 = "\"state_base64\" is not a string of base64";
    for (const Case& one :
         {Case{R"("Ynl0ZXMh")", R"("Ynl0ZXM")", kInvalidArgument, not_base64},
          Case{R"("Ynl0ZXMh")", "7", kInvalidArgument, not_base64},
          Case{R"("Ynl0ZXMh")", R"("Ynl0ZXMi")", kCorrupt, "checksum"},
          Case{R"("state_type":"msgpack")", R"("state_type":"pickle")", kCorrupt, "checksum"},
          Case{R"("state_type":"msgpack")", R"("state_type":"")", kInvalidArgument, "\"state_type\": "},
          Case{R"("state_type":"msgpack",)", "", kInvalidArgument, "\"state_type\" is not a string"},
          Case{R"("state_base64")", R"("state":{},"state_base64")", kInvalidArgument, "both there"},
          Case{R"("state_base64":"Ynl0ZXMh")", R"("state":{})", kInvalidArgument, "\"state_base64\" is not"}}) {
        std::string changed = *line;
        ASSERT_TRUE(changed.contains(one.from)) << changed;
        changed.replace(changed.find(one.from), one.from.size(), one.to);
        const Status refused = import({changed});
        ASSERT_FALSE(refused) << one.to;
        EXPECT_EQ(refused.error().code, one.code) << refused.error().message;
        EXPECT_TRUE(refused.error().message.contains(one.words)) << refused.error().message;
    }
    EXPECT_EQ(importer_.imported(), 0U);
}

TEST_F(Transfer, WhatIsAsLargeAsTheLimitEverywhereIsExportedAndImported) {
    constexpr std::size_t kBytes = 3'000'000;
    const StateLimits limits{.bytes_max = kBytes};
    const auto object = [](char c) {
        return State::parse(fmt::format(R"({{"p":"{}"}})", std::string(kBytes - 8, c))).value();
    };
    StatePersistenceService service(from_, {.state_limits = limits, .runtime = make_runtime()});
    StatePersistenceRequest request = make_request("large");
    request.state_data = State::opaque("msgpack", std::string(kBytes, '\xff'), limits).value();
    request.execution_context = object('c');
    request.metadata = object('m');
    ASSERT_TRUE(service.save_agent_state(request).has_value());
    for (const std::string& line : exported(*from_)) {
        EXPECT_TRUE(parse_transfer_line(std::string(line), limits)) << line.substr(0, 100);
        EXPECT_LE(line.size(), transfer_line_bytes_max(limits));
    }
}

TEST_F(Transfer, AnOwnerWithoutRunsIsNotFoundAndAnEmptyStoreIsNoError) {
    const auto nobodys = list_runs_to_export(*from_, "nobody's");
    ASSERT_FALSE(nobodys.has_value());
    EXPECT_EQ(nobodys.error().code, ErrorCode::kNotFound);
    EXPECT_TRUE(list_runs_to_export(*to_).value().empty());
}

TEST_F(Transfer, AnExportThatIsCancelledHasNoLastLineAndIsNoticedAtImport) {
    std::deque<std::string> lines;
    int asked = 0;
    const auto runs = list_runs_to_export(*from_).value();
    const auto report = export_runs(*from_, runs, into(lines), {.is_cancelled = [&] { return ++asked > 4; }});
    ASSERT_FALSE(report.has_value());
    EXPECT_EQ(report.error().code, ErrorCode::kUnavailable);
    EXPECT_EQ(lines.size(), 4U);
    const Status read = import(lines);
    ASSERT_FALSE(read.has_value());
    EXPECT_EQ(read.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(read.error().message.find("the list is cut off after line 4"), std::string::npos) << read.error().message;
    EXPECT_EQ(importer_.imported(), 4U) << "what stands before an error is imported";
}

/// Saves to these runs just before the first commit.
class MovingStore final : public ForwardingStore {
public:
    MovingStore(std::shared_ptr<Store> next, std::vector<std::string> runs)
        : ForwardingStore(std::move(next)), runs_(std::move(runs)) {}

    Result<std::vector<Status>> commit(std::span<const RunBatch> batches, Deadline deadline) override {
        for (const std::string& run_id : std::exchange(runs_, {})) {
            EXPECT_TRUE(commit_run(next(), make_batch(make_snapshot(run_id, 1)), deadline).has_value());
        }
        return ForwardingStore::commit(batches, deadline);
    }

private:
    std::vector<std::string> runs_;
};

TEST_F(Transfer, OfSeveralRunsTheErrorNamesTheLinesThatAreNotImportedAndThoseThatAre) {
    MovingStore moved(to_, {"early"});
    Importer importer(moved, {});
    const Status read = import(exported(*from_), importer);
    ASSERT_FALSE(read.has_value());
    EXPECT_EQ(read.error().code, ErrorCode::kConflict);
    EXPECT_EQ(read.error().message,
              "lines 4 to 6 not imported: run \"early\" is at version 1, not at the expected 0; lines 1 to 3 imported");
    EXPECT_EQ(importer.imported(), 3U);
    EXPECT_EQ(to_->head("late", soon()).value()->version, 3);
}

TEST_F(Transfer, EachRunThatIsNotImportedIsNamedWithItsLines) {
    MovingStore moved(to_, {"early", "late"});
    Importer importer(moved, {});
    std::deque<std::string> lines = exported(*from_);
    lines.erase(lines.begin() + 1, lines.begin() + 3);
    lines.pop_back();
    const Status read = import(lines, importer);
    ASSERT_FALSE(read.has_value());
    EXPECT_EQ(
        read.error().message,
        "line 1 not imported: run \"late\" is at version 1, not at the expected 0; lines 2 to 4 not imported: run "
        "\"early\" is at version 1, not at the expected 0");
    EXPECT_EQ(importer.imported(), 0U);
}

TEST_F(Transfer, WhereACommitFailsAsAWholeNoneOfItsLinesIsSaidToBeImported) {
    const auto faulty = std::make_shared<FaultyStore>(to_);
    for (const auto& [code, words] :
         {std::pair(ErrorCode::kStorageFull, "lines 1 to 6 not imported: "),
          std::pair(ErrorCode::kOutcomeUnknown, "lines 1 to 6 may or may not be imported: ")}) {
        Importer importer(*faulty, {});
        faulty->inject({.call = StoreCall::kCommit, .code = code});
        const Status read = import(exported(*from_), importer);
        ASSERT_FALSE(read.has_value());
        EXPECT_EQ(read.error().code, code);
        EXPECT_TRUE(read.error().message.starts_with(words)) << read.error().message;
    }
}

TEST_F(Transfer, ASinkThatFailsEndsTheExportWithItsError) {
    int lines = 0;
    const auto sink = [&](const std::string&) -> Status {
        return ++lines == 2 ? fail(ErrorCode::kStorageFull, "full") : Status{};
    };
    const auto runs = list_runs_to_export(*from_).value();
    const auto report = export_runs(*from_, runs, sink);
    ASSERT_FALSE(report.has_value());
    EXPECT_EQ(report.error().code, ErrorCode::kStorageFull);
    EXPECT_EQ(lines, 2);
}

}  // namespace
}  // namespace cairn::test
