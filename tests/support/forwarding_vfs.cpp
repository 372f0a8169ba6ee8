#include "support/forwarding_vfs.h"

#include <sqlite3.h>

#include <cstddef>
#include <new>

namespace cairn::test {
namespace {

// The block that SQLite allocates for one open file. The real VFS's file follows it in the same block.
struct ForwardedFile {
    sqlite3_file base;
    ForwardingVfs* vfs;
    const char* path;  // SQLite keeps it alive until the file is closed
    std::uint64_t note;
    sqlite3_file* real;
};

ForwardedFile& self(sqlite3_file* file) {
    return *reinterpret_cast<ForwardedFile*>(file);
}

sqlite3_file* real(sqlite3_file* file) {
    return self(file).real;
}

template <class Effect>
class CallWith final : public DiskCall {
public:
    CallWith(DiskOperation kind, const char* file_path, Effect effect) : DiskCall(kind, file_path), effect_(effect) {}
    int forward() override { return effect_(); }

private:
    Effect effect_;
};

template <class Effect>
CallWith<Effect> call_of(sqlite3_file* file, DiskOperation operation, Effect effect) {
    CallWith<Effect> call(operation, self(file).path, effect);
    call.note = &self(file).note;
    return call;
}

int close_file(sqlite3_file* file) {
    return real(file)->pMethods->xClose(real(file));
}

int read_file(sqlite3_file* file, void* bytes, int count, sqlite3_int64 offset) {
    auto call = call_of(file, DiskOperation::kRead,
                        [&] { return real(file)->pMethods->xRead(real(file), bytes, count, offset); });
    return self(file).vfs->on_call(call);
}

int write_file(sqlite3_file* file, const void* bytes, int count, sqlite3_int64 offset) {
    auto call = call_of(file, DiskOperation::kWrite,
                        [&] { return real(file)->pMethods->xWrite(real(file), bytes, count, offset); });
    call.offset = offset;
    call.bytes = {static_cast<const char*>(bytes), static_cast<std::size_t>(count)};
    return self(file).vfs->on_call(call);
}

int truncate_file(sqlite3_file* file, sqlite3_int64 size) {
    auto call =
        call_of(file, DiskOperation::kTruncate, [&] { return real(file)->pMethods->xTruncate(real(file), size); });
    call.offset = size;
    return self(file).vfs->on_call(call);
}

int sync_file(sqlite3_file* file, int flags) {
    auto call = call_of(file, DiskOperation::kSync, [&] { return real(file)->pMethods->xSync(real(file), flags); });
    return self(file).vfs->on_call(call);
}

int file_size(sqlite3_file* file, sqlite3_int64* size) {
    auto call = call_of(file, DiskOperation::kSize, [&] { return real(file)->pMethods->xFileSize(real(file), size); });
    return self(file).vfs->on_call(call);
}

int lock_file(sqlite3_file* file, int level) {
    return real(file)->pMethods->xLock(real(file), level);
}

int unlock_file(sqlite3_file* file, int level) {
    return real(file)->pMethods->xUnlock(real(file), level);
}

int check_reserved_lock(sqlite3_file* file, int* reserved) {
    return real(file)->pMethods->xCheckReservedLock(real(file), reserved);
}

int file_control(sqlite3_file* file, int operation, void* argument) {
    return real(file)->pMethods->xFileControl(real(file), operation, argument);
}

int sector_size(sqlite3_file* file) {
    return real(file)->pMethods->xSectorSize(real(file));
}

int device_characteristics(sqlite3_file* file) {
    return real(file)->pMethods->xDeviceCharacteristics(real(file));
}

int map_shared_memory(sqlite3_file* file, int region, int size, int extend, void volatile** memory) {
    auto call = call_of(file, DiskOperation::kShare,
                        [&] { return real(file)->pMethods->xShmMap(real(file), region, size, extend, memory); });
    return self(file).vfs->on_call(call);
}

int lock_shared_memory(sqlite3_file* file, int offset, int count, int flags) {
    return real(file)->pMethods->xShmLock(real(file), offset, count, flags);
}

void shared_memory_barrier(sqlite3_file* file) {
    real(file)->pMethods->xShmBarrier(real(file));
}

int unmap_shared_memory(sqlite3_file* file, int remove) {
    return real(file)->pMethods->xShmUnmap(real(file), remove);
}

// Version 2 has no memory maps, whose accesses this VFS would not see.
constexpr sqlite3_io_methods kMethods{
    .iVersion = 2,
    .xClose = close_file,
    .xRead = read_file,
    .xWrite = write_file,
    .xTruncate = truncate_file,
    .xSync = sync_file,
    .xFileSize = file_size,
    .xLock = lock_file,
    .xUnlock = unlock_file,
    .xCheckReservedLock = check_reserved_lock,
    .xFileControl = file_control,
    .xSectorSize = sector_size,
    .xDeviceCharacteristics = device_characteristics,
    .xShmMap = map_shared_memory,
    .xShmLock = lock_shared_memory,
    .xShmBarrier = shared_memory_barrier,
    .xShmUnmap = unmap_shared_memory,
    .xFetch = nullptr,
    .xUnfetch = nullptr,
};

}  // namespace

struct ForwardingVfs::Registration {
    sqlite3_vfs vfs;
    sqlite3_vfs* real;
    ForwardingVfs* owner;

    static Registration& of(sqlite3_vfs* vfs) { return *reinterpret_cast<Registration*>(vfs); }

    static int open(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags, int* out_flags) {
        Registration& registration = of(vfs);
        auto* const real_file =
            reinterpret_cast<sqlite3_file*>(reinterpret_cast<std::byte*>(file) + sizeof(ForwardedFile));
        new (file)
            ForwardedFile{.base = {nullptr}, .vfs = registration.owner, .path = path, .note = 0, .real = real_file};
        auto call = call_of(file, DiskOperation::kOpen, [&] {
            return registration.real->xOpen(registration.real, path, real_file, flags, out_flags);
        });
        real_file->pMethods = nullptr;
        const int result_code = registration.owner->on_call(call);
        if (result_code == SQLITE_OK) {
            file->pMethods = &kMethods;
        } else if (real_file->pMethods != nullptr) {
            real_file->pMethods->xClose(real_file);  // SQLite does not close what it believes it could not open
        }
        return result_code;
    }

    static int remove(sqlite3_vfs* vfs, const char* path, int sync_folder) {
        CallWith call(DiskOperation::kDelete, path,
                      [&] { return of(vfs).real->xDelete(of(vfs).real, path, sync_folder); });
        return of(vfs).owner->on_call(call);
    }

    static int access(sqlite3_vfs* vfs, const char* path, int flags, int* answer) {
        CallWith call(DiskOperation::kAccess, path,
                      [&] { return of(vfs).real->xAccess(of(vfs).real, path, flags, answer); });
        return of(vfs).owner->on_call(call);
    }
};

ForwardingVfs::ForwardingVfs() : registration_(std::make_unique<Registration>()) {
    sqlite3_vfs* const real = sqlite3_vfs_find(nullptr);
    *registration_ = {.vfs = *real, .real = real, .owner = this};
    registration_->vfs.zName = "forwarding";
    registration_->vfs.pNext = nullptr;
    registration_->vfs.szOsFile = real->szOsFile + static_cast<int>(sizeof(ForwardedFile));
    registration_->vfs.xOpen = Registration::open;
    registration_->vfs.xDelete = Registration::remove;
    registration_->vfs.xAccess = Registration::access;
    sqlite3_vfs_register(&registration_->vfs, 1);
}

ForwardingVfs::~ForwardingVfs() {
    sqlite3_vfs_unregister(&registration_->vfs);
}

}  // namespace cairn::test
