#pragma once

// Simulates power loss under SQLite. It records what of a folder has certainly reached the disk and what was only
// written, and makes the folders that could be found once the power is back.
//
// A program that links this defines `fsync` and `fdatasync`. So every sync of a file or a folder is seen, whether the
// engine or the library makes it. None of them reaches the real disk, which is slow.

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

/// A record of what has happened to the files of one folder, as far as it matters after power loss. It is a value.
class DiskImage {
public:
    /// The way in which a disk treats bytes that were written and not synced. It writes or loses whole sectors.
    struct Loss {
        std::uint64_t seed = 0;
        std::size_t sector_bytes = 512;
    };

    /// Makes a folder as it could be found after the loss. A file has what was synced last. A sector that was written
    /// since then has the old bytes, the new ones, some of both, or rubbish. Bytes of such a sector that were not
    /// written are the old ones; SQLite relies on that too ("powersafe overwrite"). A file that was made, deleted or
    /// renamed since its folder was synced may be there or not. A file that was only in memory (-shm) is gone.
    void write_survivor(const std::filesystem::path& folder, const Loss& loss) const;

private:
    friend class PowerLossVfs;
    using FileId = std::uint64_t;  // of the file system; it stays when the file is renamed

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

/// Watches one folder. Its content counts as on disk at the start. Other folders are not watched.
/// Threads: safe to use from several threads.
class PowerLossVfs final : public ForwardingVfs {
public:
    explicit PowerLossVfs(std::filesystem::path folder);
    ~PowerLossVfs() override;

    /// A moment at which power may be lost: right before a change or a sync, or right after a sync.
    struct Moment {
        DiskOperation operation;
        bool is_after = false;
        std::string file;  ///< Its name; empty: the folder.
    };
    /// Returns the disk as it is at that moment.
    using Take = std::function<DiskImage()>;
    /// Called for each moment, on the thread that causes it. Changes by other threads wait meanwhile.
    using Watcher = std::function<void(const Moment&, const Take&)>;
    void watch(Watcher watcher);

    /// Makes the disk answer a sync with "done" without syncing.
    void ignore_syncs(bool ignored);

    int on_call(DiskCall& call) override;
    /// The implementation of `fsync` and `fdatasync` in this program.
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
