#include "support/fault_vfs.h"

#include <sqlite3.h>

namespace cairn::test {
namespace {

int usual_code(DiskOperation operation) {
    switch (operation) {
        case DiskOperation::kOpen:
            return SQLITE_CANTOPEN;
        case DiskOperation::kAccess:
            return SQLITE_IOERR_ACCESS;
        case DiskOperation::kRead:
            return SQLITE_IOERR_READ;
        case DiskOperation::kWrite:
            return SQLITE_IOERR_WRITE;
        case DiskOperation::kTruncate:
            return SQLITE_IOERR_TRUNCATE;
        case DiskOperation::kSync:
            return SQLITE_IOERR_FSYNC;
        case DiskOperation::kSize:
            return SQLITE_IOERR_FSTAT;
        case DiskOperation::kDelete:
            return SQLITE_IOERR_DELETE;
        case DiskOperation::kShare:
            return SQLITE_IOERR_SHMMAP;
    }
    return SQLITE_IOERR;
}

bool changes_the_disk(DiskOperation operation) {
    return operation == DiskOperation::kWrite || operation == DiskOperation::kTruncate ||
           operation == DiskOperation::kSync;
}

}  // namespace

void FaultVfs::arm(const Fault& fault) {
    const std::lock_guard lock(mutex_);
    fault_ = fault;
    count_ = 0;
    struck_.reset();
}

void FaultVfs::disarm() {
    const std::lock_guard lock(mutex_);
    fault_.reset();
}

std::optional<FaultVfs::Operation> FaultVfs::struck_operation() const {
    const std::lock_guard lock(mutex_);
    return struck_;
}

std::optional<FaultVfs::Fault> FaultVfs::next_fault(Operation operation) {
    const std::lock_guard lock(mutex_);
    if (!fault_) return std::nullopt;
    if (struck_) {
        const bool concerned = !fault_->operation || changes_the_disk(operation);
        return fault_->for_good && concerned ? fault_ : std::nullopt;
    }
    if (fault_->operation && operation != *fault_->operation) return std::nullopt;
    if (++count_ != fault_->nth) return std::nullopt;
    struck_ = operation;
    return fault_;
}

int FaultVfs::on_call(DiskCall& call) {
    const std::optional<Fault> fault = next_fault(call.operation);
    int result_code = SQLITE_OK;
    const bool is_done = !fault || fault->after_effect;
    if (is_done && call.operation != Operation::kSync) result_code = call.forward();
    if (!fault) return result_code;
    return fault->result_code != 0 ? fault->result_code : usual_code(call.operation);
}

}  // namespace cairn::test
