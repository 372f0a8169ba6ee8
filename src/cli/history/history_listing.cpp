#include "cli/history/history_listing.h"

#include "base/default_deadline.h"
#include "cli/history/history_graph.h"
#include "cli/terminal/output.h"
#include "persistence/reading/snapshot_walk.h"
#include "pipeline/run/run_progress.h"
#include "wire/record_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace cairn::cli {
namespace {

/// One way of showing snapshots.
class Listing {
public:
    virtual ~Listing() = default;
    virtual Status add(std::span<const SnapshotInfo> page) = 0;
    /// Errors are no longer possible. `more`: the limit came before the end.
    virtual void end(bool more) = 0;
};

using Align = Table::Align;

const std::vector<Table::Column> kColumns{
    {"VERSION", Align::kRight}, {"SNAPSHOT"}, {"TYPE"}, {"PHASE"}, {"STEP"}, {"CREATED"}, {"STATE", Align::kRight},
    {"STORED", Align::kRight}};

// The step that finished with this snapshot, if a pipeline saved it; in a group each step has its own snapshot.
std::string step_of(const SnapshotInfo& info) {
    constexpr std::size_t kWidthMax = 32;
    const auto progress = RunProgress::parse(info.metadata);
    if (!progress) return "";
    for (const auto& [step, snapshot_id] : progress->group_finished) {
        if (snapshot_id == info.snapshot_id) return shortened(step, kWidthMax);
    }
    return shortened(progress->step, kWidthMax);
}

std::vector<std::string> cells_of(const SnapshotInfo& info) {
    const std::string mark = info.is_recovery_point ? " (recovery point)" : "";
    return {std::to_string(info.version),
            info.snapshot_id,
            info.checkpoint_type.name() + mark,
            info.agent_phase.name(),
            step_of(info),
            format_seconds(info.created_at),
            format_bytes(info.state_bytes) + (info.state_type.empty() ? "" : " " + info.state_type),
            format_bytes(info.frame_bytes)};
}

class Rows final : public Listing {
public:
    Status add(std::span<const SnapshotInfo> page) override {
        for (const SnapshotInfo& info : page) table_.add(cells_of(info));
        table_.print();
        return {};
    }
    void end(bool /*more*/) override {}

private:
    Table table_{kColumns};
};

class GraphRows final : public Listing {
public:
    Status add(std::span<const SnapshotInfo> page) override {
        for (const SnapshotInfo& info : page) {
            HistoryGraph::Lines lines = graph_.add(info.version, info.parent_version);
            add_lines(std::move(lines.before));
            add_row(std::move(lines.node), cells_of(info));
        }
        table_.print();
        return {};
    }
    void end(bool more) override {
        if (more) return;
        add_lines(graph_.end());
        table_.print();
    }

private:
    static std::vector<Table::Column> columns() {
        std::vector<Table::Column> columns{{"GRAPH"}};
        columns.insert(columns.end(), kColumns.begin(), kColumns.end());
        return columns;
    }
    void add_row(std::string graph, std::vector<std::string> cells) {
        cells.insert(cells.begin(), std::move(graph));
        table_.add(std::move(cells));
    }
    void add_lines(std::vector<std::string> lines) {
        for (std::string& line : lines) add_row(std::move(line), std::vector<std::string>(kColumns.size()));
    }

    HistoryGraph graph_;
    Table table_{columns()};
};

class Objects final : public Listing {
public:
    explicit Objects(Store& store) : store_(store) {}

    Status add(std::span<const SnapshotInfo> page) override {
        for (; !page.empty(); page = page.subspan(1)) {
            const auto parent_id = parent_id_of(page.front(), page.subspan(1));
            if (!parent_id) return std::unexpected(parent_id.error());
            array_.add(to_json(page.front(), *parent_id));
        }
        return {};
    }
    void end(bool /*more*/) override { array_.end(); }

private:
    // The parent is usually the next snapshot.
    Result<std::optional<std::string>> parent_id_of(const SnapshotInfo& info, std::span<const SnapshotInfo> next) {
        if (info.parent_version == 0) return std::nullopt;
        if (!next.empty() && next.front().version == info.parent_version) return next.front().snapshot_id;
        auto found = find_version(store_, info.run_id, info.parent_version);
        if (!found) return std::unexpected(found.error());
        std::optional<SnapshotInfo>& parent = *found;
        if (!parent) return std::nullopt;
        return std::move(parent->snapshot_id);
    }

    Store& store_;
    JsonArray array_;
};

void warn_of_damage(const SnapshotInfo& info) {
    if (info.damage.empty()) return;
    print_message(
        printable(fmt::format("warning: snapshot {} (version {}): {}", info.snapshot_id, info.version, info.damage)) +
        "\n");
}

std::unique_ptr<Listing> make_listing(HistoryStyle style, Store& store) {
    switch (style) {
        case HistoryStyle::kJson:
            return std::make_unique<Objects>(store);
        case HistoryStyle::kGraph:
            return std::make_unique<GraphRows>();
        case HistoryStyle::kRows:
            break;
    }
    return std::make_unique<Rows>();
}

}  // namespace

Status print_history(Store& store, HistoryQuery query, const RowLimit& limit, HistoryStyle style) {
    const auto listing = make_listing(style, store);
    bool more = true;
    for (std::uint64_t printed = 0; more && !limit.reached(printed);) {
        query.limit = limit.next_page(printed);
        const auto page = store.history(query, default_deadline());
        if (!page) return std::unexpected(page.error());
        if (Status added = listing->add(*page); !added) return added;
        printed += page->size();
        more = page->size() == query.limit;
        if (style != HistoryStyle::kJson) std::ranges::for_each(*page, warn_of_damage);
        if (more) query.after_version = page->back().version;
    }
    listing->end(more);
    if (style != HistoryStyle::kJson && more) limit.mention_more();
    return {};
}

}  // namespace cairn::cli
