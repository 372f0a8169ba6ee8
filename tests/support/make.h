#pragma once

// Makes requests, snapshots and a runtime for tests. A test gives only what it is about; the rest is filled in, the
// same in every run.

#include <cairn/persistence.h>
#include <cairn/runtime.h>
#include <cairn/state.h>
#include <cairn/store.h>

#include "frame/frame.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn::test {

/// The start of time in tests: 2026-01-02T03:04:05Z.
inline constexpr Timestamp kEpoch{std::chrono::sys_days{std::chrono::year{2026} / 1 / 2} + std::chrono::hours{3} +
                                  std::chrono::minutes{4} + std::chrono::seconds{5}};

/// A clock that moves on by one `step` each time it is read, and that `set` can set.
class StepClock final : public Clock {
public:
    explicit StepClock(std::chrono::microseconds step = std::chrono::milliseconds(1), Timestamp start = kEpoch)
        : step_(step), now_(start.time_since_epoch().count()) {}

    Timestamp now() override { return Timestamp(std::chrono::microseconds(now_.fetch_add(step_.count()))); }
    void set(Timestamp time) { now_ = time.time_since_epoch().count(); }

private:
    std::chrono::microseconds step_;
    std::atomic<std::int64_t> now_;
};

/// A source of random bytes that are the same for the same seed.
class SeededRandom final : public RandomSource {
public:
    explicit SeededRandom(std::uint64_t seed = 1) : engine_(seed) {}

    void fill(std::span<std::byte> bytes) override {
        const std::lock_guard lock(mutex_);
        for (std::byte& byte : bytes) byte = static_cast<std::byte>(engine_());
    }

private:
    std::mutex mutex_;
    std::mt19937_64 engine_;
};

/// Makes a runtime that depends neither on the day nor on the machine.
inline Runtime make_runtime(std::uint64_t seed = 1, LogSink log = nullptr) {
    return {
        .clock = std::make_shared<StepClock>(), .random = std::make_shared<SeededRandom>(seed), .log = std::move(log)};
}

/// A deadline that a healthy store always meets.
inline Deadline soon() {
    return std::chrono::steady_clock::now() + std::chrono::seconds(60);
}

/// Makes version `version` of a run, with the version before it as parent and the id "<run_id>-<version>". `text` is
/// framed uncompressed, as the standard service does.
inline Snapshot make_snapshot(std::string run_id, std::int64_t version, std::string_view text = R"({"step":1})") {
    const Checksum checksum = Checksum::of(text);
    Snapshot snapshot;
    snapshot.info.snapshot_id = fmt::format("{}-{}", run_id, version);
    snapshot.info.run_id = std::move(run_id);
    snapshot.info.thread_id = "thread";
    snapshot.info.user_id = "user";
    snapshot.info.version = version;
    snapshot.info.parent_version = version - 1;
    snapshot.info.created_at = kEpoch + std::chrono::seconds(version % 1'000'000'000);  // versions may be huge
    snapshot.info.state_bytes = text.size();
    snapshot.info.checksum = checksum;
    snapshot.frame = encode_full_frame(text, checksum, {.compression = false}).value();
    snapshot.info.frame_bytes = snapshot.frame.size();
    return snapshot;
}

/// Makes a write of `snapshot` that expects the version before it as the head.
inline SnapshotWrite make_write(Snapshot snapshot) {
    const std::int64_t expected = snapshot.info.version - 1;
    return {.snapshot = std::move(snapshot), .expected_version = expected};
}

/// Makes a batch of this one write.
inline RunBatch make_batch(Snapshot snapshot) {
    RunBatch batch{.run_id = snapshot.info.run_id};
    batch.writes.push_back(make_write(std::move(snapshot)));
    return batch;
}

/// Groups the writes into one batch per run, in the order in which the runs first occur.
inline std::vector<RunBatch> batches_of(std::vector<SnapshotWrite> writes) {
    std::vector<RunBatch> batches;
    for (SnapshotWrite& write : writes) {
        const std::string& run_id = write.snapshot.info.run_id;
        auto batch = std::ranges::find(batches, run_id, &RunBatch::run_id);
        if (batch == batches.end()) batch = batches.insert(batch, RunBatch{.run_id = run_id});
        batch->writes.push_back(std::move(write));
    }
    return batches;
}

/// Makes a batch that deletes a whole run.
inline RunBatch make_run_deletion(std::string run_id) {
    return {.run_id = std::move(run_id), .run_deletion = RunDeletion{}};
}

/// Commits several batches. Returns the first error of any of them.
inline Status commit_all(Store& store, const std::vector<RunBatch>& batches, Deadline deadline) {
    Result<std::vector<Status>> answers = store.commit(batches, deadline);
    if (!answers) return std::unexpected(answers.error());
    for (Status& answer : *answers) {
        if (!answer) return answer;
    }
    return {};
}

/// Makes a request to save `text` (any JSON object) for thread "thread" of user "user".
inline StatePersistenceRequest make_request(std::string run_id, std::string_view text = R"({"step":1})",
                                            CheckpointType type = CheckpointType::kAuto) {
    StatePersistenceRequest request;
    request.run_id = std::move(run_id);
    request.thread_id = "thread";
    request.user_id = "user";
    request.state_data = State::parse(text).value();
    request.checkpoint_type = std::move(type);
    return request;
}

}  // namespace cairn::test
