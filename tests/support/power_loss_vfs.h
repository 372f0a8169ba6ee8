#pragma once

// A machine that loses power, under SQLite: remembers what of a folder has reached the disk for certain and what was
// only written, and makes the folders that could be found after the power is back.
//
// A program that links this defines `fsync` and `fdatasync`: so it learns of every sync, of files and of folders, by
// the engine and by the library, and none of them reaches the real disk, which is slow.

#include "support/forwarding_vfs.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace cairn::test {

/// What has happened to the files of one folder, as far as it matters after power loss. A value.
class DiskImage {
public:
    /// How a disk may treat what was written and not synced. A sector is what it writes or loses as a whole.
    struct Loss {
        std::uint64_t seed = 0;
        std::size_t sector_bytes = 512;
    };

    /// Makes a folder as it could be found: of each file what was synced last, and of each sector written since then
    /// the old bytes, the new ones, some of both, or rubbish; of bytes in a sector that were not written, the old ones
    /// (SQLite relies on that too: "powersafe overwrite"). A file that was made, deleted or named since its folder was
    /// synced may be there or not. What was only in memory (-shm) is gone.
    void write_survivor(const std::filesystem::path& folder, const Loss& loss) const;

private:
    friend class PowerLossVfs;
    using FileId = std::uint64_t;  // of the file system, whatever the file is called

    struct Change {
        std::size_t offset = 0;
        std::optional<std::string> bytes;  // none: the file was cut here
    };
    struct File {
        std::string synced;
        std::vector<Change> unsynced;
    };
    using Names = std::map<std::string, FileId>;

    std::map<FileId, File> files_;
    Names synced_names_;
    Names names_;
};

/// Watches one folder, whose content is taken to be on disk when it begins. Other folders are let pass.
/// Threads: safe to use from several.
class PowerLossVfs final : public ForwardingVfs {
public:
    explicit PowerLossVfs(std::filesystem::path folder);
    ~PowerLossVfs() override;

    /// When power may be lost: right before a change or a sync, and right after a sync.
    struct Moment {
        DiskOperation operation;
        bool is_after = false;
        std::string file;  ///< Its name; empty: the folder.
    };
    /// Gives the disk as it is at that moment.
    using Take = std::function<DiskImage()>;
    /// Told of each moment, on the thread that causes it, while every other thread's changes wait.
    using Watcher = std::function<void(const Moment&, const Take&)>;
    void watch(Watcher watcher);

    /// A disk that says "done" and does nothing.
    void ignore_syncs(bool ignored);

    int on_call(DiskCall& call) override;
    /// What `fsync` does in this program.
    static int on_sync(int descriptor);

private:
    using FileId = DiskImage::FileId;

    bool is_watched(const DiskCall& call) const;
    void tell(DiskOperation operation, bool is_after, const std::string& file);
    void note_change(const DiskCall& call);
    void note_opened(const DiskCall& call);
    void sync(FileId file);
    DiskImage take() const;
    DiskImage::Names list_names() const;

    const std::filesystem::path folder_;
    FileId folder_id_ = 0;
    mutable std::mutex mutex_;
    DiskImage disk_;         // here and below: guarded by mutex_
    std::vector<int> pins_;  // keep the ids of deleted files from being given to new ones
    Watcher watcher_;
    bool ignores_syncs_ = false;
};

}  // namespace cairn::test
