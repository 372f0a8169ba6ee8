#include "key_files.h"

#include <algorithm>

namespace repo_analyst {

std::string file_name(const std::string& path) {
    return path.substr(path.find_last_of('/') + 1);
}

std::string spoken_name(const Entry& file) {
    const std::string_view language = language_of(file.path);
    const std::string name = file_name(file.path);
    if (language == "C++" || language == "C") return name.contains(".h") ? "/" + name : "";
    const std::string stem = name.substr(0, name.find('.'));
    return stem.size() < 4 ? "" : stem;
}

bool is_program_text(const Entry& file) {
    const std::string_view language = language_of(file.path);
    return language != "Markdown" && language != "Make" && language != "CMake";
}

std::vector<Entry> key_file_candidates(std::vector<Entry> files) {
    constexpr std::size_t kCandidates = 24;
    std::erase_if(files, [](const Entry& f) { return !is_program_text(f) || spoken_name(f).empty(); });
    std::ranges::sort(
        files, [](const Entry& a, const Entry& b) { return a.bytes != b.bytes ? a.bytes > b.bytes : a.path < b.path; });
    files.resize(std::min(files.size(), kCandidates));
    return files;
}

}  // namespace repo_analyst
