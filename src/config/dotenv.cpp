#include <cairn/dotenv.h>

#include <fmt/format.h>

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

// What is wrong with a line, for a person.
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

// Up to the first `#` that follows white space. `NAME=a#b` keeps its `#`.
std::string read_bare(std::string_view text) {
    for (std::size_t i = 1; i < text.size(); ++i) {
        if (text[i] == '#' && kBlank.contains(text[i - 1])) return std::string(trim(text.substr(0, i)));
    }
    return std::string(trim(text));
}

// What the escape `\c` stands for; an unknown one stays as it is written.
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

std::expected<std::string, LineError> read_quoted(std::string_view text) {
    const char quote = text.front();
    std::string value;
    for (std::size_t i = 1; i < text.size(); ++i) {
        if (text[i] == quote) {
            if (!is_blank_or_comment(text.substr(i + 1)))
                return std::unexpected("there is text after the closing quote");
            return value;
        }
        const bool escape = quote == '"' && text[i] == '\\' && i + 1 < text.size();
        if (escape) ++i;
        value += escape ? unescape(text[i]) : std::string(1, text[i]);
    }
    return std::unexpected("the quote is not closed on this line");
}

std::expected<std::string, LineError> read_value(std::string_view text) {
    const std::string_view trimmed = trim(text);
    const bool quoted = !trimmed.empty() && (trimmed.front() == '"' || trimmed.front() == '\'');
    if (quoted) return read_quoted(trimmed);
    return read_bare(text);
}

std::string_view without_export(std::string_view line) {
    constexpr std::string_view kExport = "export";
    const bool exported =
        line.starts_with(kExport) && line.size() > kExport.size() && kBlank.contains(line[kExport.size()]);
    return exported ? trim(line.substr(kExport.size())) : line;
}

// Nothing for a blank line or a comment.
std::expected<std::optional<std::pair<std::string, std::string>>, LineError> read_line(std::string_view line) {
    if (is_blank_or_comment(line)) return std::nullopt;
    const std::string_view assignment = without_export(trim(line));
    const auto equals = assignment.find('=');
    if (equals == std::string_view::npos) return std::unexpected("there is no '='");
    const std::string_view name = trim(assignment.substr(0, equals));
    if (!is_name(name)) return std::unexpected("what stands before '=' is not a name (letters, digits and '_')");
    auto value = read_value(assignment.substr(equals + 1));
    if (!value) return std::unexpected(value.error());
    return std::pair(std::string(name), *std::move(value));
}

// Takes the first line off `text`, without its LF or CRLF.
std::string_view take_line(std::string_view& text) {
    const auto end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
}

std::unexpected<Error> unreadable(std::string_view name, int error_number) {
    return fail(ErrorCode::kInvalidConfig, fmt::format("{} cannot be read", name),
                std::generic_category().message(error_number));
}

}  // namespace

Result<DotenvValues> parse_dotenv(std::string_view text, std::string_view name) {
    constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
    if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());

    DotenvValues values;
    for (std::size_t number = 1; !text.empty(); ++number) {
        auto entry = read_line(take_line(text));
        if (!entry) {
            return fail(ErrorCode::kInvalidConfig,
                        fmt::format("{} line {}: {}; give NAME=value, # comment or an empty line", name, number,
                                    entry.error()));
        }
        if (*entry) values.insert_or_assign(std::move((*entry)->first), std::move((*entry)->second));
    }
    return values;
}

Result<DotenvValues> read_dotenv(const std::filesystem::path& path) {
    const std::string name = path.string();
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(name.c_str(), "rbe"), &std::fclose);
    if (!file && (errno == ENOENT || errno == ENOTDIR)) return DotenvValues{};
    if (!file) return unreadable(name, errno);

    std::string text(kFileBytesMax + 1, '\0');
    text.resize(std::fread(text.data(), 1, text.size(), file.get()));
    if (std::ferror(file.get()) != 0) return unreadable(name, errno);
    if (text.size() > kFileBytesMax) {
        return fail(ErrorCode::kInvalidConfig, fmt::format("{} is larger than {} bytes", name, kFileBytesMax));
    }
    return parse_dotenv(text, name);
}

}  // namespace cairn
