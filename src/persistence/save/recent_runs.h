#pragma once

#include "base/text_hash.h"

#include <cstddef>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace cairn {

/// One value for each of some runs, in the order of their last use, so that an owner with a bound can forget the run
/// used longest ago. If memory runs out nothing has changed.
/// Threads: one at a time.
template <class T>
class RecentRuns {
public:
    using Entries = std::list<std::pair<const std::string, T>>;

    /// Null if there is no value.
    const T* find(std::string_view run_id) const {
        const auto found = by_run_.find(run_id);
        return found == by_run_.end() ? nullptr : &found->second->second;
    }

    /// `find`, which makes the run the one used last.
    T* use(std::string_view run_id) {
        const auto found = by_run_.find(run_id);
        if (found == by_run_.end()) return nullptr;
        entries_.splice(entries_.begin(), entries_, found->second);
        return &found->second->second;
    }
    /// Sets the run's value, and makes it the one used last.
    void put(std::string_view run_id, T value) {
        if (T* const known = use(run_id)) {
            *known = std::move(value);
            return;
        }
        Entries fresh;
        fresh.emplace_back(run_id, std::move(value));
        by_run_.emplace(fresh.front().first, fresh.begin());
        entries_.splice(entries_.begin(), fresh);
    }
    /// The run must have a value.
    void erase(std::string_view run_id) {
        const auto found = by_run_.find(run_id);
        const auto entry = found->second;
        by_run_.erase(found);  // its key is the entry's
        entries_.erase(entry);
    }
    void clear() {
        by_run_.clear();
        entries_.clear();
    }

    std::size_t size() const { return entries_.size(); }
    /// The run used longest ago.
    const std::pair<const std::string, T>& oldest() const { return entries_.back(); }
    /// The run used last in front.
    auto begin() const { return entries_.begin(); }
    auto end() const { return entries_.end(); }

private:
    Entries entries_;
    std::unordered_map<std::string_view, typename Entries::iterator, TextHash> by_run_;
};

}  // namespace cairn
