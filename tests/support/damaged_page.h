#pragma once

// Pages of a store's file that a disk has lost.

#include "support/database_bytes.h"

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace cairn::test {

enum class PageKind : char { kTable = 0x0D, kIndex = 0x0A };  // the leaves of a table or of an index

/// Fills the first page of this kind that holds `text` with zeros. Returns false if there is none. Nobody may have the
/// store open.
inline bool lose_page(const std::filesystem::path& database, PageKind kind, std::string_view text) {
    constexpr std::size_t kPageBytes = 8192;
    std::string content = content_of(database);
    for (std::size_t at = kPageBytes; at + kPageBytes <= content.size(); at += kPageBytes) {
        const std::string_view page = std::string_view(content).substr(at, kPageBytes);
        if (page.front() != static_cast<char>(kind) || !page.contains(text)) continue;
        content.replace(at, kPageBytes, kPageBytes, '\0');
        std::ofstream(database, std::ios::binary) << content;
        return true;
    }
    return false;
}

}  // namespace cairn::test
