#include "cli/command.h"
#include "cli/run/rescue.h"
#include "cli/run/run_choice.h"
#include "cli/run/run_input.h"
#include "cli/run/run_plan.h"
#include "cli/run/run_progress.h"
#include "cli/run/run_report.h"
#include "cli/terminal/interruption.h"
#include "cli/terminal/output.h"
#include "cli/usage/options.h"
#include "files/output_file.h"
#include "pipeline_file/pipeline_file.h"

#include <cairn/pipeline.h>

#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <memory>
#include <utility>

namespace cairn::cli {
namespace {

// The run has neither completed nor failed: a person has to decide (docs/pipelines.md).
constexpr int kPausedExitCode = 20;

struct RunOptions {
    std::string file;
    std::vector<std::string> settings;
    std::string input;
    RunWish wish;
    bool take_over = false;
    bool accept_changes = false;
    bool dry_run = false;
    std::string events;
    std::string on_save_failure = "stop";
};

Result<std::shared_ptr<const ExecutionEngine>> make_engine(const PipelineFile& file) {
    auto engine = std::make_shared<ExecutionEngine>();
    for (const auto& [name, command] : file.agents) {
        if (Status added = engine->add_agent(name, command_agent(command)); !added) {
            return std::unexpected(std::move(added.error()));
        }
    }
    if (Status checked = engine->check(file.pipeline); !checked) {
        checked.error().message = file.path + ": " + checked.error().message;
        return std::unexpected(std::move(checked.error()));
    }
    return engine;
}

// A store that does not exist has no runs, and a dry run does not make one.
Status dry_run(const Cli& cli, const RunOptions& options, const PipelineFile& file) {
    auto store = cli.open_for_reading();
    if (!store && store.error().code != ErrorCode::kNotFound) return std::unexpected(std::move(store.error()));
    const auto run = choose_run(store ? store->get() : nullptr, file.pipeline.name, options.wish, cli.runtime);
    if (!run) return std::unexpected(run.error());
    print_plan(file, *run, cli.json);
    return {};
}

RunProgress::Show what_to_show(const Cli& cli) {
    if (isatty(STDERR_FILENO) == 1) return RunProgress::Show::kLive;
    return cli.json ? RunProgress::Show::kNothing : RunProgress::Show::kLines;
}

struct Parts {
    std::shared_ptr<const ExecutionEngine> engine;
    std::shared_ptr<Store> store;
    std::shared_ptr<EventSink> events_file;  ///< May be null.
    std::shared_ptr<RunProgress> progress;
};

// The executor is destroyed on return, so the last event has been delivered by then.
Result<PipelineResult> execute(const Cli& cli, const RunOptions& options, const Parts& parts, const PipelineFile& file,
                               const ChosenRun& run, const State& input) {
    PipelineExecutor executor(
        parts.engine, parts.progress, parts.store,
        {.config = cli.config(),
         .on_save_failure = options.on_save_failure == "go-on" ? OnSaveFailure::kGoOn : OnSaveFailure::kStop,
         .runtime = cli.runtime});
    if (parts.events_file) executor.add_sink(parts.events_file);
    std::stop_source stop;
    const StopAtInterruption interruption([&] {
        print_message("cairn: finishing: press Ctrl-C again to leave at once\n");
        stop.request_stop();
    });
    return executor.execute_pipeline(file.pipeline, input, run.run_id,
                                     {.thread_id = run.thread_id,
                                      .user_id = run.user_id,
                                      .stop = stop.get_token(),
                                      .accept_changes = options.accept_changes,
                                      .take_over = options.take_over,
                                      .resume_only = options.wish.resume && !options.wish.start_if_missing});
}

// Writes an unsaved state to a file, so that the agents' work is not lost, whatever happened to the store.
Result<std::string> rescue_unsaved(const PipelineResult& result, const std::string& run_id) {
    if (result.is_saved || !result.save_error) return "";
    auto name = rescue(result.state.text(), run_id);
    if (!name) {
        print_message(fmt::format("cairn: the state could neither be saved nor written to a file; it is:\n{}\n",
                                  result.state.text()));
    }
    return name;
}

/// The reader of standard error or of the events may go away. Writing then fails, and the pipeline goes on.
class WatchersMayLeave {
public:
    WatchersMayLeave() : before_(std::signal(SIGPIPE, SIG_IGN)) {}
    ~WatchersMayLeave() { std::signal(SIGPIPE, before_); }
    WatchersMayLeave(const WatchersMayLeave&) = delete;
    WatchersMayLeave& operator=(const WatchersMayLeave&) = delete;

private:
    void (*before_)(int);
};

void print_beginning(const Cli& cli, const RunOptions& options, const ChosenRun& run) {
    if (run.before && !(options.input.empty() && options.settings.empty())) {
        print_message(
            fmt::format("note: run {} goes on with the state that it has: --input and --set are for a new run\n",
                        printable(run.run_id)));
    }
    if (cli.json) return;
    print_message(printable(fmt::format("run {} (thread {}, user {})", run.run_id, run.thread_id, run.user_id)) + "\n");
}

Status run_to_its_end(Cli& cli, const RunOptions& options, const Parts& parts, const PipelineFile& file,
                      const ChosenRun& run, const State& input) {
    const auto started = std::chrono::steady_clock::now();
    const auto result = [&] {
        const WatchersMayLeave watched;
        print_beginning(cli, options, run);
        return execute(cli, options, parts, file, run, input);
    }();
    if (!result) return std::unexpected(with_place(file, result.error()));
    const auto unsaved = rescue_unsaved(*result, run.run_id);
    const RunOutcome outcome{
        .file = file,
        .run = run,
        .result = *result,
        .totals = parts.progress->totals(),
        .duration = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - started),
        .unsaved_file = unsaved.value_or("")};
    print_outcome(cli, outcome);
    if (result->status == PipelineStatus::kInterrupted && Interruption::requested()) {
        std::fflush(stdout);
        Interruption::end_program();
    }
    if (!unsaved) return std::unexpected(unsaved.error());
    if (result->status == PipelineStatus::kPaused) cli.exit_code = kPausedExitCode;
    auto error = error_of(outcome);
    return error ? std::unexpected(*std::move(error)) : Status{};
}

Status run(Cli& cli, const RunOptions& options) {
    const auto file = read_pipeline_file(options.file);
    if (!file) return std::unexpected(file.error());
    const auto engine = make_engine(*file);
    if (!engine) return std::unexpected(engine.error());
    mention_keyboard(options.input);
    const auto input = read_run_input(options.input, options.settings, cli.config().state_limits());
    if (!input) return std::unexpected(input.error());
    if (Status usable = cli.check_output("--events", options.events); !usable) return usable;
    if (options.dry_run) return dry_run(cli, options, *file);

    Parts parts{.engine = *engine};
    auto store = cli.open_for_writing();
    if (!store) return std::unexpected(std::move(store.error()));
    parts.store = *std::move(store);
    const auto chosen = choose_run(parts.store.get(), file->pipeline.name, options.wish, cli.runtime);
    if (!chosen) return std::unexpected(chosen.error());
    if (!options.events.empty()) {
        auto events = open_event_file(options.events, cli.config().file_mode);
        if (!events) return std::unexpected(std::move(events.error()));
        parts.events_file = *std::move(events);
    }
    parts.progress = std::make_shared<RunProgress>(what_to_show(cli));
    return run_to_its_end(cli, options, parts, *file, *chosen, *input);
}

void add_options(CLI::App& command, RunOptions& options) {
    command.add_option("PIPELINE", options.file, "The pipeline, a YAML file (docs/pipelines.md)")->required();
    command
        .add_option("--set", options.settings,
                    "Put this member into the input; VALUE is JSON, or else a string. Repeatable")
        ->type_name("KEY=VALUE")
        ->allow_extra_args(false);
    command.add_option("--input", options.input, "What a new run begins with, a JSON object; - for standard input")
        ->type_name("FILE");
    command.add_option("--run", options.wish.run_id, "The run's id; a new one unless given")->type_name("RUN");
    command.add_option("--thread", options.wish.thread_id, "The thread that it belongs to (default cli)")
        ->type_name("THREAD");
    command.add_option("--user", options.wish.user_id, "The user who owns it (default: your login name)")
        ->type_name("USER");
    // The old names of these options. All other commands use the names above.
    command.add_option("--run-id", options.wish.run_id)->type_name("RUN")->group("");
    command.add_option("--thread-id", options.wish.thread_id)->type_name("THREAD")->group("");
    command.add_option("--user-id", options.wish.user_id)->type_name("USER")->group("");
    command.add_flag("--resume", options.wish.resume,
                     "Go on with it; without --run with the newest run of this pipeline that is not completed");
    command.add_flag("--resume-or-start", options.wish.start_if_missing,
                     "As --resume, but begin the run if there is none: for scripts");
    command.add_flag("--take-over", options.take_over, "Go on although another process seems to be at it");
    command.add_flag("--accept-changes", options.accept_changes, "Go on although the pipeline has changed since");
    command.add_flag("--dry-run", options.dry_run, "Check the file, tell what would be done, and do nothing");
    command.add_option("--events", options.events, "Append every event to this file, as JSON Lines")->type_name("FILE");
    command
        .add_option("--on-save-failure", options.on_save_failure,
                    "If a step's result cannot be saved: stop (default), or go-on")
        ->type_name("WHAT")
        ->check(CLI::IsMember({"stop", "go-on"}));
}

}  // namespace

void add_run_command(CLI::App& app, Cli& cli) {
    CLI::App* command = app.add_subcommand("run", "Run a pipeline of agents, saving after every step");
    const auto options = std::make_shared<RunOptions>();
    add_options(*command, *options);
    command->callback([&cli, options] {
        options->wish.resume |= options->wish.start_if_missing;
        cli.action = [&cli, options] { return run(cli, *options); };
    });
    command->footer(
        "Every step's result is saved before the next begins, so that a run which ends early, for whatever reason, "
        "goes\n"
        "on with --resume after the last completed step. Ctrl-C stops the steps under way and saves what is finished;\n"
        "pressed again it leaves at once. Exit code 130 after Ctrl-C, 20 if it waits for `cairn approve`, else of the "
        "error\n"
        "that ended the run.\n\n"
        "Examples:\n"
        "  cairn run pipeline.yaml --dry-run\n"
        "  cairn run pipeline.yaml --set folder=src --set depth=3\n"
        "  cairn run pipeline.yaml --run nightly-7 --input state.json --events events.jsonl\n"
        "  cairn run pipeline.yaml --resume");
}

}  // namespace cairn::cli
