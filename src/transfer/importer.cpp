#include "transfer/importer.h"

#include "persistence/reading/snapshot_reader.h"
#include "persistence/reading/snapshot_walk.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

namespace cairn {
namespace {

constexpr std::size_t kBatchSnapshots = 64;
constexpr std::uint64_t kBatchBytes = 8U << 20;

std::unexpected<Error> snapshot_error(std::uint64_t line, ErrorCode code, const SnapshotInfo& info,
                                      std::string_view problem) {
    return fail(code, fmt::format("line {}: snapshot {} (version {}) of run \"{}\": {}", line, info.snapshot_id,
                                  info.version, info.run_id, problem));
}

bool is_critical(const SnapshotInfo& info) {
    return info.is_recovery_point || info.checkpoint_type.is_critical();
}

using Lines = std::vector<std::uint64_t>;  // ascending

Lines joined(const std::vector<Lines>& parts) {
    Lines all;
    for (const Lines& lines : parts) all.insert(all.end(), lines.begin(), lines.end());
    return all;
}

// "line 3", "lines 1 to 3, 7, 9 to 12"
std::string name_of(const Lines& lines) {
    std::string name = lines.size() == 1 ? "line" : "lines";
    std::string_view separator = " ";
    for (std::size_t first = 0; first < lines.size();) {
        std::size_t last = first;
        while (last + 1 < lines.size() && lines[last + 1] == lines[last] + 1) ++last;
        name += fmt::format("{}{}", std::exchange(separator, ", "), lines[first]);
        if (last != first) name += fmt::format(" to {}", lines[last]);
        first = last + 1;
    }
    return name;
}

Error about_lines(const Lines& lines, Error error) {
    const bool is_unknown = error.code == ErrorCode::kOutcomeUnknown;
    error.message = fmt::format("{} {}: {}", name_of(lines), is_unknown ? "may or may not be imported" : "not imported",
                                error.message);
    return error;
}

// One error for the runs of a commit that were refused, and what became of the others.
Error sum_up(std::vector<Error> errors, const Lines& imported) {
    Error all = std::move(errors.front());
    for (std::size_t i = 1; i < errors.size(); ++i) all.message += "; " + errors[i].message;
    if (!imported.empty()) all.message += fmt::format("; {} imported", name_of(imported));
    return all;
}

}  // namespace

Status Importer::add(LoadedState snapshot, std::uint64_t line) {
    const SnapshotInfo& info = snapshot.info;
    if (info.run_id != position_.run_id || runs_.empty()) {
        if (Status entered = enter_run(info.run_id); !entered) return entered;
    }
    const std::optional<Head>& head = position_.head_before;
    if (head && (head->thread_id != info.thread_id || head->user_id != info.user_id)) {
        return snapshot_error(line, ErrorCode::kInvalidArgument, info,
                              "the run belongs to another thread or user here");
    }
    if (info.version <= position_.version) return skip(info, line);
    if (Status good = check_new(info, line); !good) return good;
    return hold(std::move(snapshot), line);
}

Status Importer::enter_run(const std::string& run_id) {
    if (std::ranges::find(batches_, run_id, &RunBatch::run_id) != batches_.end()) {
        if (Status flushed = flush(); !flushed) return flushed;
    }
    auto head = store_.head(run_id, until());
    if (!head) return std::unexpected(std::move(head.error()));
    position_ = {.run_id = run_id, .head_before = *std::move(head)};
    if (const std::optional<Head>& before = position_.head_before) {
        position_.version = before->version;
        position_.snapshot_id = before->snapshot_id;
    }
    runs_.insert(run_id);
    return {};
}

// The store refuses a taken id too, but does not know the line.
Status Importer::check_new(const SnapshotInfo& info, std::uint64_t line) {
    if (!position_.head_before) return {};
    const auto found = store_.get(info.run_id, info.snapshot_id, until());
    if (!found) return std::unexpected(found.error());
    const std::optional<Snapshot>& taken = *found;
    if (!taken) return {};
    return snapshot_error(line, ErrorCode::kAlreadyExists, info,
                          fmt::format("its id is version {}'s here", taken->info.version));
}

Status Importer::skip(const SnapshotInfo& info, std::uint64_t line) {
    if (Status flushed = flush(); !flushed) return flushed;
    const auto found = find_version(store_, info.run_id, info.version, until());
    if (!found) return std::unexpected(found.error());
    const std::optional<SnapshotInfo>& there = *found;
    if (!there) {
        return snapshot_error(line, ErrorCode::kConflict, info,
                              fmt::format("the run is at version {} here, and what is missing before cannot be put in",
                                          position_.version));
    }
    const bool is_same = there->snapshot_id == info.snapshot_id && there->checksum == info.checksum;
    if (!is_same)
        return snapshot_error(line, ErrorCode::kAlreadyExists, info,
                              "this version is another snapshot's or state's here");
    ++skipped_;
    position_.snapshot_id = info.snapshot_id;
    position_.base.reset();
    return {};
}

Status Importer::hold(LoadedState snapshot, std::uint64_t line) {
    auto encoded = encode(snapshot);
    if (!encoded) return std::unexpected(std::move(encoded.error()));
    SnapshotInfo& info = snapshot.info;
    const std::string before = std::exchange(position_.snapshot_id, info.snapshot_id);
    const std::int64_t expected = std::exchange(position_.version, info.version);
    position_.base = DeltaBase{.state = std::move(snapshot.state),
                               .version = info.version,
                               .checksum = encoded->checksum,
                               .chain = encoded->chain};

    info.base_version = encoded->base_version;
    held_bytes_ += encoded->frame.size();
    ++held_;
    if (batches_.empty() || batches_.back().run_id != info.run_id) {
        batches_.push_back({.run_id = info.run_id});
        lines_.emplace_back();
    }
    lines_.back().push_back(line);
    batches_.back().writes.push_back({.snapshot = {.info = std::move(info), .frame = std::move(encoded->frame)},
                                      .expected_version = expected,
                                      .base_snapshot_id = encoded->base_version == 0 ? "" : before,
                                      .base_checksum = encoded->base_checksum});
    const bool is_full = held_ >= kBatchSnapshots || held_bytes_ >= kBatchBytes;
    return is_full ? flush() : Status{};
}

// Critical snapshots depend on no other, as in the optimised service.
Result<EncodedState> Importer::encode(const LoadedState& snapshot) {
    const FrameOptions frame_options{.compression = options_.compression};
    if (!options_.compression || is_critical(snapshot.info)) return encode_full(snapshot.state, frame_options);
    if (Status loaded = load_base(); !loaded) return std::unexpected(std::move(loaded.error()));
    if (!position_.base) return encode_full(snapshot.state, frame_options);
    return encode_against(*position_.base, snapshot.state, frame_options, options_.chain_limits);
}

// Loads a base after snapshots that were there already. A snapshot that cannot be read is not a base, and is no reason
// to stop.
Status Importer::load_base() {
    if (position_.base || position_.snapshot_id.empty()) return {};
    auto loaded = load_snapshot(store_, {.run_id = position_.run_id, .snapshot_id = position_.snapshot_id},
                                options_.state_limits, until());
    if (!loaded) return is_unreadable(loaded.error()) ? Status{} : std::unexpected(std::move(loaded.error()));
    position_.base = DeltaBase{.state = std::move(loaded->state),
                               .version = loaded->info.version,
                               .checksum = loaded->info.checksum,
                               .chain = loaded->chain};
    return {};
}

// Tried once: a failed import is repeated as a whole, and finds what it has imported already.
Status Importer::flush() {
    const std::vector<RunBatch> batches = std::exchange(batches_, {});
    const std::vector<Lines> lines = std::exchange(lines_, {});
    held_ = 0;
    held_bytes_ = 0;
    if (batches.empty()) return {};
    const Result<std::vector<Status>> answers = store_.commit(batches, until());
    if (!answers) return std::unexpected(about_lines(joined(lines), answers.error()));
    std::vector<Error> errors;
    Lines imported;
    for (std::size_t i = 0; i < batches.size(); ++i) {
        if (!(*answers)[i]) errors.push_back(about_lines(lines[i], (*answers)[i].error()));
        if (!(*answers)[i]) continue;
        imported_ += lines[i].size();
        imported.insert(imported.end(), lines[i].begin(), lines[i].end());
    }
    if (errors.empty()) return {};
    return std::unexpected(sum_up(std::move(errors), imported));
}

}  // namespace cairn
