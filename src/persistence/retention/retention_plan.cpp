#include "persistence/retention/retention_plan.h"

#include <algorithm>

namespace cairn {
namespace {

using Place = std::optional<std::size_t>;

class Planner {
public:
    explicit Planner(std::span<const RetentionEntry> entries)
        : entries_(entries), facts_(entries.size()), cut_off_(entries.size()) {}

    std::vector<RetentionStep> plan() {
        for (std::size_t i = 0; i < entries_.size(); ++i) learn(i);
        for (std::size_t i = entries_.size(); i-- > 0;) {
            if (!entries_[i].goes) continue;
            for (const std::size_t dependant : cut_off_[i]) rewrite(dependant);
            steps_.push_back({.kind = RetentionStep::Kind::kDelete, .entry = i});
        }
        return std::move(steps_);
    }

private:
    struct Facts {
        Place ancestor;  // the nearest snapshot of its chain that stays
        Place new_base;  // if it is to be rewritten
        bool is_to_rewrite = false;
    };

    // A base always stands before the snapshots that need it. If it is missing (damage, or a change while the run was
    // read), the snapshot is left as it is.
    Place find_base(std::size_t i) const {
        const auto base =
            std::ranges::lower_bound(entries_.first(i), entries_[i].base_version, {}, &RetentionEntry::version);
        const auto place = static_cast<std::size_t>(base - entries_.begin());
        if (place == i || base->version != entries_[i].base_version) return std::nullopt;
        return place;
    }

    // Derives the facts of entry `i` from those of its bases, which are known already.
    void learn(std::size_t i) {
        const Place base = find_base(i);
        if (base) facts_[i].ancestor = entries_[*base].goes ? facts_[*base].ancestor : base;
        if (entries_[i].goes) return;
        facts_[i].is_to_rewrite = base && entries_[*base].goes;
        if (facts_[i].is_to_rewrite) {
            cut_off_[*base].push_back(i);
            facts_[i].new_base = facts_[i].ancestor ? facts_[i].ancestor : newest_self_contained_;
        }
        const bool is_self_contained =
            entries_[i].base_version == 0 || (facts_[i].is_to_rewrite && !facts_[i].new_base);
        if (is_self_contained) newest_self_contained_ = i;
    }

    // A base that is to become self-contained is rewritten first, so that no chain grows in between.
    void rewrite(std::size_t i) {
        if (!facts_[i].is_to_rewrite) return;
        facts_[i].is_to_rewrite = false;
        const Place base = facts_[i].new_base;
        if (base && !facts_[*base].new_base) rewrite(*base);
        steps_.push_back({.kind = RetentionStep::Kind::kRewrite, .entry = i, .base = base});
    }

    const std::span<const RetentionEntry> entries_;
    std::vector<Facts> facts_;
    std::vector<std::vector<std::size_t>> cut_off_;  // for each entry that goes: those that need it and stay
    Place newest_self_contained_;                    // the newest that stays, before the current entry
    std::vector<RetentionStep> steps_;
};

}  // namespace

std::vector<RetentionStep> plan_retention(std::span<const RetentionEntry> entries) {
    return Planner(entries).plan();
}

}  // namespace cairn
