#include "transfer/import_lines.h"

#include "base/default_deadline.h"
#include "persistence/reading/snapshot_reader.h"
#include "persistence/reading/snapshot_walk.h"
#include "transfer/transfer_line.h"

#include <fmt/format.h>

#include <utility>
#include <variant>

namespace cairn {
namespace {

class Transfer {
public:
    Transfer(const LineSource& source, Importer& importer, const StateLimits& limits)
        : source_(source), importer_(importer), limits_(limits) {}

    Status read_lines() {
        while (true) {
            auto next = source_.next();
            if (!next) return std::unexpected(std::move(next.error()));
            std::optional<LineReader::Line>& line = *next;
            if (!line) return is_complete_ ? Status{} : cut_off_export_error();
            if (Status taken = take(*line); !taken) return taken;
            ++line_;
        }
    }

private:
    Status take(LineReader::Line& line) {
        auto parsed = parse_transfer_line(std::move(line.text), limits_);
        if (!line.is_whole && !(parsed && std::holds_alternative<TransferEnd>(*parsed))) return cut_off_export_error();
        if (!parsed) return in_this_line(std::move(parsed.error()));
        if (const auto* end = std::get_if<TransferEnd>(&*parsed)) return finish(*end);
        is_complete_ = false;
        ++snapshots_;
        return importer_.add(std::get<LoadedState>(*std::move(parsed)), line_ + 1);
    }

    // Exports may follow one another in one file.
    Status finish(const TransferEnd& end) {
        const std::uint64_t found = std::exchange(snapshots_, 0);
        is_complete_ = true;
        if (found == end.snapshots) return {};
        return in_this_line({.code = ErrorCode::kInvalidArgument,
                             .message = fmt::format("{} snapshots should stand before it, but {} do: lines are missing "
                                                    "or repeated",
                                                    end.snapshots, found)});
    }

    std::unexpected<Error> in_this_line(Error error) const {
        error.message = fmt::format("{} line {}: {}", source_.name, line_ + 1, error.message);
        return std::unexpected(std::move(error));
    }

    std::unexpected<Error> cut_off_export_error() const {
        return fail(
            ErrorCode::kInvalidArgument,
            fmt::format("{} is cut off after line {}; what stands before is imported: import the whole of it to go on",
                        source_.name, line_));
    }

    const LineSource& source_;
    Importer& importer_;
    const StateLimits limits_;
    std::uint64_t line_ = 0;  // how many are done
    std::uint64_t snapshots_ = 0;
    bool is_complete_ = false;
};

}  // namespace

Status import_lines(const LineSource& source, Importer& importer, const StateLimits& limits) {
    const Status read = Transfer(source, importer, limits).read_lines();
    const Status flushed = importer.flush();
    return flushed ? read : flushed;
}

Result<std::uint64_t> verify_runs(Store& store, const std::set<std::string>& runs, const StateLimits& limits,
                                  const std::function<void(std::uint64_t)>& progress) {
    std::uint64_t verified = 0;
    const auto load = [&](const SnapshotInfo& info) -> Status {
        const auto loaded =
            load_snapshot(store, {.run_id = info.run_id, .snapshot_id = info.snapshot_id}, limits, default_deadline());
        if (!loaded && loaded.error().code != ErrorCode::kNotFound) return std::unexpected(loaded.error());
        ++verified;
        if (progress) progress(verified);
        return {};
    };
    for (const std::string& run_id : runs) {
        if (Status visited = visit_snapshots(store, run_id, load); !visited) return std::unexpected(visited.error());
    }
    return verified;
}

}  // namespace cairn
