#include "persistence/save/lost_saves.h"

#include <algorithm>
#include <new>

namespace cairn {

void LostSaves::note(std::string_view run_id, const Error& error) noexcept {
    const bool is_known = std::ranges::any_of(errors_, [&](const auto& entry) { return entry.first == run_id; });
    if (is_known) return;
    try {
        errors_.emplace_back(run_id, error);
    } catch (const std::bad_alloc&) {
        is_incomplete_ = true;
    }
    if (errors_.size() > runs_max_) errors_.pop_front();
}

// For a run of which nothing is known.
std::optional<Error> LostSaves::of_unknown() const {
    if (!is_incomplete_) return std::nullopt;
    return Error{.code = ErrorCode::kInternal, .message = "out of memory"};
}

std::optional<Error> LostSaves::take(std::string_view run_id) {
    const auto found = std::ranges::find_if(errors_, [&](const auto& entry) { return entry.first == run_id; });
    if (found == errors_.end()) return of_unknown();
    std::optional<Error> error = std::move(found->second);
    errors_.erase(found);
    return error;
}

std::optional<Error> LostSaves::take_first() {
    std::optional<Error> error = errors_.empty() ? of_unknown() : std::move(errors_.front().second);
    errors_.clear();
    is_incomplete_ = false;
    return error;
}

}  // namespace cairn
