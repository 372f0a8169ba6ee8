#include "persistence/save/lost_saves.h"

#include "persistence/save/save_errors.h"

#include <algorithm>
#include <new>
#include <utility>

namespace cairn {

void LostSaves::note(std::string_view run_id, const Error& error) noexcept {
    const bool is_known = std::ranges::any_of(errors_, [&](const auto& entry) { return entry.first == run_id; });
    if (is_known) return;
    try {
        errors_.emplace_back(run_id, std::make_shared<const Error>(error));
    } catch (const std::bad_alloc&) {
        is_incomplete_ = true;
    }
    if (errors_.size() > runs_max_) errors_.pop_front();
}

void LostSaves::tell(std::string_view run_id, const SharedError& error) {
    for (Flush* flush = flushes_; flush != nullptr; flush = flush->next_) {
        if (flush->concerns(run_id) && !flush->error_) flush->error_ = error;
    }
}

LostSaves::Flush::Flush(LostSaves& lost, std::optional<std::string_view> run_id)
    : lost_(lost), run_id_(run_id), next_(lost.flushes_) {
    lost_.flushes_ = this;
}

LostSaves::Flush::~Flush() {
    Flush** link = &lost_.flushes_;
    while (*link != this) link = &(*link)->next_;
    *link = next_;
}

std::optional<Error> LostSaves::Flush::take() {
    std::erase_if(lost_.errors_, [&](const auto& entry) {
        if (!concerns(entry.first)) return false;
        lost_.tell(entry.first, entry.second);
        return true;
    });
    const bool may_have_missed_one = run_id_ ? lost_.is_incomplete_ : std::exchange(lost_.is_incomplete_, false);
    if (error_) return copy_of(*error_);
    if (may_have_missed_one) return Error{.code = ErrorCode::kInternal, .message = "out of memory"};
    return std::nullopt;
}

}  // namespace cairn
