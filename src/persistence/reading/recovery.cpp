#include "persistence/reading/recovery.h"

#include "base/backoff.h"
#include "frame/frame.h"
#include "persistence/reading/run_examination.h"
#include "persistence/reading/snapshot_reader.h"
#include "persistence/reading/snapshot_walk.h"
#include "persistence/save/request_rules.h"

#include <fmt/format.h>

#include <chrono>
#include <optional>
#include <utility>
#include <vector>

namespace cairn {
namespace {

using SteadyClock = std::chrono::steady_clock;

std::string describe(const std::vector<RecoveryResult::Damaged>& damaged) {
    std::string text;
    for (const RecoveryResult::Damaged& one : damaged) {
        text += fmt::format("{}{}", text.empty() ? "damaged: " : "; ", one.problem);
    }
    return text;
}

/// Loads one snapshot of a run after the other, until one is intact. A damaged frame makes every snapshot unreadable
/// that needs it. So when a few have failed, all that share their first frame are examined together: a long chain is
/// then not decoded once for each of them.
class CandidateReader {
public:
    CandidateReader(Store& store, const std::string& run_id, const StateLimits& limits,
                    std::chrono::milliseconds timeout)
        : store_(store), run_id_(run_id), limits_(limits), timeout_(timeout) {}

    Result<State> read(const SnapshotInfo& info) {
        if (Status status = check_record(info); !status) return std::unexpected(std::move(status.error()));
        if (examination_) {
            if (auto problem = examination_->problem(info)) return std::unexpected(*std::move(problem));
        }
        Result<ChainedState> loaded =
            load_snapshot(store_, {.run_id = run_id_, .snapshot_id = info.snapshot_id}, limits_, until());
        if (loaded) return std::move(loaded->state);
        if (is_damage(loaded.error()) && ++failures_ == kFailuresMax) {
            if (Status status = examine(info); !status) return std::unexpected(std::move(status.error()));
        }
        return std::unexpected(std::move(loaded.error()));
    }

private:
    static constexpr int kFailuresMax = 3;

    // A record counts as damaged only if a second reading shows the damage too.
    Status check_record(const SnapshotInfo& info) {
        if (info.damage.empty()) return {};
        const Result<std::optional<SnapshotInfo>> again =
            find_version(store_, run_id_, info.version, until(), Store::Reading::kAfresh);
        if (!again) return std::unexpected(again.error());
        const bool is_damaged = *again && !(*again)->damage.empty();
        if (!is_damaged) return {};
        return std::unexpected(unloadable_snapshot_error(info, {.code = ErrorCode::kCorrupt, .message = info.damage}));
    }

    // If damage keeps the records from being read, each candidate is tried by itself.
    Status examine(const SnapshotInfo& info) {
        failures_ = 0;
        Status status;
        if (!examination_) {
            examination_.emplace(store_, run_id_, limits_, Deadline::max());
            status = examination_->read_records();
        }
        if (status) status = examination_->examine(info.version);
        return status || is_damage(status.error()) ? Status{} : status;
    }

    Deadline until() const { return SteadyClock::now() + bounded(timeout_); }

    Store& store_;
    const std::string& run_id_;
    const StateLimits& limits_;
    const std::chrono::milliseconds timeout_;
    std::optional<RunExamination> examination_;
    int failures_ = 0;
};

}  // namespace

/// One recovery under way.
struct Recovery::Attempt {
    const StateRecoveryRequest& request;
    std::string new_snapshot_id;
    Timestamp started_at;
    SteadyClock::time_point started;

    bool is_run_found = false;
    SnapshotInfo source = {};
    RecoveryResult result = {};

    std::chrono::microseconds elapsed() const {
        return std::chrono::duration_cast<std::chrono::microseconds>(SteadyClock::now() - started);
    }
};

Result<RecoveryResult> Recovery::recover(const StateRecoveryRequest& request, Deadline deadline) {
    if (Status status = check_recovery_request(request); !status) return std::unexpected(std::move(status.error()));
    Clock& clock = *options_.runtime.clock;
    Attempt attempt{.request = request,
                    .new_snapshot_id = make_snapshot_id(clock, *options_.runtime.random),
                    .started_at = clock.now(),
                    .started = SteadyClock::now()};
    Backoff backoff(options_.runtime, deadline);
    Result<bool> done = false;
    do {
        done = try_once(attempt);
    } while (done && !*done && backoff.pause());
    if (done && !*done) {
        done = fail(ErrorCode::kUnavailable,
                    fmt::format("other writers kept moving the head of run \"{}\" until the deadline", request.run_id));
    }
    attempt.result.duration = attempt.elapsed();
    report(attempt, done ? Status{} : Status{std::unexpected(done.error())});
    if (!done) return std::unexpected(std::move(done.error()));
    return std::move(attempt.result);
}

// Returns false if the head moved meanwhile: nothing was applied.
Result<bool> Recovery::try_once(Attempt& attempt) {
    const StateRecoveryRequest& request = attempt.request;
    const Result<std::optional<Head>> head = store_->head(request.run_id, until());
    if (!head) return std::unexpected(head.error());
    const bool is_owned = *head && (!request.thread_id || *request.thread_id == (*head)->thread_id) &&
                          (!request.user_id || *request.user_id == (*head)->user_id);
    if (!is_owned) {
        return fail(ErrorCode::kNotFound, fmt::format("there is no run \"{}\"{}", request.run_id,
                                                      under_owner(request.thread_id, request.user_id)));
    }
    attempt.is_run_found = true;
    attempt.result.damaged.clear();
    if (Status status = find_source(attempt, **head); !status) {
        if (status.error().code == ErrorCode::kCorrupt && has_moved(request.run_id, **head)) return false;
        return std::unexpected(std::move(status.error()));
    }
    attempt.result.source_snapshot_id = attempt.source.snapshot_id;

    // The source was the newest snapshot when it was searched for. It may be newer than the head that was read before.
    const bool is_head_intact = request.recovery_type == RecoveryType::kResume && attempt.result.damaged.empty() &&
                                attempt.source.version >= (*head)->version;
    if (!is_head_intact && attempt.source.version > (*head)->version) return false;
    if (!is_head_intact) return make_head(attempt, **head);
    attempt.result.snapshot_id = attempt.source.snapshot_id;
    attempt.result.version = attempt.source.version;
    // A log line that cannot be written is no error here: the state was found, and the caller gets it.
    append_to_log(make_record(attempt));
    return true;
}

bool Recovery::has_moved(const std::string& run_id, const Head& head) {
    const Result<std::optional<Head>> now = store_->head(run_id, until());
    return now && (!*now || (*now)->version != head.version || (*now)->snapshot_id != head.snapshot_id);
}

Status Recovery::find_source(Attempt& attempt, const Head& head) {
    switch (attempt.request.recovery_type) {
        case RecoveryType::kResume:
            return find_newest_intact(attempt, head);
        case RecoveryType::kRollback:
            return find_target(attempt, *attempt.request.target_snapshot_id);
        case RecoveryType::kRestart:
            return find_first(attempt);
    }
    return fail(ErrorCode::kInvalidArgument, "recovery_type is none of restart, resume, rollback");
}

// A snapshot that is gone was pruned meanwhile, so it is skipped. A head is never pruned: a missing one is damage.
Status Recovery::find_newest_intact(Attempt& attempt, const Head& head) {
    HistoryQuery query{.run_id = attempt.request.run_id};
    CandidateReader candidates(*store_, attempt.request.run_id, options_.state_limits, options_.timeout);
    while (true) {
        const Result<std::vector<SnapshotInfo>> page = store_->history(query, until());
        if (!page) return std::unexpected(page.error());
        for (const SnapshotInfo& info : *page) {
            Result<State> state = candidates.read(info);
            if (state) {
                attempt.source = info;
                attempt.result.state = std::move(*state);
                return {};
            }
            const bool is_gone = state.error().code == ErrorCode::kNotFound;
            if (is_gone && info.version != head.version) continue;
            if (!is_gone && !is_damage(state.error())) return std::unexpected(std::move(state.error()));
            attempt.result.damaged.push_back(
                {.snapshot_id = info.snapshot_id, .version = info.version, .problem = state.error().message});
        }
        if (page->size() < query.limit) break;
        query.after_version = page->back().version;
    }
    if (attempt.result.damaged.empty()) return find_head(attempt);
    return fail(ErrorCode::kCorrupt, fmt::format("none of the {} snapshots of run \"{}\" is intact",
                                                 attempt.result.damaged.size(), attempt.request.run_id));
}

// For a history without snapshots: either the run was deleted meanwhile, or the store's error says what is wrong.
Status Recovery::find_head(Attempt& attempt) {
    return find(attempt, {.run_id = attempt.request.run_id});
}

Status Recovery::find_target(Attempt& attempt, std::string_view snapshot_id) {
    return find(attempt, {.run_id = attempt.request.run_id, .snapshot_id = std::string(snapshot_id)});
}

Status Recovery::find(Attempt& attempt, const LoadRequest& load) {
    Result<ChainedState> loaded = load_snapshot(*store_, load, options_.state_limits, until());
    if (!loaded) return std::unexpected(std::move(loaded.error()));
    attempt.source = std::move(loaded->info);
    attempt.result.state = std::move(loaded->state);
    return {};
}

Status Recovery::find_first(Attempt& attempt) {
    const Result<std::vector<SnapshotInfo>> first = store_->history(
        {.run_id = attempt.request.run_id, .order = HistoryQuery::Order::kOldestFirst, .limit = 1}, until());
    if (!first) return std::unexpected(first.error());
    if (first->empty()) {
        return fail(ErrorCode::kNotFound, fmt::format("run \"{}\" has no snapshot", attempt.request.run_id));
    }
    return find_target(attempt, first->front().snapshot_id);
}

// Commits a new critical head with the source's state, and the line in the recovery log, together.
Result<bool> Recovery::make_head(Attempt& attempt, const Head& head) {
    if (Status status = check_can_grow(attempt.request.run_id, head.version); !status) {
        return std::unexpected(std::move(status.error()));
    }
    Result<EncodedState> encoded = encode_full(attempt.result.state, FrameOptions{.compression = false});
    if (!encoded) return std::unexpected(std::move(encoded.error()));

    attempt.result.snapshot_id = attempt.new_snapshot_id;
    attempt.result.version = head.version + 1;
    SnapshotInfo info = attempt.source;
    info.snapshot_id = attempt.new_snapshot_id;
    info.version = head.version + 1;
    info.parent_version = attempt.source.version;
    info.checkpoint_type = CheckpointType::kRecovery;
    info.is_recovery_point = false;
    info.created_at = attempt.started_at;
    info.expires_at.reset();
    info.frame_bytes = encoded->frame.size();
    info.base_version = 0;
    info.checksum = encoded->checksum;
    RunBatch batch{.run_id = attempt.request.run_id};
    batch.writes.push_back(
        {.snapshot = {.info = std::move(info), .frame = std::move(encoded->frame)}, .expected_version = head.version});
    batch.recoveries.push_back(make_record(attempt));

    const auto committed = writer_->commit(batch, attempt.result.state, until());
    if (!committed) return std::unexpected(committed.error());
    if (*committed) writer_->seen().note(attempt.request.run_id, (*committed)->version);
    return committed->has_value();
}

RecoveryRecord Recovery::make_record(const Attempt& attempt) const {
    return {.run_id = attempt.request.run_id,
            .recovery_type = attempt.request.recovery_type,
            .failure_reason = attempt.request.failure_reason,
            .auto_recovery = attempt.request.auto_recovery,
            .source_snapshot_id = attempt.result.source_snapshot_id,
            .result_snapshot_id = attempt.result.snapshot_id,
            .result = "recovered",
            .detail = describe(attempt.result.damaged),
            .started_at = attempt.started_at,
            .duration = attempt.elapsed()};
}

// Logs the result for the operator, and tries to add a failure to the recovery log.
void Recovery::report(const Attempt& attempt, const Status& status) {
    const StateRecoveryRequest& request = attempt.request;
    const std::string_view result = status ? "recovered" : error_info(status.error().code).name;
    const bool is_news = !status && status.error().code != ErrorCode::kNotFound;
    options_.runtime.log({.level = is_news ? LogLevel::kError : LogLevel::kInfo,
                          .event = "recovery",
                          .message = status ? "run recovered" : status.error().message,
                          .fields = {{"run_id", request.run_id},
                                     {"recovery_type", std::string(to_string(request.recovery_type))},
                                     {"failure_reason", request.failure_reason},
                                     {"result", std::string(result)},
                                     {"damaged", std::to_string(attempt.result.damaged.size())},
                                     {"duration_us", std::to_string(attempt.result.duration.count())}}});
    // Any other failure says nothing about the run.
    if (status || !attempt.is_run_found || status.error().code != ErrorCode::kCorrupt) return;
    RecoveryRecord record = make_record(attempt);
    record.result_snapshot_id.clear();
    record.result = result;
    record.detail = status.error().message + (record.detail.empty() ? "" : "; " + record.detail);
    append_to_log(std::move(record));
}

void Recovery::append_to_log(RecoveryRecord record) {
    RunBatch batch{.run_id = record.run_id};
    batch.recoveries.push_back(std::move(record));
    const Status logged = commit_run(*store_, batch, until());
    if (logged) return;
    options_.runtime.log({.level = LogLevel::kWarning,
                          .event = "recovery_not_logged",
                          .message = logged.error().to_string(),
                          .fields = {{"run_id", batch.run_id}}});
}

}  // namespace cairn
