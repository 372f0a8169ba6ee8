// Goal: watchers get every event in order. Nothing that they do (sleep, throw, never return) reaches the pipeline. The
// events that they miss are counted, and the end of a run is never one of them.
// Method: sinks wait at a gate that the test opens. The JSON is compared member by member.

#include "pipeline/events/event_dispatcher.h"
#include "pipeline/events/event_queue.h"
#include "support/child_process.h"
#include "support/source_files.h"
#include "support/temp_dir.h"

#include <cairn/pipeline_events.h>
#include <cairn/run_events.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <condition_variable>
#include <csignal>
#include <cstddef>
#include <fstream>
#include <future>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace cairn::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;
using Type = PipelineEvent::Type;

constexpr std::chrono::hours kAsLongAsItTakes{1};

PipelineEvent make_event(std::uint64_t sequence, Type type = Type::kStepProgress, std::string run_id = "run") {
    return {.type = type, .run_id = std::move(run_id), .thread_id = "thread", .sequence = sequence};
}

/// A sink that keeps its events, and waits at a gate while that is closed.
class GatedSink final : public EventSink {
public:
    GatedSink() = default;
    GatedSink(const GatedSink&) = delete;
    GatedSink& operator=(const GatedSink&) = delete;
    ~GatedSink() override { gone_.set_value(); }

    void on_event(const PipelineEvent& event) override {
        std::unique_lock lock(mutex_);
        ++arrived_;
        changed_.notify_all();
        changed_.wait(lock, [&] { return is_open_; });
        events_.push_back(event);
    }

    void close_gate() { set_open(false); }
    void open_gate() { set_open(true); }
    /// Waits until so many events have come to the gate.
    void wait_for_arrivals(std::size_t count) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return arrived_ >= count; });
    }
    std::vector<PipelineEvent> events() {
        const std::lock_guard lock(mutex_);
        return events_;
    }
    std::future<void> gone() { return gone_.get_future(); }

private:
    void set_open(bool is_open) {
        const std::lock_guard lock(mutex_);
        is_open_ = is_open;
        changed_.notify_all();
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    bool is_open_ = true;
    std::size_t arrived_ = 0;
    std::vector<PipelineEvent> events_;
    std::promise<void> gone_;
};

class ThrowingSink final : public EventSink {
public:
    void on_event(const PipelineEvent& event) override {
        ++calls;
        if (event.sequence % 2 == 0) throw std::runtime_error("socket closed");
        throw 42;  // NOLINT: sinks are others' code, which may throw anything
    }
    int calls = 0;
};

/// Keeps log records as "event field=value…".
struct Log {
    std::mutex mutex;
    std::vector<std::string> lines;

    Runtime runtime() {
        return {.log = [this](const LogRecord& record) {
            std::string line(record.event);
            for (const auto& [name, value] : record.fields) line.append(" ").append(name).append("=").append(value);
            const std::lock_guard lock(mutex);
            lines.push_back(line);
        }};
    }
};

std::vector<std::uint64_t> sequences(const std::vector<PipelineEvent>& events) {
    std::vector<std::uint64_t> numbers;
    numbers.reserve(events.size());
    for (const PipelineEvent& event : events) numbers.push_back(event.sequence);
    return numbers;
}

TEST(EventJson, HasEveryMemberThatIsThere) {
    PipelineEvent event = make_event(7, Type::kCheckpoint);
    event.user_id = "user";
    event.pipeline = "report";
    event.time = Timestamp(std::chrono::microseconds(1'000'001));
    event.step = "triage";
    event.attempt = 2;
    event.steps_completed = 1;
    event.steps_total = 3;
    event.duration = std::chrono::microseconds(350);
    event.checkpoint_type = CheckpointType::kIntermediate;
    event.agent_phase = AgentPhase::kTriage;
    event.receipt =
        Receipt{.snapshot_id = "s", .outcome = Outcome::kQueued, .durability = Durability::kAsync, .version = 4};
    event.dropped = 5;
    EXPECT_EQ(
        to_json(event),
        R"({"type":"checkpoint","run_id":"run","thread_id":"thread","user_id":"user","pipeline":"report",)"
        R"("sequence":7,"time":"1970-01-01T00:00:01.000001Z","step":"triage","attempt":2,"duration_us":350,)"
        R"("steps_completed":1,"steps_total":3,"checkpoint_type":"intermediate","agent_phase":"triage","receipt":{"snapshot_id":"s","outcome":"queued",)"
        R"("durability":"async","version":4},"dropped":5})");
}

TEST(EventJson, LeavesOutWhatIsNotThere) {
    const Json json = Json::parse(to_json(make_event(1, Type::kStarted)));
    for (const char* name : {"step", "attempt", "will_retry", "duration_us", "checkpoint_type", "agent_phase",
                             "receipt", "status", "message", "error", "dropped"}) {
        EXPECT_FALSE(json.contains(name)) << name;
    }
}

TEST(EventJson, SaysOfAFailureWhetherThereIsAnotherAttempt) {
    PipelineEvent event = make_event(1, Type::kStepFailed);
    event.duration = std::chrono::microseconds(12);
    const Json json = Json::parse(to_json(event));
    EXPECT_EQ(json.at("will_retry"), false);
    EXPECT_EQ(json.at("duration_us"), 12);
}

TEST(EventJson, HasAnErrorInTheShapeOfTheCommandLine) {
    PipelineEvent event = make_event(1, Type::kCompleted);
    event.status = "failed";
    event.error = Error{.code = ErrorCode::kUnavailable,
                        .message = "busy",
                        .detail = "SQLITE_BUSY (5)",
                        .cause = std::make_shared<const Error>(Error{.code = ErrorCode::kClosed, .message = "shut"})};
    const Json json = Json::parse(to_json(event));
    EXPECT_EQ(json.at("status"), "failed");
    EXPECT_EQ(json.at("error"), Json({{"code", "unavailable"},
                                      {"message", "busy"},
                                      {"detail", "SQLITE_BUSY (5) <- closed: shut"},
                                      {"advice", error_info(ErrorCode::kUnavailable).advice}}));
}

TEST(EventJson, IsOneLineOfUtf8WhateverTheAgentSays) {
    PipelineEvent event = make_event(1);
    event.message = "two\nlines \xFF";
    const std::string json = to_json(event);
    EXPECT_EQ(json.find('\n'), std::string::npos);
    EXPECT_EQ(Json::parse(json).at("message"), "two\nlines \xEF\xBF\xBD");
}

TEST(EventJson, OfASaveHasWhatItsObserverIsTold) {
    SaveEvent save{.run_id = "run",
                   .thread_id = "thread",
                   .user_id = "user",
                   .checkpoint_type = CheckpointType::kManual,
                   .agent_phase = AgentPhase("review"),
                   .duration = std::chrono::microseconds(7),
                   .receipt = Receipt{.snapshot_id = "s", .version = 4}};
    std::vector<PipelineEvent> told;
    RunEvents events([&](const PipelineEvent& event) { told.push_back(event); }, {}, {.run_id = "run"});
    events.tell_saved(save, "triage");
    save.receipt.reset();
    save.error = Error{.code = ErrorCode::kConflict, .message = "moved"};
    events.tell_saved(save);
    ASSERT_EQ(told.size(), 2U);
    const Json saved = Json::parse(to_json(told[0]));
    EXPECT_EQ(saved.at("type"), "checkpoint");
    EXPECT_EQ(saved.at("step"), "triage");
    EXPECT_EQ(saved.at("checkpoint_type"), "manual");
    EXPECT_EQ(saved.at("agent_phase"), "review");
    EXPECT_EQ(saved.at("duration_us"), 7);
    EXPECT_EQ(saved.at("receipt").at("version"), 4);
    EXPECT_FALSE(saved.contains("error"));
    const Json failed = Json::parse(to_json(told[1]));
    EXPECT_EQ(failed.at("error").at("code"), "conflict");
    EXPECT_FALSE(failed.contains("receipt") || failed.contains("step"));
}

TEST(RunEvents, AreNumberedInTheOrderOfPublishingAndOutliveAPublisherThatThrows) {
    std::vector<std::uint64_t> numbers;
    RunEvents events(
        [&](const PipelineEvent& event) {
            numbers.push_back(event.sequence);
            if (event.sequence == 1) throw std::runtime_error("gone");
        },
        {}, {});
    {
        std::vector<std::jthread> threads;
        for (int thread = 0; thread < 4; ++thread) {
            threads.emplace_back([&] {
                for (int i = 0; i < 100; ++i) events.tell(Type::kStepProgress, [](PipelineEvent&) {});
            });
        }
    }
    ASSERT_EQ(numbers.size(), 400U);
    for (std::size_t i = 0; i < numbers.size(); ++i) EXPECT_EQ(numbers[i], i + 1);
}

TEST(RunEvents, ThatNobodyWatchesCostNothing) {
    RunEvents events(nullptr, {}, {});
    events.tell(Type::kStarted, [](PipelineEvent&) { ADD_FAILURE() << "nobody is told"; });
    events.tell_saved({});
}

TEST(EventFile, AppendsALineForEachEvent) {
    const TempDir dir;
    const std::filesystem::path path = dir / "events.jsonl";
    std::ofstream(path) << "{\"before\":true}\n";
    const std::shared_ptr<EventSink> file = open_event_file(path).value();
    file->on_event(make_event(1));
    file->on_event(make_event(2));
    EXPECT_THAT(lines_of(read_file(path)),
                ElementsAre("{\"before\":true}", to_json(make_event(1)), to_json(make_event(2))));
}

TEST(EventFile, IsMadeForItsOwnerAloneUnlessToldOtherwise) {
    const TempDir dir;
    const auto mode_of = [](const std::filesystem::path& path) {
        return static_cast<unsigned>(std::filesystem::status(path).permissions());
    };
    ASSERT_TRUE(open_event_file(dir / "own"));
    EXPECT_EQ(mode_of(dir / "own"), 0600U);
    const mode_t umask_before = ::umask(0077);
    ASSERT_TRUE(open_event_file(dir / "group", 0660));
    ::umask(umask_before);
    EXPECT_EQ(mode_of(dir / "group"), 0660U);
    std::filesystem::permissions(dir / "own", std::filesystem::perms(0644));
    ASSERT_TRUE(open_event_file(dir / "own"));
    EXPECT_EQ(mode_of(dir / "own"), 0644U) << "what is there keeps its mode";
}

TEST(EventFile, APipeThatNobodyReadsIsSaidAndNotWaitedFor) {
    const TempDir dir;
    ASSERT_EQ(::mkfifo((dir / "pipe").c_str(), 0600), 0);
    const Error error = open_event_file(dir / "pipe").error();
    EXPECT_EQ(error.code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(error.detail, "nobody reads this pipe");
}

TEST(EventFile, ALinkThatAnotherUserHasPlantedLeadsNowhere) {
    if (::geteuid() != 0) GTEST_SKIP() << "only root can make another user's link";
    const TempDir dir;
    std::ofstream(dir / "precious") << "kept\n";
    for (const char* name : {"link", "pipe"}) {
        const std::filesystem::path path = dir / name;
        ASSERT_EQ(std::string(name) == "link" ? ::symlink((dir / "precious").c_str(), path.c_str())
                                              : ::mkfifo(path.c_str(), 0666),
                  0);
        ASSERT_EQ(::lchown(path.c_str(), 65534, 65534), 0);
        const Error error = open_event_file(path).error();
        EXPECT_EQ(error.code, ErrorCode::kInvalidArgument);
        EXPECT_EQ(error.detail, "it is a link or a pipe of another user");
    }
    EXPECT_EQ(read_file(dir / "precious"), "kept\n");
}

TEST(EventFile, SaysWhyItCannotBeOpened) {
    const TempDir dir;
    EXPECT_EQ(open_event_file(dir / "no" / "events.jsonl").error().code, ErrorCode::kNotFound);
    const Error error = open_event_file(dir.path()).error();
    EXPECT_EQ(error.code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(error.message, HasSubstr(dir.path().string()));
}

TEST(EventFile, ThatMayNotBeWrittenIsReadOnly) {
    if (::geteuid() == 0) GTEST_SKIP() << "root may write anything";
    const TempDir dir;
    std::ofstream(dir / "events.jsonl") << "";
    ::chmod((dir / "events.jsonl").c_str(), 0444);
    EXPECT_EQ(open_event_file(dir / "events.jsonl").error().code, ErrorCode::kReadOnly);
}

TEST(EventFile, AFailedWriteIsThrown) {
    if (::access("/dev/full", W_OK) != 0) GTEST_SKIP() << "there is no /dev/full";
    const std::shared_ptr<EventSink> full = open_event_file("/dev/full").value();
    EXPECT_THROW(full->on_event(make_event(1)), std::system_error);
}

// The process has the default action for SIGPIPE, which would kill it.
TEST(EventDispatcher, ASinkWhoseReaderHasGoneEndsNothing) {
    ChildProcess writer([](const Channel&) {
        std::signal(SIGPIPE, SIG_DFL);
        const TempDir dir;
        const std::string path = dir / "events";
        ::mkfifo(path.c_str(), 0600);
        const int reader = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        std::string logged;
        {
            EventDispatcher dispatcher({open_event_file(path).value()},
                                       {.log = [&](const LogRecord& record) { logged = record.event; }});
            ::close(reader);
            dispatcher.publish(make_event(1));
        }
        return logged == "event_sink_failed" ? 0 : 1;
    });
    EXPECT_EQ(writer.wait(), 0);
}

TEST(EventFile, ALineThatWasCutSpoilsNoOther) {
    const TempDir dir;
    const std::string path = dir / "events.jsonl";
    ChildProcess writer([&](const Channel&) {
        std::signal(SIGXFSZ, SIG_IGN);
        const std::shared_ptr<EventSink> file = open_event_file(path).value();
        rlimit limit{};
        ::getrlimit(RLIMIT_FSIZE, &limit);
        const rlimit small{.rlim_cur = 10, .rlim_max = limit.rlim_max};
        ::setrlimit(RLIMIT_FSIZE, &small);
        int failures = 0;
        for (int i = 0; i < 2; ++i) {
            try {
                file->on_event(make_event(1));
            } catch (const std::system_error&) {
                ++failures;
            }
        }
        ::setrlimit(RLIMIT_FSIZE, &limit);
        file->on_event(make_event(2));
        file->on_event(make_event(3));
        return failures;
    });
    ASSERT_EQ(writer.wait(), 2);
    EXPECT_THAT(lines_of(read_file(path)),
                ElementsAre(to_json(make_event(1)).substr(0, 10), to_json(make_event(2)), to_json(make_event(3))));
}

/// Makes a full queue, with events numbered from 1.
EventQueue full_queue(Type type = Type::kStepProgress) {
    EventQueue queue;
    for (std::uint64_t i = 1; i <= EventQueue::kEventsMax; ++i) queue.push(make_event(i, type));
    return queue;
}

std::vector<PipelineEvent> pop_all(EventQueue& queue) {
    std::vector<PipelineEvent> events;
    while (!queue.empty()) events.push_back(queue.pop().second);
    return events;
}

TEST(EventQueue, DropsTheNewestAndTheNextOneSaysHowMany) {
    EventQueue queue = full_queue();
    queue.push(make_event(1025));
    queue.push(make_event(1026));
    EXPECT_EQ(queue.pop().second.sequence, 1U);
    queue.push(make_event(1027));
    queue.push(make_event(1028));
    const std::vector<PipelineEvent> events = pop_all(queue);
    EXPECT_EQ(events.back().sequence, 1027U);
    EXPECT_EQ(events.back().dropped, 2U);
    EXPECT_EQ(events.front().dropped, 0U);
    EXPECT_EQ(queue.dropped(), 3U);
}

TEST(EventQueue, TheEndOfARunGetsThePlaceOfTheOldestProgress) {
    EventQueue queue;
    queue.push(make_event(1, Type::kStarted));
    for (std::uint64_t i = 2; i <= EventQueue::kEventsMax; ++i) queue.push(make_event(i));
    queue.push(make_event(1025));
    queue.push(make_event(1026, Type::kCompleted));
    EXPECT_EQ(queue.size(), EventQueue::kEventsMax);
    const std::vector<PipelineEvent> events = pop_all(queue);
    EXPECT_EQ(events[0].sequence, 1U);
    EXPECT_EQ(events[1].sequence, 3U);
    EXPECT_EQ(events[1].dropped, 1U);  // the gap is where the dropped event was
    EXPECT_EQ(events.back().type, Type::kCompleted);
    EXPECT_EQ(events.back().dropped, 1U);
}

TEST(EventQueue, WithoutProgressTheEndOfARunGetsTheOldestPlace) {
    EventQueue queue = full_queue(Type::kCheckpoint);
    queue.push(make_event(1025, Type::kCompleted));
    const std::vector<PipelineEvent> events = pop_all(queue);
    EXPECT_EQ(events.front().sequence, 2U);
    EXPECT_EQ(events.back().sequence, 1025U);
}

TEST(EventQueue, IsBoundedEvenIfAllRunsEnd) {
    EventQueue queue = full_queue(Type::kCompleted);
    queue.push(make_event(1025, Type::kCompleted));
    EXPECT_EQ(queue.size(), EventQueue::kEventsMax);
    EXPECT_EQ(queue.dropped(), 1U);
}

TEST(EventDispatcher, TellsEverySinkEverythingInOrder) {
    const auto one = std::make_shared<GatedSink>();
    const auto other = std::make_shared<GatedSink>();
    EventDispatcher dispatcher({one, nullptr, other}, {});
    std::vector<std::uint64_t> published;
    for (std::uint64_t i = 1; i <= 1000; ++i) {
        dispatcher.publish(make_event(i));
        published.push_back(i);
    }
    dispatcher.drain(kAsLongAsItTakes);
    EXPECT_EQ(sequences(one->events()), published);
    EXPECT_EQ(sequences(other->events()), published);
}

TEST(EventDispatcher, DeliversWhatIsQueuedBeforeItEnds) {
    const auto sink = std::make_shared<GatedSink>();
    {
        EventDispatcher dispatcher({sink}, {});
        for (std::uint64_t i = 1; i <= 100; ++i) dispatcher.publish(make_event(i));
    }
    EXPECT_EQ(sink->events().size(), 100U);
}

TEST(EventDispatcher, ASlowSinkLosesEventsWhileAnotherGetsAll) {
    Log log;
    const auto slow = std::make_shared<GatedSink>();
    const auto quick = std::make_shared<GatedSink>();
    slow->close_gate();
    EventDispatcher dispatcher({slow, quick}, log.runtime());
    dispatcher.publish(make_event(1));
    slow->wait_for_arrivals(1);
    for (std::uint64_t i = 2; i < 3000; ++i) {
        dispatcher.publish(make_event(i));
        quick->wait_for_arrivals(i);
    }
    dispatcher.publish(make_event(3000, Type::kCompleted));
    slow->open_gate();
    dispatcher.drain(kAsLongAsItTakes);
    dispatcher.drain(kAsLongAsItTakes);  // must log nothing more

    EXPECT_EQ(quick->events().size(), 3000U);
    const std::vector<PipelineEvent> events = slow->events();
    EXPECT_EQ(events.size(), 1U + EventQueue::kEventsMax);
    EXPECT_EQ(events.back().type, Type::kCompleted);
    std::uint64_t next = 1;
    for (const PipelineEvent& event : events) {
        EXPECT_EQ(event.sequence, next + event.dropped);
        next = event.sequence + 1;
    }
    EXPECT_THAT(log.lines, ElementsAre("events_dropped sink=0 events=1975"));
}

TEST(EventDispatcher, ASinkThatThrowsIsLoggedOnceAndStillTold) {
    Log log;
    const auto sink = std::make_shared<ThrowingSink>();
    EventDispatcher dispatcher({sink}, log.runtime());
    for (std::uint64_t i = 1; i <= 10; ++i) dispatcher.publish(make_event(i));
    dispatcher.drain(kAsLongAsItTakes);
    EXPECT_EQ(sink->calls, 10);
    EXPECT_THAT(log.lines, ElementsAre("event_sink_failed sink=0"));
}

TEST(EventDispatcher, DrainGivesUpOnAStuckSink) {
    const auto sink = std::make_shared<GatedSink>();
    sink->close_gate();
    EventDispatcher dispatcher({sink}, {});
    dispatcher.publish(make_event(1));
    sink->wait_for_arrivals(1);
    dispatcher.drain(std::chrono::milliseconds(0));
    EXPECT_TRUE(sink->events().empty());
    sink->open_gate();
    dispatcher.drain(std::chrono::milliseconds::max());
    EXPECT_EQ(sink->events().size(), 1U);
}

TEST(EventDispatcher, ItsEndAbandonsAStuckSinkWhichIsKeptUntilItReturns) {
    Log log;
    auto sink = std::make_shared<GatedSink>();
    const std::future<void> gone = sink->gone();
    sink->close_gate();
    {
        EventDispatcher dispatcher({sink}, log.runtime());
        for (std::uint64_t i = 1; i <= 3; ++i) dispatcher.publish(make_event(i));
        sink->wait_for_arrivals(1);
    }
    EXPECT_THAT(log.lines, ElementsAre("events_dropped sink=0 events=2"));
    EXPECT_GT(sink.use_count(), 1) << "the stuck thread still uses it";
    sink->open_gate();
    sink.reset();
    gone.wait();
}

TEST(EventDispatcher, WithoutEventsThereIsNothingToWaitFor) {
    EventDispatcher dispatcher({std::make_shared<GatedSink>()}, {});
    dispatcher.drain(kAsLongAsItTakes);
}

TEST(EventDispatcher, KeepsTheOrderOfEachRunAmongMany) {
    constexpr std::uint64_t kEventsPerRun = 5000;
    const auto sink = std::make_shared<GatedSink>();
    EventDispatcher dispatcher({sink}, {});
    {
        std::vector<std::jthread> threads;
        threads.reserve(4);
        for (int run = 0; run < 4; ++run) {
            threads.emplace_back([&, run_id = std::to_string(run)] {
                for (std::uint64_t i = 1; i < kEventsPerRun; ++i) {
                    dispatcher.publish(make_event(i, Type::kStepProgress, run_id));
                    if (i % 1000 == 0) dispatcher.drain(kAsLongAsItTakes);
                }
                dispatcher.publish(make_event(kEventsPerRun, Type::kCompleted, run_id));
            });
        }
    }
    dispatcher.drain(kAsLongAsItTakes);
    std::map<std::string, std::uint64_t> last;
    std::uint64_t told_or_dropped = 0;
    for (const PipelineEvent& event : sink->events()) {
        EXPECT_GT(event.sequence, last[event.run_id]);
        last[event.run_id] = event.sequence;
        told_or_dropped += 1 + event.dropped;
    }
    EXPECT_EQ(told_or_dropped, 4 * kEventsPerRun);
    EXPECT_EQ(last.size(), 4U);
    for (const auto& [run_id, sequence] : last) EXPECT_EQ(sequence, kEventsPerRun) << run_id;
}

}  // namespace
}  // namespace cairn::test
