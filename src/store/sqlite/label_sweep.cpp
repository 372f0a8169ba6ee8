#include "store/sqlite/label_sweep.h"

#include <sqlite3.h>

#include <algorithm>

namespace cairn::sqlite {
namespace {

constexpr std::int64_t kRowsAtOnce = 4096;
constexpr std::size_t kLabelsAtOnce = 1000;

constexpr char kLabels[] = "SELECT label_key FROM snapshot_labels";
constexpr char kNewestRow[] = "SELECT ifnull(max(sequence), 0) FROM snapshots";

// Run 0 belongs to nobody: see the schema.
constexpr char kOlderRows[] =
    "SELECT sequence, label_key, run_key FROM snapshots WHERE sequence < ? ORDER BY sequence DESC LIMIT ?";
constexpr char kNewerRows[] = "SELECT label_key FROM snapshots WHERE sequence > ? AND run_key > 0";

constexpr char kDelete[] = "DELETE FROM snapshot_labels WHERE label_key = ?";

}  // namespace

Status LabelSweep::begin(Connection& connection) {
    Cursor labels = connection.use(kLabels);
    while (true) {
        const Result<bool> row = labels.step();
        if (!row) return std::unexpected(row.error());
        if (!*row) break;
        unseen_.insert(labels.integer(0));
    }
    // Read after the labels: a label that was in use by then has a row up to this one.
    const Result<std::int64_t> newest = connection.query_integer(kNewestRow);
    if (!newest) return std::unexpected(newest.error());
    begun_at_ = *newest;
    before_ = begun_at_ + 1;
    has_begun_ = true;
    return {};
}

Status LabelSweep::look_on(Connection& connection) {
    if (!has_begun_) {
        if (Status status = begin(connection); !status) return status;
    }
    Cursor rows = connection.use(kOlderRows);
    rows.bind(before_, kRowsAtOnce);
    std::int64_t count = 0;
    for (; count < kRowsAtOnce && !unseen_.empty(); ++count) {
        const Result<bool> row = rows.step();
        if (!row) return std::unexpected(row.error());
        if (!*row) break;
        before_ = rows.integer(0);
        if (rows.integer(2) != 0) unseen_.erase(rows.integer(1));
    }
    has_looked_at_all_ = count < kRowsAtOnce || unseen_.empty();
    return {};
}

Status LabelSweep::look_at_newer(Connection& connection) {
    Cursor rows = connection.use(kNewerRows);
    rows.bind(begun_at_);
    while (!unseen_.empty()) {
        const Result<bool> row = rows.step();
        if (!row) return std::unexpected(row.error());
        if (!*row) return {};
        unseen_.erase(rows.integer(0));
    }
    return {};
}

Status LabelSweep::remove(Connection& connection) {
    for (std::size_t count = std::min(kLabelsAtOnce, unseen_.size()); count > 0; --count) {
        Cursor label = connection.use(kDelete);
        if (Status status = label.bind(*unseen_.begin()).run(); !status) return status;
        unseen_.erase(unseen_.begin());
    }
    return {};
}

Status LabelSweep::remove_some(Connection& connection) {
    Transaction transaction(connection);
    if (Status status = transaction.begin(Transaction::kWrite); !status) return status;
    if (Status status = look_at_newer(connection); !status) return status;
    if (Status status = remove(connection); !status) return status;
    const int result_code = transaction.commit();
    return result_code == SQLITE_OK ? Status{} : std::unexpected(connection.error(result_code));
}

}  // namespace cairn::sqlite
