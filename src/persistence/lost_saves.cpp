#include "persistence/lost_saves.h"

#include <algorithm>

namespace cairn {

void LostSaves::note(std::string_view run_id, const Error& error) {
    const bool is_known = std::ranges::any_of(errors_, [&](const auto& entry) { return entry.first == run_id; });
    if (is_known) return;
    errors_.emplace_back(run_id, error);
    if (errors_.size() > runs_max_) errors_.pop_front();
}

std::optional<Error> LostSaves::take(std::string_view run_id) {
    const auto found = std::ranges::find_if(errors_, [&](const auto& entry) { return entry.first == run_id; });
    if (found == errors_.end()) return std::nullopt;
    std::optional<Error> error = std::move(found->second);
    errors_.erase(found);
    return error;
}

std::optional<Error> LostSaves::take_first() {
    if (errors_.empty()) return std::nullopt;
    std::optional<Error> error = std::move(errors_.front().second);
    errors_.clear();
    return error;
}

}  // namespace cairn
