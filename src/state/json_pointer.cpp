#include "state/json_pointer.h"

#include "state/json_grammar.h"
#include "state/state_members.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <string>

namespace cairn {
namespace {

std::string_view take_step(std::string_view& pointer) {
    pointer.remove_prefix(1);  // The slash.
    const std::string_view step = pointer.substr(0, pointer.find('/'));
    pointer.remove_prefix(step.size());
    return step;
}

std::string unescaped_step(std::string_view step) {
    std::string key;
    for (std::size_t at = 0; at < step.size(); ++at) {
        const bool is_escape = step[at] == '~' && at + 1 < step.size();
        if (is_escape) ++at;
        key += !is_escape ? step[at] : step[at] == '0' ? '~' : '/';
    }
    return key;
}

/// Returns nothing if it is not an index: an index has only digits, and no zero in front of others.
std::optional<std::uint64_t> index_of(std::string_view step) {
    std::uint64_t index = 0;
    if (step.empty() || digits_at_front(step) != step.size() || (step.size() > 1 && step[0] == '0')) return {};
    const auto [end, error] = std::from_chars(step.data(), step.data() + step.size(), index);
    return error == std::errc() ? std::optional(index) : std::nullopt;
}

std::optional<std::string_view> element(std::string_view list, std::string_view step) {
    const auto index = index_of(step);
    if (!index) return {};
    ElementReader elements(list);
    auto value = elements.next();
    for (std::uint64_t at = 0; at < *index && value; ++at) value = elements.next();
    return value;
}

}  // namespace

bool is_json_pointer(std::string_view pointer) noexcept {
    if (!pointer.empty() && pointer[0] != '/') return false;
    for (std::size_t tilde = pointer.find('~'); tilde != pointer.npos; tilde = pointer.find('~', tilde + 1)) {
        const std::string_view after = pointer.substr(tilde + 1);
        if (!after.starts_with('0') && !after.starts_with('1')) return false;
    }
    return true;
}

std::optional<std::string_view> find(const State& state, std::string_view pointer) {
    if (!is_json_pointer(pointer) || state.is_opaque()) return {};
    std::optional<std::string_view> value = state.text();
    while (!pointer.empty() && value) {
        const std::string_view step = take_step(pointer);
        const bool is_list = value->starts_with('[');
        if (!is_list && !value->starts_with('{')) return {};
        value = is_list ? element(*value, step) : member_of(*value, unescaped_step(step));
    }
    return value;
}

}  // namespace cairn
