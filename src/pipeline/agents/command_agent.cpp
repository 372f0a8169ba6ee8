#include "persistence/guarded.h"
#include "pipeline/agents/error_stream.h"
#include "pipeline/agents/program_run.h"
#include "state/state_merge.h"

#include <cairn/pipeline.h>

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <utility>

namespace cairn {
namespace {

// The call's variables override the command's, and these override the variables of this process.
std::vector<std::string> environment_for(const CommandOptions& options, const AgentCall& call) {
    std::map<std::string, std::string> variables{{"CAIRN_RUN_ID", call.run_id},
                                                 {"CAIRN_THREAD_ID", call.thread_id},
                                                 {"CAIRN_USER_ID", call.user_id},
                                                 {"CAIRN_PIPELINE", call.pipeline},
                                                 {"CAIRN_STEP", call.step},
                                                 {"CAIRN_ATTEMPT", fmt::to_string(call.attempt)},
                                                 {"CAIRN_WITH", std::string(call.with.text())}};
    variables.insert(options.environment.begin(), options.environment.end());
    std::vector<std::string> lines;
    for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
        const std::string_view line(*entry);
        const std::string name(line.substr(0, line.find('=')));
        const bool is_passed = !options.pass_environment || options.pass_environment->contains(name);
        if (is_passed && !variables.contains(name)) lines.emplace_back(line);
    }
    for (const auto& [name, value] : variables) lines.push_back(fmt::format("{}={}", name, value));
    return lines;
}

Status check(const CommandOptions& options) {
    const auto is_no_name = [](const auto& variable) {
        return variable.first.empty() || variable.first.find('=') != std::string::npos;
    };
    const auto found = std::ranges::find_if(options.environment, is_no_name);
    if (found == options.environment.end()) return {};
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("environment: \"{}\" is no variable's name (one without \"=\")", found->first));
}

// Returns "exited with code 3", "was ended by SIGSEGV".
std::string describe(std::optional<int> wait_status) {
    if (!wait_status) return "ended, but another part of this process took its exit code (SIGCHLD must not be ignored)";
    if (WIFEXITED(*wait_status)) return fmt::format("exited with code {}", WEXITSTATUS(*wait_status));
    const char* name = ::sigabbrev_np(WTERMSIG(*wait_status));
    return name == nullptr ? fmt::format("was ended by signal {}", WTERMSIG(*wait_status))
                           : fmt::format("was ended by SIG{}", name);
}

std::unexpected<Error> failed_exit_error(const std::string& program, const ProgramEnd& end, const ErrorStream& errors) {
    const std::string tail = errors.tail();
    return fail(ErrorCode::kAgentFailed, fmt::format("program \"{}\" {}{}{}", program, describe(end.wait_status),
                                                     tail.empty() ? "" : ": ", tail));
}

Result<State> parse_output(const CommandOptions& options, std::string&& output) {
    const std::string& program = options.command.front();
    if (output.find_first_not_of(" \t\r\n") == std::string::npos) {
        return fail(
            ErrorCode::kInvalidState,
            fmt::format("program \"{}\" wrote nothing to its standard output; one JSON object is expected", program));
    }
    const StateLimits limits{.bytes_max = std::min(options.output_bytes_max, StateLimits::kBytesMaxUpper)};
    Result<State> state = State::parse(std::move(output), limits);
    if (!state) state.error().message = fmt::format("output of program \"{}\": {}", program, state.error().message);
    return state;
}

Result<State> result_of(const CommandOptions& options, const State& state, ProgramEnd&& end, const ErrorStream& errors,
                        const std::stop_token& stop) {
    const std::string& program = options.command.front();
    switch (end.cause) {
        case ProgramEnd::Cause::kStopped:
            return fail(ErrorCode::kUnavailable, fmt::format("program \"{}\" was asked to stop", program));
        case ProgramEnd::Cause::kTooMuchOutput:
            return fail(ErrorCode::kLimitExceeded, fmt::format("program \"{}\" wrote more than {} bytes "
                                                               "(output_bytes_max)",
                                                               program, options.output_bytes_max));
        case ProgramEnd::Cause::kItself:
            break;
    }
    if (end.wait_status != 0) return failed_exit_error(program, end, errors);
    Result<State> output = parse_output(options, std::move(end.output));
    if (!output || options.output == CommandOptions::Output::kState) return output;
    // The save enforces the limits of states.
    return merge_patch(state, *output, {.bytes_max = StateLimits::kBytesMaxUpper}, stop);
}

Result<State> run_command(const CommandOptions& options, const State& state, const AgentCall& call) {
    if (Status status = check(options); !status) return std::unexpected(std::move(status.error()));
    const Program program{.command = options.command,
                          .environment = environment_for(options, call),
                          .working_folder = options.working_folder};
    const ProgramLimits limits{.output_bytes_max = options.output_bytes_max, .grace = options.grace};
    ErrorStream errors(call.progress);
    Result<ProgramEnd> end =
        run_program(program, state.text(), limits, call.stop, [&](std::string_view block) { errors.add(block); });
    if (!end) return std::unexpected(std::move(end.error()));
    errors.finish();
    return result_of(options, state, *std::move(end), errors, call.stop);
}

}  // namespace

Agent command_agent(CommandOptions options) {
    return [options = std::make_shared<const CommandOptions>(std::move(options))](const State& state,
                                                                                  const AgentCall& call) {
        return guarded([&] { return run_command(*options, state, call); });
    };
}

}  // namespace cairn
