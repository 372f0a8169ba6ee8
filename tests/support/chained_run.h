#pragma once

// A run that a test writes frame by frame: the test chooses each frame's base, and the run remembers its states.

#include "persistence/reading/chain.h"
#include "persistence/reading/snapshot_reader.h"
#include "support/make.h"

#include <cairn/store.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace cairn::test {

class ChainedRun {
public:
    ChainedRun(Store& store, std::string run_id, std::string user_id = "user")
        : store_(store), run_id_(std::move(run_id)), user_id_(std::move(user_id)) {}

    /// Returns the state of `version`. Neighbours differ by a little and whole states compress badly, so a delta pays.
    static std::string text_of(const std::string& run_id, std::int64_t version) {
        std::mt19937_64 random(std::hash<std::string>{}(run_id));
        std::string text = fmt::format(R"({{"step":{},"notes":[)", version);
        for (int i = 0; i < 40; ++i) text += fmt::format(R"("{:016x}",)", random());
        return text + fmt::format(R"("{}"]}})", version * version);
    }

    /// Commits the next version, whose frame needs that of `base_version` (0: none). Throws if the store refuses it.
    void append(std::int64_t base_version = 0, const std::function<void(SnapshotInfo&)>& adjust = nullptr) {
        const Status status = try_append(base_version, adjust);
        if (!status) throw std::runtime_error(status.error().to_string());
    }
    Status try_append(std::int64_t base_version = 0, const std::function<void(SnapshotInfo&)>& adjust = nullptr) {
        const std::int64_t version = newest() + 1;
        const std::string text = text_of(run_id_, version);
        Snapshot snapshot = make_snapshot(run_id_, version, text);
        snapshot.info.user_id = user_id_;
        snapshot.info.base_version = base_version;
        snapshot.frame = frame(text, base_version);
        if (adjust) adjust(snapshot.info);
        const Status status = commit_run(store_, make_batch(std::move(snapshot)), soon());
        if (status) texts_[version] = text;
        return status;
    }
    /// Appends `length` versions, each of which needs the one before.
    void append_line(int length) {
        for (int i = 0; i < length; ++i) append(newest());
    }

    const std::string& run_id() const { return run_id_; }
    std::int64_t newest() const { return texts_.empty() ? 0 : texts_.rbegin()->first; }
    /// Returns every state that was ever appended, by version.
    const std::map<std::int64_t, std::string>& texts() const { return texts_; }

private:
    std::string frame(const std::string& text, std::int64_t base_version) const {
        const State state = State::parse(text).value();
        if (base_version == 0) return encode_full(state, FrameOptions{}).value().frame;
        // The caller decides what becomes a delta, so no limit may interfere.
        const ChainCost endless{.frames = 1, .full_frame_bytes = text.size(), .full_text_bytes = text.size()};
        const DeltaBase base{
            .state = State::parse(texts_.at(base_version)).value(), .version = base_version, .chain = endless};
        EncodedState encoded = encode_against(base, state, FrameOptions{}, ChainLimits{}).value();
        if (encoded.base_version != base_version) throw std::runtime_error("the test's states are no good for deltas");
        return std::move(encoded.frame);
    }

    Store& store_;
    const std::string run_id_;
    const std::string user_id_;
    std::map<std::int64_t, std::string> texts_;
};

using Versions = std::vector<std::int64_t>;

/// Returns all snapshots of a run, the oldest first.
inline std::vector<SnapshotInfo> history(Store& store, const std::string& run_id) {
    return store.history({.run_id = run_id, .order = HistoryQuery::Order::kOldestFirst, .limit = 100'000}, soon())
        .value();
}

inline Versions versions_in(Store& store, const std::string& run_id) {
    Versions versions;
    for (const SnapshotInfo& info : history(store, run_id)) versions.push_back(info.version);
    return versions;
}

/// Expects that each remaining snapshot of the run loads to the state appended as that version, and that the store
/// finds nothing wrong.
inline void expect_intact(Store& store, const std::string& run_id) {
    for (const SnapshotInfo& info : history(store, run_id)) {
        const auto loaded =
            load_snapshot(store, {.run_id = run_id, .snapshot_id = info.snapshot_id}, StateLimits{}, soon());
        ASSERT_TRUE(loaded) << loaded.error().to_string();
        ASSERT_EQ(loaded->state.text(), ChainedRun::text_of(run_id, info.version)) << "version " << info.version;
    }
    const CheckReport report = store.check(soon()).value();
    for (const auto& finding : report.findings) ADD_FAILURE() << finding.snapshot_id << ": " << finding.problem;
}
inline void expect_intact(Store& store, const ChainedRun& run) {
    expect_intact(store, run.run_id());
}

}  // namespace cairn::test
