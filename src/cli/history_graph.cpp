#include "cli/history_graph.h"

#include <algorithm>

namespace cairn::cli {
namespace {

constexpr std::int64_t kFree = 0;
constexpr std::int64_t kJustFreed = -1;

bool waits(std::int64_t lane) {
    return lane > 0;
}

std::string without_end_blanks(std::string line) {
    line.erase(line.find_last_not_of(' ') + 1);
    return line;
}

}  // namespace

HistoryGraph::Lines HistoryGraph::add(std::int64_t version, std::int64_t parent) {
    Lines lines{.before = end_lanes_above(version), .node = {}};
    const std::size_t lane = lane_for(version);
    std::ranges::move(join_lanes(lane, version), std::back_inserter(lines.before));
    lines.node = lanes_line(lane, '*');
    std::ranges::replace(lanes_, kJustFreed, kFree);
    lanes_[lane] = parent > 0 ? parent : kJustFreed;
    return lines;
}

std::vector<std::string> HistoryGraph::end() {
    return end_lanes_above(0);
}

// Versions fall: what has not come by now has been deleted.
std::vector<std::string> HistoryGraph::end_lanes_above(std::int64_t version) {
    std::vector<std::string> lines;
    for (std::size_t lane = 0; lane < lanes_.size(); ++lane) {
        if (!waits(lanes_[lane]) || lanes_[lane] <= version) continue;
        lines.push_back(lanes_line(lane, '~'));
        lanes_[lane] = kJustFreed;
    }
    return lines;
}

// Every other lane that waits for `version`, the rightmost first: "|/", or past lanes that go on "|_|/".
std::vector<std::string> HistoryGraph::join_lanes(std::size_t into, std::int64_t version) {
    std::vector<std::string> lines;
    for (std::size_t lane = lanes_.size() - 1; lane > into; --lane) {
        if (lanes_[lane] != version) continue;
        std::string line = lanes_line(lane, ' ');
        line.resize(std::max(line.size(), 2 * lane), ' ');
        for (std::size_t column = 2 * into + 1; column + 1 < 2 * lane; ++column) {
            if (line[column] == ' ') line[column] = '_';
        }
        line[2 * lane - 1] = '/';
        lines.push_back(without_end_blanks(std::move(line)));
        lanes_[lane] = kJustFreed;
    }
    return lines;
}

// The leftmost that waits for it, else one that is free.
std::size_t HistoryGraph::lane_for(std::int64_t version) {
    auto found = std::ranges::find(lanes_, version);
    if (found == lanes_.end()) found = std::ranges::find(lanes_, kFree);
    if (found == lanes_.end()) found = lanes_.insert(lanes_.end(), kFree);
    return static_cast<std::size_t>(found - lanes_.begin());
}

std::string HistoryGraph::lanes_line(std::size_t marked, char mark) const {
    std::string line;
    for (std::size_t lane = 0; lane < lanes_.size(); ++lane) {
        const char way = waits(lanes_[lane]) ? '|' : ' ';
        line += {lane == marked ? mark : way, ' '};
    }
    return without_end_blanks(std::move(line));
}

}  // namespace cairn::cli
