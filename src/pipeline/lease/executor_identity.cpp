#include "pipeline/lease/executor_identity.h"

#include "base/mutex.h"
#include "base/per_process.h"
#include "base/thread_annotations.h"

#include <fmt/format.h>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <sstream>
#include <string_view>
#include <system_error>
#include <vector>

namespace cairn {
namespace {

constexpr char kSeparator = '/';

std::string first_line(const std::filesystem::path& path) {
    std::string line;
    std::ifstream file(path);
    std::getline(file, line);
    return line;
}

// Identifies the machine, boot and namespace: process ids have a meaning only inside these. Empty: unknown.
std::string this_machine() {
    std::error_code no_namespace;
    const std::filesystem::path names = std::filesystem::read_symlink("/proc/self/ns/pid", no_namespace);
    const std::string boot = first_line("/proc/sys/kernel/random/boot_id");
    if (no_namespace || boot.empty()) return {};
    return boot + names.string();
}

// The kernel's line about a process. Empty: there is none, or we may not see it.
std::string stat_of(std::string_view process) {
    return first_line(fmt::format("/proc/{}/stat", process));
}

// The start of the process, in the kernel's ticks. It is needed because a process id can be reused. Empty: the process
// has ended and waits for its parent. https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html: after the name, which
// may contain anything, come the state (field 3) and so on; the start is field 22.
std::string start_in(const std::string& line) {
    std::istringstream fields(line.substr(std::min(line.size(), line.rfind(')') + 1)));
    std::string state;
    fields >> state;
    if (state.empty() || state == "Z" || state == "X") return {};
    std::string start;
    for (int field = 4; field <= 22; ++field) fields >> start;
    return start;
}

std::string host_name() {
    std::array<char, 256> name{};
    if (::gethostname(name.data(), name.size() - 1) != 0) return "unknown";
    return name.data();
}

struct Owner {
    std::string host;
    std::string process;
    std::string started;
    std::string machine;
};

std::optional<Owner> parse(std::string_view text) {
    std::vector<std::string> parts;
    for (std::size_t begin = 0; begin <= text.size();) {
        const std::size_t end = std::min(text.find(kSeparator, begin), text.size());
        parts.emplace_back(text.substr(begin, end - begin));
        begin = end + 1;
    }
    if (parts.size() != 5) return std::nullopt;
    return Owner{.host = parts[0], .process = parts[1], .started = parts[2], .machine = parts[3]};
}

const Owner& this_process() {
    static thread_local Owner self;
    const std::string process = std::to_string(::getpid());
    if (self.process != process) {
        self = {
            .host = host_name(), .process = process, .started = start_in(stat_of(process)), .machine = this_machine()};
        std::erase(self.host, kSeparator);
    }
    return self;
}

/// The executions of this process. One that has ended is not in here, even if it could not release its lease.
class Executions {
public:
    static Executions& here() { return of_this_process<Executions>(); }
    void add(const std::string& owner) {
        const MutexLock lock(mutex_);
        owners_.insert(owner);
    }
    void remove(const std::string& owner) {
        const MutexLock lock(mutex_);
        owners_.erase(owner);
    }
    bool has(const std::string& owner) {
        const MutexLock lock(mutex_);
        return owners_.contains(owner);
    }

private:
    Mutex mutex_;
    std::set<std::string> owners_ CAIRN_GUARDED_BY(mutex_);
};

enum class Life : std::uint8_t { kAlive, kGone, kUnknown };

bool has_process(const std::string& number) {
    pid_t process = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), process);
    return error == std::errc() && process > 0 && (::kill(process, 0) == 0 || errno != ESRCH);
}

// Unknown for other machines, and for processes of other users where /proc hides them (hidepid).
Life life_of(const Owner& owner, const std::string& text) {
    const Owner& self = this_process();
    if (owner.machine.empty() || owner.machine != self.machine || owner.started.empty()) return Life::kUnknown;
    if (owner.process == self.process && owner.started == self.started) {
        return Executions::here().has(text) ? Life::kAlive : Life::kGone;
    }
    const std::string line = stat_of(owner.process);
    if (line.empty()) return has_process(owner.process) ? Life::kUnknown : Life::kGone;
    return start_in(line) == owner.started ? Life::kAlive : Life::kGone;
}

std::string make_owner(Runtime& runtime) {
    const Owner& self = this_process();
    return fmt::format("{}/{}/{}/{}/{}", self.host, self.process, self.started, self.machine,
                       make_snapshot_id(*runtime.clock, *runtime.random));
}

}  // namespace

ExecutorIdentity::ExecutorIdentity(Runtime& runtime) : owner_(make_owner(runtime)) {
    Executions::here().add(owner_);
}

ExecutorIdentity::~ExecutorIdentity() {
    Executions::here().remove(owner_);
}

std::string describe_owner(const std::string& owner) {
    const std::optional<Owner> known = parse(owner);
    return known ? fmt::format("process {} on {}", known->process, known->host) : owner;
}

bool is_alive(const LeaseInfo& lease, Timestamp now, std::chrono::milliseconds silence) {
    if (lease.lease.owner.empty()) return false;
    const std::optional<Owner> owner = parse(lease.lease.owner);
    const Life life = owner ? life_of(*owner, lease.lease.owner) : Life::kUnknown;
    if (life != Life::kUnknown) return life == Life::kAlive;
    return std::chrono::abs(now - lease.heartbeat_at) <= silence;
}

}  // namespace cairn
