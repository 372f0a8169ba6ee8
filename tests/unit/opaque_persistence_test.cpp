// Goal: whatever holds for JSON states holds for opaque ones, through both services and on both stores: exact loads,
// exact skips, deltas, forks, recoveries, pruning, checks, limits. What is ciphertext is stored as it is.
// Method: bytes that no text could be, beside JSON states of the same run; stored frames are looked at and forged
// directly; checkpoints as LangGraph makes them, whose stored size has an upper bound.

#include "frame/frame.h"
#include "support/edits.h"
#include "support/make.h"
#include "support/msgpack_checkpoints.h"
#include "support/temp_dir.h"

#include <cairn/persistence.h>
#include <cairn/pipeline.h>
#include <cairn/retention.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

namespace cairn::test {
namespace {

using ::testing::HasSubstr;
using namespace std::string_literals;

State opaque(std::string_view bytes, std::string_view type = "msgpack") {
    return State::opaque(type, bytes).value();
}

/// Named by the store's scheme.
class OpaqueSaves : public ::testing::TestWithParam<std::string> {
protected:
    OpaqueSaves() { reopen(); }

    void reopen(const StateLimits& limits = {}) {
        OptimizedOptions options;
        options.runtime = make_runtime(++seed);  // other ids each time
        options.state_limits = limits;
        service = std::make_unique<OptimizedStatePersistence>(store, options);
        standard = std::make_unique<StatePersistenceService>(store, options);
    }

    static StatePersistenceRequest request(State state, CheckpointType type = CheckpointType::kAuto) {
        StatePersistenceRequest request = make_request("run", "{}", std::move(type));
        request.state_data = std::move(state);
        return request;
    }
    Receipt save(State state, CheckpointType type = CheckpointType::kAuto) {
        return service->save_agent_state(request(std::move(state), std::move(type))).value();
    }
    Snapshot stored(const std::string& snapshot_id) { return store->get("run", snapshot_id, soon()).value().value(); }
    FrameHeader header_of(const Receipt& receipt) {
        return read_frame_header(stored(receipt.snapshot_id).frame).value();
    }
    void expect_loads(const std::string& snapshot_id, const State& state) {
        for (StatePersistence* each : std::initializer_list<StatePersistence*>{service.get(), standard.get()}) {
            const auto loaded = each->load_agent_state({.run_id = "run", .snapshot_id = snapshot_id});
            ASSERT_TRUE(loaded) << loaded.error().to_string();
            EXPECT_EQ(loaded->state, state);
            EXPECT_EQ(loaded->state.type_tag(), state.type_tag());
            EXPECT_EQ(loaded->info.state_type, state.type_tag());
            EXPECT_EQ(loaded->info.state_bytes, state.size_bytes());
            EXPECT_EQ(loaded->info.checksum, state.checksum());
        }
    }
    void expect_sound() { EXPECT_TRUE(check_deep(*store, Deadline::max()).value().findings.empty()); }

    std::uint64_t seed = 0;
    TempDir folder;
    std::shared_ptr<Store> store =
        open_store(GetParam() == "memory" ? "memory:" : folder.sqlite_url("cairn.db")).value();
    std::unique_ptr<OptimizedStatePersistence> service;
    std::unique_ptr<StatePersistenceService> standard;
};

TEST_P(OpaqueSaves, LoadAsTheyWereWithEitherService) {
    for (const std::string& bytes :
         {""s, "\0"s, "{}"s, "\xff\xfe\0\x80"s, std::string(5000, '\0'), Edits(1).text(70'000)}) {
        for (const CheckpointType& type : {CheckpointType::kAuto, CheckpointType::kManual}) {
            expect_loads(save(opaque(bytes), type).snapshot_id, opaque(bytes));
        }
        const auto whole = standard->save_agent_state(request(opaque(bytes, "other")));
        ASSERT_TRUE(whole) << whole.error().to_string();
        expect_loads(whole->snapshot_id, opaque(bytes, "other"));
    }
    expect_sound();
}

TEST_P(OpaqueSaves, AreSkippedIfTypeAndBytesAreThoseOfTheHead) {
    for (const bool is_cached : {true, false}) {
        const State json = State::parse(R"({"a":1})").value();
        for (const State& state : {opaque(R"({"a":1})"), opaque(R"({"a":1})", "json"), json, opaque("")}) {
            const Receipt first = save(state);
            EXPECT_EQ(first.outcome, Outcome::kPersisted);
            if (!is_cached) service->clear_cache();
            const Receipt again = save(state);
            EXPECT_EQ(again.outcome, Outcome::kDeduplicated);
            EXPECT_EQ(again.snapshot_id, first.snapshot_id);
        }
    }
}

TEST_P(OpaqueSaves, AreNoJsonWhoseKeysMayStandInAnyOrder) {
    service->configure({.ignore_key_order = true}).value();
    save(opaque(R"({"a":1,"b":2})"));
    EXPECT_EQ(save(opaque(R"({"b":2,"a":1})")).outcome, Outcome::kPersisted);
    EXPECT_EQ(save(State::parse(R"({"a":1,"b":2})").value()).outcome, Outcome::kPersisted);
}

TEST_P(OpaqueSaves, StoreWhatChangedAndLoadExactlyAlsoBetweenJson) {
    Edits edits(7);
    std::string bytes = edits.text(20'000);
    std::vector<std::pair<std::string, State>> saved;
    for (int i = 0; i < 30; ++i) {
        bytes[edits.below(bytes.size())] ^= '\x01';
        const State state =
            i % 5 == 4 ? State::parse(fmt::format(R"({{"i":{},"pad":"{}"}})", i, std::string(3000, 'p'))).value()
                       : opaque(bytes, i % 2 == 0 ? "msgpack" : "pickle");
        const Receipt receipt = save(state);
        if (i % 5 != 4 && i % 5 != 0) {
            EXPECT_LT(receipt.frame_bytes, 200U) << i;
            EXPECT_TRUE(needs_base(header_of(receipt).kind)) << i;
            EXPECT_EQ(header_of(receipt).content, FrameContent::kOpaque);
        }
        saved.emplace_back(receipt.snapshot_id, state);
    }
    for (const auto& [id, state] : saved) expect_loads(id, state);
    expect_sound();
}

TEST_P(OpaqueSaves, OfCiphertextAreStoredWholeAndVerbatim) {
    const std::string bytes(4000, 'c');
    save(opaque(bytes));
    for (const std::string& changed : {bytes + "1", bytes + "2"}) {
        const Receipt receipt = save(opaque(changed, "msgpack+aes"));
        EXPECT_EQ(header_of(receipt).kind, FrameKind::kFullPlain);
        EXPECT_THAT(stored(receipt.snapshot_id).frame, HasSubstr(changed));
        EXPECT_EQ(save(opaque(changed, "msgpack+aes")).outcome, Outcome::kDeduplicated);
        expect_loads(receipt.snapshot_id, opaque(changed, "msgpack+aes"));
    }
    EXPECT_EQ(stored(save(opaque(bytes)).snapshot_id).info.base_version, 0) << "ciphertext is no base";
}

TEST_P(OpaqueSaves, CanBeForkedRolledBackAndResumed) {
    const State first = opaque("first" + std::string(2000, 'x'));
    const std::string first_id = save(first).snapshot_id;
    save(opaque("second"));
    StatePersistenceRequest fork = request(opaque("forked" + std::string(2000, 'x')));
    fork.parent_snapshot_id = first_id;
    const Receipt forked = service->save_agent_state(fork).value();
    EXPECT_EQ(stored(forked.snapshot_id).info.parent_version, 1);
    expect_loads(forked.snapshot_id, fork.state_data);

    const auto rolled = service->recover_agent_state(
        {.run_id = "run", .recovery_type = RecoveryType::kRollback, .target_snapshot_id = first_id});
    ASSERT_TRUE(rolled) << rolled.error().to_string();
    EXPECT_EQ(rolled->state, first);
    expect_loads(rolled->snapshot_id, first);
    EXPECT_EQ(service->recover_agent_state({.run_id = "run"}).value().state, first);
    expect_sound();
}

TEST_P(OpaqueSaves, StayWholeWhenOthersOfTheirChainArePruned) {
    std::vector<std::pair<std::string, State>> saved;
    for (int i = 0; i < 12; ++i) {
        const State state = opaque(fmt::format("{}{}", std::string(3000, 'x'), i));
        saved.emplace_back(save(state).snapshot_id, state);
    }
    EXPECT_EQ(prune(*store, {.keep_last = 3}).value().snapshots_deleted, 9U);
    for (std::size_t i = saved.size() - 3; i < saved.size(); ++i) expect_loads(saved[i].first, saved[i].second);
    expect_sound();
}

TEST_P(OpaqueSaves, MayBeAsLargeAsTheLimitWhateverTheLengthOfTheType) {
    const std::string bytes(5000, 'b');
    for (const std::string& type : {"m"s, std::string(64, 't')}) {
        reopen();
        const std::string full = save(opaque(bytes, type), CheckpointType::kManual).snapshot_id;
        const std::string delta = save(opaque("a" + bytes.substr(1), type)).snapshot_id;
        reopen({.bytes_max = 5000});
        expect_loads(full, opaque(bytes, type));
        expect_loads(delta, opaque("a" + bytes.substr(1), type));
        EXPECT_TRUE(check_deep(*store, Deadline::max(), {.bytes_max = 5000}).value().findings.empty());
        reopen({.bytes_max = 4999});
        for (const std::string& id : {full, delta}) {
            const auto refused = service->load_agent_state({.run_id = "run", .snapshot_id = id});
            ASSERT_FALSE(refused);
            EXPECT_EQ(refused.error().code, ErrorCode::kLimitExceeded);
            EXPECT_THAT(refused.error().message, HasSubstr("CAIRN_STATE_BYTES_MAX"));
        }
        EXPECT_EQ(service->save_agent_state(request(opaque(bytes, type))).error().code, ErrorCode::kLimitExceeded);
    }
}

TEST_P(OpaqueSaves, TakeNoOpaqueContextOrMetadata) {
    for (const bool is_metadata : {true, false}) {
        StatePersistenceRequest wrong = request(opaque("bytes"));
        (is_metadata ? wrong.metadata : wrong.execution_context) = opaque("{}");
        const auto refused = service->save_agent_state(wrong);
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().code, ErrorCode::kInvalidState);
        EXPECT_THAT(refused.error().message,
                    HasSubstr(is_metadata ? "metadata is an opaque" : "execution_context is an opaque"));
    }
}

TEST_P(OpaqueSaves, UnderAnOwnIdAreThereOnceAndAnotherTypeIsAnotherState) {
    StatePersistenceRequest own = request(opaque("bytes"));
    own.snapshot_id = "own";
    EXPECT_TRUE(service->save_agent_state(own));
    save(opaque("newer"));
    EXPECT_EQ(service->save_agent_state(own).value().snapshot_id, "own");
    for (const State& other : {opaque("bytes", "pickle"), opaque("other")}) {
        own.state_data = other;
        EXPECT_EQ(service->save_agent_state(own).error().code, ErrorCode::kAlreadyExists);
    }
}

TEST_P(OpaqueSaves, AreListedAndCountedWithTheirTypes) {
    save(opaque("1", "a"));
    save(State());
    save(opaque("22", "a"));
    save(opaque("", "b"));
    std::vector<std::string> types;
    for (const SnapshotInfo& info : store->history({.run_id = "run"}, soon()).value()) types.push_back(info.state_type);
    EXPECT_EQ(types, (std::vector<std::string>{"b", "a", "", "a"}));
    using Counts = std::map<std::string, StoreStats::OpaqueStates>;
    EXPECT_EQ(store->stats(soon()).value().opaque_states,
              (Counts{{"a", {.snapshots = 2, .state_bytes = 3}}, {"b", {.snapshots = 1, .state_bytes = 0}}}));
}

// A file is data, whoever made it: a checksum that fits proves nothing.
TEST_P(OpaqueSaves, WhoseFrameHoldsWhatItsKindDoesNotSayAreCorrupt) {
    struct Forged {
        std::string text;
        FrameContent content;
        std::string record_type = {};
    };
    std::int64_t version = 0;
    for (const Forged& forged :
         {Forged{R"({"a":1})", FrameContent::kOpaque, "t"}, Forged{R"({"a":1})", FrameContent::kJson, "t"},
          Forged{"bytes", FrameContent::kOpaque, "t"}, Forged{"", FrameContent::kOpaque, "t"},
          Forged{"x\x02", FrameContent::kOpaque, "x"}, Forged{"bytesx\x01", FrameContent::kOpaque, "y"},
          Forged{"bytesx\x01", FrameContent::kOpaque, ""}, Forged{"bytesx\x01", FrameContent::kJson, ""},
          Forged{"bytesx\x01", FrameContent::kJson, "x"}}) {
        Snapshot snapshot = make_snapshot("run", ++version, forged.text);
        snapshot.info.state_type = forged.record_type;
        snapshot.frame = encode_full_frame(forged.text, snapshot.info.checksum, {.content = forged.content}).value();
        if (forged.content == FrameContent::kOpaque && !forged.text.empty()) snapshot.info.state_bytes -= 1;
        ASSERT_TRUE(commit_run(*store, make_batch(std::move(snapshot)), soon()));
        const auto refused = service->load_agent_state({.run_id = "run"});
        ASSERT_FALSE(refused) << forged.text;
        EXPECT_EQ(refused.error().code, ErrorCode::kCorrupt);
        EXPECT_EQ(check_deep(*store, Deadline::max()).value().findings.size(), static_cast<std::size_t>(version));
    }
}

TEST_P(OpaqueSaves, AreNotWhatAPipelineWorksOn) {
    auto engine = std::make_shared<ExecutionEngine>();
    engine->add_agent("agent", [](const State&, const AgentCall&) -> Result<State> { return opaque("bytes"); }).value();
    PipelineExecutor executor(engine, nullptr, store);
    Pipeline pipeline{.name = "p", .stages = {Stage{.steps = {Step{.name = "s", .agent = "agent"}}}}};
    const PipelineContext context{.thread_id = "thread", .user_id = "user"};
    const auto input = executor.execute_pipeline(pipeline, opaque("bytes"), "input", context);
    ASSERT_FALSE(input);
    EXPECT_EQ(input.error().code, ErrorCode::kInvalidState);
    const auto result = executor.execute_pipeline(pipeline, State(), "result", context);
    ASSERT_TRUE(result && result->error);
    EXPECT_EQ(result->error->code, ErrorCode::kInvalidState);
    EXPECT_THAT(result->error->message, HasSubstr("what the agent returned is an opaque state of type \"msgpack\""));
    pipeline.stages[0].steps[0].with = opaque("bytes");
    EXPECT_EQ(executor.execute_pipeline(pipeline, State(), "with", context).error().code, ErrorCode::kInvalidState);
}

// ---- what frameworks save ----

class Checkpoints : public OpaqueSaves {
protected:
    using Step = void (*)(Conversation&);

    /// How many times smaller the frames of 200 checkpoints are than the checkpoints.
    double times_smaller(Step step) {
        Conversation conversation(11);
        std::uint64_t given = 0;
        std::uint64_t taken = 0;
        std::vector<std::pair<std::string, State>> saved;
        for (int i = 0; i < 200; ++i) {
            conversation.add_message();
            step(conversation);
            const State state = opaque(conversation.checkpoint());
            const Receipt receipt = save(state);
            given += state.size_bytes();
            taken += receipt.frame_bytes;
            saved.emplace_back(receipt.snapshot_id, state);
        }
        for (std::size_t i = 0; i < saved.size(); i += 33) expect_loads(saved[i].first, saved[i].second);
        return static_cast<double>(given) / static_cast<double>(taken);
    }
};

TEST_P(Checkpoints, ThatGrowCostWhatTheirMessagesDo) {
    EXPECT_GT(times_smaller([](Conversation&) {}), 150);
}

TEST_P(Checkpoints, OfAWindowCostWhatTheirMessagesDo) {
    EXPECT_GT(times_smaller([](Conversation& conversation) { conversation.keep_last(20); }), 25);
}

TEST_P(Checkpoints, WhoseFrontIsRewrittenCostWhatTheirMessagesDo) {
    EXPECT_GT(times_smaller([](Conversation& conversation) { conversation.rewrite_first(); }), 150);
}

const auto kStores = testing::Values("memory", "sqlite");
const auto kName = [](const auto& test) { return test.param; };
INSTANTIATE_TEST_SUITE_P(Stores, OpaqueSaves, kStores, kName);
INSTANTIATE_TEST_SUITE_P(Stores, Checkpoints, kStores, kName);

}  // namespace
}  // namespace cairn::test
