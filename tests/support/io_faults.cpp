// A library that a test preloads (LD_PRELOAD) into the programs that it starts. It makes system calls on some files
// fail at random, before or after their effect, like a disk that is full, dying or on a network.
//
//   IO_FAULTS_MATCH     calls may fail on files whose path contains this text; if it is not set, nothing fails
//   IO_FAULTS_RATE      the number of calls that fail, of 10,000
//   IO_FAULTS_SKIP      the number of calls that succeed first
//   IO_FAULTS_SEED      the seed that replays the failures, as far as threads allow

#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace {

std::uint64_t number_of(const char* name, std::uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

std::string_view match() {
    static const char* const text = std::getenv("IO_FAULTS_MATCH");
    return text == nullptr ? "" : text;
}

std::uint64_t next_random() {
    static std::atomic<std::uint64_t> state = number_of("IO_FAULTS_SEED", 1);
    std::uint64_t z = state.fetch_add(0x9E37'79B9'7F4A'7C15);  // splitmix64
    z = (z ^ z >> 30) * 0xBF58'476D'1CE4'E5B9;
    z = (z ^ z >> 27) * 0x94D0'49BB'1331'11EB;
    return z ^ z >> 31;
}

bool is_meant(int descriptor) {
    if (match().empty()) return false;
    std::array<char, 64> link{};
    std::array<char, 4096> path{};
    std::snprintf(link.data(), link.size(), "/proc/self/fd/%d", descriptor);
    const ssize_t bytes = readlink(link.data(), path.data(), path.size());
    return bytes > 0 && std::string_view(path.data(), static_cast<std::size_t>(bytes)).contains(match());
}

bool fails(int descriptor, std::uint64_t weight) {
    static const std::uint64_t rate = number_of("IO_FAULTS_RATE", 0);
    static const std::uint64_t skip = number_of("IO_FAULTS_SKIP", 0);
    static std::atomic<std::uint64_t> calls = 0;
    if (rate == 0) return false;
    const int error_before = errno;
    const bool is_due = is_meant(descriptor) && calls.fetch_add(1) >= skip && next_random() % 10'000 < rate * weight;
    errno = error_before;
    return is_due;
}

int fail_with(int error) {
    errno = error;
    return -1;
}

int write_error() {
    constexpr std::array kErrors{EIO, ENOSPC, EIO, EDQUOT};
    return fail_with(kErrors[next_random() % kErrors.size()]);
}

template <class Function>
Function real(const char* name) {
    return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

// Half of the failing writes have written a part.
ssize_t pwrite64(int descriptor, const void* bytes, size_t count, off64_t offset) {
    static const auto next = real<ssize_t (*)(int, const void*, size_t, off64_t)>("pwrite64");
    if (!fails(descriptor, 1)) return next(descriptor, bytes, count, offset);
    if (count > 8 && next_random() % 2 == 0) next(descriptor, bytes, count / 2, offset);
    return write_error();
}

ssize_t pwrite(int descriptor, const void* bytes, size_t count, off_t offset) {
    return pwrite64(descriptor, bytes, count, offset);
}

ssize_t pread64(int descriptor, void* bytes, size_t count, off64_t offset) {
    static const auto next = real<ssize_t (*)(int, void*, size_t, off64_t)>("pread64");
    if (fails(descriptor, 1) && next_random() % 4 == 0) return fail_with(EIO);
    return next(descriptor, bytes, count, offset);
}

ssize_t pread(int descriptor, void* bytes, size_t count, off_t offset) {
    return pread64(descriptor, bytes, count, offset);
}

int fdatasync(int descriptor) {
    static const auto next = real<int (*)(int)>("fdatasync");
    if (!fails(descriptor, 3)) return next(descriptor);
    if (next_random() % 2 == 0) next(descriptor);
    return fail_with(EIO);
}

int fsync(int descriptor) {
    static const auto next = real<int (*)(int)>("fsync");
    return fails(descriptor, 3) ? fail_with(EIO) : next(descriptor);
}

int ftruncate64(int descriptor, off64_t bytes) noexcept {
    static const auto next = real<int (*)(int, off64_t)>("ftruncate64");
    return fails(descriptor, 2) ? write_error() : next(descriptor, bytes);
}

int ftruncate(int descriptor, off_t bytes) noexcept {
    return ftruncate64(descriptor, bytes);
}

}  // extern "C"
