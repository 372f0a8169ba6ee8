#include "base/nearest_name.h"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace cairn {
namespace {

std::size_t steps_between(std::string_view from, std::string_view to) {
    std::vector<std::vector<std::size_t>> steps(from.size() + 1, std::vector<std::size_t>(to.size() + 1));
    for (std::size_t i = 0; i <= from.size(); ++i) {
        for (std::size_t j = 0; j <= to.size(); ++j) {
            if (i == 0 || j == 0) {
                steps[i][j] = i + j;
                continue;
            }
            const std::size_t other = from[i - 1] == to[j - 1] ? 0 : 1;
            steps[i][j] = std::min({steps[i - 1][j] + 1, steps[i][j - 1] + 1, steps[i - 1][j - 1] + other});
            const bool is_swap = i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1];
            if (is_swap) steps[i][j] = std::min(steps[i][j], steps[i - 2][j - 2] + 1);
        }
    }
    return steps[from.size()][to.size()];
}

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool differs_in_case_alone(std::string_view word, std::string_view name) {
    return std::ranges::equal(word, name, {}, lower, lower);
}

}  // namespace

std::string nearest_name(std::string_view word, std::span<const std::string> names) {
    constexpr std::size_t kLettersMax = 64;  // a longer word is not a typing error
    std::string nearest;
    std::size_t steps_min = std::min<std::size_t>(3, word.size() / 2 + 1);
    if (word.size() > kLettersMax) return nearest;
    for (const std::string& name : names) {
        if (differs_in_case_alone(word, name)) return name;
    }
    for (const std::string& name : names) {
        const bool is_begun = word.size() >= 3 && name.starts_with(word);
        const std::size_t steps = is_begun ? 1 : steps_between(word, name);
        if (steps >= steps_min) continue;
        steps_min = steps;
        nearest = name;
    }
    return nearest;
}

}  // namespace cairn
