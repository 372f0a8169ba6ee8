#include "cli/run/run_choice.h"

#include "base/default_deadline.h"

#include <fmt/format.h>

#include <pwd.h>
#include <unistd.h>

#include <array>
#include <utility>

namespace cairn::cli {
namespace {

constexpr const char* kDefaultThread = "cli";
constexpr std::size_t kRunsPerPage = 1'000;  // each page reads a row of every run

Result<std::optional<RunInfo>> find_run(Store& store, const std::string& run_id) {
    auto page = store.runs({.run_id = run_id}, default_deadline());
    if (!page) return std::unexpected(std::move(page.error()));
    if (page->items.empty()) return std::nullopt;
    return std::move(page->items.front());
}

ChosenRun going_on(const RunInfo& run, const RunWish& wish, std::optional<PipelineRunStatus> before) {
    return {.run_id = run.run_id,
            .thread_id = wish.thread_id.value_or(run.thread_id),
            .user_id = wish.user_id.value_or(run.user_id),
            .before = std::move(before)};
}

// A run that others execute, or that waits for a person, is chosen only if there is no other; the executor then says
// so.
Result<std::optional<ChosenRun>> newest_unfinished(Store& store, const std::string& pipeline, const RunWish& wish,
                                                   const Runtime& runtime) {
    std::optional<ChosenRun> other;
    RunQuery query{.thread_id = wish.thread_id, .user_id = wish.user_id, .limit = kRunsPerPage};
    do {
        auto page = store.runs(query, default_deadline());
        if (!page) return std::unexpected(std::move(page.error()));
        for (const RunInfo& run : page->items) {
            auto status = status_now(run, runtime);
            if (!status || status->pipeline != pipeline || status->status == PipelineStatus::kCompleted) continue;
            const bool can_go_on =
                status->status != PipelineStatus::kRunning && status->status != PipelineStatus::kPaused;
            ChosenRun chosen = going_on(run, wish, std::move(status));
            if (can_go_on) return chosen;
            if (!other) other = std::move(chosen);
        }
        query.cursor = std::move(page->next_cursor);
    } while (!query.cursor.empty());
    return other;
}

std::unexpected<Error> nothing_to_resume_error(const std::string& pipeline, const RunWish& wish) {
    const std::string missing = wish.run_id.empty()
                                    ? fmt::format("no run of pipeline \"{}\" is unfinished here", pipeline)
                                    : fmt::format("there is no run \"{}\" here", wish.run_id);
    return fail(ErrorCode::kNotFound,
                fmt::format("--resume: {}; leave --resume out for a new one, or give --resume-or-start", missing));
}

bool is_owned(const RunInfo& run, const RunWish& wish) {
    return wish.thread_id.value_or(run.thread_id) == run.thread_id && wish.user_id.value_or(run.user_id) == run.user_id;
}

// Nobody but its owner learns anything about a run, or can resume it.
std::unexpected<Error> foreign_run_error(const RunInfo& run, const RunWish& wish) {
    if (wish.resume && !wish.start_if_missing) return nothing_to_resume_error({}, wish);
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("run \"{}\" belongs to another thread or user: name another run", run.run_id));
}

Result<ChosenRun> existing(const RunInfo& run, const RunWish& wish, const Runtime& runtime) {
    if (!is_owned(run, wish)) return foreign_run_error(run, wish);
    auto status = status_now(run, runtime);
    if (status && status->status == PipelineStatus::kPaused && !wish.resume) {
        return fail(
            ErrorCode::kInvalidArgument,
            fmt::format("run \"{0}\" is there already and waits for approval of step \"{1}\": decide with `cairn "
                        "approve {0} --step {1}` and add --resume, or name another run",
                        run.run_id, status->waiting_for));
    }
    if (status && status->status != PipelineStatus::kCompleted && !wish.resume) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("run \"{}\" is there already and {} ({} of {} steps done): add --resume to go on with "
                                "it, or name another run",
                                run.run_id, to_string(status->status), status->steps_completed, status->steps_total));
    }
    return going_on(run, wish, std::move(status));
}

}  // namespace

std::string login_name() {
    std::array<char, 4096> buffer{};
    passwd entry{};
    passwd* found = nullptr;
    const bool is_known = getpwuid_r(geteuid(), &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr;
    return is_known ? entry.pw_name : fmt::format("uid-{}", geteuid());
}

std::optional<PipelineRunStatus> status_now(const RunInfo& run, const Runtime& runtime) {
    return pipeline_status(run, runtime.with_defaults().clock->now(), ExecutorOptions{}.silence);
}

Result<ChosenRun> choose_run(Store* store, const std::string& pipeline, const RunWish& wish, const Runtime& runtime) {
    if (store != nullptr && wish.run_id.empty() && wish.resume) {
        auto newest = newest_unfinished(*store, pipeline, wish, runtime);
        if (!newest) return std::unexpected(std::move(newest.error()));
        if (*newest) return **std::move(newest);
    }
    if (store != nullptr && !wish.run_id.empty()) {
        const auto found = find_run(*store, wish.run_id);
        if (!found) return std::unexpected(found.error());
        const std::optional<RunInfo>& there = *found;
        if (there) return existing(*there, wish, runtime);
    }
    if (wish.resume && !wish.start_if_missing) return nothing_to_resume_error(pipeline, wish);
    const Runtime real = runtime.with_defaults();
    return ChosenRun{.run_id = wish.run_id.empty() ? make_snapshot_id(*real.clock, *real.random) : wish.run_id,
                     .thread_id = wish.thread_id.value_or(kDefaultThread),
                     .user_id = wish.user_id.value_or(login_name()),
                     .before = std::nullopt};
}

}  // namespace cairn::cli
