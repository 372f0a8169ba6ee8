#pragma once

// What a process was about to do, and what it was told: two lines a call, each in the file before anything else
// happens, so that nothing of it is lost with the process. Plain text, for people who look for the cause of a
// violation.

#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::test {

using Fields = std::map<std::string, std::string, std::less<>>;

/// Of the machine, the same for all processes.
std::int64_t nanoseconds_now();

/// Written by one process. Threads: any.
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

/// A call as a ledger has it.
struct Call {
    static constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

    std::string kind;
    std::int32_t process = 0;
    std::int64_t number = 0;
    std::int64_t begun = 0;
    std::int64_t ended = kNever;  ///< When it was answered, or else when its process was dead.
    std::int64_t died = kNever;   ///< Its process: what was only queued may have been saved until then.
    Fields asked = {};
    Fields told = {};  ///< Empty: it was never answered.

    std::string_view of(std::string_view name) const { return value(asked, name); }
    std::string_view answer(std::string_view name) const { return value(told, name); }
    std::int64_t version() const;

    bool is_answered() const { return !told.empty(); }
    /// "persisted", "ok", "unavailable", …
    std::string_view outcome() const;
    bool is_success() const { return is_answered() && !told.contains("error"); }
    /// Whether it may or may not have happened.
    bool is_open() const { return !is_answered() || answer("error") == "outcome_unknown"; }
    std::string to_string() const;

private:
    static std::string_view value(const Fields& fields, std::string_view name);
};

/// The calls of a process that died at `died`, in the order in which they began.
std::vector<Call> read_ledger(const std::filesystem::path& path, std::int64_t died);

}  // namespace cairn::test
