#pragma once

// A VFS under SQLite that passes every call on to the real one. All calls go through one function, where a test can
// fail a call or record what it did to the disk.

#include <cstdint>
#include <memory>
#include <string_view>

namespace cairn::test {

/// The kinds of calls that the engine makes to the file system. Calls that take or release locks are not reported.
enum class DiskOperation : std::uint8_t { kOpen, kAccess, kRead, kWrite, kTruncate, kSync, kSize, kDelete, kShare };

/// One call of the engine to the file system.
class DiskCall {
public:
    virtual ~DiskCall() = default;
    /// Makes the call to the real file system.
    virtual int forward() = 0;

    DiskOperation operation;
    const char* path = nullptr;     ///< Null: a temporary file.
    std::int64_t offset = 0;        ///< The offset of a write; the new size of a truncation.
    std::string_view bytes = {};    ///< The bytes of a write.
    std::uint64_t* note = nullptr;  ///< Belongs to the open file. The test may keep a number there; it starts as 0.

protected:
    DiskCall(DiskOperation kind, const char* file_path) : operation(kind), path(file_path) {}
};

/// While it lives, it is the process's default VFS. Close every file that was opened through it before destroying it.
class ForwardingVfs {
public:
    virtual ~ForwardingVfs();
    ForwardingVfs(const ForwardingVfs&) = delete;
    ForwardingVfs& operator=(const ForwardingVfs&) = delete;

    /// Called on the thread that uses the engine, possibly on several at the same time. Returns SQLite's result code.
    virtual int on_call(DiskCall& call) = 0;

protected:
    ForwardingVfs();

private:
    struct Registration;
    std::unique_ptr<Registration> registration_;
};

}  // namespace cairn::test
