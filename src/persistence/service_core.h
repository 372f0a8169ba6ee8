#pragma once

// What both services are made of.

#include "persistence/guarded.h"
#include "persistence/reading/recovery.h"
#include "persistence/reading/snapshot_reader.h"
#include "persistence/reading/thread_context.h"
#include "persistence/save/run_lanes.h"
#include "persistence/save/snapshot_writer.h"

#include <cairn/persistence.h>

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

namespace cairn {

/// Counts a call as long as it is under way.
class CallUnderWay {
public:
    explicit CallUnderWay(std::atomic<int>& calls) : calls_(calls) { ++calls_; }
    ~CallUnderWay() {
        if (--calls_ == 0) calls_.notify_all();
    }
    CallUnderWay(const CallUnderWay&) = delete;
    CallUnderWay& operator=(const CallUnderWay&) = delete;

private:
    std::atomic<int>& calls_;
};

struct ServiceCore {
    ServiceCore(std::shared_ptr<Store> store, PersistenceOptions options);

    /// `work`, unless the service is closed.
    template <class Work>
    auto while_open(const Work& work) -> decltype(work()) {
        const CallUnderWay call(calls);
        if (is_closed) return fail(ErrorCode::kClosed, "the service was closed");
        return guarded(work);
    }
    /// Refuses further calls.
    void refuse_calls() { is_closed = true; }
    void wait_for_calls() const {
        for (int under_way = calls; under_way != 0; under_way = calls) calls.wait(under_way);
    }
    bool is_forked() const { return ::getpid() != process; }

    Status check(const StatePersistenceRequest& request) const;
    /// `timeout`, or else the service's, from now.
    Deadline deadline(std::optional<std::chrono::milliseconds> timeout) const;
    /// The caller's own, else a new one.
    std::string snapshot_id(const StatePersistenceRequest& request) const;

    /// One uncompressed, self-contained frame in a transaction of its own. Call it inside the run's lane.
    Result<Receipt> write_standard(const StatePersistenceRequest& request, Deadline deadline) const;
    /// The snapshot that the request asks to grow from; nothing if it does not ask or asks for the head.
    /// Errors: kNotFound, the store's.
    Result<std::optional<Snapshot>> parent(const StatePersistenceRequest& request, const std::optional<Head>& head,
                                           Deadline deadline) const;
    /// The version that the request asks to grow from, which `fork` is if it is not the head; nothing: any head will
    /// do.
    static std::optional<std::int64_t> parent_version(const StatePersistenceRequest& request,
                                                      const std::optional<Snapshot>& fork,
                                                      const std::optional<Head>& head);
    /// From the store. The request must be checked.
    Result<ChainedState> load(const LoadRequest& request, Deadline deadline) const;

    const std::shared_ptr<Store> store;
    const PersistenceOptions options;  ///< With every member of its runtime.
    const std::shared_ptr<SnapshotWriter> writer;
    RunLanes lanes;
    Recovery recovery;
    const pid_t process = ::getpid();
    std::atomic<bool> is_closed = false;
    std::atomic<int> calls = 0;  ///< Under way.
};

}  // namespace cairn
