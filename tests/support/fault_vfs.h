#pragma once

// A disk that fails and a machine that loses power, under SQLite: a VFS that passes everything on to the real one, and
// on the way counts, fails, and remembers what would survive.

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

struct sqlite3_file;

namespace cairn::test {

/// While it lives, it is the process's default VFS. Close everything that was opened through it before it goes. One
/// thread at a time.
class FaultVfs {
public:
    enum class Operation : std::uint8_t { kWrite, kSync, kTruncate };

    /// Fail the `nth` operation (from 1) of the kind with `result_code`; for good: all that follow too, of every kind.
    struct Fault {
        Operation operation;
        int nth;
        int result_code;
        bool for_good = false;
        bool after_effect = false;  ///< The operation is done all the same; only its caller does not learn so.
    };

    FaultVfs();
    ~FaultVfs();
    FaultVfs(const FaultVfs&) = delete;
    FaultVfs& operator=(const FaultVfs&) = delete;

    void arm(const Fault& fault);
    void disarm();
    /// Whether the armed fault has struck.
    bool struck() const { return struck_; }

    /// Writes to the folder `to` what the disk would hold of the folder `from` if power were lost now: for each file
    /// what was synced last, and of what was written since then each piece or not, as `random` has it.
    void write_power_loss_image(const std::filesystem::path& from, const std::filesystem::path& to,
                                std::mt19937& random) const;

    // Called by the files.
    struct Piece {
        std::int64_t offset;
        std::optional<std::string> bytes;  // none: cut the file here
    };
    struct Disk {
        std::string synced;
        std::vector<Piece> unsynced;
    };
    /// The code to fail with, if it is this one's turn.
    std::optional<Fault> strike(Operation operation);
    void opened(const std::string& path, sqlite3_file* file);
    void deleted(const std::string& path) { disks_.erase(path); }
    Disk& disk(const std::string& path) { return disks_[path]; }

private:
    struct Registration;
    std::unique_ptr<Registration> registration_;
    std::optional<Fault> fault_;
    int count_ = 0;
    bool struck_ = false;
    std::map<std::string, Disk> disks_;  // by path
};

}  // namespace cairn::test
