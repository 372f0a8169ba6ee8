#pragma once

// A file system that fails on demand, under SQLite.

#include "support/forwarding_vfs.h"

#include <mutex>
#include <optional>

namespace cairn::test {

/// Threads: safe to use and to program from several threads. Nothing is synced for real: the disk is slow.
class FaultVfs final : public ForwardingVfs {
public:
    using Operation = DiskOperation;

    /// Fail the `nth` operation (from 1) of the kind with `result_code`.
    struct Fault {
        std::optional<Operation> operation = {};  ///< None: of any kind.
        int nth = 1;
        int result_code = 0;        ///< 0: the code that SQLite's own VFS has for it.
        bool for_good = false;      ///< All that follow too: with a kind, what changes the disk; without, everything.
        bool after_effect = false;  ///< The operation is done all the same; only its caller does not learn so.
    };

    void arm(const Fault& fault);
    void disarm();
    /// Whether the armed fault has struck, and what it struck first.
    bool struck() const { return struck_operation().has_value(); }
    std::optional<Operation> struck_operation() const;

    int on_call(DiskCall& call) override;

private:
    // The fault that is due for the call, if one is.
    std::optional<Fault> next_fault(Operation operation);

    mutable std::mutex mutex_;
    std::optional<Fault> fault_;  // here and below: guarded by mutex_
    int count_ = 0;
    std::optional<Operation> struck_;
};

}  // namespace cairn::test
