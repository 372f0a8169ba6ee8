#include "fault/soak/ledger.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <stdexcept>
#include <unordered_map>

#include <fcntl.h>
#include <unistd.h>

namespace cairn::test {
namespace {

std::string on_one_line(std::string text) {
    std::ranges::replace_if(text, [](char c) { return c == '\t' || c == '\n'; }, ' ');
    return text;
}

std::string_view take_word(std::string_view& line) {
    const std::string_view word = line.substr(0, line.find('\t'));
    line.remove_prefix(std::min(word.size() + 1, line.size()));
    return word;
}

std::int64_t number_of(std::string_view text) {
    std::int64_t number = 0;
    std::from_chars(text.data(), text.data() + text.size(), number);
    return number;
}

Fields fields_of(std::string_view line) {
    Fields fields;
    while (!line.empty()) {
        const std::string_view word = take_word(line);
        const std::size_t equals = word.find('=');
        if (equals != word.npos) fields.emplace(word.substr(0, equals), word.substr(equals + 1));
    }
    return fields;
}

std::string to_text(const Fields& fields) {
    std::string text;
    for (const auto& [name, value] : fields) text += fmt::format(" {}={}", name, value);
    return text;
}

}  // namespace

std::int64_t nanoseconds_now() {
    std::timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

Ledger::Ledger(const std::filesystem::path& path, std::int32_t process)
    : process_(process), file_(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {
    if (file_ < 0) throw std::runtime_error("a ledger cannot be written: " + path.string());
}

Ledger::~Ledger() {
    ::close(file_);
}

void Ledger::begin(std::int64_t call, std::string_view kind, const Fields& asked) {
    write(call, kind, asked);
}

void Ledger::end(std::int64_t call, const Fields& told) {
    write(call, "end", told);
}

// Writes the line "time process call what name=value …" by one call of the system.
void Ledger::write(std::int64_t call, std::string_view what, const Fields& fields) {
    std::string line = fmt::format("{}\t{}\t{}\t{}", nanoseconds_now(), process_, call, what);
    for (const auto& [name, value] : fields) line += fmt::format("\t{}={}", name, on_one_line(value));
    line += '\n';
    if (::write(file_, line.data(), line.size()) != static_cast<ssize_t>(line.size())) std::_Exit(99);
}

std::string_view Call::value(const Fields& fields, std::string_view name) {
    const auto found = fields.find(name);
    return found == fields.end() ? std::string_view() : found->second;
}

std::int64_t Call::version() const {
    return number_of(answer("version"));
}

std::string_view Call::outcome() const {
    if (!is_answered()) return "no answer";
    if (told.contains("error")) return answer("error");
    return told.contains("outcome") ? answer("outcome") : "ok";
}

std::string Call::to_string() const {
    return fmt::format("{} by process {} (call {}, {} to {}):{} ->{}", kind, process, number, begun,
                       is_answered() ? fmt::to_string(ended) : "its death", to_text(asked),
                       is_answered() ? to_text(told) : " no answer");
}

std::vector<Call> read_ledger(const std::filesystem::path& path, std::int64_t died) {
    std::vector<Call> calls;
    std::unordered_map<std::int64_t, std::size_t> by_number;
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
        std::string_view rest = line;
        const std::int64_t time = number_of(take_word(rest));
        const auto process = static_cast<std::int32_t>(number_of(take_word(rest)));
        const std::int64_t number = number_of(take_word(rest));
        const std::string_view what = take_word(rest);
        if (what != "end") {
            by_number[number] = calls.size();
            calls.push_back({.kind = std::string(what),
                             .process = process,
                             .number = number,
                             .begun = time,
                             .ended = died,
                             .died = died,
                             .asked = fields_of(rest)});
        } else if (const auto begun = by_number.find(number); begun != by_number.end()) {
            Call& call = calls[begun->second];
            call.ended = time;
            call.told = fields_of(rest);
            if (call.told.empty()) call.told.emplace("outcome", "ok");
        }
    }
    return calls;
}

}  // namespace cairn::test
