#pragma once

// Pipelines of agents that survive the death of their process.

#include <cairn/config.h>
#include <cairn/error.h>
#include <cairn/persistence.h>
#include <cairn/pipeline_events.h>
#include <cairn/state.h>
#include <cairn/store.h>
#include <cairn/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace cairn {

/// The input of an agent beside the state.
struct AgentCall {
    std::string run_id = {};
    std::string thread_id = {};
    std::string user_id = {};
    std::string pipeline = {};
    std::string step = {};
    int attempt = 1;            ///< Grows with every retry and with every resume of a run that stopped in this step.
    State with = {};            ///< The step's own settings.
    std::stop_token stop = {};  ///< Requested when the step times out, or the run is cancelled.
    /// Reports the step's progress to the watchers. Never null when the engine calls.
    std::function<void(std::string_view message)> progress = {};
};

/// One agent: returns the state after its step. Several threads may call it at a time, for several runs or for several
/// steps of a group. An exception that it throws is an error of its step.
/// Durability: it runs at least once. A step whose result was saved is never run again; an interrupted step is.
using Agent = std::function<Result<State>(const State& state, const AgentCall& call)>;

/// An agent that is a program, in any language. It reads the state's normal text from its standard input and writes a
/// JSON object to its standard output; each line on its standard error is progress. The call's members are in its
/// environment: CAIRN_RUN_ID, CAIRN_THREAD_ID, CAIRN_USER_ID, CAIRN_PIPELINE, CAIRN_STEP, CAIRN_ATTEMPT, CAIRN_WITH.
struct CommandOptions {
    enum class Output : std::uint8_t {
        kState,      ///< The whole new state.
        kMergePatch  ///< The changes (RFC 7396): members to set, `null` to remove one.
    };
    std::vector<std::string> command =
        {};  ///< The program, looked up in PATH unless it has a slash, and its arguments.
    Output output = Output::kState;
    std::map<std::string, std::string> environment = {};  ///< On top of this process's.
    /// If set, only these of this process's variables are passed on; otherwise all.
    std::optional<std::set<std::string>> pass_environment = {};
    std::filesystem::path working_folder = {};      ///< Empty: this process's. A relative program starts there.
    std::uint64_t output_bytes_max = 64ULL << 20U;  ///< A program that writes more is killed.
    std::chrono::milliseconds grace{2'000};         ///< Time from SIGTERM to SIGKILL, for the program and its children.
};

/// A program that is asked to stop gets SIGTERM, and SIGKILL after `grace`. So do all processes that it has started,
/// unless they have left its process group. When this process dies, even by SIGKILL, they are killed too (a shell that
/// runs beside the program does it, where there is /bin/sh).
/// Errors of the agent: kNotFound (no such program or folder), kInvalidState (its output is not one JSON object),
///   kLimitExceeded (too much output, or arguments and environment too long for the kernel), kUnavailable (it was asked
///   to stop, or the machine has no process or descriptor left), kInvalidArgument (it exited with another code than 0,
///   or was killed: the message holds the end of its standard error).
[[nodiscard]] Agent command_agent(CommandOptions options);

/// A top-level member that several agents of a group have changed differently.
struct MemberConflict {
    std::string member;                                  ///< Its key, unescaped.
    std::optional<std::string> before;                   ///< Normal text; nothing: it was not there.
    std::vector<std::optional<std::string>> candidates;  ///< In step order; nothing: removed.
    std::vector<std::string> steps;                      ///< The steps that made them.
    std::stop_token stop = {};  ///< Requested when the run is cancelled: a slow merger gives up (kUnavailable).
};

/// Resolves such a conflict: returns the member's normal text, or nothing to remove it.
using Merger = std::function<Result<std::optional<std::string>>(const MemberConflict& conflict)>;

/// The condition of a step. All members that are set must hold. An empty condition holds.
struct Condition {
    enum class Test : std::uint8_t { kExists, kMissing, kEquals, kNotEquals, kIn };
    /// A test of a member of the state. The pointer is a JSON Pointer ("/risk/level", RFC 6901). Values are normal
    /// text; they are compared as JSON, and numbers as written.
    struct Member {
        std::string pointer;
        Test test = Test::kExists;
        std::vector<std::string> values = {};  ///< One for kEquals and kNotEquals.
    };
    /// A test of an earlier step's outcome.
    struct Step {
        std::string name;
        StepOutcome outcome = StepOutcome::kCompleted;
    };
    std::vector<Member> members = {};
    std::vector<Step> steps = {};

    bool empty() const { return members.empty() && steps.empty(); }
};

/// Limits on the attempts of a step.
struct RetryPolicy {
    int attempts_max = 1;                    ///< In one execution; a resumed run starts anew.
    std::chrono::milliseconds backoff{200};  ///< Pause before the second attempt; doubled before each further one.
    std::chrono::milliseconds backoff_max{30'000};
};

/// One use of an agent.
struct Step {
    std::string name;       ///< Unique in the pipeline; 1 to 255 bytes of UTF-8 without control characters.
    std::string agent;      ///< Its name in the engine; empty if `needs_approval`.
    State with = {};        ///< Settings for the agent.
    AgentPhase phase = {};  ///< Phase of the work from here on; empty: as before.
    Condition when = {};    ///< If it does not hold, the step is skipped.
    RetryPolicy retry = {};
    std::chrono::milliseconds timeout{0};  ///< Of one attempt; 0: none. The agent is asked to stop, then waited for.
    bool may_fail = false;                 ///< The pipeline goes on without the step when all attempts have failed.
    /// A person instead of an agent. The run pauses here until someone has approved (`decide_approval`), and then goes
    /// on. Such a step is alone in its stage, without agent, retries or timeout.
    bool needs_approval = false;
};

/// The response when two agents of a group change one member differently.
enum class MergePolicy : std::uint8_t { kFail, kLast, kMerger };

/// One step, or several steps at the same time. Each step gets a copy of the state. Their changes are merged top-level
/// member by member, in step order.
struct Stage {
    std::vector<Step> steps;
    MergePolicy on_conflict = MergePolicy::kFail;
    std::string merger = {};      ///< Its name in the engine, for kMerger.
    std::size_t at_once_max = 0;  ///< At most this many steps run at the same time, in step order; 0: all of them.
};

struct Pipeline {
    std::string name;
    std::vector<Stage> stages;

    /// Changes whenever the steps, their agents, settings, conditions or groups change. Retries, timeouts and
    /// `at_once_max` do not change it.
    std::string fingerprint() const;
    std::size_t steps_total() const;
};

/// Knows agents and mergers by name. Two mergers are built in: `append` (lists: what each agent has appended, in step
/// order) and `merge` (objects: member by member, at every depth). Threads: add everything first; after that it is safe
/// to use concurrently.
class ExecutionEngine {
public:
    ExecutionEngine();
    ~ExecutionEngine();
    ExecutionEngine(const ExecutionEngine&) = delete;
    ExecutionEngine& operator=(const ExecutionEngine&) = delete;
    ExecutionEngine(ExecutionEngine&&) noexcept;
    ExecutionEngine& operator=(ExecutionEngine&&) noexcept;

    /// Errors: kAlreadyExists (the name is taken), kInvalidArgument (no name, or nothing to call).
    [[nodiscard]] Status add_agent(std::string name, Agent agent);
    [[nodiscard]] Status add_merger(std::string name, Merger merger);
    const Agent* find_agent(std::string_view name) const;
    const Merger* find_merger(std::string_view name) const;

    /// Checks that the pipeline can run here. Errors: kInvalidArgument naming the step: an agent or merger that is not
    /// known, a name that is missing or used twice, an empty stage, a condition about a step that does not come before.
    [[nodiscard]] Status check(const Pipeline& pipeline) const;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// The run's owner, and the permissions to resume it.
struct PipelineContext {
    std::string thread_id;
    std::string user_id;
    std::stop_token stop = {};  ///< When requested, the running steps are stopped, and finished steps are saved.
    /// Resume although the pipeline has changed since: after the last completed step, if the steps up to there are
    /// those that the run has completed.
    bool accept_changes = false;
    /// Resume although another executor seems to be active: its next save is refused. This is not possible before that
    /// executor has saved something, which tells who owns the run.
    bool take_over = false;
    bool resume_only = false;  ///< A run that has no checkpoint is kNotFound; if false, it begins.
};

enum class OnSaveFailure : std::uint8_t {
    kStop,  ///< The pipeline ends; its result holds the state.
    kGoOn   ///< The next save contains what this one would have.
};

struct ExecutorOptions {
    Config config = {};  ///< Chooses the service, the durability of checkpoints, and how long a call may wait.
    /// The service to save with, on the same store as the executor. Several executors may share one, with its cache and
    /// its commits. Its maker flushes and closes it, but not before the runs have ended; the executor flushes only the
    /// run that it needs on disk. Null: the executor makes the one that `config` chooses, and closes it when the
    /// executor ends.
    std::shared_ptr<StatePersistence> state_persistence = nullptr;
    OnSaveFailure on_save_failure = OnSaveFailure::kStop;
    std::chrono::milliseconds heartbeat{2'000};  ///< Interval between a run's heartbeats.
    /// After this time without a heartbeat, a run of another machine counts as dead. A heartbeat comes late while the
    /// store is locked (writers wait for `Config::timeout`, 30 s), and clocks differ. With 60 s, clocks may differ by
    /// up to 25 s without harm. On the same machine no clock is asked: a process that is gone is dead at once, and a
    /// process that exists never is.
    std::chrono::milliseconds silence{60'000};
    Runtime runtime = {};
};

/// The state of a run.
enum class PipelineStatus : std::uint8_t {
    kRunning,
    kCompleted,
    kFailed,
    kInterrupted,
    kPaused,   ///< It waits for a person.
    kApproved  ///< A person has approved, and nobody has resumed the run yet. Only from `pipeline_status`.
};
std::string_view to_string(PipelineStatus status) noexcept;  ///< "running", "completed", …

struct StepResult {
    std::string step;
    StepOutcome outcome = StepOutcome::kCompleted;
    int attempt = 0;        ///< Number of the last attempt; 0: it did not run in this execution.
    bool is_saved = false;  ///< Its result is on disk.
    std::optional<Error> error = {};
    std::chrono::microseconds duration{0};
};

struct PipelineResult {
    PipelineStatus status = PipelineStatus::kCompleted;
    State state;                           ///< State after the last finished step, whether it could be saved or not.
    std::string snapshot_id;               ///< Id of the last checkpoint; empty: none.
    std::optional<Error> error = {};       ///< The reason that the run did not complete; none if it is paused.
    std::optional<Error> save_error = {};  ///< The last save that failed, if any.
    bool is_saved = false;                 ///< `state` is on disk.
    bool is_resumed = false;               ///< The run was resumed from a checkpoint.
    std::vector<StepResult> steps;         ///< The steps that have an outcome, in the pipeline's order.
    std::uint64_t saves = 0;
    std::uint64_t skips = 0;       ///< Deduplicated saves.
    std::string waiting_for = {};  ///< The step that needs approval, if it is paused.
    bool is_rejected = false;      ///< A person has rejected it: it fails again until it is rolled back.
};

/// Executes pipelines and saves their state by itself: after each step (`intermediate`), where the phase changes
/// (`phase_transition`), at the end (`pipeline_complete`) and at failure (`recovery`). With durability `exit` it saves
/// once, at the end or at failure.
///
/// The same run id again resumes after the last completed step: completed steps are not run again. The snapshots'
/// metadata says which steps these are; the state does not. A run has one executor at a time. The executor holds the
/// run's lease in the store, and a superseded one is refused with kConflict at its next save.
///
/// Threads: safe to call concurrently, for different runs.
class PipelineExecutor {
public:
    /// `websocket_manager` gets every event; it may be null. `db_session` is the store.
    PipelineExecutor(std::shared_ptr<const ExecutionEngine> engine, std::shared_ptr<EventSink> websocket_manager,
                     std::shared_ptr<Store> db_session, ExecutorOptions options = {});
    ~PipelineExecutor();
    PipelineExecutor(const PipelineExecutor&) = delete;
    PipelineExecutor& operator=(const PipelineExecutor&) = delete;

    /// Adds one more sink. Call it before the first run.
    void add_sink(std::shared_ptr<EventSink> sink);

    /// Runs the pipeline from `state`, or resumes the run (and ignores `state`). A run that is completed, or still
    /// waits for approval, returns its state at once. Blocks until the run ends. If a run began, the result says what
    /// happened to it.
    /// Errors (nothing was run): kInvalidArgument (the pipeline, or a context without thread or user, or a run that
    ///   belongs to others or is no pipeline's), kConflict (the run is in progress elsewhere, or the pipeline has
    ///   changed: the message says what to set), kNotFound (`resume_only`), and those of the store.
    [[nodiscard]] Result<PipelineResult> execute_pipeline(const Pipeline& pipeline, const State& state,
                                                          const std::string& run_id, const PipelineContext& context);

    /// The service that it saves with: the given one, or the one that the configuration chose.
    StatePersistence& state_persistence();

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// The state of a pipeline run, from its head and its lease.
struct PipelineRunStatus {
    std::string pipeline;
    /// kInterrupted: it can be resumed, but has no executor, or one that counts as dead.
    PipelineStatus status = PipelineStatus::kRunning;
    std::size_t steps_completed = 0;  ///< Including skipped ones.
    std::size_t steps_total = 0;
    std::string step;         ///< The last completed step.
    std::string waiting_for;  ///< The step that needs approval, if it is paused.
};

/// Returns nothing if the run's head was not saved by an executor. `silence` is as in `ExecutorOptions`.
[[nodiscard]] std::optional<PipelineRunStatus> pipeline_status(const RunInfo& run, Timestamp now,
                                                               std::chrono::milliseconds silence);

/// A person's decision about a paused run.
struct ApprovalDecision {
    std::string run_id;
    std::string step;  ///< The step that the run waits for; a decision about another one is refused.
    std::string by;    ///< The person; 1 to 255 bytes of UTF-8.
    bool is_approved = true;
    /// The person's change to the state of an approved run; null: none. It may be called more than once.
    std::function<Result<State>(const State& state)> change = {};
    std::optional<std::string> thread_id = {};  ///< If set, the owner is checked; so for `user_id`.
    std::optional<std::string> user_id = {};
};

/// Saves the decision as the run's new head, of type `manual`. The run then goes on when it is executed again. A
/// rejected run has failed, and stays so unless it is rolled back. Durability: on return, on disk. Of two decisions
/// only one counts, whichever processes they come from.
/// Errors: kNotFound (no such run), kInvalidArgument (it is no pipeline's, is not paused, or waits for another step),
///   kConflict (it is decided already: the message says by whom), those of `change` and of saving.
[[nodiscard]] Result<Receipt> decide_approval(StatePersistence& service, const ApprovalDecision& decision);

}  // namespace cairn
