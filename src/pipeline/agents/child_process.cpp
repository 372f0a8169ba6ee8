#include "pipeline/agents/child_process.h"

#include "base/file_sync.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <string>
#include <system_error>
#include <utility>

#include <linux/close_range.h>

namespace cairn {
namespace {

std::unexpected<Error> missing_resource_error(std::string_view what) {
    const int error_number = errno;
    return fail(ErrorCode::kUnavailable, fmt::format("{} to run a program with", what),
                std::generic_category().message(error_number));
}

struct Pipe {
    Descriptor read_end;
    Descriptor write_end;
};

// The child puts descriptors in the places of the standard ones, so none may be there before.
Descriptor above_standard(Descriptor descriptor) {
    if (!descriptor || descriptor.get() > STDERR_FILENO) return descriptor;
    return Descriptor(::fcntl(descriptor.get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
}

Result<Pipe> make_pipe() {
    std::array<int, 2> ends{-1, -1};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return missing_resource_error("no pipe");
    Descriptor read_end(ends[0]);
    Descriptor write_end(ends[1]);
    Pipe pipe{.read_end = above_standard(std::move(read_end)), .write_end = above_standard(std::move(write_end))};
    if (!pipe.read_end || !pipe.write_end) return missing_resource_error("no pipe");
    return pipe;
}

Result<Pipe> make_output_pipe() {
    Result<Pipe> pipe = make_pipe();
    if (pipe && ::fcntl(pipe->read_end.get(), F_SETFL, O_NONBLOCK) != 0) return missing_resource_error("no pipe");
    return pipe;
}

// Makes a file in memory that nobody can change any more.
Result<Descriptor> make_input(std::string_view bytes) {
    Descriptor file = above_standard(Descriptor(::memfd_create("cairn-state", MFD_CLOEXEC | MFD_ALLOW_SEALING)));
    if (!file || write_all(file.get(), bytes) != 0) return missing_resource_error("no memory for the state");
    constexpr int kSeals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
    if (::fcntl(file.get(), F_ADD_SEALS, kSeals) != 0 || ::lseek(file.get(), 0, SEEK_SET) != 0) {
        return missing_resource_error("no file for the state");
    }
    return file;
}

std::string_view path_of(const std::vector<std::string>& environment) {
    static constexpr std::string_view kName = "PATH=";
    const auto found = std::ranges::find_if(environment, [](const auto& line) { return line.starts_with(kName); });
    return found == environment.end() ? "/usr/local/bin:/usr/bin:/bin" : std::string_view(*found).substr(kName.size());
}

// The possible paths of the program, in the order of PATH.
std::vector<std::string> candidates_for(const Program& program) {
    const std::string& name = program.command.front();
    if (name.find('/') != std::string::npos) return {name};
    std::vector<std::string> candidates;
    std::string_view rest = path_of(program.environment);
    while (true) {
        const std::size_t colon = rest.find(':');
        const std::string_view folder = rest.substr(0, colon);
        candidates.push_back(fmt::format("{}/{}", folder.empty() ? "." : folder, name));
        if (colon == std::string_view::npos) return candidates;
        rest.remove_prefix(colon + 1);
    }
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
    std::vector<char*> pointers;
    pointers.reserve(texts.size() + 1);
    for (std::string& text : texts) pointers.push_back(text.data());
    pointers.push_back(nullptr);
    return pointers;
}

// The reason that the child could not become the program. The child writes it before it ends.
struct Failure {
    enum class Stage : std::uint8_t { kFolder, kExecution, kOther };
    Stage stage = Stage::kOther;
    int error_number = 0;
};

/// Everything that the child needs, made before the fork: between fork and exec it may only make system calls.
class Launch {
public:
    explicit Launch(const Program& program)
        : candidates_(candidates_for(program)),
          words_(program.command),
          variables_(program.environment),
          folder_(program.working_folder.string()),
          arguments_(pointers_to(words_)),
          environment_(pointers_to(variables_)),
          parent_(::getpid()) {}
    ~Launch() = default;
    Launch(const Launch&) = delete;
    Launch& operator=(const Launch&) = delete;

    struct Descriptors {
        int input;
        int output;
        int errors;
        int failure;
    };
    [[noreturn]] void become_program(const Descriptors& descriptors) const noexcept {
        const Failure failure = try_to(descriptors);
        [[maybe_unused]] const ssize_t told = ::write(descriptors.failure, &failure, sizeof failure);
        end();
    }

private:
    Failure try_to(const Descriptors& descriptors) const noexcept {
        if (::setpgid(0, 0) != 0 || ::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return {Failure::Stage::kOther, errno};
        if (::getppid() != parent_) end();  // the parent died before the line above
        if (::dup2(descriptors.input, STDIN_FILENO) < 0 || ::dup2(descriptors.output, STDOUT_FILENO) < 0 ||
            ::dup2(descriptors.errors, STDERR_FILENO) < 0) {
            return {Failure::Stage::kOther, errno};
        }
        ::close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);  // also those that others forgot to mark
        if (!folder_.empty() && ::chdir(folder_.c_str()) != 0) return {Failure::Stage::kFolder, errno};
        reset_signals();
        return {Failure::Stage::kExecution, execute()};
    }

    // A process inherits the sets of ignored and of blocked signals.
    static void reset_signals() noexcept {
        struct sigaction standard{};
        standard.sa_handler = SIG_DFL;
        for (int signal = 1; signal < NSIG; ++signal) ::sigaction(signal, &standard, nullptr);
        sigset_t none;
        sigemptyset(&none);
        ::sigprocmask(SIG_SETMASK, &none, nullptr);
    }

    // Returns only an error: that of a file that exists, if there is one.
    int execute() const noexcept {
        int error_number = ENOENT;
        for (const std::string& candidate : candidates_) {
            ::execve(candidate.c_str(), arguments_.data(), environment_.data());
            if (errno != ENOENT && errno != ENOTDIR && errno != EACCES) return errno;
            if (errno == EACCES) error_number = EACCES;
        }
        return error_number;
    }

    // Does not use _exit(): a test makes sure that the library calls it nowhere.
    [[noreturn]] static void end() noexcept {
        while (true) ::syscall(SYS_exit_group, 127);
    }

    std::vector<std::string> candidates_;
    std::vector<std::string> words_;
    std::vector<std::string> variables_;
    std::string folder_;
    std::vector<char*> arguments_;
    std::vector<char*> environment_;
    pid_t parent_;
};

/// No handler of this process may run in the child, so signals are blocked while it is made.
class SignalsBlocked {
public:
    SignalsBlocked() noexcept {
        sigset_t all;
        sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    SignalsBlocked(const SignalsBlocked&) = delete;
    SignalsBlocked& operator=(const SignalsBlocked&) = delete;

private:
    sigset_t before_{};
};

pid_t fork_into(const Launch& launch, const Launch::Descriptors& descriptors) {
    const SignalsBlocked blocked;
    const pid_t pid = ::fork();
    if (pid == 0) launch.become_program(descriptors);
    return pid;
}

// A successful exec closes the descriptor's other end.
std::optional<Failure> read_failure(const Descriptor& from) {
    Failure failure;
    ssize_t count = 0;
    do {
        count = ::read(from.get(), &failure, sizeof failure);
    } while (count < 0 && errno == EINTR);
    if (count != sizeof failure) return std::nullopt;
    return failure;
}

std::unexpected<Error> folder_error(const Program& program, int error_number) {
    const bool is_missing = error_number == ENOENT || error_number == ENOTDIR;
    return std::unexpected(
        advise({.code = is_missing ? ErrorCode::kNotFound : ErrorCode::kInvalidArgument,
                .message = fmt::format("working folder \"{}\" of program \"{}\" {}", program.working_folder.string(),
                                       program.command.front(), is_missing ? "does not exist" : "cannot be entered"),
                .detail = std::generic_category().message(error_number)},
               "Correct the agent's working folder."));
}

std::unexpected<Error> overlong_command_error(const Program& program, int error_number) {
    std::string_view longest;
    for (const std::string& line : program.environment) {
        if (line.size() > longest.size()) longest = line;
    }
    return fail(ErrorCode::kLimitExceeded,
                fmt::format("arguments and environment of program \"{}\" are too long for the kernel (some 128 KiB "
                            "each, 2 MiB in all); the longest variable is {} with {} bytes",
                            program.command.front(), longest.substr(0, longest.find('=')), longest.size()),
                std::generic_category().message(error_number));
}

std::unexpected<Error> execution_error(const Program& program, int error_number) {
    const std::string& name = program.command.front();
    const std::string reason = std::generic_category().message(error_number);
    switch (error_number) {
        case ENOENT:
        case ENOTDIR:
            return std::unexpected(
                advise({.code = ErrorCode::kNotFound,
                        .message = name.find('/') == std::string::npos
                                       ? fmt::format("no program \"{}\" in PATH", name)
                                       : fmt::format("no program \"{}\", or not the interpreter that it names", name),
                        .detail = reason},
                       "Install the program, or correct the step's command or PATH."));
        case E2BIG:
            return overlong_command_error(program, error_number);
        case EAGAIN:
        case ENOMEM:
        case EMFILE:
        case ENFILE:
        case ETXTBSY:
            return fail(ErrorCode::kUnavailable, fmt::format("program \"{}\" could not be started", name), reason);
        default:
            return std::unexpected(advise({.code = ErrorCode::kInvalidArgument,
                                           .message = fmt::format("program \"{}\" cannot be executed", name),
                                           .detail = reason},
                                          "Make the file executable (chmod +x), or correct the step's command."));
    }
}

std::unexpected<Error> start_error(const Program& program, const Failure& failure) {
    switch (failure.stage) {
        case Failure::Stage::kFolder:
            return folder_error(program, failure.error_number);
        case Failure::Stage::kExecution:
            return execution_error(program, failure.error_number);
        case Failure::Stage::kOther:
            break;
    }
    errno = failure.error_number;
    return missing_resource_error("no process");
}

bool has_nul(const std::string& text) {
    return text.find('\0') != std::string::npos;
}

// Checks that the kernel will report how a child ended. Otherwise a program that succeeded could not be told from one
// that failed, so none is started.
Status check_children_are_told() {
    struct sigaction action{};
    if (::sigaction(SIGCHLD, nullptr, &action) != 0) return {};
    const bool is_ignored = (action.sa_flags & SA_SIGINFO) == 0 && action.sa_handler == SIG_IGN;
    if (!is_ignored && (action.sa_flags & SA_NOCLDWAIT) == 0) return {};
    return fail(ErrorCode::kInvalidArgument,
                "this process ignores SIGCHLD, so that the exit code of a program is lost: nothing was started; set it "
                "to SIG_DFL (it may be inherited from the parent process)");
}

// Checks for input that the kernel would cut short or refuse.
Status check(const Program& program) {
    if (program.command.empty() || program.command.front().empty()) {
        return fail(ErrorCode::kInvalidArgument, "command names no program");
    }
    if (std::ranges::any_of(program.command, has_nul)) {
        return fail(ErrorCode::kInvalidArgument, "command has an argument with a NUL byte");
    }
    const auto broken = std::ranges::find_if(program.environment, has_nul);
    if (broken == program.environment.end()) return {};
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("environment variable {} of program \"{}\" has a NUL byte",
                            broken->substr(0, broken->find_first_of(std::string("=\0", 2))), program.command.front()));
}

}  // namespace

Result<ChildProcess> ChildProcess::start(const Program& program, std::string_view standard_input) {
    if (Status status = check(program); !status) return std::unexpected(std::move(status.error()));
    if (Status status = check_children_are_told(); !status) return std::unexpected(std::move(status.error()));
    const Result<Descriptor> input = make_input(standard_input);
    if (!input) return std::unexpected(input.error());
    Result<Pipe> output = make_output_pipe();
    if (!output) return std::unexpected(std::move(output.error()));
    Result<Pipe> errors = make_output_pipe();
    if (!errors) return std::unexpected(std::move(errors.error()));
    Result<Pipe> failure = make_pipe();
    if (!failure) return std::unexpected(std::move(failure.error()));

    const Launch launch(program);
    ChildProcess child;
    child.output_ = std::move(output->read_end);
    child.errors_ = std::move(errors->read_end);
    const pid_t pid = fork_into(launch, {.input = input->get(),
                                         .output = output->write_end.get(),
                                         .errors = errors->write_end.get(),
                                         .failure = failure->write_end.get()});
    if (pid < 0) return missing_resource_error("no process");
    child.pid_ = pid;
    child.guard_.guard(pid);
    failure->write_end.close();
    if (const auto reason = read_failure(failure->read_end)) return start_error(program, *reason);
    // Called by number: the header of some C libraries declares the function without extern "C".
    child.end_ = Descriptor(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (!child.end_) return missing_resource_error("no descriptor");
    return child;
}

ChildProcess::~ChildProcess() {
    signal_group(SIGKILL);
    if (pid_ != 0) reap();
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)),
      output_(std::move(other.output_)),
      errors_(std::move(other.errors_)),
      end_(std::move(other.end_)),
      guard_(std::move(other.guard_)) {}

// The group's id is not reused as long as its leader is not reaped.
void ChildProcess::signal_group(int signal) const noexcept {
    if (pid_ != 0) ::kill(-pid_, signal);
}

std::optional<int> ChildProcess::reap() noexcept {
    guard_.dismiss();  // while the group's id is still its own
    int status = 0;
    pid_t reaped = 0;
    do {
        reaped = ::waitpid(pid_, &status, 0);
    } while (reaped < 0 && errno == EINTR);
    const bool is_ours = reaped == std::exchange(pid_, 0);
    return is_ours ? std::optional(status) : std::nullopt;
}

}  // namespace cairn
