#include "persistence/guarded.h"
#include "persistence/save/request_rules.h"
#include "pipeline/events/event_dispatcher.h"
#include "pipeline/lease/executor_identity.h"
#include "pipeline/run/pipeline_run.h"

#include <cairn/pipeline.h>
#include <cairn/run_events.h>
#include <cairn/run_lease.h>

#include <fmt/format.h>

#include <mutex>
#include <stop_token>
#include <utility>

namespace cairn {
namespace {

constexpr std::chrono::milliseconds kLastEventsPatience{1'000};
constexpr int kReadsMax = 3;

Status check_context(const std::string& run_id, const PipelineContext& context) {
    if (Status status = check_id("run_id", run_id); !status) return status;
    if (Status status = check_id("context.thread_id", context.thread_id); !status) return status;
    return check_id("context.user_id", context.user_id);
}

// The result of a run that needs no execution.
PipelineResult as_it_stands(ResumePoint&& point) {
    PipelineResult result{.status = point.progress.status,
                          .state = std::move(point.state),
                          .snapshot_id = std::move(point.snapshot_id),
                          .is_saved = true,
                          .is_resumed = true};
    if (result.status == PipelineStatus::kPaused) result.waiting_for = std::move(point.progress.approval->step);
    return result;
}

Error acquisition_error(const ResumePoint& from, Error error) {
    if (error.code != ErrorCode::kConflict || !from.is_new()) return error;
    return advise(std::move(error),
                  "Wait for it, or stop it; it can be taken over (take_over, --take-over) once it "
                  "has saved something.");
}

}  // namespace

struct PipelineExecutor::Impl {
    std::shared_ptr<const ExecutionEngine> engine;
    std::vector<std::shared_ptr<EventSink>> sinks;
    std::shared_ptr<Store> store;
    ExecutorOptions options;
    std::shared_ptr<StatePersistence> service;
    std::mutex mutex;
    std::unique_ptr<EventDispatcher> dispatcher;  // null until the first run, and if nobody watches

    RunEvents::Publish publisher();
    Result<PipelineResult> execute(const Pipeline& pipeline, const State& state, const std::string& run_id,
                                   const PipelineContext& context);
    PipelineResult run(const Pipeline& pipeline, ResumePoint from, const std::string& run_id,
                       const PipelineContext& context, const RunLease& lease);
    Deadline deadline_of_call() const { return std::chrono::steady_clock::now() + options.config.timeout; }
};

RunEvents::Publish PipelineExecutor::Impl::publisher() {
    if (sinks.empty()) return nullptr;
    const std::lock_guard lock(mutex);
    if (dispatcher == nullptr) dispatcher = std::make_unique<EventDispatcher>(sinks, options.runtime);
    return [to = dispatcher.get()](const PipelineEvent& event) { to->publish(event); };
}

// The lease is taken for the state that was read: if the run has moved meanwhile, it is read again.
Result<PipelineResult> PipelineExecutor::Impl::execute(const Pipeline& pipeline, const State& state,
                                                       const std::string& run_id, const PipelineContext& context) {
    if (Status status = engine->check(pipeline); !status) return std::unexpected(std::move(status.error()));
    if (Status status = check_context(run_id, context); !status) return std::unexpected(std::move(status.error()));
    LeaseOptions lease_options{.heartbeat = options.heartbeat,
                               .silence = options.silence,
                               .timeout = options.config.timeout,
                               .runtime = options.runtime};
    for (int reads = 0; reads < kReadsMax; ++reads) {
        Result<ResumePoint> from =
            find_resume_point(*service, *store, pipeline, state, run_id, context, deadline_of_call());
        if (!from) return std::unexpected(std::move(from.error()));
        if (from->is_completed(pipeline) || from->is_paused(pipeline)) return as_it_stands(*std::move(from));
        // Nobody can know yet who owns a run with nothing saved.
        lease_options.take_over = context.take_over && !from->is_new();
        Result<RunLease> lease = RunLease::acquire(store, run_id, deadline_of_call(), lease_options);
        if (!lease) return std::unexpected(acquisition_error(*from, std::move(lease.error())));
        const Result<std::optional<Head>> head = store->head(run_id, deadline_of_call());
        if (!head) return std::unexpected(head.error());
        if (head->value_or(Head{}).version != from->version) continue;
        return run(pipeline, std::move(*from), run_id, context, *lease);
    }
    return fail(ErrorCode::kConflict, fmt::format("others keep saving into run \"{}\": stop them, then retry", run_id));
}

PipelineResult PipelineExecutor::Impl::run(const Pipeline& pipeline, ResumePoint from, const std::string& run_id,
                                           const PipelineContext& context, const RunLease& lease) {
    AgentCall call{
        .run_id = run_id, .thread_id = context.thread_id, .user_id = context.user_id, .pipeline = pipeline.name};
    RunEvents events(publisher(), options.runtime,
                     {.run_id = run_id,
                      .thread_id = context.thread_id,
                      .user_id = context.user_id,
                      .pipeline = pipeline.name,
                      .steps_total = pipeline.steps_total()});
    PipelineRun run({.engine = *engine,
                     .options = options,
                     .service = *service,
                     .events = events,
                     .call = std::move(call),
                     .lease = lease},
                    pipeline, std::move(from), context);
    const std::stop_callback when_lost(lease.lost(), [&] { run.supersede(); });
    return run.execute();
}

PipelineExecutor::PipelineExecutor(std::shared_ptr<const ExecutionEngine> engine,
                                   std::shared_ptr<EventSink> websocket_manager, std::shared_ptr<Store> db_session,
                                   ExecutorOptions options)
    : impl_(std::make_unique<Impl>()) {
    options.runtime = options.runtime.with_defaults();
    impl_->engine = std::move(engine);
    impl_->service = options.state_persistence ? options.state_persistence
                                               : make_persistence(options.config, db_session, options.runtime);
    impl_->store = std::move(db_session);
    impl_->options = std::move(options);
    if (websocket_manager) add_sink(std::move(websocket_manager));
}

PipelineExecutor::~PipelineExecutor() {
    if (impl_->dispatcher) impl_->dispatcher->drain(kLastEventsPatience);
}

void PipelineExecutor::add_sink(std::shared_ptr<EventSink> sink) {
    impl_->sinks.push_back(std::move(sink));
}

Result<PipelineResult> PipelineExecutor::execute_pipeline(const Pipeline& pipeline, const State& state,
                                                          const std::string& run_id, const PipelineContext& context) {
    return guarded([&] { return impl_->execute(pipeline, state, run_id, context); });
}

StatePersistence& PipelineExecutor::state_persistence() {
    return *impl_->service;
}

namespace {

bool is_approved(const RunProgress& progress) {
    return progress.approval && progress.approval->decision == Approval::Decision::kApproved;
}

}  // namespace

std::optional<PipelineRunStatus> pipeline_status(const RunInfo& run, Timestamp now, std::chrono::milliseconds silence) {
    const std::optional<RunProgress> progress = RunProgress::parse(run.metadata);
    if (!progress) return std::nullopt;
    PipelineRunStatus status{.pipeline = progress->pipeline,
                             .status = progress->status,
                             .steps_completed = progress->steps_completed,
                             .steps_total = progress->steps_total,
                             .step = progress->step,
                             .waiting_for = {}};
    const bool is_executed = run.lease && is_alive(*run.lease, now, silence);
    if (is_executed) {
        status.status = PipelineStatus::kRunning;
    } else if (status.status == PipelineStatus::kRunning) {
        status.status = PipelineStatus::kInterrupted;
    } else if (status.status == PipelineStatus::kInterrupted && is_approved(*progress)) {
        status.status = PipelineStatus::kApproved;
    }
    if (status.status == PipelineStatus::kPaused && progress->approval) status.waiting_for = progress->approval->step;
    return status;
}

}  // namespace cairn
