#include "tools.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <set>
#include <system_error>
#include <utility>

namespace repo_analyst {
namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t kFileBytesMax = 512 << 10;
constexpr std::size_t kMatchesKept = 8;
constexpr std::size_t kMatchBytesMax = 160;

struct Language {
    std::string_view suffix;
    std::string_view name;
    std::string_view comment;  ///< The text that starts a comment line.
};

constexpr std::array kLanguages{
    Language{".h", "C++", "//"},
    Language{".hpp", "C++", "//"},
    Language{".hh", "C++", "//"},
    Language{".cpp", "C++", "//"},
    Language{".cc", "C++", "//"},
    Language{".cxx", "C++", "//"},
    Language{".c", "C", "//"},
    Language{".py", "Python", "#"},
    Language{".js", "JavaScript", "//"},
    Language{".mjs", "JavaScript", "//"},
    Language{".ts", "TypeScript", "//"},
    Language{".tsx", "TypeScript", "//"},
    Language{".go", "Go", "//"},
    Language{".rs", "Rust", "//"},
    Language{".java", "Java", "//"},
    Language{".sql", "SQL", "--"},
    Language{".sh", "Shell", "#"},
    Language{".cmake", "CMake", "#"},
    Language{"CMakeLists.txt", "CMake", "#"},
    Language{"Makefile", "Make", "#"},
    Language{".md", "Markdown", "<!--"},
};

const Language* find_language(std::string_view path) {
    const auto found = std::ranges::find_if(kLanguages, [&](const Language& l) { return path.ends_with(l.suffix); });
    return found == kLanguages.end() ? nullptr : &*found;
}

bool is_left_out(const std::string& name) {
    static const std::set<std::string> kFolders{"build", "node_modules", "target", "venv", "__pycache__"};
    return name.empty() || name.front() == '.' || kFolders.contains(name);
}

// Returns the number of bytes of the UTF-8 character at the front of `text`; 0 if there is none. (Lengths and
// continuation bytes are enough here: a state is checked in full when it is parsed.)
std::size_t character_bytes(std::string_view text) {
    const auto lead = static_cast<unsigned char>(text.front());
    std::size_t length = 0;
    if (lead != 0 && lead < 0x80) length = 1;
    if (lead >= 0xC2 && lead < 0xE0) length = 2;
    if (lead >= 0xE0 && lead < 0xF0) length = 3;
    if (lead >= 0xF0 && lead < 0xF5) length = 4;
    if (length == 0 || length > text.size()) return 0;
    const auto is_continuation = [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0U) == 0x80U; };
    return std::ranges::all_of(text.substr(1, length - 1), is_continuation) ? length : 0;
}

bool is_text(std::string_view bytes) {
    while (!bytes.empty()) {
        const std::size_t length = character_bytes(bytes);
        if (length == 0) return false;
        bytes.remove_prefix(length);
    }
    return true;
}

std::string_view clipped(std::string_view text, std::size_t bytes_max) {
    std::size_t end = 0;
    while (end < text.size()) {
        const std::size_t length = std::max<std::size_t>(character_bytes(text.substr(end)), 1);
        if (end + length > bytes_max) break;
        end += length;
    }
    return text.substr(0, end);
}

std::string_view trimmed(std::string_view line) {
    constexpr std::string_view kBlank = " \t\r";
    const auto first = line.find_first_not_of(kBlank);
    if (first == std::string_view::npos) return {};
    return line.substr(first, line.find_last_not_of(kBlank) - first + 1);
}

template <class Visit>
void for_each_line(std::string_view text, Visit visit) {
    while (!text.empty()) {
        const auto end = std::min(text.find('\n'), text.size());
        visit(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
}

}  // namespace

std::string_view language_of(std::string_view path) {
    const Language* language = find_language(path);
    return language == nullptr ? std::string_view{} : language->name;
}

std::string introduction_of(std::string_view path, std::string_view text) {
    const Language* language = find_language(path);
    if (language == nullptr) return {};
    std::string comment;
    bool is_over = false;
    for_each_line(text, [&](std::string_view line) {
        line = trimmed(line);
        const bool is_comment = line.starts_with(language->comment) && !line.starts_with("#!");
        is_over = is_over || (!comment.empty() && !is_comment);
        if (!is_comment || is_over) return;
        line.remove_prefix(std::min(line.find_first_not_of("/#-<! "), line.size()));
        if (!comment.empty() && !line.empty()) comment += ' ';
        comment += line;
    });
    comment.resize(std::min(comment.find(". "), comment.size()));
    if (comment.ends_with('.')) comment.pop_back();
    return std::string(clipped(comment, kMatchBytesMax));
}

std::vector<Entry> SourceTree::list(const std::string& folder) const {
    std::vector<Entry> entries;
    std::error_code ignored;  // Unreadable entries are left out, like missing ones.
    for (fs::directory_iterator item(root_ / folder, ignored), end; item != end; item.increment(ignored)) {
        const std::string name = item->path().filename().string();
        if (is_left_out(name) || !is_text(name) || item->is_symlink(ignored)) continue;
        Entry entry{.path = (fs::path(folder) / name).generic_string(), .is_folder = item->is_directory(ignored)};
        if (!entry.is_folder) {
            if (!item->is_regular_file(ignored) || language_of(name).empty()) continue;
            entry.bytes = item->file_size(ignored);
            if (ignored || entry.bytes > kFileBytesMax) continue;
        }
        entries.push_back(std::move(entry));
    }
    std::ranges::sort(entries, {}, &Entry::path);
    return entries;
}

Excerpt SourceTree::read(const std::string& path, std::size_t lines_max) const {
    const std::string text = contents(path);
    Excerpt excerpt;
    std::size_t end = 0;
    while (end < text.size() && excerpt.lines < lines_max) {
        end = std::min(text.find('\n', end), text.size() - 1) + 1;
        ++excerpt.lines;
    }
    excerpt.text = text.substr(0, end);
    excerpt.whole = end == text.size();
    return excerpt;
}

SearchResult SourceTree::search(std::string_view text, const std::vector<std::string>& paths) const {
    SearchResult result;
    for (const std::string& path : paths) {
        const std::size_t before = result.matches;
        std::size_t number = 0;
        for_each_line(contents(path), [&](std::string_view line) {
            ++number;
            if (!line.contains(text)) return;
            if (++result.matches > kMatchesKept) return;
            result.first.push_back({path, number, std::string(clipped(trimmed(line), kMatchBytesMax))});
        });
        if (result.matches > before) ++result.files;
    }
    return result;
}

LineCount SourceTree::count(const std::string& path) const {
    const Language* language = find_language(path);
    LineCount count;
    for_each_line(contents(path), [&](std::string_view line) {
        ++count.lines;
        if (trimmed(line).empty()) ++count.blank;
        if (language != nullptr && trimmed(line).starts_with(language->comment)) ++count.comment;
    });
    return count;
}

std::string SourceTree::contents(const std::string& path) const {
    std::ifstream file(root_ / path, std::ios::binary);
    std::string text{std::istreambuf_iterator<char>(file), {}};
    if (!is_text(text)) text.clear();
    return text;
}

}  // namespace repo_analyst
