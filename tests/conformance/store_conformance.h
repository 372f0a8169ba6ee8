#pragma once

// The suite that every store must pass. It tests what cairn/store.h says, sentence by sentence. A new store needs one
// short file that instantiates `StoreConformance` with its factory; `memory` is the reference.

#include <cairn/store.h>

#include "support/make.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn::test {

/// Opens the store of one place. If the place is durable, each call returns a further handle on the same store;
/// otherwise a new store.
using Place = std::function<std::shared_ptr<Store>(const OpenOptions& options)>;

struct StoreFactory {
    std::string name;
    bool is_durable = true;             ///< Commits are still there after closing and opening again.
    std::function<Place()> make_place;  ///< Makes a place where nothing is stored yet.
};

inline std::ostream& operator<<(std::ostream& out, const StoreFactory& factory) {
    return out << factory.name;
}

/// Returns a readable line with every field. Two objects are the same if their lines are.
std::string describe(const SnapshotInfo& info);
std::string describe(const Head& head);
std::string describe(const RunInfo& run);
std::string describe(const ThreadInfo& thread);
std::string describe(const RecoveryRecord& record);

template <class T>
std::vector<std::string> describe(const std::vector<T>& items) {
    std::vector<std::string> lines;
    for (const T& item : items) lines.push_back(describe(item));
    return lines;
}

template <class T>
testing::AssertionResult is_ok(const Result<T>& result) {
    if (result) return testing::AssertionSuccess();
    return testing::AssertionFailure() << result.error().to_string();
}

/// Returns the error's code. If there is no error, it returns nothing, which equals no code.
template <class T>
std::optional<ErrorCode> error_code(const Result<T>& result) {
    return result ? std::nullopt : std::optional(result.error().code);
}

RecoveryRecord make_recovery(std::string run_id, std::string failure_reason = "crash");

/// Returns the frame that tests store for a version: a word that tells its run, its version and its base.
std::string frame_of(std::string_view run_id, std::int64_t version, std::int64_t base_version);

/// Makes a snapshot that needs `base_version` (0: none).
Snapshot make_delta(std::string run_id, std::int64_t version, std::int64_t base_version);

/// Returns all items of a listing, which is read in pages of `page_items`.
std::vector<RunInfo> all_runs(Store& store, RunQuery query = {}, std::size_t page_items = 7);
std::vector<ThreadInfo> all_threads(Store& store, ThreadQuery query = {}, std::size_t page_items = 7);

/// Returns everything that can be read from a store, as lines. Two stores with the same lines hold the same.
std::vector<std::string> everything(Store& store);

/// The whole suite. Tests that open the store again belong to `DurableStoreConformance`, which only durable stores
/// instantiate.
class StoreConformance : public testing::TestWithParam<StoreFactory> {
protected:
    Store& store() { return *store_; }
    bool is_durable() const { return GetParam().is_durable; }
    std::shared_ptr<Store> open_again(const OpenOptions& options = {}) { return place_(options); }

    Status commit(const RunBatch& batch) { return commit_run(store(), batch, soon()); }
    /// Returns the first error of any batch.
    Status commit(const std::vector<RunBatch>& batches) { return commit_all(store(), batches, soon()); }
    Status commit(Snapshot snapshot) { return commit(make_batch(std::move(snapshot))); }

    /// Commits versions `first` to `last` of a run, each in a batch of its own.
    void add_versions(const std::string& run_id, std::int64_t first, std::int64_t last) {
        for (std::int64_t version = first; version <= last; ++version) {
            ASSERT_TRUE(is_ok(commit(make_snapshot(run_id, version))));
        }
    }

    /// Commits versions from `first` on, each with the next of `bases` as its base.
    void add_chain(const std::string& run_id, const std::vector<std::int64_t>& bases, std::int64_t first = 1) {
        for (std::int64_t version = first; const std::int64_t base : bases) {
            ASSERT_TRUE(is_ok(commit(make_delta(run_id, version++, base))));
        }
    }

    /// Returns 0 if there is no such run.
    std::int64_t head_version(std::string_view run_id) {
        const auto head = store().head(run_id, soon());
        EXPECT_TRUE(is_ok(head));
        return head && *head ? (*head)->version : 0;
    }

private:
    Place place_ = GetParam().make_place();
    std::shared_ptr<Store> store_ = place_({});
};

class DurableStoreConformance : public StoreConformance {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(DurableStoreConformance);

}  // namespace cairn::test
