#include "support/run_program.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <stdexcept>
#include <system_error>

extern char** environ;

namespace cairn::test {
namespace {

struct Pipe {
    int read_end = -1;
    int write_end = -1;

    Pipe() {
        std::array<int, 2> ends{};
        if (pipe2(ends.data(), O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe2");
        read_end = ends[0];
        write_end = ends[1];
    }
    ~Pipe() {
        close_end(read_end);
        close_end(write_end);
    }
    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;

    static void close_end(int& end) {
        if (end >= 0) close(end);
        end = -1;
    }
};

bool is_read_by_cairn(std::string_view name) {
    return name.starts_with("CAIRN_") || name.starts_with("OPTIMIZED_PERSISTENCE_") ||
           name.starts_with("ENABLE_OPTIMIZED_") || name == "ENVIRONMENT";
}

std::vector<std::string> child_environment(const std::map<std::string, std::string>& additions) {
    std::vector<std::string> lines;
    for (char** entry = environ; *entry != nullptr; ++entry) {
        const std::string_view line(*entry);
        const std::string name(line.substr(0, line.find('=')));
        if (!is_read_by_cairn(name) && !additions.contains(name)) lines.emplace_back(line);
    }
    for (const auto& [name, value] : additions) lines.push_back(name + "=" + value);
    return lines;
}

std::vector<char*> as_pointers(std::vector<std::string>& texts) {
    std::vector<char*> pointers;
    for (auto& text : texts) pointers.push_back(text.data());
    pointers.push_back(nullptr);
    return pointers;
}

// Everything is prepared before the fork, because the child of a process with threads must not allocate.
pid_t start(const std::string& program, const std::vector<std::string>& arguments, const ProgramOptions& options,
            const Pipe& input, const Pipe& output, const Pipe& errors) {
    std::vector<std::string> words{program};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<std::string> variables = child_environment(options.environment);
    const auto argv = as_pointers(words);
    const auto envp = as_pointers(variables);
    const std::string folder = options.working_folder.string();

    const pid_t child = fork();
    if (child < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (child > 0) return child;
    if (!folder.empty() && chdir(folder.c_str()) != 0) _exit(127);
    signal(SIGPIPE, SIG_DFL);
    dup2(input.read_end, STDIN_FILENO);
    dup2(output.write_end, STDOUT_FILENO);
    dup2(errors.write_end, STDERR_FILENO);
    execvpe(program.c_str(), argv.data(), envp.data());
    _exit(127);
}

void feed(Pipe& input, std::string_view& rest) {
    const ssize_t written = write(input.write_end, rest.data(), rest.size());
    if (written > 0) rest.remove_prefix(static_cast<std::size_t>(written));
    const bool broken = written < 0 && errno != EAGAIN && errno != EINTR;  // the child may stop reading
    if (rest.empty() || broken) Pipe::close_end(input.write_end);
}

void drain(Pipe& source, std::string& text) {
    std::array<char, 65536> block{};
    const ssize_t count = read(source.read_end, block.data(), block.size());
    if (count > 0) text.append(block.data(), static_cast<std::size_t>(count));
    if (count == 0) Pipe::close_end(source.read_end);
}

void serve(Pipe& input, std::string_view standard_input, Pipe& output, Pipe& errors, ProgramResult& result) {
    if (standard_input.empty()) Pipe::close_end(input.write_end);
    while (output.read_end >= 0 || errors.read_end >= 0) {  // poll ignores the ends that are closed (-1)
        std::array<pollfd, 3> watched{pollfd{input.write_end, POLLOUT, 0}, pollfd{output.read_end, POLLIN, 0},
                                      pollfd{errors.read_end, POLLIN, 0}};
        if (poll(watched.data(), watched.size(), -1) < 0) continue;
        if (watched[0].revents != 0) feed(input, standard_input);
        if (watched[1].revents != 0) drain(output, result.output);
        if (watched[2].revents != 0) drain(errors, result.errors);
    }
}

int wait_for(pid_t child) {
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace

ProgramResult run_program(const std::string& program, const std::vector<std::string>& arguments,
                          const ProgramOptions& options) {
    signal(SIGPIPE, SIG_IGN);  // a child that does not read its input must not end the test
    Pipe input;
    Pipe output;
    Pipe errors;
    const pid_t child = start(program, arguments, options, input, output, errors);
    Pipe::close_end(input.read_end);
    Pipe::close_end(output.write_end);
    Pipe::close_end(errors.write_end);
    fcntl(input.write_end, F_SETFL, O_NONBLOCK);

    ProgramResult result;
    serve(input, options.standard_input, output, errors, result);
    result.exit_code = wait_for(child);
    return result;
}

}  // namespace cairn::test
