#pragma once

// A file system under SQLite that fails on demand.

#include "support/forwarding_vfs.h"

#include <mutex>
#include <optional>

namespace cairn::test {

/// Threads: safe to use and to arm from several threads. Nothing is synced for real, because the disk is slow.
class FaultVfs final : public ForwardingVfs {
public:
    using Operation = DiskOperation;

    /// Fails the `nth` operation (counted from 1) of the given kind with `result_code`.
    struct Fault {
        std::optional<Operation> operation = {};  ///< None: an operation of any kind.
        int nth = 1;
        int result_code = 0;    ///< 0: the code that SQLite's own VFS has for it.
        bool for_good = false;  ///< With a kind, all later changes of the disk fail too; without, all later operations.
        bool after_effect = false;  ///< The operation is done, but its caller is told that it failed.
    };

    void arm(const Fault& fault);
    void disarm();
    /// Says whether the armed fault has struck.
    bool struck() const { return struck_operation().has_value(); }
    /// Returns the first operation that it struck.
    std::optional<Operation> struck_operation() const;

    int on_call(DiskCall& call) override;

private:
    // Returns the fault that is due for this call, if there is one.
    std::optional<Fault> next_fault(Operation operation);

    mutable std::mutex mutex_;
    std::optional<Fault> fault_;  // here and below: guarded by mutex_
    int count_ = 0;
    std::optional<Operation> struck_;
};

}  // namespace cairn::test
