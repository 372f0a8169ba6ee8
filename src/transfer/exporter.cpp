#include "transfer/exporter.h"

#include "base/default_deadline.h"
#include "persistence/reading/snapshot_reader.h"
#include "persistence/reading/snapshot_walk.h"
#include "transfer/transfer_line.h"

#include <algorithm>
#include <string_view>
#include <tuple>
#include <utility>

namespace cairn {
namespace {

class Exporter {
public:
    Exporter(Store& store, const LineSink& sink, const ExportOptions& options)
        : store_(store), sink_(sink), options_(options), log_(options.runtime.with_defaults().log) {}

    Status export_run(const ExportedRun& run) {
        const std::string& run_id = run.run_id;
        const std::uint64_t exported = report_.snapshots;
        Status done = visit_snapshots(store_, run_id, [&](const SnapshotInfo& info) { return export_snapshot(info); });
        if (done && !run.damage.empty()) tell_damage(run, exported);
        if (done || !is_damage(done.error())) return done;
        leave_out({.run_id = run_id}, done.error());  // skips the rest of the run
        return {};
    }
    Status end() { return sink_(to_transfer_line(TransferEnd{.snapshots = report_.snapshots})); }
    const ExportReport& report() const { return report_; }

private:
    Status export_snapshot(const SnapshotInfo& info) {
        if (options_.on_snapshot) options_.on_snapshot();
        if (options_.is_cancelled && options_.is_cancelled()) {
            return fail(ErrorCode::kUnavailable, "the export was interrupted");
        }
        const auto loaded = load_snapshot(store_, {.run_id = info.run_id, .snapshot_id = info.snapshot_id},
                                          options_.state_limits, default_deadline());
        if (!loaded && loaded.error().code == ErrorCode::kNotFound) return {};  // deleted meanwhile
        if (!loaded && is_unreadable(loaded.error())) {
            leave_out(info, loaded.error());
            return {};
        }
        if (!loaded) return std::unexpected(loaded.error());
        ++report_.snapshots;
        return sink_(to_transfer_line(*loaded));
    }

    // Reports damage of the run's record or lease, which are not exported. If the damage hides the run's snapshots,
    // they are left out.
    void tell_damage(const ExportedRun& run, std::uint64_t exported_before) {
        if (report_.snapshots == exported_before) {
            leave_out({.run_id = run.run_id}, {.code = ErrorCode::kCorrupt, .message = run.damage});
        } else {
            tell(LogLevel::kWarning, "export_damage", run.damage, {.run_id = run.run_id});
        }
    }

    // Records a snapshot that is left out; everything readable is still exported.
    void leave_out(const SnapshotInfo& info, const Error& error) {
        const bool is_too_large = error.code == ErrorCode::kLimitExceeded;
        ++(is_too_large ? report_.too_large : report_.damaged);
        tell(LogLevel::kError, is_too_large ? "export_limit" : "export_damage", error.message, info);
    }

    void tell(LogLevel level, std::string_view event, std::string message, const SnapshotInfo& info) const {
        log_({.level = level,
              .event = event,
              .message = std::move(message),
              .fields = {{"run_id", info.run_id}, {"snapshot_id", info.snapshot_id}}});
    }

    Store& store_;
    const LineSink& sink_;
    const ExportOptions& options_;
    const LogSink log_;
    ExportReport report_;
};

}  // namespace

Result<std::vector<ExportedRun>> list_runs_to_export(Store& store, const std::optional<std::string>& thread_id,
                                                     const std::optional<std::string>& user_id) {
    std::vector<ExportedRun> runs;
    RunQuery query{.thread_id = thread_id, .user_id = user_id, .order = RunQuery::Order::kById, .limit = 500};
    do {
        auto page = store.runs(query, default_deadline());
        if (!page) return std::unexpected(page.error());
        for (RunInfo& run : page->items) {
            runs.push_back({std::move(run.run_id), run.created_at, run.snapshots, std::move(run.damage)});
        }
        query.cursor = std::move(page->next_cursor);
    } while (!query.cursor.empty());
    if (runs.empty() && (thread_id || user_id)) return fail(ErrorCode::kNotFound, "there are no runs of this owner");
    std::ranges::sort(runs, {}, [](const ExportedRun& run) { return std::tie(run.created_at, run.run_id); });
    return runs;
}

Result<ExportReport> export_runs(Store& store, std::span<const ExportedRun> runs, const LineSink& sink,
                                 const ExportOptions& options) {
    Exporter exporter(store, sink, options);
    for (const ExportedRun& run : runs) {
        if (Status done = exporter.export_run(run); !done) return std::unexpected(done.error());
    }
    if (Status done = exporter.end(); !done) return std::unexpected(done.error());
    return exporter.report();
}

}  // namespace cairn
