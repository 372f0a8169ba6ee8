#include "persistence/reading/thread_context.h"

#include "persistence/save/request_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <tuple>

namespace cairn {
namespace {

Result<std::vector<RunInfo>> read_runs(Store& store, RunQuery query, Deadline deadline) {
    std::vector<RunInfo> runs;
    do {
        Result<Page<RunInfo>> page = store.runs(query, deadline);
        if (!page) return std::unexpected(std::move(page.error()));
        std::ranges::move(page->items, std::back_inserter(runs));
        query.cursor = page->next_cursor;
    } while (!query.cursor.empty());
    return runs;
}

}  // namespace

Result<ThreadContext> read_thread_context(Store& store, std::string_view thread_id,
                                          std::optional<std::string_view> user_id, Deadline deadline) {
    if (Status status = check_id("thread_id", thread_id); !status) return std::unexpected(std::move(status.error()));
    if (user_id) {
        if (Status status = check_id("user_id", *user_id); !status) return std::unexpected(std::move(status.error()));
    }
    RunQuery query{.thread_id = std::string(thread_id)};
    if (user_id) query.user_id = *user_id;
    Result<std::vector<RunInfo>> runs = read_runs(store, std::move(query), deadline);
    if (!runs) return std::unexpected(std::move(runs.error()));
    if (runs->empty()) {
        return fail(ErrorCode::kNotFound,
                    fmt::format("there is no thread \"{}\"{}", thread_id, user_id ? " of this user" : ""));
    }
    if (std::ranges::any_of(*runs, [&](const RunInfo& run) { return run.user_id != runs->front().user_id; })) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("user_id is missing: several users have a thread \"{}\"", thread_id));
    }
    const RunInfo& newest =
        *std::ranges::max_element(*runs, {}, [](const RunInfo& run) { return std::tie(run.updated_at, run.run_id); });
    ThreadContext context{.thread_id = newest.thread_id,
                          .user_id = newest.user_id,
                          .newest_run_id = newest.run_id,
                          .newest_snapshot_id = newest.head_snapshot_id,
                          .agent_phase = newest.agent_phase,
                          .updated_at = newest.updated_at};
    for (const RunInfo& run : *runs) context.snapshots += run.snapshots;
    context.runs = std::move(*runs);
    return context;
}

}  // namespace cairn
