// Goal: both services do what `cairn/persistence.h` promises, and the optimised one fails safely.
// Method: the memory store behind a store that fails on demand. Covers every field of a request, every error and every
// outcome.

#include <cairn/persistence.h>

#include <cairn/faulty_store.h>
#include <cairn/retention.h>
#include "frame/frame.h"
#include "store/memory/memory_store.h"
#include "support/gate.h"
#include "support/make.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <future>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

namespace cairn {
namespace {

using test::Gate;
using test::make_request;

struct Bench {
    std::vector<LogRecord> log;
    std::mutex log_mutex;
    std::shared_ptr<Store> inner = make_memory_store();
    std::shared_ptr<FaultyStore> store = std::make_shared<FaultyStore>(inner);
    OptimizedOptions options = make_options();
    StatePersistenceService standard{store, options};
    OptimizedStatePersistence optimized{store, options};

    OptimizedOptions make_options() {
        OptimizedOptions made;
        made.runtime = test::make_runtime(1, [this](const LogRecord& record) {
            const std::lock_guard lock(log_mutex);
            log.push_back(record);
        });
        return made;
    }
    std::size_t snapshots(const std::string& run_id) {
        return store->history({.run_id = run_id, .limit = 1000}, test::soon()).value().size();
    }
    /// Copies a run into a new store, with one byte of one snapshot's frame flipped.
    static std::shared_ptr<Store> with_damage(Store& source, const std::string& run_id, std::int64_t damaged_version) {
        auto copy = make_memory_store();
        auto history =
            source.history({.run_id = run_id, .order = HistoryQuery::Order::kOldestFirst}, test::soon()).value();
        for (const SnapshotInfo& info : history) {
            Snapshot snapshot = source.get(run_id, info.snapshot_id, test::soon()).value().value();
            if (info.version == damaged_version) snapshot.frame.back() = static_cast<char>(snapshot.frame.back() ^ 1);
            EXPECT_TRUE(commit_run(*copy, test::make_batch(std::move(snapshot)), test::soon()));
        }
        return copy;
    }
};

template <class T>
ErrorCode code_of(const Result<T>& result) {
    EXPECT_FALSE(result.has_value());
    return result ? ErrorCode::kInternal : result.error().code;
}

TEST(Standard, EverySaveIsWrittenWholeAndPlain) {
    Bench bench;
    for (int i = 0; i < 3; ++i) {
        const Receipt receipt = bench.standard.save_agent_state(make_request("run", R"({"a":1})")).value();
        EXPECT_EQ(receipt.outcome, Outcome::kPersisted);
        EXPECT_EQ(receipt.durability, Durability::kSync);
        EXPECT_EQ(receipt.version, i + 1);
        const Snapshot stored = bench.store->get("run", receipt.snapshot_id, test::soon()).value().value();
        EXPECT_EQ(read_frame_header(stored.frame).value().kind, FrameKind::kFullPlain);
        EXPECT_EQ(receipt.frame_bytes, stored.frame.size());
        EXPECT_EQ(stored.info.parent_version, i);
    }
    EXPECT_EQ(bench.snapshots("run"), 3U);
}

TEST(Standard, EveryFieldOfARequestIsStored) {
    Bench bench;
    StatePersistenceRequest request = make_request("run", R"({"a":1})", CheckpointType("my_own"));
    request.agent_phase = AgentPhase::kReporting;
    request.execution_context = State::parse(R"({"tool":"x"})").value();
    request.is_recovery_point = true;
    request.expires_at = test::kEpoch;
    request.snapshot_id = "mine";
    for (StatePersistence* service : std::initializer_list<StatePersistence*>{&bench.standard, &bench.optimized}) {
        request.run_id += "+";
        ASSERT_TRUE(service->save_agent_state(request));
        const SnapshotInfo info = service->load_agent_state({.run_id = request.run_id}).value().info;
        EXPECT_EQ(info.snapshot_id, "mine");
        EXPECT_EQ(info.thread_id, "thread");
        EXPECT_EQ(info.user_id, "user");
        EXPECT_EQ(info.checkpoint_type, CheckpointType("my_own"));
        EXPECT_EQ(info.agent_phase, AgentPhase::kReporting);
        EXPECT_EQ(info.execution_context, R"({"tool":"x"})");
        EXPECT_TRUE(info.is_recovery_point);
        EXPECT_EQ(info.expires_at, test::kEpoch);
        EXPECT_EQ(info.state_bytes, 7U);
    }
}

TEST(Both, ABadRequestNamesItsFieldAndStoresNothing) {
    Bench bench;
    const auto expect_refused = [&](std::string_view field, auto spoil) {
        StatePersistenceRequest request = make_request("run");
        spoil(request);
        for (StatePersistence* service : std::initializer_list<StatePersistence*>{&bench.standard, &bench.optimized}) {
            const Result<Receipt> result = service->save_agent_state(request);
            ASSERT_FALSE(result) << field;
            EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument) << field;
            EXPECT_EQ(result.error().message.find(field), 0U) << result.error().message;
        }
    };
    expect_refused("run_id", [](auto& request) { request.run_id.clear(); });
    expect_refused("run_id", [](auto& request) { request.run_id = std::string(256, 'r'); });
    expect_refused("run_id", [](auto& request) { request.run_id = "a\nb"; });
    expect_refused("thread_id", [](auto& request) { request.thread_id = "\xED\xA0\x80"; });
    expect_refused("user_id", [](auto& request) { request.user_id = std::string("a\0b", 3); });
    expect_refused("checkpoint_type", [](auto& request) { request.checkpoint_type = CheckpointType(""); });
    expect_refused("agent_phase", [](auto& request) { request.agent_phase = AgentPhase(std::string(65, 'p')); });
    expect_refused("snapshot_id", [](auto& request) { request.snapshot_id = "with space"; });
    expect_refused("snapshot_id", [](auto& request) { request.snapshot_id = std::string(129, 'x'); });
    expect_refused("timeout", [](auto& request) { request.timeout = std::chrono::milliseconds(0); });
    expect_refused("expected_version", [](auto& request) { request.expected_version = 1; });
    expect_refused("expected_version", [](auto& request) {
        request.on_conflict = OnConflict::kFail;
        request.expected_version = -1;
    });
    EXPECT_EQ(bench.snapshots("run"), 0U);
    EXPECT_EQ(bench.store->calls(StoreCall::kCommit), 0U);
}

TEST(Both, AStateBeyondTheLimitIsRefused) {
    Bench bench;
    bench.options.state_limits.bytes_max = 10;
    OptimizedStatePersistence service(bench.store, bench.options);
    EXPECT_EQ(code_of(service.save_agent_state(make_request("run", R"({"a":"12345"})"))), ErrorCode::kLimitExceeded);
    EXPECT_TRUE(service.save_agent_state(make_request("run", R"({"a":"12"})")));
}

TEST(Both, ARunKeepsTheThreadAndUserOfItsFirstSave) {
    Bench bench;
    ASSERT_TRUE(bench.standard.save_agent_state(make_request("run")));
    StatePersistenceRequest other_user = make_request("run");
    other_user.user_id = "intruder";
    StatePersistenceRequest other_thread = make_request("run");
    other_thread.thread_id = "elsewhere";
    for (StatePersistence* service : std::initializer_list<StatePersistence*>{&bench.standard, &bench.optimized}) {
        const Result<Receipt> refused = service->save_agent_state(other_user);
        EXPECT_EQ(code_of(refused), ErrorCode::kInvalidArgument);
        EXPECT_EQ(code_of(service->save_agent_state(other_thread)), ErrorCode::kInvalidArgument);
        other_thread.thread_id = "thread";
        other_thread.user_id = "intruder";
        const std::string with_the_thread = service->save_agent_state(other_thread).error().message;
        EXPECT_EQ(with_the_thread, refused.error().message);
        other_thread.thread_id = "elsewhere";
        std::string without = service->save_agent_state(other_thread).error().message;
        const std::size_t at = without.find("elsewhere");
        ASSERT_NE(at, std::string::npos) << without;
        EXPECT_EQ(without.replace(at, 9, "thread"), with_the_thread) << "it tells that the thread is right";
        other_thread.user_id = "user";
    }
    EXPECT_EQ(bench.snapshots("run"), 1U);
}

TEST(Both, AnOwnSnapshotIdSavedAgainIsTheSameSaveAndWithAnotherStateAnError) {
    Bench bench;
    for (StatePersistence* service : std::initializer_list<StatePersistence*>{&bench.standard, &bench.optimized}) {
        StatePersistenceRequest request = make_request("run", R"({"a":1})", CheckpointType::kManual);
        request.snapshot_id = "mine";
        EXPECT_EQ(service->save_agent_state(request).value().version, 1);
        EXPECT_EQ(service->save_agent_state(request).value().version, 1);
        request.state_data = State::parse(R"({"a":2})").value();
        EXPECT_EQ(code_of(service->save_agent_state(request)), ErrorCode::kAlreadyExists);
    }
    EXPECT_EQ(bench.snapshots("run"), 1U);
}

// The error says "Retry with the same snapshot id".
TEST(Both, ARetryOfASaveThatWasAppliedIsNoConflictWithItself) {
    Bench bench;
    for (StatePersistence* service : std::initializer_list<StatePersistence*>{&bench.standard, &bench.optimized}) {
        StatePersistenceRequest request = make_request(service == &bench.standard ? "a" : "b", R"({"step":1})");
        request.snapshot_id = "mine";
        request.on_conflict = OnConflict::kFail;
        request.expected_version = 0;
        request.timeout = std::chrono::milliseconds(100);  // the look-up of the id is repeated for so long
        bench.store->inject({.code = ErrorCode::kOutcomeUnknown, .after_effect = true});
        bench.store->inject({.call = StoreCall::kGet, .code = ErrorCode::kUnavailable, .for_good = true});
        EXPECT_EQ(code_of(service->save_agent_state(request)), ErrorCode::kOutcomeUnknown);
        bench.store->heal();
        request.timeout.reset();
        const Result<Receipt> again = service->save_agent_state(request);
        ASSERT_TRUE(again) << again.error().to_string();
        EXPECT_EQ(again->snapshot_id, "mine");
        EXPECT_EQ(again->version, 1);
        StatePersistenceRequest next = make_request(request.run_id, R"({"step":2})");
        next.on_conflict = OnConflict::kFail;
        EXPECT_EQ(service->save_agent_state(next).value().version, 2) << "its own save is no other writer's";
        request.state_data = State::parse(R"({"step":3})").value();
        EXPECT_EQ(code_of(service->save_agent_state(request)), ErrorCode::kAlreadyExists);
        request.snapshot_id = "another";
        EXPECT_EQ(code_of(service->save_agent_state(request)), ErrorCode::kConflict);
        EXPECT_EQ(bench.snapshots(request.run_id), 2U);
    }
}

TEST(Both, ASecondWriterIsRebasedByDefaultAndAConflictOnRequest) {
    Bench bench;
    const auto save = [&](StatePersistence& service, std::string_view text, OnConflict on_conflict) {
        StatePersistenceRequest request = make_request("run", text);
        request.on_conflict = on_conflict;
        return service.save_agent_state(request);
    };
    ASSERT_TRUE(save(bench.optimized, R"({"by":"a"})", OnConflict::kFail));
    ASSERT_TRUE(save(bench.standard, R"({"by":"b"})",
                     OnConflict::kFail));  // it knows no head, so it accepts the one that is there
    EXPECT_EQ(code_of(save(bench.optimized, R"({"by":"a2"})", OnConflict::kFail)), ErrorCode::kConflict);
    EXPECT_EQ(save(bench.optimized, R"({"by":"a2"})", OnConflict::kRebase).value().version, 3);
    EXPECT_EQ(code_of(save(bench.standard, R"({"by":"b2"})", OnConflict::kFail)), ErrorCode::kConflict);
    ASSERT_TRUE(bench.standard.load_agent_state({.run_id = "run"}));  // now it knows the head
    EXPECT_EQ(save(bench.standard, R"({"by":"b2"})", OnConflict::kFail).value().version, 4);
}

TEST(Both, AnExpectedVersionIsHeldEvenWhenTheStateIsUnchanged) {
    Bench bench;
    ASSERT_TRUE(bench.optimized.save_agent_state(make_request("run")));
    StatePersistenceRequest request = make_request("run");
    request.on_conflict = OnConflict::kFail;
    request.expected_version = 7;
    EXPECT_EQ(code_of(bench.optimized.save_agent_state(request)), ErrorCode::kConflict);
    request.expected_version = 1;
    EXPECT_EQ(bench.optimized.save_agent_state(request).value().outcome, Outcome::kDeduplicated);
    request.expected_version = 0;
    request.run_id = "new";
    EXPECT_EQ(bench.optimized.save_agent_state(request).value().version, 1);
}

// A version that a service has seen of a run says nothing about the next run of that name.
TEST(Both, ARunThatWasDeletedAndMadeAnewIsNoConflictForEver) {
    Bench bench;
    StatePersistenceService other(bench.inner, bench.options);
    for (StatePersistence* service :
         {static_cast<StatePersistence*>(&bench.standard), static_cast<StatePersistence*>(&bench.optimized)}) {
        const auto save = [&](int step) {
            StatePersistenceRequest request = make_request("run", fmt::format(R"({{"step":{}}})", step));
            request.on_conflict = OnConflict::kFail;
            return service->save_agent_state(request);
        };
        for (int step = 1; step <= 5; ++step) ASSERT_TRUE(save(step));
        ASSERT_TRUE(delete_runs(*bench.inner, {.run_id = "run"}));
        EXPECT_EQ(code_of(save(6)), ErrorCode::kConflict) << "somebody has deleted it";
        EXPECT_EQ(code_of(service->load_agent_state({.run_id = "run"})), ErrorCode::kNotFound);  // now it knows that
        ASSERT_TRUE(save(7));
        ASSERT_TRUE(save(8));
        ASSERT_TRUE(delete_runs(*bench.inner, {.run_id = "run"}));
        ASSERT_TRUE(other.save_agent_state(make_request("run", R"({"by":"other"})")));
        EXPECT_EQ(code_of(save(9)), ErrorCode::kConflict) << "somebody has made it anew";
        ASSERT_TRUE(service->load_agent_state({.run_id = "run"}));  // now it knows the new run
        EXPECT_EQ(save(10).value().version, 2);
        EXPECT_EQ(save(11).value().version, 3);
        ASSERT_TRUE(delete_runs(*bench.inner, {.run_id = "run"}));
        EXPECT_EQ(service->save_agent_state(make_request("run", R"({"step":12})")).value().version, 1);
        EXPECT_EQ(save(13).value().version, 2) << "its own save is no conflict";
        ASSERT_TRUE(delete_runs(*bench.inner, {.run_id = "run"}));
        EXPECT_EQ(code_of(service->load_agent_state({.run_id = "run"})), ErrorCode::kNotFound);
    }
}

TEST(Both, AnOldSnapshotsIdSavedAgainIsNoConflictForTheNextSave) {
    Bench bench;
    for (StatePersistence* service :
         {static_cast<StatePersistence*>(&bench.standard), static_cast<StatePersistence*>(&bench.optimized)}) {
        const std::string run = service == &bench.standard ? "by-standard" : "by-optimized";
        StatePersistenceRequest first = make_request(run, R"({"step":1})");
        first.snapshot_id = "first";
        ASSERT_TRUE(service->save_agent_state(first));
        ASSERT_TRUE(service->save_agent_state(make_request(run, R"({"step":2})")));
        EXPECT_EQ(service->save_agent_state(first).value().version, 1) << "it is there already";
        StatePersistenceRequest next = make_request(run, R"({"step":3})");
        next.on_conflict = OnConflict::kFail;
        EXPECT_EQ(service->save_agent_state(next).value().version, 3);
    }
}

TEST(Both, ATimeoutMayBeForEver) {
    Bench bench;
    bench.options.timeout = std::chrono::milliseconds::max();
    StatePersistenceService standard(bench.store, bench.options);
    OptimizedStatePersistence optimized(bench.store, bench.options);
    int step = 0;
    for (StatePersistence* service :
         {static_cast<StatePersistence*>(&standard), static_cast<StatePersistence*>(&optimized),
          static_cast<StatePersistence*>(&bench.optimized)}) {
        for (const auto durability : {Durability::kSync, Durability::kAsync, Durability::kExit}) {
            StatePersistenceRequest request = make_request("run", fmt::format(R"({{"step":{}}})", ++step));
            request.timeout = std::chrono::milliseconds::max();
            request.durability = durability;
            EXPECT_TRUE(service->save_agent_state(request));
        }
        EXPECT_TRUE(service->flush("run", std::chrono::milliseconds::max()));
        EXPECT_TRUE(service->flush_all(std::chrono::milliseconds::max()));
        EXPECT_TRUE(service->load_agent_state({.run_id = "run"}));
        EXPECT_TRUE(service->recover_agent_state({.run_id = "run"}));
    }
    EXPECT_TRUE(prune(*bench.store, {.keep_last = 1}, {.timeout = std::chrono::milliseconds::max()}));
}

TEST(Both, AHeadThatMovesDuringTheSaveIsRebasedOn) {
    Bench bench;
    StatePersistenceService other(bench.inner, bench.options);
    int moves = 2;
    bench.store->before_commit([&](std::span<const RunBatch>) {
        if (moves-- > 0) (void)other.save_agent_state(make_request("run", R"({"by":"other"})"));
    });
    const Receipt receipt = bench.optimized.save_agent_state(make_request("run", R"({"by":"us"})")).value();
    EXPECT_EQ(receipt.outcome, Outcome::kPersisted);
    EXPECT_EQ(bench.optimized.load_agent_state({.run_id = "run"}).value().state.text(), R"({"by":"us"})");
    EXPECT_EQ(bench.store->head("run", test::soon()).value()->version, receipt.version);
    EXPECT_EQ(receipt.version, 3);
}

// A load returns the same, whether the service has the head in its memory or not.
TEST(Optimised, ARebasedSaveIsLoadedAsItIsStored) {
    Bench bench;
    StatePersistenceService other(bench.inner, bench.options);
    ASSERT_TRUE(bench.optimized.configure({.enable_compression = false}));
    ASSERT_TRUE(bench.optimized.save_agent_state(make_request("run", R"({"step":0})")));
    const auto hold = [](std::string text, std::string id, std::optional<std::string> parent) {
        StatePersistenceRequest request = make_request("run", text);
        request.durability = Durability::kExit;
        request.snapshot_id = std::move(id);
        request.parent_snapshot_id = std::move(parent);
        return request;
    };
    ASSERT_TRUE(bench.optimized.save_agent_state(hold(R"({"step":1})", "one", {})));
    ASSERT_TRUE(bench.optimized.save_agent_state(hold(R"({"step":2})", "two", "one")));
    ASSERT_TRUE(other.save_agent_state(make_request("run", R"({"by":"other"})")));
    ASSERT_TRUE(bench.optimized.flush("run"));
    const SnapshotInfo ours = bench.optimized.load_agent_state({.run_id = "run"}).value().info;
    const SnapshotInfo stored = other.load_agent_state({.run_id = "run"}).value().info;
    EXPECT_EQ(ours.version, 4);
    EXPECT_EQ(ours.version, stored.version);
    EXPECT_EQ(ours.parent_version, stored.parent_version);
    EXPECT_EQ(ours.base_version, stored.base_version);
}

TEST(Optimised, ARunThatWasMadeAnewIsReadOnceAndThenKnown) {
    for (const bool compression : {true, false}) {
        Bench bench;
        ASSERT_TRUE(bench.optimized.configure({.enable_compression = compression}));
        StatePersistenceService other(bench.inner, bench.options);
        for (int step = 1; step <= 5; ++step) {
            ASSERT_TRUE(bench.optimized.save_agent_state(make_request("run", fmt::format(R"({{"step":{}}})", step))));
        }
        ASSERT_TRUE(delete_runs(*bench.inner, {.run_id = "run"}));
        ASSERT_TRUE(other.save_agent_state(make_request("run", R"({"step":5})")));
        for (int save = 0; save < 3; ++save) {
            EXPECT_EQ(bench.optimized.save_agent_state(make_request("run", R"({"step":5})")).value().outcome,
                      Outcome::kDeduplicated);
        }
        EXPECT_EQ(bench.store->calls(StoreCall::kGet), 1U);
        for (int step = 6; step <= 8; ++step) {
            const std::uint64_t commits = bench.store->calls(StoreCall::kCommit);
            EXPECT_TRUE(bench.optimized.save_agent_state(make_request("run", fmt::format(R"({{"step":{}}})", step))));
            EXPECT_EQ(bench.store->calls(StoreCall::kCommit), commits + 1) << "it expects another head than there is";
        }
    }
}

TEST(Optimised, AnEqualStateIsSkippedAndTheHeadsIdReturned) {
    Bench bench;
    const Receipt first = bench.optimized.save_agent_state(make_request("run", R"({"a":1,"b":2})")).value();
    const Receipt again = bench.optimized.save_agent_state(make_request("run", R"({"a":1,"b":2})")).value();
    EXPECT_EQ(again.outcome, Outcome::kDeduplicated);
    EXPECT_EQ(again.snapshot_id, first.snapshot_id);
    EXPECT_EQ(again.version, 1);
    EXPECT_EQ(again.frame_bytes, 0U);
    EXPECT_EQ(again.durability, Durability::kSync);
    EXPECT_EQ(bench.snapshots("run"), 1U);
    EXPECT_EQ(bench.optimized.save_agent_state(make_request("run", R"({"a":1,"b":3})")).value().version, 2);
}

TEST(Optimised, KeysInAnotherOrderAreAnotherStateUnlessThatIsToBeIgnored) {
    Bench bench;
    bench.options.ignore_key_order = true;
    OptimizedStatePersistence lenient(bench.store, bench.options);
    const auto save = [&](OptimizedStatePersistence& service, std::string_view text) {
        const Receipt receipt = service.save_agent_state(make_request("run", text)).value();
        const State loaded =
            service.load_agent_state({.run_id = "run", .snapshot_id = receipt.snapshot_id}).value().state;
        return std::pair(receipt.outcome, std::string(loaded.text()));
    };
    const std::string one = R"({"a":1,"b":{"x":1,"y":2}})";
    const std::string other = R"({"b":{"y":2,"x":1},"a":1})";
    EXPECT_EQ(save(bench.optimized, one), std::pair(Outcome::kPersisted, one));
    EXPECT_EQ(save(bench.optimized, other), std::pair(Outcome::kPersisted, other));
    EXPECT_EQ(save(lenient, one), std::pair(Outcome::kDeduplicated, other)) << "the order is the head's";
    EXPECT_EQ(save(lenient, R"({"b":{"y":2,"x":1},"a":2})").first, Outcome::kPersisted);
    EXPECT_EQ(save(lenient, R"({"b":{"y":1,"x":2},"a":2})").first, Outcome::kPersisted) << "other values";
    ASSERT_TRUE(lenient.configure({.ignore_key_order = false}));
    EXPECT_EQ(save(lenient, R"({"a":2,"b":{"y":1,"x":2}})").first, Outcome::kPersisted);
    ASSERT_TRUE(lenient.configure({.ignore_key_order = true}));
    EXPECT_EQ(save(lenient, R"({"b":{"y":1,"x":2},"a":2})").first, Outcome::kDeduplicated);
}

// ---- a skip drops nothing that the caller gave ----

StatePersistenceRequest make_rich_request() {
    StatePersistenceRequest request = make_request("run", R"({"a":1})", CheckpointType::kIntermediate);
    request.agent_phase = AgentPhase::kTriage;
    request.execution_context = State::parse(R"({"tool":"x"})").value();
    request.expires_at = test::kEpoch + std::chrono::hours(1);
    return request;
}

using Change = std::function<void(StatePersistenceRequest&)>;

/// Changes to `make_rich_request` that make a save of an equal state worth storing.
std::map<std::string, Change> changes_to_keep() {
    return {
        {"own id", [](auto& request) { request.snapshot_id = "mine"; }},
        {"phase", [](auto& request) { request.agent_phase = AgentPhase::kReporting; }},
        {"context", [](auto& request) { request.execution_context = State::parse(R"({"tool":"y"})").value(); }},
        {"no context yet", [](auto& request) { request.execution_context = State(); }},
        {"metadata", [](auto& request) { request.metadata = State(); }},
        {"complete", [](auto& request) { request.checkpoint_type = CheckpointType::kPipelineComplete; }},
        {"later end", [](auto& request) { *request.expires_at += std::chrono::hours(1); }},
        {"earlier end", [](auto& request) { *request.expires_at -= std::chrono::minutes(1); }},
        {"no end", [](auto& request) { request.expires_at.reset(); }},
        {"critical", [](auto& request) { request.is_recovery_point = true; }},
    };
}

void expect_kept(Store& store, const StatePersistenceRequest& request, const Receipt& receipt, std::string_view what) {
    EXPECT_NE(receipt.outcome, Outcome::kDeduplicated) << what;
    const Snapshot stored = store.get("run", receipt.snapshot_id, test::soon()).value().value();
    EXPECT_EQ(store.head("run", test::soon()).value()->snapshot_id, receipt.snapshot_id) << what;
    EXPECT_EQ(stored.info.agent_phase, request.agent_phase) << what;
    EXPECT_EQ(stored.info.execution_context, request.execution_context->text()) << what;
    EXPECT_EQ(stored.info.metadata, request.metadata ? request.metadata->text() : "") << what;
    EXPECT_EQ(stored.info.checkpoint_type, request.checkpoint_type) << what;
    EXPECT_EQ(stored.info.expires_at, request.expires_at) << what;
    EXPECT_TRUE(request.snapshot_id.empty() || receipt.snapshot_id == request.snapshot_id) << what;
}

TEST(Optimised, ASkipDropsNothingThatTheCallerGave) {
    for (const auto& [what, change] : changes_to_keep()) {
        for (const bool is_cached : {true, false}) {
            Bench bench;
            ASSERT_TRUE(bench.optimized.save_agent_state(make_rich_request()));
            if (!is_cached) bench.optimized.clear_cache();
            StatePersistenceRequest request = make_rich_request();
            change(request);
            expect_kept(*bench.store, request, bench.optimized.save_agent_state(request).value(), what);
            EXPECT_EQ(bench.snapshots("run"), 2U) << what;
        }
    }
}

TEST(Optimised, AnotherWritersHeadIsNoReasonToDropAnythingEither) {
    for (const auto& [what, change] : changes_to_keep()) {
        for (const bool is_in_time : {true, false}) {
            Bench bench;
            StatePersistenceService other(bench.inner, bench.options);
            ASSERT_TRUE(bench.optimized.save_agent_state(make_request("run", R"({"a":0})")));
            const auto interfere = [&] { ASSERT_TRUE(other.save_agent_state(make_rich_request())); };
            if (is_in_time) interfere();
            bool has_come = is_in_time;
            bench.store->before_commit([&](std::span<const RunBatch>) {
                if (!std::exchange(has_come, true)) interfere();
            });
            StatePersistenceRequest request = make_rich_request();
            change(request);
            expect_kept(*bench.store, request, bench.optimized.save_agent_state(request).value(), what);
            EXPECT_EQ(bench.snapshots("run"), 3U) << what;
        }
    }
}

TEST(Optimised, FieldsThatAreThoseOfTheHeadOrNotGivenAreSkipped) {
    const std::map<std::string, Change> changes{
        {"nothing", [](auto&) {}},
        {"no phase", [](auto& request) { request.agent_phase = AgentPhase(); }},
        {"no context", [](auto& request) { request.execution_context.reset(); }},
        {"the head's own id", [](auto& request) { request.snapshot_id = "first"; }},
        {"the head as parent", [](auto& request) { request.parent_snapshot_id = "first"; }},
        {"auto", [](auto& request) { request.checkpoint_type = CheckpointType::kAuto; }},
    };
    for (const auto& [what, change] : changes) {
        for (const bool is_cached : {true, false}) {
            Bench bench;
            StatePersistenceRequest first = make_rich_request();
            first.snapshot_id = "first";
            ASSERT_TRUE(bench.optimized.save_agent_state(first));
            if (!is_cached) bench.optimized.clear_cache();
            StatePersistenceRequest request = make_rich_request();
            change(request);
            const Receipt receipt = bench.optimized.save_agent_state(request).value();
            EXPECT_EQ(receipt.outcome, Outcome::kDeduplicated) << what;
            EXPECT_EQ(receipt.snapshot_id, "first") << what;
        }
    }
    Bench bench;
    const StatePersistenceRequest complete = make_request("run", R"({"a":1})", CheckpointType::kPipelineComplete);
    ASSERT_TRUE(bench.optimized.save_agent_state(complete));
    EXPECT_EQ(bench.optimized.save_agent_state(complete).value().outcome, Outcome::kDeduplicated);
    EXPECT_EQ(bench.optimized.save_agent_state(make_request("run", R"({"a":1})")).value().outcome,
              Outcome::kDeduplicated)
        << "a run that is complete does not become less so";
}

// A run that was deleted and made anew may have the same id at the same version.
TEST(Optimised, AnOwnIdThatIsGivenAgainIsNotTakenForTheHeadThatWasCached) {
    Bench bench;
    StatePersistenceRequest mine = make_request("run", R"({"a":1})");
    mine.snapshot_id = "mine";
    ASSERT_TRUE(bench.optimized.save_agent_state(mine));
    ASSERT_TRUE(delete_runs(*bench.inner, {.run_id = "run"}));
    StatePersistenceRequest other = make_request("run", R"({"a":2})");
    other.snapshot_id = "mine";
    ASSERT_TRUE(StatePersistenceService(bench.inner, bench.options).save_agent_state(other));
    const Receipt again = bench.optimized.save_agent_state(make_request("run", R"({"a":1})")).value();
    EXPECT_EQ(again.outcome, Outcome::kPersisted);
    EXPECT_EQ(bench.optimized.load_agent_state({.run_id = "run"}).value().state.text(), R"({"a":1})");
}

TEST(Optimised, AColdCacheSkipsToo) {
    Bench bench;
    const Receipt first = bench.standard.save_agent_state(make_request("run")).value();
    EXPECT_EQ(bench.optimized.save_agent_state(make_request("run")).value().snapshot_id, first.snapshot_id);
    bench.optimized.clear_cache();
    EXPECT_EQ(bench.optimized.get_cache_stats().cache_size, 0U);
    EXPECT_EQ(bench.optimized.save_agent_state(make_request("run")).value().outcome, Outcome::kDeduplicated);
    EXPECT_EQ(bench.optimized.get_cache_stats().misses, 2U);
}

TEST(Optimised, ASkipNeverChangesHowLongAStateIsKept) {
    Bench bench;
    StatePersistenceRequest expiring = make_request("run");
    expiring.expires_at = test::kEpoch + std::chrono::hours(1);
    ASSERT_TRUE(bench.optimized.save_agent_state(expiring));
    EXPECT_EQ(bench.optimized.save_agent_state(expiring).value().outcome, Outcome::kDeduplicated);
    expiring.expires_at = test::kEpoch + std::chrono::hours(2);
    EXPECT_EQ(bench.optimized.save_agent_state(expiring).value().outcome, Outcome::kPersisted);
    EXPECT_EQ(bench.optimized.save_agent_state(make_request("run")).value().outcome, Outcome::kPersisted);
    EXPECT_EQ(bench.optimized.save_agent_state(expiring).value().outcome, Outcome::kPersisted)
        << "nor lets it be kept for longer";
}

TEST(Optimised, AnyErrorOfTheStoreFallsBackToTheStandardPathOnce) {
    for (const StoreCall call : {StoreCall::kHead, StoreCall::kCommit, StoreCall::kGet}) {
        for (const ErrorCode code : {ErrorCode::kUnavailable, ErrorCode::kCorrupt, ErrorCode::kInternal,
                                     ErrorCode::kStorageFull, ErrorCode::kReadOnly}) {
            Bench bench;
            ASSERT_TRUE(bench.standard.save_agent_state(make_request("run", R"({"a":1})")));
            bench.store->inject({.call = call, .code = code});
            const bool is_read_twice = call == StoreCall::kGet && code == ErrorCode::kCorrupt;
            if (is_read_twice) bench.store->inject({.call = call, .code = code, .nth = 2});
            const Receipt receipt = bench.optimized.save_agent_state(make_request("run", R"({"a":2})")).value();
            EXPECT_EQ(receipt.outcome, Outcome::kFallback);
            EXPECT_EQ(bench.optimized.load_agent_state({.run_id = "run"}).value().info.snapshot_id,
                      receipt.snapshot_id);
            const std::string cause(error_info(code).name);
            EXPECT_EQ(bench.optimized.get_cache_stats().fallbacks_by_cause,
                      (std::map<std::string, std::uint64_t>{{cause, 1}}));
            ASSERT_EQ(bench.log.size(), 1U);
            EXPECT_EQ(bench.log[0].event, "save_fallback");
            EXPECT_EQ(bench.snapshots("run"), 2U);
        }
    }
}

TEST(Optimised, WhenTheStandardPathFailsTooTheCallerGetsBothErrorsAndNothingIsRemembered) {
    Bench bench;
    bench.store->inject({.call = StoreCall::kCommit, .code = ErrorCode::kStorageFull, .for_good = true});
    const Result<Receipt> failed = bench.optimized.save_agent_state(make_request("run"));
    ASSERT_EQ(code_of(failed), ErrorCode::kStorageFull);
    ASSERT_NE(failed.error().cause, nullptr);
    EXPECT_EQ(failed.error().cause->code, ErrorCode::kStorageFull);
    EXPECT_EQ(bench.optimized.get_cache_stats().cache_size, 0U);
    EXPECT_EQ(bench.optimized.get_cache_stats().saves_by_outcome.at("failed"), 1U);
    bench.store->heal();
    EXPECT_EQ(bench.optimized.save_agent_state(make_request("run")).value().outcome, Outcome::kPersisted);
}

TEST(Both, AnUnknownOutcomeIsResolvedByTheSnapshotIdAndNeverSavedTwice) {
    for (const bool applied : {false, true}) {
        for (const bool is_optimised : {false, true}) {
            Bench bench;
            StatePersistence& service = is_optimised ? static_cast<StatePersistence&>(bench.optimized) : bench.standard;
            ASSERT_TRUE(service.save_agent_state(make_request("run", R"({"a":1})")));
            bench.store->inject(
                {.call = StoreCall::kCommit, .code = ErrorCode::kOutcomeUnknown, .after_effect = applied});
            const Receipt receipt = service.save_agent_state(make_request("run", R"({"a":2})")).value();
            EXPECT_EQ(receipt.outcome, Outcome::kPersisted);
            EXPECT_EQ(receipt.version, 2);
            EXPECT_EQ(bench.snapshots("run"), 2U);
            EXPECT_EQ(service.load_agent_state({.run_id = "run"}).value().info.snapshot_id, receipt.snapshot_id);
        }
    }
}

TEST(Both, AnOutcomeThatCannotBeResolvedIsReportedAsUnknownAndTheSameIdCanBeRetried) {
    for (const bool applied : {false, true}) {
        Bench bench;
        bench.store->inject({.call = StoreCall::kCommit,
                             .code = ErrorCode::kOutcomeUnknown,
                             .for_good = true,
                             .after_effect = applied});
        bench.store->inject({.call = StoreCall::kGet, .code = ErrorCode::kUnavailable, .for_good = true});
        StatePersistenceRequest request = make_request("run");
        request.snapshot_id = "mine";
        request.timeout = std::chrono::milliseconds(100);  // the look-up of the id is repeated for so long
        const Result<Receipt> result = bench.optimized.save_agent_state(request);
        ASSERT_EQ(code_of(result), ErrorCode::kOutcomeUnknown);
        EXPECT_NE(result.error().message.find("mine"), std::string::npos);
        bench.store->heal();
        request.timeout.reset();
        EXPECT_EQ(bench.optimized.save_agent_state(request).value().snapshot_id, "mine");
        EXPECT_EQ(bench.snapshots("run"), 1U);
    }
}

TEST(Optimised, AnIdenticalSaveInFlightSharesItsFateWhateverThatIs) {
    for (const bool fails : {false, true}) {
        Gate gate;
        Bench bench;
        bench.store->before_commit([&](std::span<const RunBatch> commit) { gate.pass(commit); });
        gate.close();
        if (fails) bench.store->inject({.code = ErrorCode::kStorageFull, .for_good = true});
        auto first =
            std::async(std::launch::async, [&] { return bench.optimized.save_agent_state(make_request("run")); });
        gate.await(1);
        auto second =
            std::async(std::launch::async, [&] { return bench.optimized.save_agent_state(make_request("run")); });
        EXPECT_EQ(second.wait_for(std::chrono::milliseconds(20)), std::future_status::timeout);
        gate.open();
        const Result<Receipt> one = first.get();
        const Result<Receipt> two = second.get();
        bench.store->before_commit(nullptr);
        if (fails) {
            EXPECT_EQ(code_of(one), ErrorCode::kStorageFull);
            EXPECT_EQ(code_of(two), ErrorCode::kStorageFull);
            EXPECT_EQ(bench.snapshots("run"), 0U);
        } else {
            EXPECT_EQ(one.value().outcome, Outcome::kPersisted);
            EXPECT_EQ(two.value().outcome, Outcome::kDeduplicated);
            EXPECT_EQ(two.value().snapshot_id, one.value().snapshot_id);
            EXPECT_EQ(bench.snapshots("run"), 1U);
        }
    }
}

// ---- the service behind `fallback_service` ----

// A strict save names no version here: what its service has seen counts.
StatePersistenceRequest make_strict(int step) {
    StatePersistenceRequest request = make_request("run", R"({"step":)" + std::to_string(step) + "}");
    request.on_conflict = OnConflict::kFail;
    return request;
}

TEST(FallbackService, SharesWhatItsServiceHasSeenOfTheHead) {
    Bench bench;
    StatePersistenceService& fallback = bench.optimized.fallback_service();
    EXPECT_EQ(bench.optimized.save_agent_state(make_strict(1)).value().version, 1);
    EXPECT_EQ(fallback.save_agent_state(make_strict(2)).value().version, 2);
    const Result<Receipt> next = bench.optimized.save_agent_state(make_strict(3));
    ASSERT_TRUE(next.has_value()) << next.error().to_string();
    EXPECT_EQ(next->version, 3);
    ASSERT_TRUE(bench.standard.save_agent_state(make_request("run", R"({"step":4})")).has_value());
    EXPECT_EQ(code_of(fallback.save_agent_state(make_strict(5))), ErrorCode::kConflict);
    EXPECT_EQ(code_of(bench.optimized.save_agent_state(make_strict(5))), ErrorCode::kConflict);
    ASSERT_TRUE(fallback.load_agent_state({.run_id = "run"}).has_value());
    const Result<Receipt> informed = bench.optimized.save_agent_state(make_strict(5));
    ASSERT_TRUE(informed.has_value()) << informed.error().to_string();
    EXPECT_EQ(informed->version, 5);
}

TEST(FallbackService, TakesItsTurnAmongTheSavesOfItsService) {
    Gate gate;
    Bench bench;
    bench.store->before_commit([&](std::span<const RunBatch> commit) { gate.pass(commit); });
    gate.close();
    auto first = std::async(std::launch::async, [&] {
        return bench.optimized.fallback_service().save_agent_state(make_request("run", R"({"step":1})"));
    });
    gate.await(1);
    StatePersistenceRequest hasty = make_request("run", R"({"step":2})");
    hasty.timeout = std::chrono::milliseconds(20);
    const Result<Receipt> refused = bench.optimized.save_agent_state(hasty);
    gate.open();
    EXPECT_TRUE(first.get().has_value());
    ASSERT_EQ(code_of(refused), ErrorCode::kUnavailable);
    EXPECT_EQ(refused.error().message, "an earlier save of run \"run\" was still under way at the deadline");
}

TEST(Optimised, ConfigureTakesEffectAndRefusesNonsense) {
    Bench bench;
    EXPECT_EQ(code_of(bench.optimized.configure({.enable_deduplication = false, .cache_max_size = 0})),
              ErrorCode::kInvalidArgument);
    EXPECT_TRUE(bench.optimized.get_cache_stats().deduplication_enabled);
    ASSERT_TRUE(bench.optimized.configure(
        {.enable_deduplication = false, .enable_compression = false, .cache_max_size = 5, .cache_max_bytes = 100}));
    const CacheStats stats = bench.optimized.get_cache_stats();
    EXPECT_FALSE(stats.deduplication_enabled);
    EXPECT_FALSE(stats.compression_enabled);
    EXPECT_EQ(stats.cache_max_size, 5U);
    EXPECT_EQ(stats.cache_max_bytes, 100U);
    ASSERT_TRUE(bench.optimized.save_agent_state(make_request("run")));
    EXPECT_EQ(bench.optimized.save_agent_state(make_request("run")).value().outcome, Outcome::kPersisted);
}

TEST(Optimised, StatisticsCountWhatHappened) {
    Bench bench;
    const std::string large = R"({"text":")" + std::string(5000, 'x') + R"("})";
    ASSERT_TRUE(bench.optimized.save_agent_state(make_request("run", large)));
    ASSERT_TRUE(bench.optimized.save_agent_state(make_request("run", large)));
    ASSERT_TRUE(bench.optimized.save_agent_state(make_request("run", "{}", CheckpointType::kManual)));
    ASSERT_TRUE(bench.optimized.load_agent_state({.run_id = "run"}));
    const CacheStats stats = bench.optimized.get_cache_stats();
    EXPECT_EQ(stats.hits, 1U);
    EXPECT_EQ(stats.skips, 1U);
    EXPECT_EQ(stats.critical, 1U);
    EXPECT_EQ(stats.cache_size, 1U);
    EXPECT_EQ(stats.cache_bytes, 2U);
    EXPECT_EQ(stats.cache_entries, (std::vector<std::string>{"run"}));
    EXPECT_GT(stats.bytes_saved, large.size());
    EXPECT_LT(stats.bytes_saved, 2 * large.size());
    EXPECT_EQ(stats.saves_by_outcome,
              (std::map<std::string, std::uint64_t>{
                  {"persisted", 2}, {"deduplicated", 1}, {"fallback", 0}, {"queued", 0}, {"failed", 0}}));
    EXPECT_EQ(stats.save_latency.count, 2U);
    EXPECT_EQ(stats.skip_latency.count, 1U);
    EXPECT_EQ(stats.load_latency.count, 1U);
}

TEST(Optimised, WithMonitoringOffLatenciesAreNotMeasured) {
    Bench bench;
    bench.options.enable_monitoring = false;
    OptimizedStatePersistence service(bench.store, bench.options);
    ASSERT_TRUE(service.save_agent_state(make_request("run")));
    EXPECT_EQ(service.get_cache_stats().save_latency.count, 0U);
    EXPECT_EQ(service.get_cache_stats().saves_by_outcome.at("persisted"), 1U);
}

TEST(Optimised, AnInjectedClockThatThrowsIsAnErrorValueNotAnException) {
    struct BrokenClock final : Clock {
        Timestamp now() override { throw std::runtime_error("no time"); }
    };
    Bench bench;
    bench.options.runtime.clock = std::make_shared<BrokenClock>();
    OptimizedStatePersistence service(bench.store, bench.options);
    EXPECT_EQ(code_of(service.save_agent_state(make_request("run"))), ErrorCode::kInternal);
    // The lane is free again afterwards.
    EXPECT_EQ(code_of(service.save_agent_state(make_request("run"))), ErrorCode::kInternal);
}

TEST(Load, FindsOnlyWhatTheOwnerOwns) {
    Bench bench;
    const std::string id = bench.optimized.save_agent_state(make_request("run")).value().snapshot_id;
    for (StatePersistence* service : std::initializer_list<StatePersistence*>{&bench.standard, &bench.optimized}) {
        EXPECT_TRUE(
            service->load_agent_state({.run_id = "run", .snapshot_id = id, .thread_id = "thread", .user_id = "user"}));
        EXPECT_EQ(code_of(service->load_agent_state({.run_id = "run", .user_id = "intruder"})), ErrorCode::kNotFound);
        EXPECT_EQ(code_of(service->load_agent_state({.run_id = "run", .thread_id = "other"})), ErrorCode::kNotFound);
        EXPECT_EQ(code_of(service->load_agent_state({.run_id = "other", .snapshot_id = id})), ErrorCode::kNotFound);
        EXPECT_EQ(code_of(service->load_agent_state({.run_id = ""})), ErrorCode::kInvalidArgument);
    }
}

TEST(Load, AFrameThatIsNotTheOneOfItsRecordIsCorrupt) {
    Bench bench;
    Snapshot swapped = test::make_snapshot("run", 1, R"({"a":1})");
    swapped.frame = test::make_snapshot("run", 1, R"({"a":2})").frame;
    ASSERT_TRUE(commit_run(*bench.store, test::make_batch(swapped), test::soon()));
    EXPECT_EQ(code_of(bench.standard.load_agent_state({.run_id = "run"})), ErrorCode::kCorrupt);
}

struct RecoveryBench : Bench {
    RecoveryBench() {
        for (int i = 1; i <= 3; ++i) {
            StatePersistenceRequest request = make_request("run", fmt::format(R"({{"step":{}}})", i));
            request.snapshot_id = fmt::format("s{}", i);
            EXPECT_TRUE(standard.save_agent_state(request));
        }
    }
    std::string head_text(Store& at) {
        StatePersistenceService service(std::shared_ptr<Store>(&at, [](Store*) {}));
        return std::string(service.load_agent_state({.run_id = "run"}).value().state.text());
    }
};

TEST(Recovery, ResumeReturnsAnIntactHeadAndWritesNothingButTheLog) {
    RecoveryBench bench;
    const RecoveryResult result =
        bench.optimized.recover_agent_state({.run_id = "run", .failure_reason = "crash", .auto_recovery = true})
            .value();
    EXPECT_EQ(result.state.text(), R"({"step":3})");
    EXPECT_EQ(result.snapshot_id, "s3");
    EXPECT_TRUE(result.damaged.empty());
    EXPECT_EQ(bench.snapshots("run"), 3U);
    const std::vector<RecoveryRecord> log = bench.store->recovery_log("run", 10, test::soon()).value();
    ASSERT_EQ(log.size(), 1U);
    EXPECT_EQ(log[0].recovery_type, RecoveryType::kResume);
    EXPECT_EQ(log[0].failure_reason, "crash");
    EXPECT_TRUE(log[0].auto_recovery);
    EXPECT_EQ(log[0].result, "recovered");
    EXPECT_EQ(log[0].source_snapshot_id, "s3");
    EXPECT_GE(log[0].duration.count(), 0);
}

TEST(Recovery, ResumeGoesBackToTheNewestIntactSnapshotAndSaysWhichWereNot) {
    RecoveryBench bench;
    auto damaged = Bench::with_damage(*bench.store, "run", 3);
    OptimizedStatePersistence service(damaged, bench.options);
    ASSERT_EQ(code_of(service.load_agent_state({.run_id = "run"})), ErrorCode::kCorrupt);
    const RecoveryResult result = service.recover_agent_state({.run_id = "run"}).value();
    EXPECT_EQ(result.state.text(), R"({"step":2})");
    EXPECT_EQ(result.source_snapshot_id, "s2");
    EXPECT_EQ(result.version, 4);
    ASSERT_EQ(result.damaged.size(), 1U);
    EXPECT_EQ(result.damaged[0].snapshot_id, "s3");
    const LoadedState head = service.load_agent_state({.run_id = "run"}).value();
    EXPECT_EQ(head.state.text(), R"({"step":2})");
    EXPECT_EQ(head.info.snapshot_id, result.snapshot_id);
    EXPECT_EQ(head.info.checkpoint_type, CheckpointType::kRecovery);
    EXPECT_EQ(head.info.parent_version, 2);
    EXPECT_NE(damaged->recovery_log("run", 1, test::soon()).value().at(0).detail.find("s3"), std::string::npos);
}

TEST(Recovery, RollbackMakesTheTargetsStateTheHeadAndKeepsWhatCameAfter) {
    RecoveryBench bench;
    const RecoveryResult result =
        bench.standard
            .recover_agent_state(
                {.run_id = "run", .recovery_type = RecoveryType::kRollback, .target_snapshot_id = "s1"})
            .value();
    EXPECT_EQ(result.state.text(), R"({"step":1})");
    EXPECT_EQ(result.version, 4);
    EXPECT_EQ(bench.head_text(*bench.store), R"({"step":1})");
    EXPECT_EQ(bench.snapshots("run"), 4U);
    // The next equal save is skipped because it equals the new head. The next different one follows that head.
    EXPECT_EQ(bench.optimized.save_agent_state(make_request("run", R"({"step":1})")).value().snapshot_id,
              result.snapshot_id);
    EXPECT_EQ(bench.optimized.save_agent_state(make_request("run", R"({"step":3})")).value().version, 5);
}

TEST(Recovery, RestartGoesBackToTheFirstState) {
    RecoveryBench bench;
    EXPECT_EQ(bench.optimized.recover_agent_state({.run_id = "run", .recovery_type = RecoveryType::kRestart})
                  .value()
                  .source_snapshot_id,
              "s1");
    EXPECT_EQ(bench.head_text(*bench.store), R"({"step":1})");
}

TEST(Recovery, DamageThatForbidsARecoveryIsInTheLogAndTheHeadIsLeftAlone) {
    RecoveryBench bench;
    auto damaged = Bench::with_damage(*bench.store, "run", 1);
    StatePersistenceService service(damaged, bench.options);
    EXPECT_EQ(code_of(service.recover_agent_state({.run_id = "run", .recovery_type = RecoveryType::kRestart})),
              ErrorCode::kCorrupt);
    EXPECT_EQ(code_of(service.recover_agent_state(
                  {.run_id = "run", .recovery_type = RecoveryType::kRollback, .target_snapshot_id = "s9"})),
              ErrorCode::kNotFound);
    EXPECT_EQ(bench.head_text(*damaged), R"({"step":3})");
    const std::vector<RecoveryRecord> log = damaged->recovery_log("run", 10, test::soon()).value();
    ASSERT_EQ(log.size(), 1U) << "a target that does not exist is a mistake of the caller's";
    EXPECT_EQ(log[0].result, "corrupt");
    EXPECT_EQ(code_of(service.recover_agent_state({.run_id = "nobody"})), ErrorCode::kNotFound);
    EXPECT_EQ(code_of(service.recover_agent_state({.run_id = "run", .user_id = "intruder"})), ErrorCode::kNotFound);
    EXPECT_EQ(code_of(service.recover_agent_state({.run_id = "run", .target_snapshot_id = "s1"})),
              ErrorCode::kInvalidArgument);
    EXPECT_EQ(code_of(service.recover_agent_state({.run_id = "run", .recovery_type = RecoveryType::kRollback})),
              ErrorCode::kInvalidArgument);
}

TEST(Recovery, WhenNothingIsIntactTheErrorSaysSo) {
    Bench bench;
    ASSERT_TRUE(bench.standard.save_agent_state(make_request("run")));
    auto damaged = Bench::with_damage(*bench.store, "run", 1);
    StatePersistenceService service(damaged, bench.options);
    EXPECT_EQ(code_of(service.recover_agent_state({.run_id = "run"})), ErrorCode::kCorrupt);
}

TEST(Recovery, AHeadThatMovesMeanwhileIsRebasedOnAndAnUnknownOutcomeResolved) {
    RecoveryBench bench;
    bool has_moved = false;
    bench.store->before_commit([&](std::span<const RunBatch>) {
        if (std::exchange(has_moved, true)) return;
        (void)StatePersistenceService(bench.inner, bench.options)
            .save_agent_state(make_request("run", R"({"step":4})"));
    });
    bench.store->inject({.code = ErrorCode::kOutcomeUnknown, .nth = 2, .after_effect = true});
    const RecoveryResult result =
        bench.optimized
            .recover_agent_state(
                {.run_id = "run", .recovery_type = RecoveryType::kRollback, .target_snapshot_id = "s2"})
            .value();
    EXPECT_EQ(result.version, 5);
    EXPECT_EQ(bench.head_text(*bench.store), R"({"step":2})");
    EXPECT_EQ(bench.snapshots("run"), 5U);
    EXPECT_EQ(bench.store->recovery_log("run", 10, test::soon()).value().size(), 1U);
}

// ---- errors and limits are no damage ----

/// Spoils some snapshots that `get` returns: until it is asked to read afresh, or for ever.
class FlakyStore final : public ForwardingStore {
public:
    FlakyStore(std::shared_ptr<Store> next, std::vector<std::string> bad_ids, bool is_healed)
        : ForwardingStore(std::move(next)), bad_ids_(std::move(bad_ids)), is_healed_(is_healed) {}

    Result<std::optional<Snapshot>> get(std::string_view run_id, std::optional<std::string_view> snapshot_id,
                                        Deadline deadline, Reading reading) override {
        if (before_get) before_get();
        if (reading == Reading::kAfresh) ++times_read_afresh;
        if (reading == Reading::kAfresh && is_healed_) bad_ids_.clear();
        auto found = ForwardingStore::get(run_id, snapshot_id, deadline, reading);
        if (found && *found && std::ranges::count(bad_ids_, (*found)->info.snapshot_id) > 0)
            (*found)->frame.back() ^= 1;
        return found;
    }
    Result<std::optional<Head>> head(std::string_view run_id, Deadline deadline) override {
        auto found = ForwardingStore::head(run_id, deadline);
        if (after_head) after_head();
        return found;
    }

    int times_read_afresh = 0;
    std::function<void()> before_get;
    std::function<void()> after_head;

private:
    std::vector<std::string> bad_ids_;
    const bool is_healed_;
};

void expect_head_alone(RecoveryBench& bench) {
    EXPECT_EQ(bench.snapshots("run"), 3U);
    EXPECT_EQ(bench.inner->head("run", test::soon()).value()->snapshot_id, "s3");
    EXPECT_TRUE(bench.inner->recovery_log("run", 10, test::soon()).value().empty()) << "nothing has been recovered";
}

TEST(Saving, ARunThatIsDeletedWhileItsHeadIsReadIsBegunAnew) {
    const auto inner = make_memory_store();
    const auto store = std::make_shared<FlakyStore>(inner, std::vector<std::string>{}, true);
    ASSERT_TRUE(StatePersistenceService(inner).save_agent_state(make_request("run", R"({"step":1})")));
    OptimizedStatePersistence service(store, {});  // this service has not seen the run
    store->before_get = [&] { EXPECT_TRUE(delete_runs(*inner, {.run_id = "run"})); };
    const auto receipt = service.save_agent_state(make_request("run", R"({"step":2})"));
    store->before_get = nullptr;
    ASSERT_TRUE(receipt) << receipt.error().to_string();
    EXPECT_EQ(receipt->outcome, Outcome::kPersisted);
    EXPECT_EQ(receipt->version, 1);
    EXPECT_EQ(service.load_agent_state({.run_id = "run"}).value().state.text(), R"({"step":2})");
}

TEST(Recovery, AMismatchIsReadASecondTimeBeforeItIsCalledDamage) {
    RecoveryBench bench;
    const auto healed = std::make_shared<FlakyStore>(bench.inner, std::vector<std::string>{"s3"}, true);
    OptimizedStatePersistence service(healed, bench.options);
    EXPECT_EQ(service.load_agent_state({.run_id = "run"}).value().state.text(), R"({"step":3})");
    EXPECT_EQ(healed->times_read_afresh, 1);
    const auto once_more = std::make_shared<FlakyStore>(bench.inner, std::vector<std::string>{"s3"}, true);
    const RecoveryResult result =
        OptimizedStatePersistence(once_more, bench.options).recover_agent_state({.run_id = "run"}).value();
    EXPECT_EQ(result.snapshot_id, "s3");
    EXPECT_TRUE(result.damaged.empty());
    EXPECT_EQ(bench.snapshots("run"), 3U);
    const auto bad = std::make_shared<FlakyStore>(bench.inner, std::vector<std::string>{"s3"}, false);
    EXPECT_EQ(
        OptimizedStatePersistence(bad, bench.options).recover_agent_state({.run_id = "run"}).value().damaged.size(),
        1U);
    EXPECT_EQ(bad->times_read_afresh, 1);
}

TEST(Recovery, AStateBeyondTheReadersLimitIsNotSteppedOver) {
    RecoveryBench bench;
    StatePersistenceRequest large = make_request("run", R"({"text":")" + std::string(5000, 'x') + R"("})");
    for (StatePersistence* writer : std::initializer_list<StatePersistence*>{&bench.standard, &bench.optimized}) {
        ASSERT_TRUE(writer->save_agent_state(large));  // plain, then compressed
        PersistenceOptions options = bench.options;
        options.state_limits.bytes_max = 1000;
        StatePersistenceService reader(bench.inner, options);
        const std::string head = bench.inner->head("run", test::soon()).value()->snapshot_id;
        const auto expect_limit = [&](const Error& error) {
            EXPECT_EQ(error.code, ErrorCode::kLimitExceeded) << error.to_string();
            EXPECT_NE(error.message.find("CAIRN_STATE_BYTES_MAX"), std::string::npos) << error.message;
            EXPECT_NE(error.message.find(head), std::string::npos) << error.message;
        };
        const auto resumed = reader.recover_agent_state({.run_id = "run"});
        ASSERT_FALSE(resumed);
        expect_limit(resumed.error());
        const auto checked = check_deep(*bench.inner, Deadline::max(), options.state_limits);
        ASSERT_TRUE(checked);
        ASSERT_FALSE(checked->findings.empty());
        for (const auto& finding : checked->findings) EXPECT_EQ(finding.code, ErrorCode::kLimitExceeded);
        expect_limit({.code = ErrorCode::kLimitExceeded, .message = checked->findings.front().problem});
        EXPECT_EQ(bench.inner->head("run", test::soon()).value()->snapshot_id, head);
        EXPECT_TRUE(bench.inner->recovery_log("run", 10, test::soon()).value().empty());
        large.state_data = State::parse(R"({"text":")" + std::string(5001, 'x') + R"("})").value();
    }
    EXPECT_TRUE(check_deep(*bench.inner, Deadline::max()).value().findings.empty());
}

TEST(Recovery, ADamagedLengthIsDamageAndNoLimit) {
    RecoveryBench bench;
    Snapshot huge = test::make_snapshot("run", 4, R"({"step":4})");
    huge.info.snapshot_id = "s4";
    std::string lies(huge.frame);
    const std::string length = "\xff\xff\xff\xff\x7f";  // for the one byte that says 10
    lies.replace(2, 1, length);
    huge.frame = lies;
    ASSERT_TRUE(commit_run(*bench.inner, test::make_batch(huge), test::soon()));
    EXPECT_EQ(code_of(bench.standard.load_agent_state({.run_id = "run"})), ErrorCode::kCorrupt);
    EXPECT_EQ(bench.standard.recover_agent_state({.run_id = "run"}).value().source_snapshot_id, "s3");
}

TEST(Recovery, AReadThatFailsIsToldAndTheHeadLeftAlone) {
    for (const StoreCall call : {StoreCall::kHead, StoreCall::kHistory, StoreCall::kGet}) {
        for (const ErrorCode code : {ErrorCode::kUnavailable, ErrorCode::kInternal}) {
            RecoveryBench bench;
            bench.store->inject({.call = call, .code = code});
            EXPECT_EQ(code_of(bench.standard.recover_agent_state({.run_id = "run"})), code);
            expect_head_alone(bench);
        }
    }
}

TEST(Recovery, AHeadThatMovesBetweenTwoReadsIsNoFailureAndNoDamage) {
    const auto save_beside = [](RecoveryBench& bench, std::string text) {
        ASSERT_TRUE(StatePersistenceService(bench.inner, bench.options).save_agent_state(make_request("run", text)));
    };
    for (const RecoveryType type : {RecoveryType::kResume, RecoveryType::kRestart, RecoveryType::kRollback}) {
        RecoveryBench bench;
        const auto store = std::make_shared<FlakyStore>(bench.inner, std::vector<std::string>{}, true);
        int moves = 0;
        store->after_head = [&] {
            if (++moves <= 3) save_beside(bench, fmt::format(R"({{"moved":{}}})", moves));
        };
        StateRecoveryRequest request{.run_id = "run", .recovery_type = type};
        if (type == RecoveryType::kRollback) request.target_snapshot_id = "s2";
        const auto recovered = StatePersistenceService(store, bench.options).recover_agent_state(request);
        ASSERT_TRUE(recovered) << recovered.error().to_string();
        const bool is_new = type != RecoveryType::kResume;
        EXPECT_EQ(bench.inner->head("run", test::soon()).value()->snapshot_id, recovered->snapshot_id);
        EXPECT_EQ(recovered->version, bench.inner->head("run", test::soon()).value()->version);
        EXPECT_EQ(bench.snapshots("run"), 3U + (is_new ? 4U : 1U));
        EXPECT_EQ(bench.inner->recovery_log("run", 10, test::soon()).value().size(), 1U);
    }
}

TEST(Recovery, ATargetThatWasSavedAfterTheHeadWasAskedForIsFound) {
    RecoveryBench bench;
    const auto store = std::make_shared<FlakyStore>(bench.inner, std::vector<std::string>{}, true);
    bool has_moved = false;
    store->after_head = [&] {
        if (std::exchange(has_moved, true)) return;
        StatePersistenceRequest target = make_request("run", R"({"step":4})");
        target.snapshot_id = "s4";
        ASSERT_TRUE(StatePersistenceService(bench.inner, bench.options).save_agent_state(target));
    };
    const auto recovered =
        StatePersistenceService(store, bench.options)
            .recover_agent_state(
                {.run_id = "run", .recovery_type = RecoveryType::kRollback, .target_snapshot_id = "s4"});
    ASSERT_TRUE(recovered) << recovered.error().to_string();
    EXPECT_EQ(recovered->version, 5);
    EXPECT_EQ(bench.head_text(*bench.inner), R"({"step":4})");
}

TEST(Recovery, WhenNothingWasIntactButAnotherHasSavedMeanwhileThatIsTheState) {
    RecoveryBench bench;
    const auto store = std::make_shared<FlakyStore>(bench.inner, std::vector<std::string>{"s1", "s2", "s3"}, false);
    int gets = 0;
    store->before_get = [&] {
        if (++gets != 3) return;
        (void)StatePersistenceService(bench.inner, bench.options)
            .save_agent_state(make_request("run", R"({"step":4})"));
    };
    const auto recovered = StatePersistenceService(store, bench.options).recover_agent_state({.run_id = "run"});
    ASSERT_TRUE(recovered) << recovered.error().to_string();
    EXPECT_EQ(recovered->state.text(), R"({"step":4})");
    EXPECT_EQ(recovered->version, 4);
    EXPECT_EQ(bench.snapshots("run"), 4U);
}

TEST(Recovery, ASnapshotThatIsPrunedMeanwhileIsNoDamage) {
    RecoveryBench bench;
    const auto store = std::make_shared<FlakyStore>(bench.inner, std::vector<std::string>{"s3"}, false);
    int gets = 0;
    store->before_get = [&] {
        if (++gets != 2) return;
        RunBatch batch{.run_id = "run"};
        batch.deletions.push_back({.version = 2});
        ASSERT_TRUE(commit_run(*bench.inner, batch, test::soon()));
    };
    const auto recovered = StatePersistenceService(store, bench.options).recover_agent_state({.run_id = "run"});
    ASSERT_TRUE(recovered) << recovered.error().to_string();
    EXPECT_EQ(recovered->source_snapshot_id, "s1");
    ASSERT_EQ(recovered->damaged.size(), 1U);
    EXPECT_EQ(recovered->damaged[0].snapshot_id, "s3");
}

TEST(Recovery, ARunThatIsDeletedMeanwhileIsNotFound) {
    RecoveryBench bench;
    const auto store = std::make_shared<FlakyStore>(bench.inner, std::vector<std::string>{}, true);
    store->after_head = [&] { (void)delete_runs(*bench.inner, {.run_id = "run"}); };
    EXPECT_EQ(code_of(StatePersistenceService(store, bench.options).recover_agent_state({.run_id = "run"})),
              ErrorCode::kNotFound);
}

TEST(Recovery, AStoreThatCannotLogDoesNotWithholdAnIntactHead) {
    RecoveryBench bench;
    bench.store->inject({.code = ErrorCode::kReadOnly, .for_good = true});
    EXPECT_EQ(bench.standard.recover_agent_state({.run_id = "run"}).value().state.text(), R"({"step":3})");
    EXPECT_EQ(bench.log.front().event, "recovery_not_logged");
}

TEST(ThreadContext, SumsUpTheRunsOfOneThread) {
    Bench bench;
    for (const char* run : {"r1", "r2", "r1"}) {
        StatePersistenceRequest request = make_request(run, fmt::format(R"({{"run":"{}"}})", run));
        request.agent_phase = AgentPhase(run == std::string("r1") ? "triage" : "reporting");
        ASSERT_TRUE(bench.standard.save_agent_state(request));
    }
    const ThreadContext context = bench.optimized.get_thread_context("thread").value();
    EXPECT_EQ(context.user_id, "user");
    EXPECT_EQ(context.runs.size(), 2U);
    EXPECT_EQ(context.snapshots, 3U);
    EXPECT_EQ(context.newest_run_id, "r1");
    EXPECT_EQ(context.newest_snapshot_id, bench.store->head("r1", test::soon()).value()->snapshot_id);
    EXPECT_EQ(context.agent_phase, AgentPhase::kTriage);
    EXPECT_EQ(code_of(bench.optimized.get_thread_context("none")), ErrorCode::kNotFound);
    EXPECT_EQ(code_of(bench.optimized.get_thread_context("thread", "intruder")), ErrorCode::kNotFound);
}

TEST(ThreadContext, AThreadIdUnderTwoUsersNeedsTheUser) {
    Bench bench;
    ASSERT_TRUE(bench.standard.save_agent_state(make_request("r1")));
    StatePersistenceRequest other = make_request("r2");
    other.user_id = "other";
    ASSERT_TRUE(bench.standard.save_agent_state(other));
    EXPECT_EQ(code_of(bench.standard.get_thread_context("thread")), ErrorCode::kInvalidArgument);
    EXPECT_EQ(bench.standard.get_thread_context("thread", "other").value().newest_run_id, "r2");
}

TEST(CheckDeep, NamesEveryDamagedSnapshotAndNoOther) {
    RecoveryBench bench;
    EXPECT_TRUE(check_deep(*bench.store, Deadline::max()).value().findings.empty());
    auto damaged = Bench::with_damage(*bench.store, "run", 2);
    const CheckReport report = check_deep(*damaged, Deadline::max()).value();
    ASSERT_EQ(report.findings.size(), 1U);
    EXPECT_EQ(report.findings[0].snapshot_id, "s2");
    EXPECT_EQ(report.snapshots, 3U);
}

}  // namespace
}  // namespace cairn
