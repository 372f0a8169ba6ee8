#include "persistence/save/save_committer.h"

#include "base/text_hash.h"
#include "persistence/guarded.h"
#include "persistence/save/landing.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <new>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

namespace cairn {
namespace {

// The first that passes: no save waits longer for the others' sake.
Deadline earliest_deadline(std::span<const Save> saves) {
    return std::ranges::min(saves, {}, [](const Save& save) { return save->deadline; })->deadline;
}

Receipt receipt_of(const PendingSave& save) {
    const SnapshotInfo& info = save.lands_as().info;
    return {.snapshot_id = info.snapshot_id, .version = info.version, .frame_bytes = info.frame_bytes};
}

using RunIds = std::unordered_set<std::string_view, TextHash>;

std::vector<Save> without_runs(std::span<const Save> saves, const RunIds& run_ids) {
    std::vector<Save> others;
    std::ranges::copy_if(saves, std::back_inserter(others),
                         [&](const Save& save) { return !run_ids.contains(save->request.run_id); });
    return others;
}

std::vector<Save> those_in_time(std::span<const Save> saves) {
    std::vector<Save> timely;
    std::ranges::copy_if(saves, std::back_inserter(timely), [](const Save& save) { return !save->result; });
    return timely;
}

void log_save(const Runtime& runtime, std::string_view event, const Error& cause,
              const StatePersistenceRequest& request, const std::string& snapshot_id) {
    runtime.log({.level = LogLevel::kWarning,
                 .event = event,
                 .message = cause.to_string(),
                 .fields = {{"run_id", request.run_id},
                            {"snapshot_id", snapshot_id},
                            {"cause", std::string(error_info(cause.code).name)}}});
}

void log_failed_batch(const Runtime& runtime, const Error& cause, std::size_t saves) noexcept {
    try {
        runtime.log({.level = LogLevel::kWarning,
                     .event = "batch_failed",
                     .message = cause.to_string(),
                     .fields = {{"saves", fmt::to_string(saves)}}});
    } catch (...) {  // NOLINT(bugprone-empty-catch): what cannot be logged is tried one by one all the same
    }
}

bool is_unknown(const Status& status) {
    return !status && status.error().code == ErrorCode::kOutcomeUnknown;
}

// What a failure means for a save that an earlier attempt may have applied.
Error in_doubt(Error error, const std::string& snapshot_id) {
    if (error.code == ErrorCode::kOutcomeUnknown) return error;
    return {.code = ErrorCode::kOutcomeUnknown,
            .message = fmt::format("the save of snapshot {} may or may not have been applied", snapshot_id),
            .cause = std::make_shared<const Error>(std::move(error))};
}

// Whether the error settles that: the store looks for the id before it refuses a commit,
bool is_answer_of_store(ErrorCode code) {
    return is_final(code) && code != ErrorCode::kClosed;
}

// but the standard path looks at the head first, which this very save may have moved.
bool is_answer_of_fallback(ErrorCode code) {
    return code == ErrorCode::kInvalidArgument || code == ErrorCode::kAlreadyExists;
}

}  // namespace

bool is_final(ErrorCode code) noexcept {
    switch (code) {
        case ErrorCode::kInvalidArgument:
        case ErrorCode::kConflict:
        case ErrorCode::kNotFound:
        case ErrorCode::kAlreadyExists:
        case ErrorCode::kClosed:
            return true;
        default:
            return false;
    }
}

void SaveCommitter::commit(std::span<const Save> saves) noexcept {
    const bool are_all_in_time = put_in_place(saves) == 0;
    const Status together =
        are_all_in_time ? commit_batch(saves) : guarded([&] { return commit_batch(those_in_time(saves)); });
    for (const Save& save : saves) {
        if (save->result) continue;
        static_cast<void>(put_on_what_is_there(*save));  // those before it may have ended otherwise than in a batch
        Result<Receipt> alone = guarded([&] { return commit_alone(*save, is_unknown(together)); });
        if (!alone && is_unknown(together) && !is_answer_of_store(alone.error().code)) {
            alone = std::unexpected(in_doubt(std::move(alone.error()), save->becomes->info.snapshot_id));
        }
        save->result = std::move(alone);
        note_landing(*save);
    }
}

// Each on top of the one before it. What has waited in the queue until its deadline is not begun. Returns how many.
std::size_t SaveCommitter::put_in_place(std::span<const Save> saves) {
    const Deadline now = std::chrono::steady_clock::now();
    std::size_t late = 0;
    for (const Save& save : saves) {
        if (now < save->deadline) {
            static_cast<void>(put_on_what_is_there(*save));
            continue;
        }
        save->result = guarded([&]() -> Result<Receipt> { return still_queued_at_deadline(save->request.run_id); });
        note_dropped(*save);
        ++late;
    }
    return late;
}

// Those that have no result afterwards are to be tried by themselves.
Status SaveCommitter::commit_batch(std::span<const Save> saves) {
    if (saves.size() < 2) return {};
    Status status = commit_together(saves);
    if (!status && status.error().code == ErrorCode::kConflict) {
        status = guarded([&] { return commit_others_together(saves); });
    }
    if (!status) log_failed_batch(runtime_, status.error(), saves.size());
    return status;
}

// After an error nothing is known to be saved.
Status SaveCommitter::commit_together(std::span<const Save> saves) {
    Batch batch;
    Status status = guarded([&] {
        batch.writes.reserve(saves.size());
        for (const Save& save : saves) batch.writes.push_back(std::move(save->write.write));
        return store_->commit(batch, earliest_deadline(saves));
    });
    if (!status) {
        for (std::size_t i = 0; i < batch.writes.size(); ++i) saves[i]->write.write = std::move(batch.writes[i]);
        stats_.count_failed_batch();
        return status;
    }
    stats_.count_batch(saves.size());
    for (const Save& save : saves) {
        save->result = guarded([&] {
            remember(*save);
            return Result<Receipt>(receipt_of(*save));
        });
    }
    return {};
}

// Those whose run's head is where they expect it and whose leases hold: other writers have moved the rest.
Status SaveCommitter::commit_others_together(std::span<const Save> saves) {
    RunIds seen_runs;
    RunIds moved_runs;
    for (const Save& save : saves) {
        const std::string_view run_id = save->request.run_id;
        if (moved_runs.contains(run_id)) continue;
        if (seen_runs.insert(run_id).second) {
            const Result<std::optional<Head>> head = store_->head(run_id);
            if (!head) return std::unexpected(head.error());
            const std::int64_t version = *head ? (*head)->version : 0;
            if (version != save->write.write.expected_version) moved_runs.insert(run_id);
        }
        if (!writer_->check_lease(save->request)) moved_runs.insert(run_id);
    }
    const std::vector<Save> others = without_runs(saves, moved_runs);
    if (others.size() < 2 || others.size() == saves.size()) return {};
    return commit_together(others);
}

Result<Receipt> SaveCommitter::commit_alone(PendingSave& save, bool is_in_doubt) {
    const std::optional<std::int64_t> required_version = save.write.required_version;
    Result<Receipt> receipt =
        guarded([&] { return writer_->write(save.request, std::move(save.write), save.deadline); });
    if (!receipt && !is_final(receipt.error().code)) {
        return fall_back(save.request, save.becomes->info.snapshot_id, required_version, save.deadline,
                         std::move(receipt.error()), is_in_doubt);
    }
    if (!receipt || receipt->outcome != Outcome::kPersisted) return receipt;
    // What was put elsewhere than prepared is stored otherwise, too: with another parent, whole, or by an earlier
    // attempt.
    const SnapshotInfo& planned = save.lands_as().info;
    const bool is_as_planned = receipt->version == planned.version && receipt->frame_bytes == planned.frame_bytes;
    is_as_planned ? remember(save) : cache_.forget(save.request.run_id);
    return receipt;
}

Result<Receipt> SaveCommitter::fall_back(const StatePersistenceRequest& request, const std::string& snapshot_id,
                                         std::optional<std::int64_t> required_version, Deadline deadline, Error cause,
                                         bool is_in_doubt) {
    stats_.count_fallback(cause.code);
    log_save(runtime_, "save_fallback", cause, request, snapshot_id);
    StatePersistenceRequest retry = request;
    retry.snapshot_id = snapshot_id;  // whatever the first attempt left behind, it is not saved twice
    retry.expected_version = required_version;
    retry.timeout = std::max(std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()),
                             std::chrono::milliseconds(1));
    Result<Receipt> receipt = standard_.save_agent_state(retry);
    if (!receipt) {
        is_in_doubt = is_in_doubt || cause.code == ErrorCode::kOutcomeUnknown;
        if (!receipt.error().cause) receipt.error().cause = std::make_shared<const Error>(std::move(cause));
        if (!is_in_doubt || is_answer_of_fallback(receipt.error().code)) return receipt;
        return std::unexpected(in_doubt(std::move(receipt.error()), snapshot_id));
    }
    receipt->outcome = Outcome::kFallback;
    writer_->seen().note(request.run_id, receipt->version);
    cache_.forget(request.run_id);  // it is stored otherwise than what was prepared
    return receipt;
}

// Without memory for it, it is not remembered: that costs time and nothing else.
void SaveCommitter::remember(const PendingSave& save) noexcept {
    try {
        writer_->seen().note(save.request.run_id, save.lands_as().info.version);
        cache_.put(save.lands_elsewhere ? save.lands_elsewhere : save.becomes);
    } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch)
    }
}

}  // namespace cairn
