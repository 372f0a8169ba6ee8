#pragma once

// A file system that can be full. Needs root, to mount it.

#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>

#include <sys/mount.h>

namespace cairn::test {

/// A volume of `bytes` bytes in memory, mounted at `place` while it lives.
class SmallVolume {
public:
    SmallVolume(std::filesystem::path place, std::uint64_t bytes) : place_(std::move(place)) {
        std::filesystem::create_directories(place_);
        is_there_ = ::mount("none", place_.c_str(), "tmpfs", 0, size_of(bytes).c_str()) == 0;
    }
    ~SmallVolume() {
        if (is_there_) ::umount2(place_.c_str(), MNT_DETACH);
    }
    SmallVolume(const SmallVolume&) = delete;
    SmallVolume& operator=(const SmallVolume&) = delete;

    bool is_there() const { return is_there_; }
    bool resize(std::uint64_t bytes) const {
        return ::mount("none", place_.c_str(), nullptr, MS_REMOUNT, size_of(bytes).c_str()) == 0;
    }
    std::filesystem::path operator/(const std::string& name) const { return place_ / name; }

private:
    static std::string size_of(std::uint64_t bytes) { return fmt::format("size={}", bytes); }

    std::filesystem::path place_;
    bool is_there_ = false;
};

}  // namespace cairn::test
