#include "cli/history/history_graph.h"

#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>

namespace cairn::cli {
namespace {

constexpr std::size_t kColumnsDrawn = 2 * HistoryGraph::kLanesDrawn;
constexpr std::string_view kOthers = "...";

bool is_drawn(std::size_t lane) {
    return lane < HistoryGraph::kLanesDrawn;
}

std::string without_end_blanks(std::string line) {
    line.erase(line.find_last_not_of(' ') + 1);
    return line;
}

}  // namespace

HistoryGraph::Lines HistoryGraph::add(std::int64_t version, std::int64_t parent) {
    Lines lines{.before = end_lanes_above(version), .node = {}};
    auto waiting = waiting_.extract(version);
    std::set<std::size_t> lanes = waiting.empty() ? std::set<std::size_t>() : std::move(waiting.mapped());
    const std::size_t lane = take_lane(lanes);
    std::ranges::move(join_lanes(lane, lanes), std::back_inserter(lines.before));
    lines.node = lanes_line(lane, '*');
    free_.insert(just_freed_.begin(), just_freed_.end());
    just_freed_.clear();
    if (parent > 0) {
        waiting_[parent].insert(lane);
    } else {
        end_lane(lane);
    }
    return lines;
}

std::vector<std::string> HistoryGraph::end() {
    return end_lanes_above(0);
}

// Versions fall, so a snapshot that has not come by now has been deleted.
std::vector<std::string> HistoryGraph::end_lanes_above(std::int64_t version) {
    const auto first = waiting_.upper_bound(version);
    std::set<std::size_t> lanes;
    for (auto waiting = first; waiting != waiting_.end(); ++waiting) lanes.merge(waiting->second);
    waiting_.erase(first, waiting_.end());
    std::vector<std::string> lines;
    for (const std::size_t lane : lanes) {
        const bool is_told = !is_drawn(lane) && !lines.empty() && lines.back().ends_with("...~");
        if (!is_told) lines.push_back(lanes_line(lane, '~'));
        end_lane(lane);
    }
    return lines;
}

// Joins the lanes that wait for the same snapshot, the rightmost first. Lanes that are not drawn join in one line.
std::vector<std::string> HistoryGraph::join_lanes(std::size_t into, const std::set<std::size_t>& lanes) {
    std::vector<std::string> lines;
    for (auto lane = lanes.rbegin(); lane != lanes.rend(); ++lane) {
        if (is_drawn(*lane) || lane == lanes.rbegin()) lines.push_back(joining_line(into, *lane));
        end_lane(*lane);
    }
    return lines;
}

// Returns "|/", or "|_|/" across lanes that continue.
std::string HistoryGraph::joining_line(std::size_t into, std::size_t lane) const {
    std::string line = lanes_line(lane, ' ');
    const std::size_t end = is_drawn(lane) ? 2 * lane - 1 : kColumnsDrawn;
    line.resize(std::max(line.size(), end + 1), ' ');
    for (std::size_t column = 2 * into + 1; column < end; ++column) {
        if (line[column] == ' ') line[column] = '_';
    }
    if (is_drawn(lane)) {
        line[end] = '/';
    } else {
        line += '/';
    }
    return without_end_blanks(std::move(line));
}

// Takes the leftmost waiting lane, or else a free one.
std::size_t HistoryGraph::take_lane(std::set<std::size_t>& waiting) {
    if (!waiting.empty()) return waiting.extract(waiting.begin()).value();
    const std::size_t lane = free_.empty() ? goes_on_.size() : free_.extract(free_.begin()).value();
    if (lane == goes_on_.size()) goes_on_.push_back(false);
    goes_on_[lane] = true;
    if (!is_drawn(lane)) ++hidden_;
    return lane;
}

void HistoryGraph::end_lane(std::size_t lane) {
    goes_on_[lane] = false;
    if (!is_drawn(lane)) --hidden_;
    just_freed_.push_back(lane);
}

std::string HistoryGraph::lanes_line(std::size_t marked, char mark) const {
    std::string line;
    for (std::size_t lane = 0; lane < std::min(goes_on_.size(), kLanesDrawn); ++lane) {
        const char way = goes_on_[lane] ? '|' : ' ';
        line += {lane == marked ? mark : way, ' '};
    }
    if (hidden_ > 0) line += kOthers;
    if (!is_drawn(marked)) line += mark;
    return without_end_blanks(std::move(line));
}

}  // namespace cairn::cli
