#pragma once

// A VFS under SQLite that passes every call on to the real one, through one place where a test steps in: to fail a
// call, or to remember what it did to the disk.

#include <cstdint>
#include <memory>
#include <string_view>

namespace cairn::test {

/// What the engine asks of the file system. What waits for a lock or gives one up is not told.
enum class DiskOperation : std::uint8_t { kOpen, kAccess, kRead, kWrite, kTruncate, kSync, kSize, kDelete, kShare };

/// One such call.
class DiskCall {
public:
    virtual ~DiskCall() = default;
    /// Lets the real file system do it.
    virtual int forward() = 0;

    DiskOperation operation;
    const char* path = nullptr;     ///< Null: a temporary file.
    std::int64_t offset = 0;        ///< Of a write; of a truncation the new size.
    std::string_view bytes = {};    ///< To write.
    std::uint64_t* note = nullptr;  ///< Belongs to the open file: the test may keep a number there (at first 0).

protected:
    DiskCall(DiskOperation kind, const char* file_path) : operation(kind), path(file_path) {}
};

/// While it lives, it is the process's default VFS. Close everything that was opened through it before it goes.
class ForwardingVfs {
public:
    virtual ~ForwardingVfs();
    ForwardingVfs(const ForwardingVfs&) = delete;
    ForwardingVfs& operator=(const ForwardingVfs&) = delete;

    /// Called on the thread that uses the engine, for several threads at the same time. Returns SQLite's result code.
    virtual int on_call(DiskCall& call) = 0;

protected:
    ForwardingVfs();

private:
    struct Registration;
    std::unique_ptr<Registration> registration_;
};

}  // namespace cairn::test
