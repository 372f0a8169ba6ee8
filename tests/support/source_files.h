#pragma once

// Reads the project's own sources and documents, for tests that check rules on them.

#include "support/paths.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::test {

inline std::filesystem::path project_path(std::string_view relative) {
    return source_dir() / relative;
}

inline std::string read_file(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("cannot read " + path.string());
    return {std::istreambuf_iterator<char>(file), {}};
}

inline std::vector<std::string> lines_of(std::string_view text) {
    std::vector<std::string> lines;
    while (!text.empty()) {
        const auto end = std::min(text.find('\n'), text.size());
        lines.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return lines;
}

/// Returns the files below a folder of the project that have one of these suffixes: relative to the project, sorted.
inline std::vector<std::string> files_below(std::string_view folder, const std::vector<std::string_view>& suffixes) {
    std::vector<std::string> found;
    for (const auto& item : std::filesystem::recursive_directory_iterator(project_path(folder))) {
        const std::string path = std::filesystem::relative(item.path(), source_dir()).generic_string();
        const auto fits = [&](std::string_view suffix) { return path.ends_with(suffix); };
        if (item.is_regular_file() && std::ranges::any_of(suffixes, fits)) found.push_back(path);
    }
    std::ranges::sort(found);
    return found;
}

}  // namespace cairn::test
