#pragma once

// Texts for a terminal, and the columns that they take: a Chinese character takes two, an accent on its letter none.

#include <cstddef>
#include <string>
#include <string_view>

namespace cairn {

struct DisplayedCharacter {
    std::size_t bytes = 0;
    std::size_t columns = 0;
};

/// The first character of a text that is not empty. A byte that is not UTF-8 is a character of one column.
DisplayedCharacter first_character(std::string_view text);

std::size_t display_width(std::string_view text);

/// Returns `text` with control characters, which could steer a terminal, replaced by `?`.
std::string printable(std::string_view text);

/// Returns the part that fits into this many columns of a terminal, then "…".
std::string shortened(std::string_view text, std::size_t columns);

}  // namespace cairn
