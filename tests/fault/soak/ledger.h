#pragma once

// Records what a process was about to do, and what it was told: two lines per call. Each line is in the file before
// anything else happens, so none is lost with the process. The file is plain text, for people who look for the cause of
// a violation.

#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::test {

using Fields = std::map<std::string, std::string, std::less<>>;

/// Returns the machine's time, which is the same for all processes.
std::int64_t nanoseconds_now();

/// One process writes it. Threads: safe to use from several threads.
class Ledger {
public:
    Ledger(const std::filesystem::path& path, std::int32_t process);
    ~Ledger();
    Ledger(const Ledger&) = delete;
    Ledger& operator=(const Ledger&) = delete;

    void begin(std::int64_t call, std::string_view kind, const Fields& asked);
    void end(std::int64_t call, const Fields& told);

private:
    void write(std::int64_t call, std::string_view what, const Fields& fields);

    std::int32_t process_;
    int file_;
};

/// A call as it stands in a ledger.
struct Call {
    static constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

    std::string kind;
    std::int32_t process = 0;
    std::int64_t number = 0;
    std::int64_t begun = 0;
    std::int64_t ended = kNever;  ///< When it was answered; if it was not, when its process was dead.
    std::int64_t died = kNever;   ///< When its process was dead: a queued save may have been committed until then.
    Fields asked = {};
    Fields told = {};  ///< Empty if it was never answered.

    std::string_view of(std::string_view name) const { return value(asked, name); }
    std::string_view answer(std::string_view name) const { return value(told, name); }
    std::int64_t version() const;

    bool is_answered() const { return !told.empty(); }
    /// "persisted", "ok", "unavailable", …
    std::string_view outcome() const;
    bool is_success() const { return is_answered() && !told.contains("error"); }
    /// Says whether it is unknown if the call took effect.
    bool is_open() const { return !is_answered() || answer("error") == "outcome_unknown"; }
    std::string to_string() const;

private:
    static std::string_view value(const Fields& fields, std::string_view name);
};

/// The calls of a process that died at `died`, in the order in which they began.
std::vector<Call> read_ledger(const std::filesystem::path& path, std::int64_t died);

}  // namespace cairn::test
