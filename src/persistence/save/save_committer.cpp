#include "persistence/save/save_committer.h"

#include "persistence/guarded.h"
#include "persistence/save/landing.h"
#include "persistence/save/save_errors.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <new>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn {
namespace {

Receipt receipt_of(const PendingSave& save) {
    const SnapshotInfo& info = save.lands_as().info;
    return {.snapshot_id = info.snapshot_id, .version = info.version, .frame_bytes = info.frame_bytes};
}

bool is_open(const Save& save) {
    return !save->attempt.result;
}

std::vector<Save> open_ones(std::span<const Save> saves) {
    std::vector<Save> open;
    std::ranges::copy_if(saves, std::back_inserter(open), is_open);
    return open;
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
    } catch (...) {  // NOLINT(bugprone-empty-catch): the saves are tried again all the same
    }
}

// Keeps only the code if there is no memory for the message.
Error copy_of(const Error& error) noexcept {
    try {
        return error;
    } catch (const std::bad_alloc&) {
        return {.code = error.code};
    }
}

// The error of a save that an earlier attempt may have applied.
Result<Receipt> in_doubt(Error error, const std::string& snapshot_id) {
    if (error.code == ErrorCode::kOutcomeUnknown) return std::unexpected(std::move(error));
    return in_doubt_error(snapshot_id, std::move(error));
}

// Says whether this error of the store proves that the save was not applied: the store looks for the id before it
// refuses a commit.
bool is_answer_of_store(ErrorCode code) {
    const bool is_of_the_caller =
        code == ErrorCode::kClosed || code == ErrorCode::kUnauthenticated || code == ErrorCode::kPermissionDenied;
    return is_final(code) && !is_of_the_caller;
}

// Says the same of the standard path, which looks at the head first; this very save may have moved it.
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
        case ErrorCode::kUnauthenticated:
        case ErrorCode::kPermissionDenied:
            return true;
        default:
            return false;
    }
}

/// The saves of a batch that have no result yet, by run. Their writes are here as long as the store may need them.
class SaveCommitter::RunsOfBatch {
public:
    RunsOfBatch(std::span<const Save> saves, Deadline deadline);

    std::span<const RunBatch> batches() const { return batches_; }
    std::span<const Save> saves_of(std::size_t run) const { return saves_[run]; }
    /// The earliest one: no save waits longer for the sake of the others.
    Deadline deadline() const { return deadline_; }
    void give_back(std::size_t run) noexcept;

private:
    void add(std::span<const Save> saves);

    std::vector<Save> open_;  // only if some have a result
    std::vector<RunBatch> batches_;
    std::vector<std::span<const Save>> saves_;
    Deadline deadline_;
};

// Takes all memory before it touches a save.
SaveCommitter::RunsOfBatch::RunsOfBatch(std::span<const Save> saves, Deadline deadline) : deadline_(deadline) {
    if (!std::ranges::all_of(saves, is_open)) {
        open_ = open_ones(saves);
        saves = open_;
    }
    batches_.reserve(saves.size());
    saves_.reserve(saves.size());
    while (!saves.empty()) {
        const auto end = std::ranges::find_if(
            saves, [&](const Save& save) { return save->job.request.run_id != saves.front()->job.request.run_id; });
        const auto count = static_cast<std::size_t>(end - saves.begin());
        add(saves.first(count));
        saves = saves.subspan(count);
    }
    for (std::size_t run = 0; run < batches_.size(); ++run) {
        for (const Save& save : saves_[run]) batches_[run].writes.push_back(std::move(save->attempt.write.write));
    }
}

void SaveCommitter::RunsOfBatch::add(std::span<const Save> saves) {
    RunBatch& batch = batches_.emplace_back(RunBatch{.run_id = saves.front()->job.request.run_id});
    batch.writes.reserve(saves.size());
    saves_.push_back(saves);
    for (const Save& save : saves) deadline_ = std::min(deadline_, save->attempt.deadline);
}

void SaveCommitter::RunsOfBatch::give_back(std::size_t run) noexcept {
    for (std::size_t i = 0; i < saves_[run].size(); ++i) {
        saves_[run][i]->attempt.write.write = std::move(batches_[run].writes[i]);
    }
}

void SaveCommitter::commit(std::span<const Save> saves, Deadline deadline) noexcept {
    put_in_place(saves);
    if (std::ranges::none_of(saves, is_open)) return;
    if (saves.front()->attempt.is_tried_alone()) return commit_alone(*saves.front());
    const Status made = guarded([&] { return commit_together(saves, deadline); });
    if (!made) try_alone(saves);  // no memory to make a batch
}

// Puts each on top of the one before it. A save that has waited until its deadline is not begun.
void SaveCommitter::put_in_place(std::span<const Save> saves) noexcept {
    const Deadline now = std::chrono::steady_clock::now();
    for (const Save& save : saves) {
        if (now >= save->attempt.deadline) {
            end_too_late(*save);
        } else {
            // A save that could not be put in place is committed all the same: the store refuses one that does not fit.
            [[maybe_unused]] const Status is_in_place = put_on_what_is_there(*save);
        }
    }
}

void SaveCommitter::end_too_late(PendingSave& save) noexcept {
    save.attempt.result = guarded([&]() -> Result<Receipt> { return too_late_error(save); });
    note_dropped(save);
}

// The saves that have no result are to be tried again, each by itself.
void SaveCommitter::try_alone(std::span<const Save> saves) noexcept {
    for (const Save& save : saves) save->attempt.is_alone = true;
}

Status SaveCommitter::commit_together(std::span<const Save> saves, Deadline deadline) {
    RunsOfBatch runs(saves, deadline);
    const Result<std::vector<Status>> answers =
        guarded([&] { return core_.store->commit(runs.batches(), runs.deadline()); });
    std::size_t saved = 0;
    for (std::size_t run = 0; run < runs.batches().size(); ++run) {
        if (!answers || !(*answers)[run]) runs.give_back(run);
        if (!answers) continue;
        const Status& answer = (*answers)[run];
        answer ? settle(runs.saves_of(run)) : refuse(runs.saves_of(run), answer.error());
        if (answer) saved += runs.saves_of(run).size();
    }
    if (saved > 1) stats_.count_batch(saved);
    if (!answers) end_failed_batch(saves, answers.error(), runs.deadline());
    return {};
}

// The run was saved.
void SaveCommitter::settle(std::span<const Save> saves) noexcept {
    for (const Save& save : saves) {
        save->attempt.result = guarded([&] {
            remember(*save);
            return Result<Receipt>(receipt_of(*save));
        });
    }
}

// The run was not saved. A lone save goes on from the answer. Several saves that share an answer begin anew, but an
// unknown outcome is the answer to each of them.
void SaveCommitter::refuse(std::span<const Save> saves, const Error& answer) noexcept {
    const bool is_of_each = saves.size() == 1 || answer.code == ErrorCode::kOutcomeUnknown;
    for (const Save& save : saves) {
        if (is_of_each) save->attempt.answer = copy_of(answer);
    }
    try_alone(saves);
}

// The commit failed for all saves. If it failed only because the earliest deadline passed, the others are committed
// together once more.
void SaveCommitter::end_failed_batch(std::span<const Save> saves, const Error& error, Deadline deadline) noexcept {
    const auto open = std::ranges::count_if(saves, is_open);
    const bool is_of_each = open == 1 || error.code == ErrorCode::kOutcomeUnknown;
    const Deadline now = std::chrono::steady_clock::now();
    const bool was_out_of_time = error.code == ErrorCode::kUnavailable && now >= deadline;
    for (const Save& save : saves) {
        if (save->attempt.result) continue;
        const bool is_too_late = now >= save->attempt.deadline;
        // A commit that ended at another save's deadline is no answer to this one.
        if (is_of_each && (is_too_late || !was_out_of_time)) save->attempt.answer = copy_of(error);
        if (is_too_late) end_too_late(*save);
    }
    if (!was_out_of_time) try_alone(saves);
    if (open == 1) return;
    stats_.count_failed_batch();
    log_failed_batch(core_.options.runtime, error, static_cast<std::size_t>(open));
}

void SaveCommitter::commit_alone(PendingSave& save) noexcept {
    const bool is_in_doubt = save.attempt.may_be_applied();
    Result<Receipt> result = guarded([&] { return write_alone(save, is_in_doubt); });
    if (is_in_doubt && !result && !is_answer_of_store(result.error().code)) {
        result = guarded([&] { return in_doubt(std::move(result.error()), save.job.becomes->info.snapshot_id); });
    }
    save.attempt.result = std::move(result);
    note_landing(save);
}

Result<Receipt> SaveCommitter::write_alone(PendingSave& save, bool is_in_doubt) {
    const std::optional<std::int64_t> required_version = save.attempt.write.required_version;
    std::optional<Error> answer = std::exchange(save.attempt.answer, std::nullopt);
    Result<Receipt> receipt = guarded([&] {
        return core_.writer->write(save.job.request, std::move(save.attempt.write), save.attempt.deadline,
                                   std::move(answer));
    });
    if (!receipt && !is_final(receipt.error().code)) {
        return fall_back(save.job.request, save.job.becomes->info.snapshot_id, required_version, save.attempt.deadline,
                         std::move(receipt.error()), is_in_doubt);
    }
    if (!receipt || receipt->outcome != Outcome::kPersisted) return receipt;
    // A save that was put on another head than prepared is stored in another form, too: with another parent, whole, or
    // by an earlier attempt.
    const SnapshotInfo& planned = save.lands_as().info;
    const bool is_as_planned = receipt->version == planned.version && receipt->frame_bytes == planned.frame_bytes;
    is_as_planned ? remember(save) : cache_.forget(save.job.request.run_id);
    return receipt;
}

Result<Receipt> SaveCommitter::fall_back(const StatePersistenceRequest& request, const std::string& snapshot_id,
                                         std::optional<std::int64_t> required_version, Deadline deadline, Error cause,
                                         bool is_in_doubt) {
    stats_.count_fallback(cause.code);
    log_save(core_.options.runtime, "save_fallback", cause, request, snapshot_id);
    StatePersistenceRequest retry = request;
    retry.snapshot_id = snapshot_id;  // it is not saved twice, whatever the first attempt left behind
    retry.expected_version = required_version;
    const Deadline until = std::max(deadline, std::chrono::steady_clock::now() + std::chrono::milliseconds(1));
    Result<Receipt> receipt = guarded([&] { return core_.write_standard(retry, until); });
    if (!receipt) {
        is_in_doubt = is_in_doubt || cause.code == ErrorCode::kOutcomeUnknown;
        if (!receipt.error().cause) receipt.error().cause = std::make_shared<const Error>(std::move(cause));
        if (!is_in_doubt || is_answer_of_fallback(receipt.error().code)) return receipt;
        return in_doubt(std::move(receipt.error()), snapshot_id);
    }
    receipt->outcome = Outcome::kFallback;
    cache_.forget(request.run_id);  // it is stored in another form than the prepared one
    return receipt;
}

// If there is no memory for it, the head is not cached. That costs time and nothing else.
void SaveCommitter::remember(const PendingSave& save) noexcept {
    try {
        core_.writer->seen().note(save.job.request.run_id, save.lands_as().info.version);
        cache_.put(save.attempt.lands_elsewhere ? save.attempt.lands_elsewhere : save.job.becomes);
    } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch)
    }
}

}  // namespace cairn
