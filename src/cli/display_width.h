#pragma once

// How many columns of a terminal a text takes: a Chinese character takes two, an accent on its letter none.

#include <cstddef>
#include <string_view>

namespace cairn::cli {

struct DisplayedCharacter {
    std::size_t bytes = 0;
    std::size_t columns = 0;
};

/// The first one of a text that is not empty. A byte that is not UTF-8 is a character of one column.
DisplayedCharacter first_character(std::string_view text);

std::size_t display_width(std::string_view text);

}  // namespace cairn::cli
