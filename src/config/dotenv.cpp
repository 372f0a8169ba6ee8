#include "base/file_mode.h"

#include <cairn/dotenv.h>

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

namespace cairn {
namespace {

constexpr std::size_t kFileBytesMax = 1U << 20;
constexpr std::string_view kBlank = " \t";

// The problem of a line, for a person.
using LineError = std::string_view;

std::string_view trim(std::string_view text) {
    const auto first = text.find_first_not_of(kBlank);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

bool is_name(std::string_view text) {
    const auto allowed = [](char c) {
        return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    };
    return !text.empty() && !(text.front() >= '0' && text.front() <= '9') && std::ranges::all_of(text, allowed);
}

bool is_blank_or_comment(std::string_view text) {
    const std::string_view rest = trim(text);
    return rest.empty() || rest.front() == '#';
}

// Reads up to the first `#` that follows white space. `NAME=a#b` keeps its `#`.
std::string read_bare(std::string_view text) {
    for (std::size_t i = 1; i < text.size(); ++i) {
        if (text[i] == '#' && kBlank.contains(text[i - 1])) return std::string(trim(text.substr(0, i)));
    }
    return std::string(trim(text));
}

// Returns the meaning of the escape `\c`; an unknown one stays as written.
std::string unescape(char c) {
    switch (c) {
        case 'n':
            return "\n";
        case 'r':
            return "\r";
        case 't':
            return "\t";
        case '"':
        case '\\':
        case '$':
            return std::string(1, c);
        default:
            return std::string("\\") + c;
    }
}

/// A value, and the text after its end.
struct Value {
    std::string text;
    std::string_view rest;
};

// Removes the first line from `text` and returns it without its LF or CRLF.
std::string_view take_line(std::string_view& text) {
    const auto end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
}

// Reads up to the closing quote, over as many lines as needed.
std::expected<Value, LineError> read_quoted(std::string_view text) {
    const char quote = text.front();
    std::string value;
    for (std::size_t i = 1; i < text.size(); ++i) {
        if (text[i] == quote) {
            std::string_view rest = text.substr(i + 1);
            if (!is_blank_or_comment(take_line(rest))) {
                return std::unexpected("there is text after the closing quote");
            }
            return Value{std::move(value), rest};
        }
        const bool escape = quote == '"' && text[i] == '\\' && i + 1 < text.size();
        if (escape) ++i;
        value += escape ? unescape(text[i]) : std::string(1, text[i]);
    }
    return std::unexpected("the quote is not closed");
}

std::expected<Value, LineError> read_value(std::string_view text) {
    const auto first = text.find_first_not_of(kBlank);
    const bool quoted = first != std::string_view::npos && (text[first] == '"' || text[first] == '\'');
    if (quoted) return read_quoted(text.substr(first));
    std::string value = read_bare(take_line(text));
    return Value{std::move(value), text};
}

std::string_view without_export(std::string_view line) {
    constexpr std::string_view kExport = "export";
    const bool exported =
        line.starts_with(kExport) && line.size() > kExport.size() && kBlank.contains(line[kExport.size()]);
    return exported ? trim(line.substr(kExport.size())) : line;
}

/// The text before '=' of an assignment, or the whole of a line without one.
struct Front {
    std::string_view name;
    std::optional<std::string_view> value;  ///< All text after '=', including the following lines.
};

Front split(std::string_view text) {
    std::string_view behind = text;
    const std::string_view line = take_line(behind);
    const auto equals = line.find('=');
    const std::string_view name = without_export(trim(line.substr(0, equals)));
    if (equals == std::string_view::npos) return {name, std::nullopt};
    return {name, text.substr(equals + 1)};
}

std::expected<Value, LineError> read_assignment(const Front& front) {
    if (!front.value) return std::unexpected("there is no '='");
    if (!is_name(front.name)) {
        return std::unexpected("what stands before '=' is not a name (letters, digits and '_')");
    }
    return read_value(*front.value);
}

std::unexpected<Error> unreadable_file_error(std::string_view name, int error_number) {
    return fail(ErrorCode::kInvalidConfig, fmt::format("{} cannot be read", name),
                std::generic_category().message(error_number));
}

}  // namespace

Dotenv parse_dotenv(std::string_view text) {
    constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
    if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());

    Dotenv dotenv;
    std::string_view rest = text;
    for (std::size_t line = 1; !rest.empty();) {
        const std::string_view from = rest;
        const std::string_view first_line = take_line(rest);
        if (!is_blank_or_comment(first_line)) {
            const Front front = split(from);
            if (auto value = read_assignment(front)) {
                dotenv.values.insert_or_assign(std::string(front.name), std::move(value->text));
                rest = value->rest;
            } else {
                const std::string_view word = front.name.substr(0, front.name.find_first_of(kBlank));
                dotenv.problems.push_back({.line = line, .name = std::string(word), .what = value.error()});
            }
        }
        line += static_cast<std::size_t>(std::ranges::count(from.substr(0, from.size() - rest.size()), '\n'));
    }
    return dotenv;
}

Result<Dotenv> read_dotenv(const std::filesystem::path& path) {
    const std::string name = path.string();
    const int descriptor = open_without_waiting(name.c_str(), O_RDONLY);
    if (descriptor < 0 && (errno == ENOENT || errno == ENOTDIR)) return Dotenv{};
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(descriptor < 0 ? nullptr : ::fdopen(descriptor, "rb"),
                                                               &std::fclose);
    if (!file) return unreadable_file_error(name, errno);
    struct stat entry{};
    if (::fstat(descriptor, &entry) != 0) return unreadable_file_error(name, errno);
    if (S_ISDIR(entry.st_mode)) return unreadable_file_error(name, EISDIR);
    if (!S_ISREG(entry.st_mode)) return fail(ErrorCode::kInvalidConfig, name + " is not a file");

    std::string text(kFileBytesMax + 1, '\0');
    text.resize(std::fread(text.data(), 1, text.size(), file.get()));
    if (std::ferror(file.get()) != 0) return unreadable_file_error(name, errno);
    if (text.size() > kFileBytesMax) {
        return fail(ErrorCode::kInvalidConfig, fmt::format("{} is larger than {} bytes", name, kFileBytesMax));
    }
    return parse_dotenv(text);
}

bool reads_dotenv_in(std::string_view environment) {
    const auto is = [environment](std::string_view name) {
        return std::ranges::equal(environment, name, {}, [](char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c + 0; });
    };
    return !is("production") && !is("staging");
}

}  // namespace cairn
