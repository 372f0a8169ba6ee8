#include "cli/replay/replay_report.h"

#include "cli/terminal/output.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <cstddef>
#include <functional>
#include <string_view>
#include <vector>

namespace cairn::cli {
namespace {

double rounded(double value, int digits) {
    const double scale = std::pow(10.0, digits);
    return std::round(value * scale) / scale;
}

Json quantiles_json(const Quantiles& quantiles) {
    return {{"p50", rounded(quantiles.p50, 1)}, {"p99", rounded(quantiles.p99, 1)}};
}

Json figures_json(const ReplayFigures& figures) {
    return {{"mode", figures.mode},
            {"store", figures.store},
            {"runs", figures.runs},
            {"saves", figures.saves},
            {"persisted", figures.persisted},
            {"deduplicated", figures.deduplicated},
            {"critical", figures.critical},
            {"fallbacks", figures.fallbacks},
            {"failed", figures.failed},
            {"state_bytes", figures.state_bytes},
            {"payload_bytes", figures.payload_bytes},
            {"store_bytes", figures.store_bytes},
            {"elapsed_s", rounded(figures.elapsed_s, 6)},
            {"saves_per_s", rounded(figures.saves_per_s(), 1)},
            {"state_mb_per_s", rounded(figures.state_mb_per_s(), 2)},
            {"save_us", quantiles_json(figures.save_us)},
            {"skip_us", quantiles_json(figures.skip_us)},
            {"load_us", quantiles_json(figures.load_us)},
            {"verified", figures.verified},
            {"mismatches", figures.mismatches}};
}

/// One line of the table.
struct Row {
    std::string_view label;
    std::string_view unit;  ///< Empty: a count.
    std::function<double(const ReplayFigures&)> value;
    int digits = 0;
};

double megabytes(std::uint64_t bytes) {
    return static_cast<double>(bytes) / 1e6;
}
double count(std::uint64_t number) {
    return static_cast<double>(number);
}

std::vector<Row> table_rows() {
    using Figures = const ReplayFigures&;
    return {{"runs", "", [](Figures of) { return count(of.runs); }},
            {"saves", "", [](Figures of) { return count(of.saves); }},
            {"  persisted", "", [](Figures of) { return count(of.persisted); }},
            {"  deduplicated", "", [](Figures of) { return count(of.deduplicated); }},
            {"  fallbacks", "", [](Figures of) { return count(of.fallbacks); }},
            {"  failed", "", [](Figures of) { return count(of.failed); }},
            {"critical", "", [](Figures of) { return count(of.critical); }},
            {"states", "MB", [](Figures of) { return megabytes(of.state_bytes); }, 2},
            {"payload", "MB", [](Figures of) { return megabytes(of.payload_bytes); }, 2},
            {"store on disk", "MB", [](Figures of) { return megabytes(of.store_bytes); }, 2},
            {"saving took", "s", [](Figures of) { return of.elapsed_s; }, 3},
            {"saves", "/s", [](Figures of) { return of.saves_per_s(); }},
            {"states", "MB/s", [](Figures of) { return of.state_mb_per_s(); }, 1},
            {"save p50", "us", [](Figures of) { return of.save_us.p50; }, 1},
            {"save p99", "us", [](Figures of) { return of.save_us.p99; }, 1},
            {"skip p50", "us", [](Figures of) { return of.skip_us.p50; }, 1},
            {"skip p99", "us", [](Figures of) { return of.skip_us.p99; }, 1},
            {"load p50", "us", [](Figures of) { return of.load_us.p50; }, 1},
            {"load p99", "us", [](Figures of) { return of.load_us.p99; }, 1},
            {"verified", "", [](Figures of) { return count(of.verified); }},
            {"mismatches", "", [](Figures of) { return count(of.mismatches); }}};
}

/// Returns "x0.13": the second replay's value as a multiple of the first one's; nothing where that has no meaning.
std::string multiple(const Row& row, std::span<const ReplayFigures> replays) {
    const double first = row.value(replays[0]);
    const double second = row.value(replays[1]);
    if (row.unit.empty() || first == 0 || second == 0) return {};
    return fmt::format("x{:.3g}", second / first);
}

std::vector<std::string> cells_of(const Row& row, std::span<const ReplayFigures> replays) {
    std::vector<std::string> cells = {std::string(row.label)};
    for (const ReplayFigures& figures : replays)
        cells.push_back(fmt::format("{:.{}f}", row.value(figures), row.digits));
    cells.emplace_back(row.unit);
    if (replays.size() == 2) cells.push_back(multiple(row, replays));
    return cells;
}

std::vector<Table::Column> columns_for(std::span<const ReplayFigures> replays) {
    std::vector<Table::Column> columns = {{""}};
    for (const ReplayFigures& figures : replays) columns.push_back({figures.mode, Table::Align::kRight});
    columns.push_back({""});
    if (replays.size() == 2) columns.push_back({"", Table::Align::kRight});
    return columns;
}

}  // namespace

std::string replay_json(const ReplayFigures& figures) {
    return to_line(figures_json(figures));
}

std::string replay_json(std::span<const ReplayFigures> replays) {
    Json json = Json::object();
    for (const ReplayFigures& figures : replays) json[figures.mode] = figures_json(figures);
    return to_line(json);
}

void print_replay_table(std::span<const ReplayFigures> replays) {
    Table table(columns_for(replays));
    for (const Row& row : table_rows()) table.add(cells_of(row, replays));
    table.print();
}

}  // namespace cairn::cli
