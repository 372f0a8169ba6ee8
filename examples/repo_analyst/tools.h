#pragma once

// The agent's tools: list, read, search and count, over one source tree. Their results depend only on the tree: names
// are sorted, nothing is timed, and every answer is bounded.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace repo_analyst {

struct Entry {
    std::string path;  ///< Relative to the tree, with '/'.
    bool is_folder = false;
    std::uintmax_t bytes = 0;  ///< For a file.

    friend bool operator==(const Entry&, const Entry&) = default;
};

struct Excerpt {
    std::string text;
    std::size_t lines = 0;  ///< Number of lines in the excerpt.
    bool whole = false;     ///< The excerpt includes the end of the file.
};

struct Match {
    std::string path;
    std::size_t line = 0;
    std::string text;
};

struct SearchResult {
    std::vector<Match> first;  ///< The first few, in the order of the files.
    std::size_t matches = 0;   ///< All matches.
    std::size_t files = 0;     ///< Files with at least one match.
};

struct LineCount {
    std::size_t lines = 0;
    std::size_t blank = 0;
    std::size_t comment = 0;  ///< Lines that begin like a comment of their language.
};

class SourceTree {
public:
    explicit SourceTree(std::filesystem::path root) : root_(std::move(root)) {}

    /// Folders and source files directly in `folder` ("" is the top), by name. Left out: hidden names, build folders,
    /// links, files of an unknown language, and files above 512 KB.
    std::vector<Entry> list(const std::string& folder) const;

    /// The first `lines_max` lines of a file; nothing if it is not UTF-8 text.
    Excerpt read(const std::string& path, std::size_t lines_max) const;

    /// Lines that contain `text`, in these files.
    SearchResult search(std::string_view text, const std::vector<std::string>& paths) const;

    LineCount count(const std::string& path) const;

private:
    std::string contents(const std::string& path) const;

    std::filesystem::path root_;
};

/// "C++", "Python", …, or "" for files that the agent does not read.
std::string_view language_of(std::string_view path);

/// The file's introduction of itself: the first sentence of its first comment, or "".
std::string introduction_of(std::string_view path, std::string_view text);

}  // namespace repo_analyst
