#include "support/fault_vfs.h"

#include <sqlite3.h>

#include <algorithm>
#include <cstddef>
#include <fstream>
#include <new>
#include <utility>

namespace cairn::test {
namespace {

// What SQLite allocates for one open file; the real VFS's file follows it in the same block.
struct FaultFile {
    sqlite3_file base;
    FaultVfs* vfs;
    std::string* path;  // null: a temporary file
    sqlite3_file* real;
};

FaultFile& self(sqlite3_file* file) {
    return *reinterpret_cast<FaultFile*>(file);
}

sqlite3_file* real(sqlite3_file* file) {
    return self(file).real;
}

void apply(std::string& content, const FaultVfs::Piece& piece) {
    const auto offset = static_cast<std::size_t>(piece.offset);
    if (!piece.bytes) return content.resize(offset);
    content.resize(std::max(content.size(), offset + piece.bytes->size()));
    content.replace(offset, piece.bytes->size(), *piece.bytes);
}

// Runs `effect` unless the fault that is due now comes before it.
template <class Effect>
int guarded(sqlite3_file* file, FaultVfs::Operation operation, Effect effect) {
    const auto fault = self(file).vfs->strike(operation);
    if (fault && !fault->after_effect) return fault->result_code;
    const int result_code = effect();
    return fault ? fault->result_code : result_code;
}

void note(sqlite3_file* file, FaultVfs::Piece piece) {
    if (self(file).path != nullptr) self(file).vfs->disk(*self(file).path).unsynced.push_back(std::move(piece));
}

int close_file(sqlite3_file* file) {
    const int result_code = real(file)->pMethods->xClose(real(file));
    delete self(file).path;
    return result_code;
}

int read_file(sqlite3_file* file, void* bytes, int count, sqlite3_int64 offset) {
    return real(file)->pMethods->xRead(real(file), bytes, count, offset);
}

int write_file(sqlite3_file* file, const void* bytes, int count, sqlite3_int64 offset) {
    return guarded(file, FaultVfs::Operation::kWrite, [&] {
        note(file, {offset, std::string(static_cast<const char*>(bytes), static_cast<std::size_t>(count))});
        return real(file)->pMethods->xWrite(real(file), bytes, count, offset);
    });
}

int truncate_file(sqlite3_file* file, sqlite3_int64 size) {
    return guarded(file, FaultVfs::Operation::kTruncate, [&] {
        note(file, {size, std::nullopt});
        return real(file)->pMethods->xTruncate(real(file), size);
    });
}

// What power loss would leave is remembered here, so that the real disk, which is slow, need not be asked.
int sync_file(sqlite3_file* file, int /*flags*/) {
    return guarded(file, FaultVfs::Operation::kSync, [&] {
        if (self(file).path != nullptr) {
            FaultVfs::Disk& disk = self(file).vfs->disk(*self(file).path);
            for (const FaultVfs::Piece& piece : disk.unsynced) apply(disk.synced, piece);
            disk.unsynced.clear();
        }
        return SQLITE_OK;
    });
}

int file_size(sqlite3_file* file, sqlite3_int64* size) {
    return real(file)->pMethods->xFileSize(real(file), size);
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
    return real(file)->pMethods->xShmMap(real(file), region, size, extend, memory);
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

// Version 2: without memory maps, which would go past us.
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

struct FaultVfs::Registration {
    sqlite3_vfs vfs;
    sqlite3_vfs* real;
    FaultVfs* owner;

    static Registration& of(sqlite3_vfs* vfs) { return *reinterpret_cast<Registration*>(vfs); }

    static int open(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags, int* out_flags) {
        Registration& registration = of(vfs);
        auto* const real_file = reinterpret_cast<sqlite3_file*>(reinterpret_cast<std::byte*>(file) + sizeof(FaultFile));
        file->pMethods = nullptr;
        const int result_code = registration.real->xOpen(registration.real, path, real_file, flags, out_flags);
        if (real_file->pMethods == nullptr) return result_code;
        auto* const name = path == nullptr ? nullptr : new std::string(path);
        new (file) FaultFile{.base = {&kMethods}, .vfs = registration.owner, .path = name, .real = real_file};
        if (name != nullptr && result_code == SQLITE_OK) registration.owner->opened(*name, real_file);
        return result_code;
    }

    static int remove(sqlite3_vfs* vfs, const char* path, int sync_folder) {
        of(vfs).owner->deleted(path);
        return of(vfs).real->xDelete(of(vfs).real, path, sync_folder);
    }
};

FaultVfs::FaultVfs() : registration_(std::make_unique<Registration>()) {
    sqlite3_vfs* const real = sqlite3_vfs_find(nullptr);
    *registration_ = {.vfs = *real, .real = real, .owner = this};
    registration_->vfs.zName = "fault";
    registration_->vfs.pNext = nullptr;
    registration_->vfs.szOsFile = real->szOsFile + static_cast<int>(sizeof(FaultFile));
    registration_->vfs.xOpen = Registration::open;
    registration_->vfs.xDelete = Registration::remove;
    sqlite3_vfs_register(&registration_->vfs, 1);
}

FaultVfs::~FaultVfs() {
    sqlite3_vfs_unregister(&registration_->vfs);
}

void FaultVfs::arm(const Fault& fault) {
    fault_ = fault;
    count_ = 0;
    struck_ = false;
}

void FaultVfs::disarm() {
    fault_.reset();
}

std::optional<FaultVfs::Fault> FaultVfs::strike(Operation operation) {
    if (!fault_) return std::nullopt;
    if (struck_) return fault_->for_good ? fault_ : std::nullopt;
    if (operation != fault_->operation || ++count_ != fault_->nth) return std::nullopt;
    struck_ = true;
    return fault_;
}

// A file that was there before is taken to be on disk as it is.
void FaultVfs::opened(const std::string& path, sqlite3_file* file) {
    if (disks_.contains(path)) return;
    sqlite3_int64 size = 0;
    file->pMethods->xFileSize(file, &size);
    std::string content(static_cast<std::size_t>(size), '\0');
    if (size > 0) file->pMethods->xRead(file, content.data(), static_cast<int>(size), 0);
    disks_[path] = {.synced = std::move(content), .unsynced = {}};
}

void FaultVfs::write_power_loss_image(const std::filesystem::path& from, const std::filesystem::path& to,
                                      std::mt19937& random) const {
    for (const auto& [path, disk] : disks_) {
        if (std::filesystem::path(path).parent_path() != from) continue;
        std::string content = disk.synced;
        for (const Piece& piece : disk.unsynced) {
            if (random() % 2 == 0) apply(content, piece);
        }
        const std::filesystem::path file = to / std::filesystem::path(path).filename();
        std::ofstream(file, std::ios::binary | std::ios::trunc) << content;
    }
}

}  // namespace cairn::test
