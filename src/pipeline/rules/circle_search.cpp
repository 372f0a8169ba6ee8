#include "pipeline/rules/circle_search.h"

#include <algorithm>
#include <cstdint>
#include <optional>

namespace cairn {
namespace {

/// Follows the steps depth first, until one leads back to a step that is still being followed.
class CircleSearch {
public:
    explicit CircleSearch(const std::vector<std::vector<std::size_t>>& awaited)
        : awaited_(awaited), marks_(awaited.size(), Mark::kNew) {}

    std::vector<std::size_t> find_from(std::size_t start) {
        if (marks_[start] == Mark::kNew) enter(start);
        while (!path_.empty()) {
            const auto next = next_awaited();
            if (!next) {
                leave();
            } else if (marks_[*next] == Mark::kOnPath) {
                return circle_to(*next);
            } else if (marks_[*next] == Mark::kNew) {
                enter(*next);
            }
        }
        return {};
    }

private:
    enum class Mark : std::uint8_t { kNew, kOnPath, kDone };

    struct Visit {
        std::size_t step = 0;
        std::size_t awaited_seen = 0;
    };

    void enter(std::size_t step) {
        marks_[step] = Mark::kOnPath;
        path_.push_back({step});
    }

    void leave() {
        marks_[path_.back().step] = Mark::kDone;
        path_.pop_back();
    }

    /// The next step that the path's last one waits for.
    std::optional<std::size_t> next_awaited() {
        Visit& visit = path_.back();
        const auto& awaited = awaited_[visit.step];
        return visit.awaited_seen < awaited.size() ? std::optional(awaited[visit.awaited_seen++]) : std::nullopt;
    }

    std::vector<std::size_t> circle_to(std::size_t step) const {
        std::vector<std::size_t> circle;
        for (auto visit = std::ranges::find(path_, step, &Visit::step); visit != path_.end(); ++visit) {
            circle.push_back(visit->step);
        }
        circle.push_back(step);
        return circle;
    }

    const std::vector<std::vector<std::size_t>>& awaited_;
    std::vector<Mark> marks_;
    std::vector<Visit> path_;
};

}  // namespace

std::vector<std::size_t> find_circle(const std::vector<std::vector<std::size_t>>& awaited) {
    CircleSearch search(awaited);
    for (std::size_t start = 0; start < awaited.size(); ++start) {
        if (auto circle = search.find_from(start); !circle.empty()) return circle;
    }
    return {};
}

}  // namespace cairn
