#pragma once

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

#include <unistd.h>

namespace cairn::test {

/// Returns a folder whose files are in memory, if there is one, or else the default folder of TempDir. It is for tests
/// that make thousands of folders and need no disk.
inline std::filesystem::path memory_folder() {
    return ::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : std::filesystem::temp_directory_path();
}

/// A new folder that is removed with the object. It is in `parent`; by default in TMPDIR, or in /tmp if that is not
/// set.
class TempDir {
public:
    explicit TempDir(const std::filesystem::path& parent = std::filesystem::temp_directory_path()) {
        std::string pattern = (parent / "cairn-test-XXXXXX").string();
        if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed: " + pattern);
        path_ = pattern;
    }
    ~TempDir() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;

    const std::filesystem::path& path() const { return path_; }
    std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
    std::string sqlite_url(const std::string& name = "cairn.db") const { return "sqlite:" + (path_ / name).string(); }

private:
    std::filesystem::path path_;
};

}  // namespace cairn::test
