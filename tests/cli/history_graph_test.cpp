// Goal: the graph of a run's history shows every snapshot once, below its children, and shows no false parent.
// Method: compares the graphs of small trees line by line. Then draws random trees and follows the lanes of each graph
// down to the parents.

#include "cli/history/history_graph.h"

#include "support/seed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <random>
#include <utility>

namespace cairn::cli {
namespace {

using ::testing::ElementsAre;
using Tree = std::vector<std::pair<int, int>>;  // version and parent, the newest first

std::vector<std::string> draw(const Tree& tree) {
    HistoryGraph graph;
    std::vector<std::string> lines;
    for (const auto& [version, parent] : tree) {
        const HistoryGraph::Lines drawn = graph.add(version, parent);
        lines.insert(lines.end(), drawn.before.begin(), drawn.before.end());
        lines.push_back(drawn.node);
    }
    const auto end = graph.end();
    lines.insert(lines.end(), end.begin(), end.end());
    return lines;
}

TEST(HistoryGraph, ALineOfSavesIsALineOfStars) {
    EXPECT_THAT(draw({{3, 2}, {2, 1}, {1, 0}}), ElementsAre("*", "*", "*"));
}

TEST(HistoryGraph, AForkIsALaneThatJoinsAtItsParent) {
    EXPECT_THAT(draw({{5, 4}, {4, 2}, {3, 2}, {2, 1}, {1, 0}}), ElementsAre("*", "*", "| *", "|/", "*", "*"));
}

TEST(HistoryGraph, LanesThatGoOnArePassed) {
    EXPECT_THAT(draw({{6, 3}, {5, 2}, {4, 3}, {3, 2}, {2, 1}, {1, 0}}),
                ElementsAre("*", "| *", "| | *", "|_|/", "* |", "|/", "*", "*"));
}

TEST(HistoryGraph, SeveralForksOfOneSnapshotJoinOneByOne) {
    EXPECT_THAT(draw({{4, 1}, {3, 1}, {2, 1}, {1, 0}}), ElementsAre("*", "| *", "| | *", "|_|/", "|/", "*"));
}

TEST(HistoryGraph, AChildOfADeletedSnapshotSaysSo) {
    EXPECT_THAT(draw({{9, 8}, {8, 7}, {3, 2}}), ElementsAre("*", "*", "~", "  *", "  ~"));
    EXPECT_THAT(draw({{9, 8}, {8, 7}}), ElementsAre("*", "*", "~"));
}

TEST(HistoryGraph, ASnapshotWithoutAParentHasNothingBelowIt) {
    EXPECT_THAT(draw({{3, 0}, {2, 1}, {1, 0}}), ElementsAre("*", "  *", "  *"));
    EXPECT_THAT(draw({{1, 0}}), ElementsAre("*"));
    EXPECT_THAT(draw({}), ElementsAre());
}

// Makes a tree of `count` forks of the first snapshot.
Tree forks(int count) {
    Tree tree;
    for (int version = count + 1; version > 1; --version) tree.emplace_back(version, 1);
    tree.emplace_back(1, 0);
    return tree;
}

TEST(HistoryGraph, OfManyLanesTheFirstAreDrawn) {
    const int drawn = HistoryGraph::kLanesDrawn;
    std::string ways;
    for (int lane = 0; lane < drawn; ++lane) ways += "| ";
    std::string joins = "|";
    for (int lane = 1; lane < drawn; ++lane) joins += "_|";
    const auto lines = draw(forks(drawn + 2));
    const auto count = static_cast<std::size_t>(drawn);
    EXPECT_EQ(lines[count - 1], ways.substr(0, 2 * count - 2) + "*");
    EXPECT_EQ(lines[count], ways + "...*");
    EXPECT_EQ(lines[count + 1], ways + "...*");
    EXPECT_EQ(lines[count + 2], joins + "_.../");
    EXPECT_EQ(lines[count + 3], joins.substr(0, 2 * count - 3) + "/");
    EXPECT_EQ(lines.back(), "*");

    Tree gone = forks(drawn + 2);
    gone.pop_back();
    const auto ends = draw(gone);
    ASSERT_EQ(ends.size(), 2 * count + 3);
    EXPECT_EQ(ends.back(), std::string(2 * count, ' ') + "...~");
}

// Once, every fork had a lane of its own in every line: 20,000 forks made a graph of a gigabyte.
TEST(HistoryGraph, APictureOfManyForksIsAsLongAsTheirNumber) {
    constexpr int kForks = 50'000;
    std::size_t bytes = 0;
    std::size_t lines = 0;
    for (const std::string& line : draw(forks(kForks))) {
        bytes += line.size();
        ++lines;
    }
    EXPECT_LT(lines, kForks + 2 * HistoryGraph::kLanesDrawn);
    EXPECT_LT(bytes, kForks * 3 * HistoryGraph::kLanesDrawn);
}

Tree random_tree(std::mt19937_64& random) {
    Tree tree;
    for (int version = static_cast<int>(random() % 30) + 1; version > 0; --version) {
        const bool is_gone = random() % 10 == 0;
        const bool is_fork = random() % 3 == 0;
        const int parent = is_fork ? static_cast<int>(random() % static_cast<unsigned>(version)) : version - 1;
        if (!is_gone) tree.emplace_back(version, parent);
    }
    return tree;
}

char at(const std::string& line, std::size_t column) {
    return column < line.size() ? line[column] : ' ';
}

// Follows a lane down from (line, column). Returns the line of the star where it ends, or none.
std::optional<std::size_t> follow(const std::vector<std::string>& lines, std::size_t line, std::size_t column) {
    while (++line < lines.size()) {
        if (column > 0 && at(lines[line], column - 1) == '/') {
            std::size_t to = column - 1;
            while (at(lines[line], to - 1) == '_' ||
                   (at(lines[line], to - 1) == '|' && at(lines[line], to - 2) == '_')) {
                --to;
            }
            column = to - 1;
            continue;
        }
        if (at(lines[line], column) == '*') return line;
        if (at(lines[line], column) != '|') return std::nullopt;
    }
    return std::nullopt;
}

TEST(HistoryGraph, InRandomTreesEveryLaneLeadsToTheParent) {
    const std::uint64_t seed = test::seed();
    SCOPED_TRACE(test::replay_line(seed));
    std::mt19937_64 random(seed);
    for (int round = 0; round < 500; ++round) {
        const Tree tree = random_tree(random);
        const std::vector<std::string> lines = draw(tree);
        std::map<int, std::size_t> line_of;
        std::size_t line = 0;
        for (const auto& [version, parent] : tree) {
            while (!lines.at(line).contains('*')) ++line;
            line_of[version] = line++;
        }
        for (const auto& [version, parent] : tree) {
            const auto found = follow(lines, line_of[version], lines[line_of[version]].find('*'));
            const auto wanted = line_of.find(parent);
            if (wanted == line_of.end()) {
                EXPECT_EQ(found, std::nullopt) << version << " in\n" << ::testing::PrintToString(lines);
            } else {
                EXPECT_EQ(found, wanted->second) << version << " in\n" << ::testing::PrintToString(lines);
            }
        }
    }
}

}  // namespace
}  // namespace cairn::cli
