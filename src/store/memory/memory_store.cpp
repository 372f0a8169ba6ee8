#include "store/memory/memory_store.h"

#include "base/mutex.h"
#include "base/thread_annotations.h"
#include "store/batch_rules.h"
#include "store/cursor.h"
#include "store/memory/memory_run.h"
#include "store/page.h"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <iterator>
#include <map>
#include <new>
#include <ranges>
#include <set>
#include <span>
#include <tuple>
#include <utility>

namespace cairn {
namespace {

/// A commit waits for nothing but a lock, so this many callers may commit at a time.
constexpr std::size_t kCommitsAtOnce = 8;

template <class T>
bool matches(const std::optional<T>& wanted, const T& value) {
    return !wanted || *wanted == value;
}

bool matches(const HistoryQuery& query, const SnapshotInfo& info) {
    return matches(query.thread_id, info.thread_id) && matches(query.user_id, info.user_id) &&
           matches(query.checkpoint_type, info.checkpoint_type) && matches(query.agent_phase, info.agent_phase) &&
           matches(query.is_recovery_point, info.is_recovery_point) &&
           (!query.created_from || info.created_at >= *query.created_from) &&
           (!query.created_until || info.created_at < *query.created_until) &&
           has_members(info.metadata, query.metadata);
}

RunInfo describe(const std::string& run_id, const MemoryRun& run, std::optional<LeaseInfo> lease) {
    const SnapshotInfo& head = run.head();
    return {.run_id = run_id,
            .thread_id = run.thread_id,
            .user_id = run.user_id,
            .head_version = head.version,
            .head_snapshot_id = head.snapshot_id,
            .checkpoint_type = head.checkpoint_type,
            .agent_phase = head.agent_phase,
            .created_at = run.created_at,
            .updated_at = head.created_at,
            .snapshots = run.snapshots.size(),
            .metadata = head.metadata,
            .lease = std::move(lease)};
}

void count(const Snapshot& snapshot, StoreStats& stats) {
    const SnapshotInfo& info = snapshot.info;
    stats.state_bytes += info.state_bytes;
    stats.payload_bytes += info.frame_bytes;
    if (info.parent_version != info.version - 1) ++stats.forks;
    if (!info.state_type.empty()) {
        StoreStats::OpaqueStates& opaque = stats.opaque_states[info.state_type];
        ++opaque.snapshots;
        opaque.state_bytes += info.state_bytes;
    }
    if (info.base_version == 0) return;
    ++stats.delta_frames;
    stats.delta_bytes += info.frame_bytes;
}

using MemoryRecoveries = std::map<std::string, std::vector<RecoveryRecord>, std::less<>>;  // by run, oldest first

/// A run's place in a list of runs.
struct RunPlace {
    Timestamp created_at;
    std::string_view run_id;
    const MemoryRun* run = nullptr;
};

bool comes_before(RunQuery::Order order, const RunPlace& one, const RunPlace& other) {
    if (order == RunQuery::Order::kById) return one.run_id < other.run_id;
    return std::tie(one.created_at, one.run_id) > std::tie(other.created_at, other.run_id);
}

std::unexpected<Error> out_of_memory_error() {
    return fail(ErrorCode::kInternal, "out of memory");  // short, so that it takes none
}

/// What a store holds.
struct MemoryContent {
    const MemoryRun* find_run(std::string_view run_id) const;
    std::optional<LeaseInfo> find_lease(std::string_view run_id) const;
    Status commit(RunBatch batch);
    void apply(RunBatch batch, const std::vector<std::int64_t>& deleted);

    MemoryRuns runs;
    MemoryLeases leases;
    MemoryRecoveries recoveries;
};

class MemoryStore final : public Store {
public:
    explicit MemoryStore(bool read_only) : read_only_(read_only) {}

    std::size_t commits_at_once() const noexcept override { return kCommitsAtOnce; }
    Result<std::vector<Status>> commit(std::span<const RunBatch> batches, Deadline deadline) override;
    Result<std::optional<Head>> head(std::string_view run_id, Deadline deadline) override;
    Result<std::optional<LeaseInfo>> lease(std::string_view run_id, Deadline deadline) override;
    Result<std::optional<Snapshot>> get(std::string_view run_id, std::optional<std::string_view> snapshot_id,
                                        Deadline deadline, Reading reading) override;
    Result<std::vector<BaseFrame>> frames(std::string_view run_id, std::span<const std::int64_t> versions,
                                          Deadline deadline, Reading reading) override;
    Result<std::vector<SnapshotInfo>> history(const HistoryQuery& query, Deadline deadline, Reading reading) override;
    Result<Page<RunInfo>> runs(const RunQuery& query, Deadline deadline) override;
    Result<Page<ThreadInfo>> threads(const ThreadQuery& query, Deadline deadline) override;
    Result<std::vector<RecoveryRecord>> recovery_log(std::string_view run_id, std::size_t limit,
                                                     Deadline deadline) override;
    Result<StoreStats> stats(Deadline deadline) override;
    Result<CheckReport> check(Deadline deadline) override;
    Result<std::uint64_t> reclaim(Deadline deadline) override;
    Status close() override;

private:
    // Calls `answer` with the content, under the reader's lock. If memory runs out, that is returned as an error, too.
    template <class T, class Answer>
    Result<T> read(Answer answer) {
        const ReaderLock lock(mutex_);
        if (closed_) return closed_store_error();
        try {
            return answer(std::as_const(content_));
        } catch (const std::bad_alloc&) {
            return out_of_memory_error();
        }
    }

    static std::unexpected<Error> closed_store_error() {
        return fail(ErrorCode::kClosed, "the memory store was closed");
    }

    const bool read_only_;
    SharedMutex mutex_;
    bool closed_ CAIRN_GUARDED_BY(mutex_) = false;
    MemoryContent content_ CAIRN_GUARDED_BY(mutex_);
};

const MemoryRun* MemoryContent::find_run(std::string_view run_id) const {
    const auto found = runs.find(run_id);
    return found == runs.end() ? nullptr : &found->second;
}

std::optional<LeaseInfo> MemoryContent::find_lease(std::string_view run_id) const {
    const auto found = leases.find(run_id);
    return found == leases.end() ? std::nullopt : std::optional(found->second);
}

// ---- writing ----

void append(MemoryRun& run, Snapshot snapshot) {
    snapshot.info.frame_bytes = snapshot.frame.size();
    snapshot.bases.clear();
    const std::int64_t version = snapshot.info.version;
    if (run.snapshots.empty()) {
        run.thread_id = snapshot.info.thread_id;
        run.user_id = snapshot.info.user_id;
        run.created_at = snapshot.info.created_at;
    }
    run.versions.emplace(snapshot.info.snapshot_id, version);
    run.snapshots.emplace(version, std::move(snapshot));
}

// Neither function allocates memory.
void put(MemoryRuns& into, MemoryRuns added) {
    into.merge(added);
    for (auto& [run_id, more] : added) {  // the run is there already
        MemoryRun& run = into.find(run_id)->second;
        run.versions.merge(more.versions);
        run.snapshots.merge(more.snapshots);
    }
}
template <class Value>
void put(std::map<std::string, Value, std::less<>>& into, std::map<std::string, Value, std::less<>> added) {
    into.merge(added);
    for (auto& [run_id, value] : added) into.find(run_id)->second = std::move(value);
}

void rewrite(MemoryRun& run, FrameRewrite rewrite) {
    Snapshot& snapshot = run.snapshots.at(rewrite.version);
    snapshot.frame = std::move(rewrite.frame);
    snapshot.info.frame_bytes = snapshot.frame.size();
    snapshot.info.base_version = rewrite.base_version;
}

void remove(MemoryRun& run, std::int64_t version) {
    const auto found = run.snapshots.find(version);
    run.versions.erase(found->second.info.snapshot_id);
    run.snapshots.erase(found);
}

// All memory is allocated before anything changes.
void MemoryContent::apply(RunBatch batch, const std::vector<std::int64_t>& deleted) {
    MemoryRuns added_runs;
    for (SnapshotWrite& write : batch.writes) append(added_runs[batch.run_id], std::move(write.snapshot));
    MemoryLeases added_leases;
    if (batch.lease) {
        added_leases[batch.run_id] = {.lease = std::move(batch.lease->lease),
                                      .heartbeat_at = batch.lease->heartbeat_at};
    }
    MemoryRecoveries added_recoveries;
    if (!batch.recoveries.empty()) {
        std::vector<RecoveryRecord>& log = added_recoveries[batch.run_id];
        if (const auto before = recoveries.find(batch.run_id); before != recoveries.end()) log = before->second;
        std::ranges::move(batch.recoveries, std::back_inserter(log));
    }
    put(runs, std::move(added_runs));
    put(leases, std::move(added_leases));
    put(recoveries, std::move(added_recoveries));
    if (const auto run = runs.find(batch.run_id); run != runs.end()) {
        for (FrameRewrite& frame : batch.rewrites) rewrite(run->second, std::move(frame));
        for (const std::int64_t version : deleted) remove(run->second, version);
    }
    if (!batch.run_deletion) return;
    runs.erase(batch.run_id);
    recoveries.erase(batch.run_id);
    leases.erase(batch.run_id);
}

Status MemoryContent::commit(RunBatch batch) try {
    const Lease lease = find_lease(batch.run_id).value_or(LeaseInfo{}).lease;
    const Result<std::vector<std::int64_t>> deleted =
        check_batch(batch, facts_of(find_run(batch.run_id), lease, batch));
    if (!deleted) return std::unexpected(deleted.error());
    apply(std::move(batch), *deleted);
    return {};
} catch (const std::bad_alloc&) {
    return out_of_memory_error();
}

Result<std::vector<Status>> MemoryStore::commit(std::span<const RunBatch> batches, Deadline /*deadline*/) {
    try {
        std::vector<Status> answers = check_batches(batches);
        std::vector<RunBatch> copies(batches.begin(), batches.end());  // large memory is taken before anything changes
        const WriterLock lock(mutex_);
        if (closed_) return closed_store_error();
        if (read_only_) return fail(ErrorCode::kReadOnly, "the memory store was opened read-only");
        for (std::size_t i = 0; i < answers.size(); ++i) {
            if (answers[i]) answers[i] = content_.commit(std::move(copies[i]));
        }
        return answers;
    } catch (const std::bad_alloc&) {
        return out_of_memory_error();
    }
}

// ---- reading ----

Result<std::optional<Head>> MemoryStore::head(std::string_view run_id, Deadline /*deadline*/) {
    return read<std::optional<Head>>([&](const MemoryContent& content) -> std::optional<Head> {
        const MemoryRun* run = content.find_run(run_id);
        if (run == nullptr) return std::nullopt;
        const SnapshotInfo& head = run->head();
        return Head{.thread_id = run->thread_id,
                    .user_id = run->user_id,
                    .snapshot_id = head.snapshot_id,
                    .version = head.version,
                    .state_bytes = head.state_bytes,
                    .checksum = head.checksum,
                    .expires_at = head.expires_at};
    });
}

Result<std::optional<LeaseInfo>> MemoryStore::lease(std::string_view run_id, Deadline /*deadline*/) {
    return read<std::optional<LeaseInfo>>([&](const MemoryContent& content) { return content.find_lease(run_id); });
}

Result<std::optional<Snapshot>> MemoryStore::get(std::string_view run_id, std::optional<std::string_view> snapshot_id,
                                                 Deadline /*deadline*/, Reading /*reading*/) {
    return read<std::optional<Snapshot>>([&](const MemoryContent& content) -> Result<std::optional<Snapshot>> {
        const MemoryRun* run = content.find_run(run_id);
        if (run == nullptr) return std::nullopt;
        if (!snapshot_id) return with_bases(*run, run->snapshots.rbegin()->second);
        const auto version = run->versions.find(*snapshot_id);
        if (version == run->versions.end()) return std::nullopt;
        return with_bases(*run, run->snapshots.at(version->second));
    });
}

Result<std::vector<BaseFrame>> MemoryStore::frames(std::string_view run_id, std::span<const std::int64_t> versions,
                                                   Deadline /*deadline*/, Reading /*reading*/) {
    return read<std::vector<BaseFrame>>([&](const MemoryContent& content) {
        std::vector<BaseFrame> frames;
        const MemoryRun* run = content.find_run(run_id);
        if (run == nullptr) return frames;
        for (const std::int64_t version : versions) {
            const auto found = run->snapshots.find(version);
            if (found == run->snapshots.end()) continue;
            const Snapshot& snapshot = found->second;
            frames.push_back({.version = version, .base_version = snapshot.info.base_version, .frame = snapshot.frame});
        }
        return frames;
    });
}

Result<std::vector<SnapshotInfo>> MemoryStore::history(const HistoryQuery& query, Deadline /*deadline*/,
                                                       Reading /*reading*/) {
    return read<std::vector<SnapshotInfo>>([&](const MemoryContent& content) {
        std::vector<SnapshotInfo> page;
        const MemoryRun* run = content.find_run(query.run_id);
        if (run == nullptr) return page;
        const auto take = [&](const auto& entry) {
            if (page.size() < query.limit && matches(query, entry.second.info)) page.push_back(entry.second.info);
        };
        const auto begin = run->snapshots.begin();
        const auto end = run->snapshots.end();
        if (query.order == HistoryQuery::Order::kOldestFirst) {
            const auto from = query.after_version ? run->snapshots.upper_bound(*query.after_version) : begin;
            std::ranges::for_each(from, end, take);
        } else {
            const auto until = query.after_version ? run->snapshots.lower_bound(*query.after_version) : end;
            std::ranges::for_each(std::ranges::subrange(begin, until) | std::views::reverse, take);
        }
        return page;
    });
}

Result<Page<RunInfo>> MemoryStore::runs(const RunQuery& query, Deadline /*deadline*/) {
    std::optional<RunCursor> after;
    if (!query.cursor.empty()) {
        Result<RunCursor> decoded = decode_run_cursor(query.order, query.cursor);
        if (!decoded) return std::unexpected(std::move(decoded.error()));
        after = std::move(*decoded);
    }
    return read<Page<RunInfo>>([&](const MemoryContent& content) {
        std::optional<RunPlace> last;  // of the page before
        if (after) {
            const Timestamp created_at{std::chrono::microseconds(after->created_at)};
            last = {.created_at = created_at, .run_id = after->run_id};
        }
        std::vector<RunPlace> found;
        const auto asked_for = query.run_id ? content.runs.equal_range(*query.run_id)
                                            : std::pair(content.runs.begin(), content.runs.end());
        for (const auto& entry : std::ranges::subrange(asked_for.first, asked_for.second)) {
            const auto& [run_id, run] = entry;
            const RunPlace place{.created_at = run.created_at, .run_id = run_id, .run = &run};
            if (last && !comes_before(query.order, *last, place)) continue;
            if (matches(query.thread_id, run.thread_id) && matches(query.user_id, run.user_id)) found.push_back(place);
        }
        std::ranges::sort(
            found, [&](const RunPlace& one, const RunPlace& other) { return comes_before(query.order, one, other); });
        Page<RunInfo> page;
        if (cut(found, query.limit)) {
            page.next_cursor =
                encode_run_cursor(query.order, found.back().created_at.time_since_epoch().count(), found.back().run_id);
        }
        for (const RunPlace& place : found) {
            page.items.push_back(describe(std::string(place.run_id), *place.run, content.find_lease(place.run_id)));
        }
        return page;
    });
}

Result<Page<ThreadInfo>> MemoryStore::threads(const ThreadQuery& query, Deadline /*deadline*/) {
    using Key = std::pair<std::string, std::string>;  // thread, user
    std::optional<Key> after;
    if (!query.cursor.empty()) {
        Result<ThreadCursor> decoded = decode_thread_cursor(query.cursor);
        if (!decoded) return std::unexpected(std::move(decoded.error()));
        after = Key(std::move(decoded->thread_id), std::move(decoded->user_id));
    }
    return read<Page<ThreadInfo>>([&](const MemoryContent& content) {
        std::map<Key, ThreadInfo> threads;
        for (const MemoryRun& run : content.runs | std::views::values) {
            Key key(run.thread_id, run.user_id);
            if (!matches(query.user_id, run.user_id) || (after && key <= *after)) continue;
            ThreadInfo& thread = threads[std::move(key)];
            thread.thread_id = run.thread_id;
            thread.user_id = run.user_id;
            const Timestamp updated_at = run.head().created_at;
            thread.updated_at = thread.runs == 0 ? updated_at : std::max(thread.updated_at, updated_at);
            thread.runs += 1;
            thread.snapshots += run.snapshots.size();
        }
        Page<ThreadInfo> page;
        std::ranges::copy(threads | std::views::values, std::back_inserter(page.items));
        if (cut(page.items, query.limit)) {
            page.next_cursor = encode_thread_cursor(page.items.back().thread_id, page.items.back().user_id);
        }
        return page;
    });
}

Result<std::vector<RecoveryRecord>> MemoryStore::recovery_log(std::string_view run_id, std::size_t limit,
                                                              Deadline /*deadline*/) {
    return read<std::vector<RecoveryRecord>>([&](const MemoryContent& content) {
        std::vector<RecoveryRecord> page;
        const auto found = content.recoveries.find(run_id);
        if (found == content.recoveries.end()) return page;
        for (const RecoveryRecord& record : found->second | std::views::reverse) {
            if (page.size() == limit) break;
            page.push_back(record);
        }
        return page;
    });
}

// ---- the whole store ----

Result<StoreStats> MemoryStore::stats(Deadline /*deadline*/) {
    return read<StoreStats>([&](const MemoryContent& content) {
        StoreStats stats;
        std::set<std::pair<std::string_view, std::string_view>> threads;
        stats.runs = content.runs.size();
        for (const MemoryRun& run : content.runs | std::views::values) {
            threads.emplace(run.thread_id, run.user_id);
            stats.snapshots += run.snapshots.size();
            for (const Snapshot& snapshot : run.snapshots | std::views::values) count(snapshot, stats);
            stats.chain_frames_max = std::max(stats.chain_frames_max, chain_frames_max(run));
        }
        stats.threads = threads.size();
        return stats;
    });
}

// There is no engine that could damage anything.
Result<CheckReport> MemoryStore::check(Deadline /*deadline*/) {
    return read<CheckReport>([&](const MemoryContent& content) {
        CheckReport report;
        report.runs = content.runs.size();
        for (const MemoryRun& run : content.runs | std::views::values) report.snapshots += run.snapshots.size();
        return report;
    });
}

// Deleted snapshots are freed at once.
Result<std::uint64_t> MemoryStore::reclaim(Deadline /*deadline*/) {
    return read<std::uint64_t>([&](const MemoryContent& /*content*/) -> Result<std::uint64_t> {
        if (read_only_) return fail(ErrorCode::kReadOnly, "the memory store was opened read-only");
        return 0;
    });
}

Status MemoryStore::close() {
    const WriterLock lock(mutex_);
    closed_ = true;
    content_ = {};
    return {};
}

}  // namespace

std::shared_ptr<Store> make_memory_store(const OpenOptions& options) {
    return std::make_shared<MemoryStore>(options.read_only);
}

}  // namespace cairn
